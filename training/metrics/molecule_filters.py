"""The filters of MOSES: which molecules a medicinal chemist would not want to see.

Source: Polykovskiy et al. 2020, "Molecular Sets (MOSES)", Front. Pharmacol. 11:565644. A molecule passes when no atom is charged, each is one of
eight elements, no ring has eight atoms or more, and none of its 22 "medicinal chemistry filters" (MCF) and none of the 480 PAINS (Baell and Holloway
2010, J. Med. Chem. 53:2719) is in it. RDKit brings PAINS; what it does not have, or has otherwise than MOSES, is in `moses_patterns`.
"""

import csv
import functools
import re
from pathlib import Path

import numpy
from rdkit import Chem, DataStructs, RDConfig
from rdkit.Chem import Mol

from training.metrics.moses_patterns import MEDICINAL_CHEMISTRY_FILTERS, PAINS_AS_FIRST_WRITTEN

LARGE_RING = "ring of eight or more"
CHARGED = "charged atom"
OTHER_ELEMENT = "other element"
MCF = "MCF"
PAINS = "PAINS"
FILTERS = (LARGE_RING, CHARGED, OTHER_ELEMENT, MCF, PAINS)

_SMALLEST_LARGE_RING = 8
_PAINS_NAME = re.compile(r"<regId=(.*)>")
_ANY_CHARGE = Chem.MolFromSmarts("[!+0]")
# Hydrogen, carbon, nitrogen, oxygen, fluorine, sulfur, chlorine and bromine are let pass.
_ANY_OTHER_ELEMENT = Chem.MolFromSmarts("[!#1!#6!#7!#8!#9!#16!#17!#35]")
_PATTERN_BITS = 2048


def filter_problem(molecule: Mol) -> str | None:
    """The first of FILTERS that `molecule` fails at, or None when it passes.

    Unlike MOSES, the molecule is not written and read again. Raises FileNotFoundError where RDKit lacks its file of PAINS.
    """
    if any(len(ring) >= _SMALLEST_LARGE_RING for ring in molecule.GetRingInfo().AtomRings()):
        return LARGE_RING
    if molecule.HasSubstructMatch(_ANY_CHARGE):
        return CHARGED
    if molecule.HasSubstructMatch(_ANY_OTHER_ELEMENT):
        return OTHER_ELEMENT
    queries, bits = _patterns()
    # RDKit's pattern fingerprint is made for this: where the molecule lacks a bit of a pattern's, the pattern is not in it. It leaves twelve of 500.
    may_be_in = ~(bits & ~_pattern_bits(molecule)).any(axis=1)
    found = next((place for place in numpy.flatnonzero(may_be_in) if molecule.HasSubstructMatch(queries[place])), None)
    if found is None:
        return None
    return MCF if found < len(MEDICINAL_CHEMISTRY_FILTERS) else PAINS


@functools.cache
def _patterns() -> tuple[list[Mol], numpy.ndarray]:
    """MCF, then PAINS, with their pattern fingerprints [N, _PATTERN_BITS / 64]."""
    smarts = [*MEDICINAL_CHEMISTRY_FILTERS.values(), *_pains()]
    # Most are written with hydrogens as atoms of their own; as counts on their neighbours they find the same, and the molecule needs none added.
    queries = [Chem.MergeQueryHs(Chem.MolFromSmarts(one)) for one in smarts]
    return queries, numpy.stack([_pattern_bits(query) for query in queries])


def _pattern_bits(molecule: Mol) -> numpy.ndarray:
    return numpy.frombuffer(DataStructs.BitVectToBinaryText(Chem.PatternFingerprint(molecule, _PATTERN_BITS)), dtype=numpy.uint64)


def _pains() -> list[str]:
    path = Path(RDConfig.RDDataDir) / "Pains" / "wehi_pains.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path}: RDKit's PAINS patterns are missing; install rdkit from its wheel")
    with path.open(encoding="utf-8", newline="") as file:
        return [PAINS_AS_FIRST_WRITTEN.get(_PAINS_NAME.sub(r"\1", name), smarts) for smarts, name in csv.reader(file)]
