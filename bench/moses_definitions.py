"""The metrics of MOSES, written from their published definitions in the plainest way: every metric reads its strings again.

The naive side of bench/molecule_metrics.py, and a second opinion on the numbers; nothing of the project uses it.
Source: Polykovskiy et al. 2020, "Molecular Sets (MOSES)", Front. Pharmacol. 11:565644, with the choices its code makes
(IntDiv over the full matrix with its diagonal, row by row; SNN over valid molecules, repeats included).
"""

import csv
import functools
from pathlib import Path

import numpy
from rdkit import Chem, RDConfig
from rdkit.Chem import QED, Crippen, Descriptors, rdFingerprintGenerator
from scipy.stats import wasserstein_distance

from formats.descriptors import DESCRIPTORS
from training.metrics.moses_patterns import MEDICINAL_CHEMISTRY_FILTERS, PAINS_AS_FIRST_WRITTEN

PROPERTIES = {"mol_wt": Descriptors.MolWt, "mol_log_p": Crippen.MolLogP, "qed": QED.qed, "sa_score": DESCRIPTORS["sa_score"].measure}


def read(smiles: str):
    return Chem.MolFromSmiles(smiles) if smiles else None


def canonical(smiles: str) -> str | None:
    molecule = read(smiles)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def valid(strings: list[str]) -> float:
    return sum(read(string) is not None for string in strings) / len(strings)


def only_valid(strings: list[str]) -> list[str]:
    return [smiles for smiles in map(canonical, strings) if smiles is not None]


def unique_at(valid_strings: list[str], k: int) -> float:
    first = valid_strings[:k]
    return len({canonical(string) for string in first}) / len(first)


def novel(valid_strings: list[str], training: list[str]) -> float:
    different = {canonical(string) for string in valid_strings}
    return len(different - set(training)) / len(different)


def fingerprints(strings: list[str]) -> numpy.ndarray:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    return numpy.stack([generator.GetFingerprintAsNumPy(read(string)) for string in strings]).astype(numpy.float32)


def similarities(rows: numpy.ndarray, columns: numpy.ndarray) -> numpy.ndarray:
    common = rows @ columns.T
    union = rows.sum(axis=1)[:, None] + columns.sum(axis=1)[None, :] - common
    return numpy.where(union == 0, 1, common / numpy.where(union == 0, 1, union))


def internal_diversity(valid_strings: list[str], power: int) -> float:
    bits = fingerprints(valid_strings)
    rows = [(similarities(bits[start : start + 1000], bits) ** power).mean(axis=1) ** (1 / power) for start in range(0, len(bits), 1000)]
    return 1 - float(numpy.concatenate(rows).mean(dtype=numpy.float64))


def nearest_similarity(valid_strings: list[str], reference: list[str]) -> float:
    bits, reference_bits = fingerprints(valid_strings), fingerprints(reference)
    nearest = [similarities(bits[start : start + 1000], reference_bits).max(axis=1) for start in range(0, len(bits), 1000)]
    return float(numpy.concatenate(nearest).mean(dtype=numpy.float64))


def rates(strings: list[str], training: list[str], k: int) -> dict[str, float]:
    """Validity, unique@k and novelty, as MOSES' `get_all_metrics` asks for them."""
    kept = only_valid(strings)
    return {"valid": valid(strings), "unique": unique_at(kept, k), "novel": novel(kept, training)}


def similarity_metrics(strings: list[str], reference: list[str]) -> dict[str, float]:
    """IntDiv, IntDiv2 and SNN of the valid strings."""
    kept = only_valid(strings)
    return {
        "internal_diversity_1": internal_diversity(kept, 1),
        "internal_diversity_2": internal_diversity(kept, 2),
        "nearest_similarity": nearest_similarity(kept, reference),
    }


@functools.cache
def filters() -> list[Chem.Mol]:
    with (Path(RDConfig.RDDataDir) / "Pains" / "wehi_pains.csv").open(newline="") as file:
        pains = [PAINS_AS_FIRST_WRITTEN.get(name[7:-1], smarts) for smarts, name in csv.reader(file)]
    return [Chem.MolFromSmarts(smarts) for smarts in (*MEDICINAL_CHEMISTRY_FILTERS.values(), *pains)]


def passes_filters(smiles: str) -> bool:
    molecule = read(smiles)
    allowed = {"C", "N", "S", "O", "F", "Cl", "Br", "H"}
    return not (
        any(len(ring) >= 8 for ring in molecule.GetRingInfo().AtomRings())
        or any(atom.GetFormalCharge() != 0 or atom.GetSymbol() not in allowed for atom in molecule.GetAtoms())
        or any(Chem.AddHs(molecule).HasSubstructMatch(pattern) for pattern in filters())
    )


def drug_likeness(strings: list[str], reference: list[str]) -> dict[str, float]:
    """Filters, and the Wasserstein distances of four properties, of the valid strings."""
    kept = only_valid(strings)
    distances = {
        f"{name}_wasserstein": float(wasserstein_distance(*([measure(read(smiles)) for smiles in side] for side in (kept, reference))))
        for name, measure in PROPERTIES.items()
    }
    return {"filters_passed": sum(map(passes_filters, kept)) / len(kept), **distances}
