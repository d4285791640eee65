"""One RDKit pass over one row: parse once, and derive everything from that molecule.

What this module and the descriptor table say decides the rows of a dataset. assets/molecules/memo.py therefore takes their code, without comments
and docstrings, into the key under which parsed rows are kept.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from rdkit.Chem.Scaffolds import MurckoScaffold

from formats.descriptors import descriptors_named
from formats.polymer_smiles import IN_PIECES, STAR_NOT_AT_AN_END, canonical_repeat_unit, repeat_unit_problem

# What is written where `*` is meant: `[e] [d] [t] [g]` (ladders), `[R]`, `[R1]` or `R1`, which no reader takes; and elements that no polymer has.
_PLACEHOLDER = re.compile(r"\[(?:[edtg]|R\d*'?|[XYZQLAGM]\d*)\]|R\d+'?")
_PLACEHOLDER_ELEMENTS = ("Po", "Xe", "At", "Rn", "Kr", "Ar", "Ne", "He", "Fr", "Ra", "Ac", "Lr", "Lv")
_PROBLEMS = {STAR_NOT_AT_AN_END: "an attachment point (*) that is not an end", IN_PIECES: "a repeat unit in several pieces"}


@dataclass(frozen=True)
class Rules:
    """What a row must be to enter the dataset.

    stars:            attachment points (`*`) it must have: 0 for molecules; 2 for repeat units, each with one neighbour. All that is said of a repeat
                      unit is said of the canonical one of its polymer.
    salts:            what to do with several fragments: strip keeps the largest organic one (most heavy atoms; ties by SMILES, so that the choice
                      does not depend on how the row was written), keep leaves them, reject sets the row aside. Charges are left as they are.
    elements:         symbols allowed besides hydrogen; empty allows all.
    min_heavy_atoms, max_heavy_atoms: bounds, both included; `*` does not count.
    max_smiles_chars: longer texts are rejected before they are parsed.
    descriptors:      names from formats/descriptors.py.
    """

    stars: int
    salts: Literal["strip", "keep", "reject"]
    elements: tuple[str, ...]
    min_heavy_atoms: int
    max_heavy_atoms: int
    max_smiles_chars: int
    descriptors: tuple[str, ...]


class Standardized(NamedTuple):
    """What one row became. descriptors: in the order of the rules, None where a value is undefined. repeat_unit: the frame of a polymer as drawn."""

    smiles: str
    scaffold: str
    descriptors: tuple[float | None, ...]
    repeat_unit: str | None = None


class _RejectedError(Exception):
    """The row is set aside; the message is the reason, from a small set, so that reasons can be counted."""


class Standardizer:
    """Applies one set of rules; `parses` counts the molecules parsed so far."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._measures = [descriptor.measure for descriptor in descriptors_named(rules.descriptors)]
        # Queries look at all atoms in C++; a Python loop over atoms would cost a third as much as parsing.
        self._star = Chem.MolFromSmarts("[#0]")
        self._foreign = _any_element_but(rules.elements) if rules.elements else None
        self.parses = 0

    def many(self, rows: Iterable[tuple[str, str]]) -> list[Standardized | str]:
        """`one` for each (form, text), with RDKit's own messages silenced."""
        with rdBase.BlockLogs():
            return [self.one(form, text) for form, text in rows]

    def one(self, form: str, text: str) -> Standardized | str:
        """What the row becomes, or the reason why it is rejected. `form` is a `rows.Form`."""
        try:
            molecule = self._parse(form, text)
            if "." in text or form != "smiles":
                molecule = self._desalt(molecule)
            if self._rules.stars:
                return self._polymer(molecule)
            if ":" in text or form != "smiles":
                _drop_atom_maps(molecule)
            self._check_stars(molecule)
            self._check(molecule)
            return self._derive(molecule, Chem.MolToSmiles(molecule))
        except _RejectedError as rejection:
            return str(rejection)
        except (ValueError, RuntimeError, OverflowError) as error:
            # RDKit throws these from C++ for molecules it cannot handle; one such row must not end the run.
            return f"rdkit failed: {type(error).__name__}"

    def _parse(self, form: str, text: str) -> Chem.Mol:
        if not text:
            raise _RejectedError("no SMILES")
        if form == "smiles" and len(text) > self._rules.max_smiles_chars:
            raise _RejectedError(f"SMILES longer than {self._rules.max_smiles_chars} characters")
        if form == "smiles" and (" " in text or "\t" in text):
            raise _RejectedError("not a SMILES")  # RDKit would take what follows the blank for a name or an extension.
        self.parses += 1
        if form == "smiles":
            molecule = Chem.MolFromSmiles(text)
        elif form == "molblock":
            molecule = Chem.MolFromMolBlock(text)
        elif _heavy_atoms_of_xyz(text) > self._rules.max_heavy_atoms:
            raise _RejectedError("too many heavy atoms")  # Finding bonds may take exponentially long, so this comes first.
        else:
            molecule = _from_xyz(text, is_handed=form == "xyz")
        if molecule is None:
            raise _RejectedError(_why_invalid(text) if form == "smiles" else f"unreadable {form}")
        return molecule

    def _desalt(self, molecule: Chem.Mol) -> Chem.Mol:
        fragments = Chem.GetMolFrags(molecule, asMols=True) if self._rules.salts != "keep" else ()
        if len(fragments) < 2:
            return molecule
        if self._rules.salts == "reject":
            raise _RejectedError("several fragments")
        return max(fragments, key=_organic_size)

    def _polymer(self, drawn: Chem.Mol) -> Standardized:
        self._check_stars(drawn)
        if (problem := repeat_unit_problem(drawn)) is not None:
            raise _RejectedError(_PROBLEMS[problem])
        # A polymer is judged, measured and named by its canonical unit, so that no frame of it is another row.
        smiles, unit = canonical_repeat_unit(drawn)
        self._check(unit)
        return self._derive(unit, smiles)._replace(repeat_unit=Chem.MolToSmiles(drawn))

    def _check_stars(self, molecule: Chem.Mol) -> None:
        # The number of ends comes first, since a wrong one means the wrong dataset.
        stars = len(molecule.GetSubstructMatches(self._star)) if molecule.HasSubstructMatch(self._star) else 0
        if stars == self._rules.stars:
            return
        if self._rules.stars and stars == 0 and (placeholder := _placeholder_element(molecule)):
            raise _RejectedError(f"placeholder [{placeholder}]")
        if self._rules.stars and stars == 4 and _is_ladder(molecule, [star for (star,) in molecule.GetSubstructMatches(self._star)]):
            raise _RejectedError("ladder polymer: 4 attachment points")
        raise _RejectedError(f"{stars if stars < 5 else 'over 4'} attachment points (*) instead of {self._rules.stars}")

    def _check(self, molecule: Chem.Mol) -> None:
        # The first rule that fails is the reason told.
        if self._foreign is not None and molecule.HasSubstructMatch(self._foreign):
            raise _RejectedError("element outside the list")
        heavy = molecule.GetNumHeavyAtoms()
        if not self._rules.min_heavy_atoms <= heavy <= self._rules.max_heavy_atoms:
            raise _RejectedError("too few heavy atoms" if heavy < self._rules.min_heavy_atoms else "too many heavy atoms")

    def _derive(self, molecule: Chem.Mol, smiles: str) -> Standardized:
        # Canonical SMILES and Bemis-Murcko scaffold (Bemis and Murcko 1996): the identity of the row, and what scaffold splits go by.
        has_rings = molecule.GetRingInfo().NumRings() > 0
        scaffold = Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(molecule)) if has_rings else ""
        values = [measure(molecule) for measure in self._measures]
        return Standardized(smiles, scaffold, tuple([None if value != value else value for value in values]))  # noqa: PLR0124 - NaN


def is_smiles(text: str) -> bool:
    """Whether RDKit can parse `text` as a molecule."""
    with rdBase.BlockLogs():
        return bool(text) and Chem.MolFromSmiles(text) is not None


def valid_fraction(smiles: Sequence[str]) -> float:
    """The share of `smiles` that RDKit can parse again."""
    return sum(map(is_smiles, smiles)) / len(smiles) if smiles else 1.0


def _any_element_but(symbols: Sequence[str]) -> Chem.Mol:
    """A query for one atom that is none of these elements, nor hydrogen, nor `*`."""
    table = Chem.GetPeriodicTable()
    return Chem.MolFromSmarts("[" + ";".join(f"!#{number}" for number in (0, 1, *map(table.GetAtomicNumber, symbols))) + "]")


def _drop_atom_maps(molecule: Chem.Mol) -> None:
    """Take the map numbers off, and with them the handedness that only they made."""
    mapped = [atom for atom in molecule.GetAtoms() if atom.GetAtomMapNum()]
    for atom in mapped:
        atom.SetAtomMapNum(0)
    if mapped:
        Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)


def _placeholder_element(molecule: Chem.Mol) -> str | None:
    """The element that two ends of the molecule have in place of `*`, or None."""
    for symbol in _PLACEHOLDER_ELEMENTS:
        ends = [atom.GetDegree() for atom in molecule.GetAtoms() if atom.GetSymbol() == symbol]
        if len(ends) > 1 and set(ends) == {1}:
            return symbol
    return None


def _is_ladder(molecule: Chem.Mol, stars: Sequence[int]) -> bool:
    """Whether two strands lead from one pair of the four `stars` to the other: then no single bond parts two of them from two."""
    parted: Counter = Counter()
    for star in stars[1:]:
        path = Chem.GetShortestPath(molecule, stars[0], star)
        bonds = [molecule.GetBondBetweenAtoms(*pair) for pair in itertools.pairwise(path)]
        parted.update(bond.GetIdx() for bond in bonds if not bond.IsInRing())
    return len(Chem.GetMolFrags(molecule)) == 1 and 2 not in parted.values()


def _organic_size(fragment: Chem.Mol) -> tuple[bool, int, str]:
    numbers = [atom.GetAtomicNum() for atom in fragment.GetAtoms()]
    return 6 in numbers, sum(number > 1 for number in numbers), Chem.MolToSmiles(fragment)


def _why_invalid(smiles: str) -> str:
    molecule = Chem.MolFromSmiles(smiles, sanitize=False)
    if molecule is None:
        placeholder = _PLACEHOLDER.search(smiles)
        return f"placeholder {placeholder[0]}" if placeholder else "not a SMILES"
    problems = Chem.DetectChemistryProblems(molecule)
    return f"impossible chemistry: {problems[0].GetType()}" if problems else "impossible chemistry"


def _heavy_atoms_of_xyz(block: str) -> int:
    return sum(not line.startswith("H ") for line in block.splitlines()[2:])


def _from_xyz(block: str, *, is_handed: bool) -> Chem.Mol | None:
    """A neutral molecule from coordinates. Bonds come from distances and valences (Kim and Kim 2015, as RDKit implements it)."""
    molecule = Chem.MolFromXYZBlock(block)
    if molecule is None:
        return None
    try:
        rdDetermineBonds.DetermineBonds(molecule, charge=0)
    except ValueError:
        raise _RejectedError("no neutral molecule fits the coordinates") from None
    # Distances fix a molecule up to its mirror image: what handedness came out is chance.
    if not is_handed:
        for atom in molecule.GetAtoms():
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)
    return Chem.RemoveHs(molecule)
