"""Read generated SMILES once, and say how many are valid, different and new; fingerprints, scaffolds and fragments of what was read.

The definitions are those of MOSES (Polykovskiy et al. 2020, Front. Pharmacol. 11:565644), on the same input to the last digit. The MOSES code
parses a string again for each metric; here one pass parses each distinct string once and every metric is fed from it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
from rdkit import Chem, rdBase
from rdkit.Chem import Mol, rdFingerprintGenerator, rdmolops
from rdkit.Chem.Scaffolds import MurckoScaffold

from training.metrics.intervals import Rate

# "molecule": RDKit reads and sanitises it. "polymer": also the two-star rule for repeat units.
ValidityRule = Literal["molecule", "polymer"]

MORGAN_RADIUS = 2
MORGAN_BITS = 1024

EMPTY = "empty"
BLANK_INSIDE = "blank inside"
UNREADABLE = "not readable as a molecule"
NOT_TWO_STARS = "not exactly two stars"
STAR_NOT_AT_AN_END = "star not at an end"
IN_PIECES = "more than one piece"

_BLANK = re.compile(r"\s")

# A scaffold with fewer rings says little; MOSES leaves it out of scaffold similarity.
_MIN_SCAFFOLD_RINGS = 2


@dataclass(frozen=True)
class Reading:
    """What one pass over generated strings learnt.

    canonical: for each string in order its canonical SMILES (isomeric), or None where it is not valid.
    molecules: by canonical SMILES the first molecule that had it. rejected: how many strings, by reason.
    parses: how many strings RDKit parsed, at most the number of different strings.
    """

    canonical: tuple[str | None, ...]
    molecules: Mapping[str, Mol]
    rejected: Mapping[str, int]
    parses: int

    @property
    def valid(self) -> list[str]:
        """The canonical SMILES of the valid strings, in order, repeats included."""
        return [smiles for smiles in self.canonical if smiles is not None]


def read_generated(strings: Iterable[str | None], *, rule: ValidityRule = "molecule") -> Reading:
    """Parse, judge and canonicalise generated strings: the one RDKit pass that feeds every metric.

    Differs from MOSES: a string with a blank inside is invalid; RDKit would read what follows the blank as a name.
    """
    seen: dict[str | None, tuple[str | None, str]] = {}
    molecules: dict[str, Mol] = {}
    rejected: Counter[str] = Counter()
    canonical = []
    parses = 0
    # RDKit's complaints about each unreadable string would drown everything else.
    with rdBase.BlockLogs():
        for string in strings:
            if string not in seen:
                problem = _problem_of_text(string)
                if problem is None:
                    parses += 1
                    seen[string] = _read_one(str(string), rule, molecules)
                else:
                    seen[string] = None, problem
            smiles, problem = seen[string]
            canonical.append(smiles)
            if smiles is None:
                rejected[str(problem)] += 1
    return Reading(tuple(canonical), molecules, dict(sorted(rejected.items())), parses)


def validity(reading: Reading) -> Rate:
    """Valid strings of all generated ones."""
    return Rate(len(reading.valid), len(reading.canonical))


def uniqueness(reading: Reading, *, first: int | None = None) -> Rate:
    """unique@k: different canonical forms among the first k valid strings (all when `first` is None or more than there are)."""
    valid = reading.valid[:first]
    return Rate(len(set(valid)), len(valid))


def novelty(reading: Reading, training: Collection[str]) -> Rate:
    """Different valid molecules that are not in `training`, of all different valid ones.

    training: canonical SMILES of the training set; MOSES does not canonicalise them either.
    """
    different = reading.molecules.keys()
    known = training if isinstance(training, set | frozenset) else frozenset(training)
    return Rate(sum(smiles not in known for smiles in different), len(different))


def two_star_problem(molecule: Mol) -> str | None:
    """Why `molecule` is not the repeat unit of a linear polymer, or None: exactly two `*`, each with one neighbour, in one piece."""
    stars = [atom for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 0]
    if len(stars) != 2:
        return NOT_TWO_STARS
    if any(star.GetDegree() != 1 for star in stars):
        return STAR_NOT_AT_AN_END
    return IN_PIECES if len(Chem.GetMolFrags(molecule)) > 1 else None


def morgan_fingerprints(molecules: Sequence[Mol]) -> numpy.ndarray:
    """[N, MORGAN_BITS] uint8 of 0 and 1: Morgan fingerprints of radius 2, as in MOSES."""
    if not molecules:
        return numpy.zeros((0, MORGAN_BITS), dtype=numpy.uint8)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    return numpy.stack([generator.GetFingerprintAsNumPy(molecule) for molecule in molecules])


def morgan_counts(molecules: Sequence[Mol]) -> numpy.ndarray:
    """[N, MORGAN_BITS] float32: how often each environment of radius at most 2 occurs; features that add up over a molecule."""
    if not molecules:
        return numpy.zeros((0, MORGAN_BITS), dtype=numpy.float32)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    return numpy.stack([generator.GetCountFingerprintAsNumPy(molecule) for molecule in molecules]).astype(numpy.float32)


def scaffold_counts(molecules: Iterable[Mol]) -> Counter[str]:
    """How many molecules have each Bemis-Murcko scaffold of at least two rings; for `counts_similarity` (MOSES "Scaf").

    As in MOSES, a molecule whose scaffold RDKit fails to make has none.
    """
    counts: Counter[str] = Counter()
    with rdBase.BlockLogs():
        for molecule in molecules:
            try:
                scaffold = MurckoScaffold.GetScaffoldForMol(molecule)
            except (ValueError, RuntimeError):
                continue
            if scaffold.GetRingInfo().NumRings() >= _MIN_SCAFFOLD_RINGS:
                counts[Chem.MolToSmiles(scaffold)] += 1
    return counts


def fragment_counts(molecules: Iterable[Mol]) -> Counter[str]:
    """How often each BRICS fragment occurs in the molecules; for `counts_similarity` (MOSES "Frag")."""
    counts: Counter[str] = Counter()
    with rdBase.BlockLogs():
        for molecule in molecules:
            counts.update(Chem.MolToSmiles(rdmolops.FragmentOnBRICSBonds(molecule)).split("."))
    return counts


def counts_similarity(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The cosine of two count vectors, in [0, 1]; NaN when either is empty."""
    if not one or not other:
        return float("nan")
    product = sum(count * other.get(name, 0) for name, count in one.items())
    length = sum(count * count for count in one.values()) ** 0.5 * sum(count * count for count in other.values()) ** 0.5
    return product / length


def _problem_of_text(string: str | None) -> str | None:
    if not string:
        return EMPTY
    return BLANK_INSIDE if _BLANK.search(string) else None


def _read_one(string: str, rule: ValidityRule, molecules: dict[str, Mol]) -> tuple[str | None, str]:
    """The canonical SMILES, or None and why; a molecule not met before is kept in `molecules`."""
    molecule = Chem.MolFromSmiles(string)
    if molecule is None or molecule.GetNumAtoms() == 0:
        return None, UNREADABLE
    problem = two_star_problem(molecule) if rule == "polymer" else None
    if problem is not None:
        return None, problem
    smiles = Chem.MolToSmiles(molecule)
    molecules.setdefault(smiles, molecule)
    return smiles, ""
