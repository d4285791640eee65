"""One SMILES for one polymer: the canonical repeat unit of an endless chain, whatever frame, direction or multiple it was written in.

A repeat unit with two `*` is a window on a periodic chain: `*CCO*`, `*COC*` and `*OCCOCC*` show the same one. The bonds whose loss would part the two
ends of the chain cut it into links, and two units are the same polymer just when their strings of links are equal up to where they begin, which way
they are read, and how often they are repeated. The canonical unit shows the shortest period, from where its string of links, read the better way,
is least.
"""

import functools
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from rdkit import Chem, rdBase
from rdkit.Chem import BondStereo, BondType, Mol, rdqueries

NOT_TWO_STARS = "not exactly two stars"
STAR_NOT_AT_AN_END = "star not at an end"
IN_PIECES = "more than one piece"

# While links are compared, isotopes of the stars name their ends; two stars of the same map number are to be joined.
_LEFT, _RIGHT, _JOIN = 1, 2, 1
# A bond that is cut leaves its order behind in two stars, so single bonds go first; the rank of whatever is not listed is the last.
_RANK = {BondType.SINGLE: 0, BondType.DOUBLE: 1, BondType.TRIPLE: 2}
_LINKS_REMEMBERED = 100_000
# Queries look at all atoms in C++.
_STAR = Chem.MolFromSmarts("[#0]")
_MAPPED = rdqueries.HasPropQueryAtom("molAtomMapNumber")


class RepeatUnitError(ValueError):
    """A text is not the repeat unit of a linear polymer; the message says why."""


class RepeatUnit(NamedTuple):
    """A repeat unit with plain stars and without atom maps: its SMILES and the sanitised molecule."""

    smiles: str
    molecule: Mol


def canonical_polymer_smiles(smiles: str) -> str:
    """The canonical repeat unit of the polymer that `smiles` shows. Raises RepeatUnitError."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        problem = "not a SMILES" if molecule is None else repeat_unit_problem(molecule)
        if problem is not None:
            raise RepeatUnitError(f"'{smiles}' is no repeat unit: {problem}; expected a SMILES in one piece with two `*`, each with one neighbour")
        return canonical_repeat_unit(molecule).smiles


def repeat_unit_problem(molecule: Mol) -> str | None:
    """Why `molecule` is not the repeat unit of a linear polymer, or None: exactly two `*`, each with one neighbour, in one piece."""
    stars = _stars(molecule)
    if len(stars) != 2:
        return NOT_TWO_STARS
    if any(molecule.GetAtomWithIdx(star).GetDegree() != 1 for star in stars):
        return STAR_NOT_AT_AN_END
    return IN_PIECES if len(Chem.GetMolFrags(molecule)) > 1 else None


def canonical_repeat_unit(molecule: Mol) -> RepeatUnit:
    """The canonical repeat unit of the polymer that `molecule` shows; `repeat_unit_problem(molecule)` must be None.

    Ends that are told apart (`[*:1]` and `[*:2]`, `[1*]` and `[2*]`) may fix the hand of a centre that plain stars leave open. Where only a window of
    two periods can say it with plain stars, that is the canonical unit; what no window can say is dropped, so that reading the SMILES again gives the
    same one. Stars of different bond orders cannot be joined: such a unit keeps its frame.
    """
    chain = _Chain.of(_marked(molecule))
    if chain is None:
        return _settled(_plain(molecule))
    start, period, key = chain.canonical()
    if (unit := _unit_at(chain, start, period, key)) is not None:
        return unit
    flat = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(flat)
    return canonical_repeat_unit(flat)


def frames(molecule: Mol) -> list[str]:
    """The SMILES of the shortest repeat units of the polymer, one for each place to cut its chain where plain stars then say all of it."""
    chain = _Chain.of(_marked(molecule))
    if chain is None:
        return [_plain(molecule).smiles]
    _, period, key = chain.canonical()
    units = [_unit_at(chain, start, period, key) for start in range(period)]
    return list(dict.fromkeys(unit.smiles for unit in units if unit is not None))


@dataclass(frozen=True)
class _Chain:
    """A chain, seen through a unit whose stars are marked. path: atoms from the left star to the right one. cuts: bonds between links, in order."""

    unit: Mol
    path: tuple[int, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, unit: Mol) -> Self | None:
        """None where the ends cannot be joined: no atom between the stars, or bonds of different orders."""
        left, right = _stars(unit)
        path = tuple(Chem.GetShortestPath(unit, left, right))
        bonds = [unit.GetBondBetweenAtoms(one, other) for one, other in itertools.pairwise(path)]
        closing = _rank(bonds[0])
        if len(bonds) < 2 or _rank(bonds[-1]) != closing:
            return None
        # A bond on the way that is in no ring parts the ends of the chain. One with cis or trans written on it would lose that in the cut.
        parting = [bond for bond in bonds[1:-1] if not bond.IsInRing() and bond.GetStereo() in {BondStereo.STEREONONE, BondStereo.STEREOANY}]
        least = min([closing, *map(_rank, parting)])
        cuts = tuple(bond.GetIdx() for bond in parting if _rank(bond) == least)
        if closing == least:
            return cls(unit, path, cuts)
        # The stars stand on a bond that is no place to cut: look at the chain through another window.
        return cls.of(cls(unit, path, cuts).window(1, len(cuts) + 1))

    def canonical(self) -> tuple[int, int, tuple[str, ...]]:
        """(link at which the canonical unit begins, links in it, their names in the order that is least)."""
        names = [_names(link) for link in self._links()]
        forward, backward = [name for name, _ in names], [name for _, name in reversed(names)]
        period = next(size for size in range(1, len(names) + 1) if len(names) % size == 0 and forward == forward[:size] * (len(names) // size))
        # A reading backward from its place `start` shows the links that a reading forward shows from `period - start`.
        readings = [(_rotated(forward[:period], start), start) for start in range(period)]
        readings += [(_rotated(backward[:period], start), (period - start) % period) for start in range(period)]
        key, start = min(readings)
        return start, period, key

    def window(self, start: int, length: int) -> Mol:
        """The unit of `length` links that begins at link `start`; all links, or a divisor of their number."""
        if length == len(self.cuts) + 1:
            return self.unit if start == 0 else self._rotated(start)
        edges = [self.cuts[place - 1] for place in (start, start + length) if 0 < place <= len(self.cuts)]
        inside = self._atoms_of_links()[start]
        mapping: list[tuple[int, ...]] = []
        pieces = Chem.GetMolFrags(self._cut(edges), asMols=True, fragsMolAtomMapping=mapping)
        return next(piece for piece, atoms in zip(pieces, mapping, strict=True) if inside in atoms)

    def _rotated(self, start: int) -> Mol:
        pieces = self._cut([self.cuts[start - 1]])
        for end in (self.path[0], self.path[-1]):
            pieces.GetAtomWithIdx(end).SetAtomMapNum(_JOIN)
            pieces.GetAtomWithIdx(end).SetIsotope(0)
        whole = Chem.molzip(pieces)
        # Aromaticity is judged with what is double bonded to a ring, which was a star before.
        Chem.Kekulize(whole, clearAromaticFlags=True)
        Chem.SanitizeMol(whole)
        return whole

    def _links(self) -> list[str]:
        """The SMILES of each link in order, its ends marked."""
        pieces = self._cut(self.cuts) if self.cuts else self.unit
        # One SMILES of all pieces, in an order of its own: the order of its atoms tells which of them is which link.
        piece_of = {atom: place for place, atoms in enumerate(Chem.GetMolFrags(pieces)) for atom in atoms}
        smiles = Chem.MolToSmiles(pieces).split(".")
        written = json.loads(pieces.GetProp("_smilesAtomOutputOrder"))
        link_of = dict(zip(dict.fromkeys(piece_of[atom] for atom in written), smiles, strict=True))
        return [link_of[piece_of[atom]] for atom in self._atoms_of_links()]

    def _atoms_of_links(self) -> list[int]:
        """The leftmost atom of each link on the path."""
        bonds = map(self.unit.GetBondWithIdx, self.cuts)
        return [self.path[1], *(max(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), key=self.path.index) for bond in bonds)]

    def _cut(self, bonds: Sequence[int]) -> Mol:
        # The star that takes the place of a bond's first atom comes to its second one: a left end, where the first atom is the left one.
        place = self.path.index
        is_forward = [place(bond.GetBeginAtomIdx()) < place(bond.GetEndAtomIdx()) for bond in map(self.unit.GetBondWithIdx, bonds)]
        labels = [(_LEFT, _RIGHT) if forward else (_RIGHT, _LEFT) for forward in is_forward]
        return Chem.FragmentOnBonds(self.unit, bonds, dummyLabels=labels)


def _unit_at(chain: _Chain, start: int, period: int, key: tuple[str, ...]) -> RepeatUnit | None:
    """The unit that begins at link `start`: one period, or two where one cannot say with plain stars what `key` says; None where both cannot."""
    window = chain.window(start, period)
    unit = _plain(window)
    if not any(map(_has_stereo, key)):
        return unit
    for candidate in map(_settled, (unit, _plain(_joined(window, window)))):
        again = _Chain.of(_marked(candidate.molecule))
        if again is not None and again.canonical()[2] == key:
            return candidate
    return None


@functools.lru_cache(maxsize=_LINKS_REMEMBERED)
def _names(link: str) -> tuple[str, str]:
    """The canonical SMILES of a link with marked ends, read forward and backward."""
    molecule = Chem.MolFromSmiles(link)
    forward = Chem.MolToSmiles(molecule)
    for star in map(molecule.GetAtomWithIdx, _stars(molecule)):
        star.SetIsotope(_LEFT + _RIGHT - star.GetIsotope())
    return forward, Chem.MolToSmiles(molecule)


def _rotated(names: list[str], start: int) -> tuple[str, ...]:
    return tuple(names[start:] + names[:start])


def _stars(molecule: Mol) -> list[int]:
    return [atom for (atom,) in molecule.GetSubstructMatches(_STAR)]


def _rank(bond: Chem.Bond) -> int:
    return _RANK.get(bond.GetBondType(), len(_RANK))


def _marked(molecule: Mol) -> Mol:
    unit = _without_maps(molecule)
    for star, end in zip(_stars(unit), (_LEFT, _RIGHT), strict=True):
        unit.GetAtomWithIdx(star).SetIsotope(end)
    return unit


def _plain(molecule: Mol) -> RepeatUnit:
    unit = _without_maps(molecule)
    for star in _stars(unit):
        unit.GetAtomWithIdx(star).SetIsotope(0)
    return RepeatUnit(Chem.MolToSmiles(unit), unit)


def _settled(unit: RepeatUnit) -> RepeatUnit:
    """The SMILES that reading and writing again leave as it is; in cages like adamantane RDKit goes round several, of which this is the least."""
    seen: dict[str, int] = {}
    while unit.smiles not in seen:
        seen[unit.smiles] = len(seen)
        molecule = Chem.MolFromSmiles(unit.smiles)
        unit = RepeatUnit(Chem.MolToSmiles(molecule), molecule)
    smiles = min(smiles for smiles, place in seen.items() if place >= seen[unit.smiles])
    return RepeatUnit(smiles, Chem.MolFromSmiles(smiles))


def _without_maps(molecule: Mol) -> Mol:
    copy = Chem.Mol(molecule)
    for atom in copy.GetAtomsMatchingQuery(_MAPPED):
        atom.SetAtomMapNum(0)
    return copy


def _joined(one: Mol, other: Mol) -> Mol:
    """The unit of two windows, the second behind the first."""
    both = Chem.CombineMols(one, other)
    stars = {(atom.GetIdx() < one.GetNumAtoms(), atom.GetIsotope()): atom for atom in map(both.GetAtomWithIdx, _stars(both))}
    for end in (stars[True, _RIGHT], stars[False, _LEFT]):
        end.SetAtomMapNum(_JOIN)
        end.SetIsotope(0)
    whole = Chem.molzip(both)
    Chem.SanitizeMol(whole)
    return whole


def _has_stereo(link: str) -> bool:
    return any(mark in link for mark in "@/\\")
