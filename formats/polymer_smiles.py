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
_NO_STEREO = {BondStereo.STEREONONE, BondStereo.STEREOANY}
_LINKS_REMEMBERED = 100_000
# Queries look at all atoms in C++.
_STAR = Chem.MolFromSmarts("[#0]")
_HANDED = rdqueries.HasChiralTagQueryAtom()
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
    starts, period = chain.places()
    if units := [unit for start in starts if (unit := _unit_at(chain, start, period)) is not None]:
        return min(units, key=lambda unit: unit.smiles)
    flat = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(flat)
    return canonical_repeat_unit(flat)


def frames(molecule: Mol) -> list[str]:
    """The SMILES of the shortest repeat units of the polymer, one for each place to cut its chain where plain stars then say all of it."""
    chain = _Chain.of(_marked(molecule))
    if chain is None:
        return [_plain(molecule).smiles]
    _, period = chain.places()
    units = [_unit_at(chain, start, period) for start in range(period)]
    return list(dict.fromkeys(unit.smiles for unit in units if unit is not None))


@dataclass(frozen=True)
class _Chain:
    """A chain, seen through a unit whose stars are marked.

    path: atoms from the left star to the right one. cuts: the places on the path at which a link begins, but for the first link.
    """

    unit: Mol
    path: tuple[int, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, unit: Mol) -> Self | None:
        """None where the ends cannot be joined: no atom between the stars, or bonds of different orders."""
        path = tuple(Chem.GetShortestPath(unit, *_stars(unit)))
        first, *inner = [unit.GetBondBetweenAtoms(one, other) for one, other in itertools.pairwise(path)]
        if not inner or _rank(first) != _rank(inner.pop()):
            return None
        # A bond on the way that is in no ring parts the ends of the chain. One with cis or trans written on it would lose that in the cut.
        parting = {place: _rank(bond) for place, bond in enumerate(inner, 2) if not bond.IsInRing() and bond.GetStereo() in _NO_STEREO}
        least = min([_rank(first), *parting.values()])
        chain = cls(unit, path, tuple(place for place, rank in parting.items() if rank == least))
        # Stars that stand on a bond of higher order are no place to cut: look at the chain through another window.
        return chain if _rank(first) == least else cls.of(chain.window(1, len(chain.cuts) + 1))

    def places(self) -> tuple[list[int], int]:
        """(links at which the canonical unit may begin, links in it): from there, the facts of the links, read the better way, are least."""
        forward, backward = self._shapes()
        period = _period(forward)
        if period < len(forward):
            period = _period([_names(link)[0] for link in self._links()])
        readings = _readings(forward[:period], backward[:period])
        least, _ = min(readings)
        return sorted({start for reading, start in readings if reading == least}), period

    def said(self) -> tuple[str, ...]:
        """The names of the links of one period, read from the place and the end from which they are least: equal for windows on one polymer only."""
        names = [_names(link) for link in self._links()]
        forward, backward = [name for name, _ in names], [name for _, name in reversed(names)]
        period = _period(forward)
        return min(reading for reading, _ in _readings(forward[:period], backward[:period]))

    def window(self, start: int, length: int) -> Mol:
        """The unit of `length` links that begins at link `start`; all links, or a divisor of their number."""
        if length == len(self.cuts) + 1:
            return self.unit if start == 0 else self._rotated(start)
        edges = [self.cuts[place - 1] for place in (start, start + length) if 0 < place <= len(self.cuts)]
        inside = self._first_atoms()[start]
        mapping: list[tuple[int, ...]] = []
        pieces = Chem.GetMolFrags(self._cut(edges), asMols=True, fragsMolAtomMapping=mapping)
        return next(piece for piece, atoms in zip(pieces, mapping, strict=True) if inside in atoms)

    def _shapes(self) -> tuple[list[tuple], list[tuple]]:
        """What the atoms at the ends of each link say of it, read forward and backward; no window on the chain shows them otherwise."""
        firsts = [1, *self.cuts]
        lasts = [*(cut - 1 for cut in self.cuts), len(self.path) - 2]
        facts = {place: _facts(self.unit.GetAtomWithIdx(self.path[place])) for place in {*firsts, *lasts}}
        forward = [(facts[first], last - first, facts[last]) for first, last in zip(firsts, lasts, strict=True)]
        return forward, [(last, length, first) for first, length, last in reversed(forward)]

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
        return [link_of[piece_of[atom]] for atom in self._first_atoms()]

    def _first_atoms(self) -> list[int]:
        return [self.path[place] for place in (1, *self.cuts)]

    def _cut(self, cuts: Sequence[int]) -> Mol:
        bonds = [self.unit.GetBondBetweenAtoms(self.path[cut - 1], self.path[cut]) for cut in cuts]
        # The star that takes the place of a bond's first atom comes to its second one: a left end, where the first atom is the left one.
        is_forward = [bond.GetEndAtomIdx() == self.path[cut] for bond, cut in zip(bonds, cuts, strict=True)]
        labels = [(_LEFT, _RIGHT) if forward else (_RIGHT, _LEFT) for forward in is_forward]
        return Chem.FragmentOnBonds(self.unit, [bond.GetIdx() for bond in bonds], dummyLabels=labels)


def _unit_at(chain: _Chain, start: int, period: int) -> RepeatUnit | None:
    """The unit that begins at link `start`: one period, or two where one cannot say with plain stars what the chain says; None where both cannot."""
    window = chain.window(start, period)
    unit = _plain(window)
    if not chain.unit.GetAtomsMatchingQuery(_HANDED) and "/" not in unit.smiles and "\\" not in unit.smiles:
        return unit
    for candidate in map(_settled, (unit, _plain(_joined(window, window)))):
        again = _Chain.of(_marked(candidate.molecule))
        if again is not None and again.said() == chain.said():
            return candidate
    return None


def _period(links: list) -> int:
    """Links after which the string of links repeats itself."""
    return next(size for size in range(1, len(links) + 1) if len(links) % size == 0 and links == links[:size] * (len(links) // size))


def _readings(forward: list, backward: list) -> list[tuple[tuple, int]]:
    """Each way to read a period, from each link on and from both ends, with the link at which its unit begins."""
    size = len(forward)
    readings = [(tuple(forward[start:] + forward[:start]), start) for start in range(size)]
    # A reading backward from its link `start` shows what a reading forward shows from link `size - start`.
    return readings + [(tuple(backward[start:] + backward[:start]), (size - start) % size) for start in range(size)]


@functools.lru_cache(maxsize=_LINKS_REMEMBERED)
def _names(link: str) -> tuple[str, str]:
    """The canonical SMILES of a link with marked ends, read forward and backward."""
    molecule = Chem.MolFromSmiles(link)
    forward = Chem.MolToSmiles(molecule)
    for star in map(molecule.GetAtomWithIdx, _stars(molecule)):
        star.SetIsotope(_LEFT + _RIGHT - star.GetIsotope())
    return forward, Chem.MolToSmiles(molecule)


def _stars(molecule: Mol) -> list[int]:
    return [atom for (atom,) in molecule.GetSubstructMatches(_STAR)]


def _facts(atom: Chem.Atom) -> tuple[int, ...]:
    return atom.GetAtomicNum(), atom.GetDegree(), atom.GetTotalNumHs(), atom.GetFormalCharge(), atom.GetIsotope(), int(atom.IsInRing())


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
