"""What a molecule is to the predictor: how often each of its Morgan environments occurs, and RDKit's descriptors.

Of a polymer the networks see the endless chain, not the window on it that a repeat unit is: environments are counted around the atoms of one unit,
with as many units beside it as they reach into, and descriptors are those of the canonical unit. No frame, direction or multiple changes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from rdkit import Chem, rdBase
from rdkit.Chem import Mol, rdFingerprintGenerator

from formats.descriptors import descriptors_named
from formats.polymer_smiles import canonical_repeat_unit, repeat_unit_problem

STAR = "*"
_MOST_COUNTED = 255


@dataclass(frozen=True)
class Recipe:
    """radius, bits: of the folded Morgan count fingerprints. descriptors: names in formats/descriptors.py."""

    radius: int
    bits: int
    descriptors: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """N molecules. counts: [N, bits] uint8. descriptors: [N, D] float64, NaN where a molecule has none. elements: symbols, `*` among them.

    problems: what keeps a molecule from being looked at as it should be, "" for most.
    """

    counts: numpy.ndarray
    descriptors: numpy.ndarray
    elements: tuple[frozenset[str], ...]
    problems: tuple[str, ...]

    def rows(self, rows: numpy.ndarray) -> "Features":
        """Those of the molecules numbered `rows`."""
        named = [tuple(names[row] for row in rows.tolist()) for names in (self.elements, self.problems)]
        return Features(self.counts[rows], self.descriptors[rows], *named)


def canonical(molecule: Mol) -> Mol:
    """As read from its canonical SMILES, a polymer as its canonical repeat unit: spelling and frame then change no bit of its features."""
    smiles = canonical_repeat_unit(molecule).smiles if repeat_unit_problem(molecule) is None else Chem.MolToSmiles(molecule)
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles) or molecule


def measure(molecules: Sequence[Mol], recipe: Recipe) -> Features:
    """The features of canonical molecules (see `canonical`; those of the datasets are canonical already)."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=recipe.radius, fpSize=recipe.bits)
    described = descriptors_named(recipe.descriptors)
    elements = tuple(frozenset(atom.GetSymbol() for atom in molecule.GetAtoms()) for molecule in molecules)
    counts, problems = numpy.zeros((len(molecules), recipe.bits), dtype=numpy.uint8), [""] * len(molecules)
    for row, molecule in enumerate(molecules):
        counted, problem = None, repeat_unit_problem(molecule) if STAR in elements[row] else None
        if problem is not None:
            problems[row] = f"no repeat unit of a linear polymer: {problem}"
        elif STAR in elements[row]:
            counted = _chain_counts(molecule, generator, recipe.radius)
        counts[row] = numpy.minimum(generator.GetCountFingerprintAsNumPy(molecule) if counted is None else counted, _MOST_COUNTED)
    values = [[descriptor.measure(molecule) for descriptor in described] for molecule in molecules]
    return Features(counts, numpy.array(values, dtype=numpy.float64).reshape(len(molecules), len(described)), elements, tuple(problems))


def _chain_counts(unit: Mol, generator: Any, radius: int) -> numpy.ndarray | None:
    """Environments around the atoms of one unit in an endless chain of it; None where the ends of the unit cannot be joined."""
    left, right = (atom for atom in unit.GetAtoms() if atom.GetAtomicNum() == 0)
    backbone = len(Chem.GetShortestPath(unit, left.GetIdx(), right.GetIdx())) - 2
    if backbone < 1 or left.GetBonds()[0].GetBondType() != right.GetBonds()[0].GetBondType():
        return None
    # As many units on either side that nothing within the radius is a star.
    beside = -(-radius // backbone)
    copies, size, chain = 2 * beside + 1, unit.GetNumAtoms(), Chem.RWMol(unit)
    for _ in range(copies - 1):
        chain.InsertMol(unit)
    ends = [star.GetNeighbors()[0].GetIdx() for star in (right, left)]
    for copy in range(copies - 1):
        chain.AddBond(ends[0] + copy * size, ends[1] + (copy + 1) * size, left.GetBonds()[0].GetBondType())
    # Numbers of atoms move when stars go, so those of the unit in the middle are known by a mark.
    for atom in range(beside * size, (beside + 1) * size):
        chain.GetAtomWithIdx(atom).SetBoolProp("is_middle", True)
    chain.BeginBatchEdit()
    for copy in range(copies - 1):
        chain.RemoveAtom(right.GetIdx() + copy * size)
        chain.RemoveAtom(left.GetIdx() + (copy + 1) * size)
    chain.CommitBatchEdit()
    # Environments do not tell hands apart, and of bonds that moved RDKit would make others.
    Chem.RemoveStereochemistry(chain)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(chain)
    except (ValueError, RuntimeError):
        return None
    return generator.GetCountFingerprintAsNumPy(chain, fromAtoms=[atom.GetIdx() for atom in chain.GetAtoms() if atom.HasProp("is_middle")])
