"""The real files: layouts, counts and quirks as their publishers made them."""

import itertools

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from assets.molecules.reading import read_rows, source_properties
from assets.molecules.rows import Row
from assets.molecules.standardize import Standardizer
from tests.assets.molecules.building import SMALL, source

pytestmark = pytest.mark.shared_data


@pytest.mark.parametrize(
    ("path", "rows", "properties"),
    [
        ("molecules/moleculenet/delaney-processed.csv", 1_128, ["log_solubility", "log_solubility_estimated"]),
        ("molecules/moleculenet/freesolv.csv", 642, ["hydration_free_energy", "hydration_free_energy_calculated"]),
        ("molecules/moleculenet/gdb1k.sdf", 1_000, []),
        ("molecules/qm/qm7_7101.xyz", 7_101, ["energy_dft", "energy_dftb"]),
        ("molecules/qm/smol1k_w_smiles.xyz", 985, ["dft_formation_energy_per_atom"]),
        ("molecules/qm/qm9_4prop_train.csv.gz", 120_648, ["heat_capacity", "band_gap", "isotropic_polarizability", "internal_energy_298k"]),
        ("molecules/zinc/zinc_valid_24k.smi", 24_445, []),
        ("polymers/open_polymer_2025.csv", 7_973,
         ["glass_transition_temperature", "fractional_free_volume", "thermal_conductivity", "density", "radius_of_gyration"]),
        ("polymers/khazana/Egc.csv", 3_380, ["band_gap_chain"]),
        ("polymers/khazana/Xc.csv", 432, ["crystallization_tendency"]),
        ("polymers/smipoly/202207_smip_monset.csv", 1_083, []),
    ],
)  # fmt: skip
def test_every_record_is_read_with_its_properties(shared_data, path, rows, properties):
    file = source(shared_data / path)
    assert list(source_properties(file)) == properties
    assert sum(isinstance(row, Row) for row in read_rows(file)) == rows


def test_radonpy_has_eight_properties(shared_data):
    file = source(shared_data / "polymers/radonpy/PI1070.csv")
    rows = list(read_rows(file))
    assert len(source_properties(file)) == 8
    assert len(rows) == 1_077
    assert all(row.values[0] is not None for row in rows if isinstance(row, Row))


def test_smipoly_is_read_out_of_its_zip_beside_the_junk(shared_data):
    file = source(shared_data / "polymers/smipoly/SMiPoly_001_generatedPolymer.csv.zip")
    (first,) = itertools.islice(read_rows(file), 1)
    assert first == Row(0, "", "smiles", "*CC(*)(C)C(=O)O", ())


def test_the_two_star_rule_finds_the_odd_rows_of_open_polymer(shared_data):
    rows = read_rows(source(shared_data / "polymers/open_polymer_2025.csv"))
    odd = [(row.form, row.text) for row in rows if isinstance(row, Row) and row.text.count("*") != 2]
    reasons = Standardizer(SMALL.rules(stars=2)).many(odd)
    stars = {count: reasons.count(f"{count} attachment points (*) instead of 2") for count in (1, 3, 4)}
    assert stars == {1: 2, 3: 8, 4: 8}
