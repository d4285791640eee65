"""A polymer has one canonical repeat unit, whatever window on its chain it is written as."""

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from formats.polymer_smiles import RepeatUnitError, canonical_polymer_smiles, frames, repeat_unit_problem

# Texts that make a chain when written one after the other. Those of the first line read the same from both ends.
_SYMMETRIC = ["C", "O", "N", "C(C)", "C(=O)", "c1ccc(cc1)", "[Si](C)(C)"]
_DIRECTED = ["c1ccc(c(F)c1)", "C1CC(CC1=O)", "C/C=C/C", r"C/C=C\C", "N=C", "[C@H](C)", "[C@@H](F)", "[C@](Cl)(C)", "C1=C(C)C(=O)C(=N1)"]
_chains = st.lists(st.sampled_from(_SYMMETRIC + _DIRECTED), min_size=1, max_size=6)
_few = settings(max_examples=60, deadline=None)


def unit(links: list[str], *, ends: tuple[str, str] = ("[*:1]", "[*:2]")) -> str:
    return ends[0] + "".join(links) + ends[1]


@_few
@given(_chains, st.integers(0, 5), st.integers(1, 3))
def test_another_window_on_the_chain_shows_the_same_polymer(links, shift, times):
    place = shift % len(links)
    shifted = (links[place:] + links[:place]) * times
    assert canonical_polymer_smiles(unit(shifted)) == canonical_polymer_smiles(unit(links))


@_few
@given(_chains, st.integers(1, 1_000))
def test_neither_the_direction_nor_the_order_of_atoms_matters(links, seed):
    (spelled,) = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(unit(links)), 1, randomSeed=seed)
    swapped = spelled.replace("[*:1]", "[*:3]").replace("[*:2]", "[*:1]").replace("[*:3]", "[*:2]")
    assert canonical_polymer_smiles(spelled) == canonical_polymer_smiles(swapped) == canonical_polymer_smiles(unit(links))


@_few
@given(_chains)
def test_the_canonical_form_of_a_canonical_form_is_itself(links):
    once = canonical_polymer_smiles(unit(links))
    assert canonical_polymer_smiles(once) == once
    molecule = Chem.MolFromSmiles(once)
    assert repeat_unit_problem(molecule) is None
    assert Chem.MolToSmiles(molecule) == once
    assert ":" not in once


@_few
@given(st.lists(st.sampled_from(_SYMMETRIC), min_size=1, max_size=5), st.lists(st.sampled_from(_SYMMETRIC), min_size=1, max_size=5))
def test_two_units_are_one_polymer_just_when_their_chains_are_equal(one, other):
    """Of links that read the same from both ends, two endless chains are equal when long enough pieces of one occur in the other."""
    period = len(one) * len(other)
    long_one, long_other = (["", *links * (3 * period), ""] for links in (one, other))
    window = "|".join(["", *long_one[1 : 2 * period + 1], ""])
    same = any(window in "|".join(way) for way in (long_other, long_other[::-1]))
    assert (canonical_polymer_smiles(unit(one)) == canonical_polymer_smiles(unit(other))) == same


@_few
@given(_chains)
def test_every_frame_of_a_polymer_is_a_unit_of_it(links):
    canonical = canonical_polymer_smiles(unit(links))
    shown = frames(Chem.MolFromSmiles(canonical))
    assert canonical in shown
    assert {canonical_polymer_smiles(frame) for frame in shown} == {canonical}


# The classes that the package canonicalize_psmiles 0.1.2 and its README publish.
@pytest.mark.parametrize(
    "units",
    [
        ["*C*", "*CC*", "*CCC*", "*CCCC*"],
        ["*CCO*", "*COC*", "*OCC*", "*OCCOCC*", "C(*)COCCO*"],
        ["*CC(*)C", "CC(*)C*", "*CC(CC(*)C)C"],
        ["*NC(C)CC(*)=O", "*C(=O)NC(C)C*"],
        ["N(=[*])c1ccc(NC=[*])cc1", "[*]NC=Nc1ccc([*])cc1", "[*]=CNc1ccc(cc1)N=[*]"],
        ["[*]=COCCC=[*]", "[*]=CCCOC=[*]"],
        ["[*]C=Cc1sc([*])c(OCCCC)c1OCCCC", "[*]c1sc(c(OCCCC)c1OCCCC)C=C[*]"],
        ["FC(F)([*])[*]", "[*]C([*])(F)F"],
        [r"[*]/C=C(\[*])C(C)(C)C", r"CC(C)(/C(=C/[*])[*])C", r"[*]\C=C(/[*])C(C)(C)C"],
        [r"[*]/C=C(/[*])C(C)(C)C", r"CC(/C([*])=C\[*])(C)C"],
    ],
)
def test_published_spellings_of_one_polymer_have_one_form(units):
    assert len({canonical_polymer_smiles(smiles) for smiles in units}) == 1


@pytest.mark.parametrize(
    "units",
    [
        ["[*]=COCCC=[*]", "[*]=CCOCC=[*]"],
        [r"[*]/C=C(\[*])C(C)(C)C", r"[*]/C=C(/[*])C(C)(C)C", "[*]C=C([*])C(C)(C)C"],
        ["*[C@H](C)[C@H](C)*", "*[C@H](C)[C@@H](C)*", "*C(C)*"],
        ["*c1ccc(*)cc1", "*=C1C=CC(=*)C=C1"],
        ["*C=C*", "*CC*", "*C#C*"],
    ],
)
def test_different_polymers_keep_apart(units):
    assert len({canonical_polymer_smiles(smiles) for smiles in units}) == len(units)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("*C*", "*C*"),
        ("*O*", "*O*"),
        ("*[Si](C)(C)O*", "*O[Si](*)(C)C"),
        # Both ends at one atom, and a bond of a ring is never cut.
        ("*C1(*)CCCCC1", "*C1(*)CCCCC1"),
        ("*C1CC(*)C1", "*C1CC(*)C1"),
        # Double bonded ends: any frame whose ends are single is preferred.
        ("*=CC=*", "*C=C*"),
        ("*=C1C=CC(=NN=*)C=C1", "*N=C1C=CC(=N*)C=C1"),
        ("*=C1C=CC(C=C1)=C1C=CC(=*)C=C1", "*=c1ccc(=*)cc1"),
        # Ends of different orders cannot be joined, and between two stars there is nothing: such units stay what they are.
        ("*=C*", "*C=*"),
        ("**", "**"),
        ("[*:2]C[13CH2:7]O[*:1]", "*C[13CH2]O*"),
    ],
)
def test_corners(written, canonical):
    assert canonical_polymer_smiles(written) == canonical


def test_a_hand_that_only_marked_ends_can_tell_takes_two_periods_to_say():
    """All centres alike, seen along the chain, is isotactic; the mirror image is the same chain read from its other end."""
    isotactic = canonical_polymer_smiles("[*:1][C@H](C)[*:2]")
    assert isotactic == canonical_polymer_smiles("[*:1][C@@H](C)[*:2]") == canonical_polymer_smiles("*[C@H](C)[C@@H](*)C")
    assert isotactic == "*[C@H](C)[C@@H](*)C"
    assert canonical_polymer_smiles("*[C@H](C)*") == "*C(*)C"


@pytest.mark.parametrize("cage", ["*Nc1ccc([C@H]2[C@@H]3C[C@H]4C[C@@H](C3)C[C@@H]2C4)cc1N*", "*Nc1ccc2c(c1N*)[C@H]1c3ccccc3[C@@H]2c2ccccc21"])
def test_a_cage_whose_smiles_rdkit_writes_in_turns_has_one_form(cage):
    once = canonical_polymer_smiles(cage)
    assert canonical_polymer_smiles(once) == once


@pytest.mark.parametrize(
    ("text", "why"),
    [("C(", "not a SMILES"), ("CCO", "two stars"), ("*CC", "two stars"), ("*C(*)C*", "two stars"), ("C*C*", "at an end"), ("*CC*.O", "one piece")],
)
def test_what_is_no_repeat_unit_is_refused_with_the_reason(text, why):
    with pytest.raises(RepeatUnitError, match=why):
        canonical_polymer_smiles(text)
