"""The metrics of MOSES, written from their published definitions in the plainest way: every metric reads its strings again.

The naive side of bench/molecule_metrics.py, and a second opinion on the numbers; nothing of the project uses it.
Source: Polykovskiy et al. 2020, "Molecular Sets (MOSES)", Front. Pharmacol. 11:565644, with the choices its code makes
(IntDiv over the full matrix with its diagonal, row by row; SNN over valid molecules, repeats included).
"""

import numpy
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator


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
