"""Read generated SMILES once, and say how many are valid, different and new; fingerprints, scaffolds and fragments of what was read.

The definitions are those of MOSES (Polykovskiy et al. 2020, Front. Pharmacol. 11:565644), on the same input to the last digit. The MOSES code
parses a string again for each metric; here one pass parses each distinct string once and every metric is fed from it.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
from rdkit import Chem, rdBase
from rdkit.Chem import QED, Mol, rdFingerprintGenerator, rdmolops
from rdkit.Chem.Scaffolds import MurckoScaffold

from formats.descriptors import DESCRIPTORS
from formats.polymer_smiles import canonical_repeat_unit, repeat_unit_problem
from training.metrics.intervals import Rate

# "molecule": RDKit reads and sanitises it. "polymer": it is also a repeat unit, and stands for its endless chain, whatever window it shows of it.
ValidityRule = Literal["molecule", "polymer"]

# Whose distributions MOSES compares; names of descriptors.
COMPARED_PROPERTIES = ("mol_wt", "mol_log_p", "qed", "sa_score")

MORGAN_RADIUS = 2
MORGAN_BITS = 1024

EMPTY = "empty"
BLANK_INSIDE = "blank inside"
UNREADABLE = "not readable as a molecule"

_BLANK = re.compile(r"\s")
_STEREO = re.compile(r"[@/\\]")

# A scaffold with fewer rings says little; MOSES leaves it out of scaffold similarity.
_MIN_SCAFFOLD_RINGS = 2


@dataclass(frozen=True)
class Reading:
    """What one pass over generated strings learnt.

    canonical: for each string in order its canonical SMILES (isomeric; of a polymer that of its canonical repeat unit), or None where not valid.
    molecules: by canonical SMILES the first molecule that had it; of a polymer the canonical repeat unit. rejected: how many strings, by reason.
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


def novelty_curve(reading: Reading, training: Collection[str], *, at: Iterable[int]) -> dict[int, Rate]:
    """By number of generated strings, invalid ones included: `novelty` of that many first ones; numbers beyond all of them are left out.

    How many new molecules a model has to give shows in the successes: where they stop growing, more samples bring nothing new.
    """
    known = training if isinstance(training, set | frozenset) else frozenset(training)
    seen: set[str] = set()
    different, new = [0], [0]
    for smiles in reading.canonical:
        is_first = smiles is not None and smiles not in seen
        if smiles is not None:
            seen.add(smiles)
        different.append(different[-1] + is_first)
        new.append(new[-1] + (is_first and smiles not in known))
    return {number: Rate(new[number], different[number]) for number in at if number < len(new)}


def without_stereo(smiles: str, molecule: Mol) -> str:
    """The canonical SMILES of the atoms and bonds alone, which stereoisomers share; of a repeat unit that of its chain. smiles: the canonical one."""
    if not _STEREO.search(smiles):
        return smiles
    flat = Mol(molecule)
    Chem.RemoveStereochemistry(flat)
    # Units that differed by their centres alone are now repeats of a shorter one.
    return canonical_repeat_unit(flat).smiles if repeat_unit_problem(flat) is None else Chem.MolToSmiles(flat)


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


def compared_properties(molecules: Collection[Mol]) -> dict[str, numpy.ndarray]:
    """[N] float64 by COMPARED_PROPERTIES: the descriptors of these names; NaN where a molecule has no value."""
    rows = [(*_drug_likeness(molecule), DESCRIPTORS["sa_score"].measure(molecule)) for molecule in molecules]
    values = numpy.array(rows, dtype=numpy.float64).reshape(-1, len(COMPARED_PROPERTIES))
    return dict(zip(COMPARED_PROPERTIES, values.T, strict=True))


def _drug_likeness(molecule: Mol) -> tuple[float, float, float]:
    """Weight, logP and QED; QED, the dearest, is made from the other two among others."""
    try:
        collected = QED.properties(molecule)
        return collected.MW, collected.ALOGP, QED.qed(molecule, qedProperties=collected)
    except (ValueError, ArithmeticError, RuntimeError):
        return math.nan, math.nan, math.nan


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
    if rule == "polymer":
        problem = repeat_unit_problem(molecule)
        if problem is not None:
            return None, problem
        smiles, molecule = canonical_repeat_unit(molecule)
    else:
        smiles = Chem.MolToSmiles(molecule)
    molecules.setdefault(smiles, molecule)
    return smiles, ""
