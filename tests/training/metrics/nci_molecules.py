"""Real molecules for the metric tests, from the rdkit wheel."""

from pathlib import Path

from rdkit import Chem, RDConfig, rdBase


def nci_strings() -> list[str]:
    """The first 5,000 SMILES of the NCI set, some of them unreadable."""
    return [line.split()[0] for line in (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()]


def canonical(strings: list[str]) -> list[str]:
    """The different canonical SMILES of the readable strings, sorted."""
    with rdBase.BlockLogs():
        return sorted({Chem.MolToSmiles(molecule) for molecule in map(Chem.MolFromSmiles, strings) if molecule})


def moses_strings() -> list[str]:
    """The 433 strings on which molsets 0.3.1 was run for the frozen numbers: unreadable, empty and repeated ones among them."""
    lines = nci_strings()
    return lines[:300] + lines[100:130] + ["C1CC", "CC(C)(C)(C)(C)C", ""] + lines[300:400]
