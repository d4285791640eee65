"""Known table layouts, recognised by their header: which column is what, and in which unit.

A layout states what the publishers say about their own columns. An explicit mapping in the parameters of a source overrides it, and a table without
a known layout needs only a column called `smiles`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stages.near_misses import did_you_mean


class LayoutError(Exception):
    """A table has no column of SMILES, or lacks a column that the parameters of its source name."""


@dataclass(frozen=True)
class Property:
    """One number that a source states about its molecules: the column it is in, and its unit."""

    column: str
    unit: str


@dataclass(frozen=True)
class Condition:
    """What a source's numbers were measured at: the column that says it, and its unit; without one it is a text, such as a solvent's name."""

    column: str
    unit: str = ""


@dataclass(frozen=True)
class Layout:
    """Column names as in the file; `header` are the columns that must be there for the layout to be recognised."""

    name: str
    header: frozenset[str]
    smiles_column: str
    id_column: str = ""
    properties: Mapping[str, Property] = field(default_factory=dict)
    role: str = "molecules"


def _layout(name: str, header: str, smiles: str, *, id_column: str = "", role: str = "molecules", **properties: tuple[str, str]) -> Layout:
    columns = {key: Property(column, unit) for key, (column, unit) in properties.items()}
    return Layout(name, frozenset(header.split("|")), smiles, id_column, columns, role)


LAYOUTS: tuple[Layout, ...] = (
    _layout("pi1m_v2", "SMILES|SA Score", "SMILES", role="polymers", sa_score_pi1m=("SA Score", "1")),
    _layout("moses", "SMILES|SPLIT", "SMILES"),
    _layout("zinc_250k", "smiles|logP|qed|SAS", "smiles", zinc_log_p=("logP", "1"), zinc_qed=("qed", "1"), zinc_sa_score=("SAS", "1")),
    _layout("zinc_20", "zinc_id|smiles", "smiles", id_column="zinc_id"),
    # Units by the convention of QM9; the file itself states none.
    _layout(
        "qm9_4prop",
        "smiles|heat_capacity|band_gap|isotropic_polarizability|internal_energy_298K",
        "smiles",
        heat_capacity=("heat_capacity", "cal/(mol K)"),
        band_gap=("band_gap", "hartree"),
        isotropic_polarizability=("isotropic_polarizability", "bohr3"),
        internal_energy_298k=("internal_energy_298K", "hartree"),
    ),
    _layout(
        "esol",
        "Compound ID|smiles|measured log solubility in mols per litre",
        "smiles",
        id_column="Compound ID",
        log_solubility=("measured log solubility in mols per litre", "log10(mol/l)"),
        log_solubility_estimated=("ESOL predicted log solubility in mols per litre", "log10(mol/l)"),
    ),
    _layout(
        "freesolv",
        "iupac|smiles|expt|calc",
        "smiles",
        id_column="iupac",
        hydration_free_energy=("expt", "kcal/mol"),
        hydration_free_energy_calculated=("calc", "kcal/mol"),
    ),
    _layout("smipoly_polymers", "mon1|mon2|polym|polymer_class", "polym", role="polymers"),
    _layout("smipoly_monomers", "comID|SMILES|IUPACName", "SMILES", id_column="comID"),
    _layout(
        "open_polymer_2025",
        "id|SMILES|Tg|FFV|Tc|Density|Rg",
        "SMILES",
        id_column="id",
        role="polymers",
        glass_transition_temperature=("Tg", "degC"),
        fractional_free_volume=("FFV", "1"),
        thermal_conductivity=("Tc", "W/(m K)"),
        density=("Density", "g/cm3"),
        radius_of_gyration=("Rg", "angstrom"),
    ),
    _layout(
        "radonpy_pi1070",
        "monomer_ID|smiles|density|Rg|thermal_conductivity",
        "smiles",
        id_column="monomer_ID",
        role="polymers",
        density=("density", "g/cm3"),
        radius_of_gyration=("Rg", "angstrom"),
        thermal_conductivity=("thermal_conductivity", "W/(m K)"),
        thermal_diffusivity=("thermal_diffusivity", "m2/s"),
        specific_heat_capacity=("Cp", "J/(kg K)"),
        bulk_modulus=("bulk_modulus", "Pa"),
        refractive_index=("refractive_index", "1"),
        static_dielectric_constant=("static_dielectric_const", "1"),
    ),
)

# The Khazana sets share one header (`smiles,value,index`): the file's name says which property it is.
KHAZANA_HEADER = ("smiles", "value", "index")
KHAZANA_PROPERTIES = {
    "Egc": ("band_gap_chain", "eV"),
    "Egb": ("band_gap_bulk", "eV"),
    "Eea": ("electron_affinity", "eV"),
    "Ei": ("ionization_energy", "eV"),
    "Xc": ("crystallization_tendency", "%"),
}

# The multi-molecule XYZ files: keys of the comment line instead of columns.
XYZ_PROPERTIES = {
    "energy_dft": Property("energy_dft", "kcal/mol"),
    "energy_dftb": Property("energy_dftb", "kcal/mol"),
    "dft_formation_energy_per_atom": Property("dft_formation_energy_per_atom_in_eV", "eV"),
}

_SMILES_NAMES = ("smiles", "canonical_smiles", "psmiles", "p_smiles", "smile", "structure")


def recognise(header: Sequence[str], *, stem: str) -> Layout:
    """The layout of a table with these columns. `stem` is the file's name without suffix, which the Khazana sets need.

    Raises LayoutError that lists the columns when none of them can hold SMILES.
    """
    if tuple(header) == KHAZANA_HEADER:
        return _khazana(stem)
    # The most particular layout that fits; else any column whose name says SMILES.
    matching = [layout for layout in LAYOUTS if layout.header <= set(header)]
    if matching:
        return max(matching, key=lambda layout: len(layout.header))
    for known in _SMILES_NAMES:
        for column in header:
            if column.strip().casefold() == known:
                return Layout("generic", frozenset(), column)
    raise LayoutError(
        f"no column of SMILES; columns here: {_list(header)}{did_you_mean('smiles', header)}; set `smiles_column` of the source to the right one"
    )


def require_column(column: str, header: Sequence[str], *, key: str) -> str:
    """`column` when the table has it; raises LayoutError with the nearest name otherwise. `key` is the parameter that named it."""
    if column in header:
        return column
    raise LayoutError(f"no column '{column}' (asked for by `{key}`){did_you_mean(column, header)}; columns here: {_list(header)}")


def _khazana(stem: str) -> Layout:
    known = KHAZANA_PROPERTIES.get(stem.split(".", maxsplit=1)[0])
    properties = {known[0]: Property("value", known[1])} if known else {}
    return Layout("khazana", frozenset(KHAZANA_HEADER), "smiles", "index", properties, "polymers")


def _list(header: Sequence[str], *, most: int = 20) -> str:
    shown = ", ".join(repr(column[:60]) for column in header[:most]) or "none"
    return shown + (f" and {len(header) - most} more" if len(header) > most else "")
