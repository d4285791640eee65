"""Molecule descriptors by name: the columns a molecule table can ask for, and what a generated molecule is measured with.

One table for both, so that a requested value and an obtained value are the same quantity. A name is RDKit's own name in snake case
(`MolWt` -> `mol_wt`). Descriptors that need 3-D coordinates or that are undefined for ordinary molecules do not belong here.
"""

import difflib
import functools
import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType

from rdkit.Chem import QED, Crippen, Descriptors, GraphDescriptors, Lipinski, Mol, MolSurf, RDConfig, rdmolops


@dataclass(frozen=True)
class Descriptor:
    """One number of a molecule.

    function: takes a sanitised Mol; `measure` turns what it may raise or return for odd molecules into NaN.
    unit: as in the units of a table column; "count" marks whole numbers, "1" a pure number.
    """

    name: str
    function: Callable[[Mol], float]
    unit: str
    meaning: str

    @property
    def is_count(self) -> bool:
        return self.unit == "count"

    def measure(self, molecule: Mol) -> float:
        """The value for `molecule`, or NaN where it has none (no atoms, overflow, a fragment score that does not apply)."""
        try:
            value = self.function(molecule)
        except (ValueError, ArithmeticError, TypeError, RuntimeError):  # RDKit raises RuntimeError where an invariant of its own is broken
            return math.nan
        return float(value) if value is not None and math.isfinite(value) else math.nan


class UnknownDescriptorError(ValueError):
    """A descriptor was asked for by a name that the table does not have."""


def descriptors_named(names: Iterable[str]) -> tuple[Descriptor, ...]:
    """The descriptors of these names, in this order. Raises UnknownDescriptorError with the nearest known name."""
    return tuple(_descriptor(name) for name in names)


def _descriptor(name: str) -> Descriptor:
    if name in DESCRIPTORS:
        return DESCRIPTORS[name]
    close = difflib.get_close_matches(name, DESCRIPTORS, n=1, cutoff=0.6)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise UnknownDescriptorError(f"'{name}' is not a known descriptor{hint}; known: {', '.join(sorted(DESCRIPTORS))}")


def _sa_score(molecule: Mol) -> float:
    return _sa_scorer().calculateScore(molecule)


@functools.cache
def _sa_scorer() -> ModuleType:
    """RDKit's contributed synthetic accessibility score: it lies in the wheel as a file, not as a package."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("rdkit_contrib_sascorer", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"{path}: RDKit's contributed SA score is missing; install rdkit from its wheel, or do not ask for sa_score")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ALL = (
    Descriptor("mol_wt", Descriptors.MolWt, "Da", "average molecular weight; `*` weighs nothing"),
    Descriptor("exact_mol_wt", Descriptors.ExactMolWt, "Da", "monoisotopic molecular weight"),
    Descriptor("heavy_atom_mol_wt", Descriptors.HeavyAtomMolWt, "Da", "average molecular weight without hydrogens"),
    Descriptor("heavy_atom_count", Lipinski.HeavyAtomCount, "count", "atoms other than hydrogen and `*`"),
    Descriptor("num_valence_electrons", Descriptors.NumValenceElectrons, "count", "valence electrons"),
    Descriptor("formal_charge", rdmolops.GetFormalCharge, "count", "sum of formal charges, in elementary charges"),
    Descriptor("nhoh_count", Lipinski.NHOHCount, "count", "N-H and O-H bonds"),
    Descriptor("no_count", Lipinski.NOCount, "count", "nitrogens and oxygens"),
    Descriptor("num_h_acceptors", Lipinski.NumHAcceptors, "count", "hydrogen bond acceptors"),
    Descriptor("num_h_donors", Lipinski.NumHDonors, "count", "hydrogen bond donors"),
    Descriptor("num_heteroatoms", Lipinski.NumHeteroatoms, "count", "atoms other than carbon and hydrogen; `*` counts"),
    Descriptor("num_rotatable_bonds", Lipinski.NumRotatableBonds, "count", "rotatable bonds, strict definition"),
    Descriptor("num_amide_bonds", Lipinski.NumAmideBonds, "count", "amide bonds"),
    Descriptor("num_bridgehead_atoms", Lipinski.NumBridgeheadAtoms, "count", "bridgehead atoms"),
    Descriptor("num_spiro_atoms", Lipinski.NumSpiroAtoms, "count", "spiro atoms"),
    Descriptor("ring_count", Lipinski.RingCount, "count", "rings of the smallest set"),
    Descriptor("num_aliphatic_rings", Lipinski.NumAliphaticRings, "count", "rings with a non-aromatic bond"),
    Descriptor("num_aliphatic_carbocycles", Lipinski.NumAliphaticCarbocycles, "count", "aliphatic rings of carbon"),
    Descriptor("num_aliphatic_heterocycles", Lipinski.NumAliphaticHeterocycles, "count", "aliphatic rings with a heteroatom"),
    Descriptor("num_aromatic_rings", Lipinski.NumAromaticRings, "count", "aromatic rings"),
    Descriptor("num_aromatic_carbocycles", Lipinski.NumAromaticCarbocycles, "count", "aromatic rings of carbon"),
    Descriptor("num_aromatic_heterocycles", Lipinski.NumAromaticHeterocycles, "count", "aromatic rings with a heteroatom"),
    Descriptor("num_saturated_rings", Lipinski.NumSaturatedRings, "count", "rings without double bonds"),
    Descriptor("mol_log_p", Crippen.MolLogP, "1", "octanol/water log10 partition coefficient by atom contributions (Crippen)"),
    Descriptor("mol_mr", Crippen.MolMR, "cm3/mol", "molar refractivity by atom contributions (Crippen)"),
    Descriptor("tpsa", MolSurf.TPSA, "angstrom2", "topological polar surface area"),
    Descriptor("labute_asa", MolSurf.LabuteASA, "angstrom2", "approximate surface area (Labute)"),
    Descriptor("fraction_csp3", Lipinski.FractionCSP3, "1", "share of carbons that are sp3, in [0, 1]"),
    Descriptor("bertz_ct", GraphDescriptors.BertzCT, "1", "topological complexity (Bertz)"),
    Descriptor("balaban_j", GraphDescriptors.BalabanJ, "1", "distance connectivity index (Balaban)"),
    Descriptor("hall_kier_alpha", GraphDescriptors.HallKierAlpha, "1", "Hall-Kier alpha"),
    Descriptor("kappa1", GraphDescriptors.Kappa1, "1", "first shape index (Hall-Kier)"),
    Descriptor("kappa2", GraphDescriptors.Kappa2, "1", "second shape index (Hall-Kier)"),
    Descriptor("qed", QED.qed, "1", "quantitative estimate of drug-likeness, in [0, 1] (Bickerton 2012)"),
    Descriptor("sa_score", _sa_score, "1", "synthetic accessibility, 1 easy to 10 hard (Ertl and Schuffenhauer 2009)"),
)

DESCRIPTORS: Mapping[str, Descriptor] = MappingProxyType({descriptor.name: descriptor for descriptor in _ALL})

# The prompt of PolyTAO (Qiu et al. 2024, npj Comput. Mater. 10:273), in its order.
POLYTAO_DESCRIPTORS = (
    "mol_wt", "heavy_atom_count", "nhoh_count", "no_count", "num_aliphatic_carbocycles", "num_aliphatic_heterocycles",
    "num_aliphatic_rings", "num_aromatic_carbocycles", "num_aromatic_heterocycles", "num_aromatic_rings", "num_h_acceptors",
    "num_h_donors", "num_heteroatoms", "num_rotatable_bonds", "ring_count",
)  # fmt: skip
