"""Building after a change costs what changed, and gives the bytes of building from nothing."""

import tempfile
from pathlib import Path

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.assets.molecules.building import build, bytes_of, source

# Several spellings of the same molecules, so that duplicates come and go, and texts that are rejected.
_POOL = [
    *("C" * length for length in range(1, 25)),
    *(f"{'C' * length}O" for length in range(1, 20)),
    *(f"O{'C' * length}" for length in range(1, 20)),
    *("c1ccccc1", "C1=CC=CC=C1", "c1ccncc1", "not", "C1CC", "*C*", "Cl.CCO", "CCO.Cl"),
]
_SOURCE = st.lists(st.sampled_from(_POOL), min_size=1, max_size=40)
_STATE = st.dictionaries(st.sampled_from(["a", "b", "c"]), _SOURCE, min_size=1, max_size=3)


def _sources(root: Path, state: dict[str, list[str]], number: int) -> list:
    folder = root / f"files-{number}"
    return [source(folder / f"{name}.smi", content="CCCCCCCCCCCCCCCCN\n" + "\n".join(lines) + "\n") for name, lines in sorted(state.items())]


@settings(max_examples=25)
@given(st.lists(_STATE, min_size=2, max_size=4))
def test_any_sequence_of_changes_gives_the_bytes_of_a_build_from_nothing(states):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, state in enumerate(states):
            build(root / "kept", _sources(root, state, number))
        build(root / "fresh", _sources(root, states[-1], 99))
        assert bytes_of(root / "kept/molecules") == bytes_of(root / "fresh/molecules")


def _numbered(count: int) -> list[str]:
    """Different molecules: chains of C and N spelled by the bits of a number."""
    return ["C" + f"{index:b}".replace("0", "C").replace("1", "N") + f"CO m{index}" for index in range(1, count + 1)]


def test_one_percent_of_change_parses_one_percent_of_the_rows(tmp_path):
    lines = _numbered(1_000)
    assert build(tmp_path, [source(tmp_path / "s.smi", content="\n".join(lines))]).counts.parsed == 1_000
    changed = lines[:500] + lines[505:] + [f"F{line}" for line in lines[:10]]
    counts = build(tmp_path, [source(tmp_path / "s.smi", content="\n".join(changed))]).counts
    assert (counts.parsed, counts.reused) == (10, 995)


def test_molecules_added_at_the_end_and_one_removed_rewrite_their_own_shards_only(tmp_path):
    lines = _numbered(1_000)
    build(tmp_path, [source(tmp_path / "s.smi", content="\n".join(lines))])
    before = bytes_of(tmp_path / "molecules")
    build(tmp_path, [source(tmp_path / "s.smi", content="\n".join([*lines, "FCCF new"]))])
    added = bytes_of(tmp_path / "molecules")
    build(tmp_path, [source(tmp_path / "s.smi", content="\n".join([*lines[:700], *lines[701:]]))])
    removed = bytes_of(tmp_path / "molecules")
    shards = {name for name in before if name.startswith("molecules-")}
    assert len(shards) > 40
    assert len({before[name] for name in shards} - set(added.values())) <= 1
    assert len({before[name] for name in shards} - set(removed.values())) <= 3


def test_unchanged_shards_keep_their_inodes(tmp_path):
    lines = _numbered(200)
    build(tmp_path, [source(tmp_path / "s.smi", content="\n".join(lines))])
    inode = (tmp_path / "molecules/molecules-00000.parquet").stat().st_ino
    build(tmp_path, [source(tmp_path / "s.smi", content="\n".join([*lines, "FCCF new"]))])
    assert (tmp_path / "molecules/molecules-00000.parquet").stat().st_ino == inode


def test_a_damaged_memo_is_not_believed(tmp_path):
    file = source(tmp_path / "s.smi", content="\n".join(_numbered(50)))
    build(tmp_path, [file])
    before = bytes_of(tmp_path / "molecules")
    memo = tmp_path / "scratch/parsed.arrow"
    damaged = bytearray(memo.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    memo.write_bytes(damaged)
    assert build(tmp_path, [file]).counts.parsed == 50
    assert bytes_of(tmp_path / "molecules") == before


def test_an_output_edited_by_hand_is_not_carried_on(tmp_path):
    file = source(tmp_path / "s.smi", content="\n".join(_numbered(50)))
    build(tmp_path, [file])
    before = bytes_of(tmp_path / "molecules")
    (tmp_path / "molecules/molecules-00000.parquet").write_bytes(b"edited")
    build(tmp_path, [file])
    assert bytes_of(tmp_path / "molecules") == before


def test_other_rules_parse_everything_again(tmp_path):
    import dataclasses

    from tests.assets.molecules.building import SMALL

    file = source(tmp_path / "s.smi", content="\n".join(_numbered(50)))
    build(tmp_path, [file])
    assert build(tmp_path, [file], config=dataclasses.replace(SMALL, max_heavy_atoms=50)).counts.parsed == 50
    assert build(tmp_path, [file], config=dataclasses.replace(SMALL, max_heavy_atoms=50, test_fraction=0.2)).counts.parsed == 0
