"""A row of `polymers` is a polymer: one for all frames of its repeat unit, and what publishers write in place of `*` is known by name."""

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

import pyarrow.parquet as pq
from rdkit import Chem

from assets.molecules.build import DatasetConfig
from assets.molecules.reading import read_rows
from assets.molecules.rows import Row
from assets.molecules.sources import SourceParams
from assets.molecules.standardize import Standardized, Standardizer
from formats.polymer_smiles import canonical_polymer_smiles
from tests.assets.molecules.building import SMALL, build, rejected_of, rows_of, source


def outcome(text: str, *, stars: int = 2) -> str:
    (result,) = Standardizer(SMALL.rules(stars=stars)).many([("smiles", text)])
    return result.smiles if isinstance(result, Standardized) else result


def test_frames_of_one_polymer_become_one_row_that_keeps_the_first_of_them(tmp_path):
    table = source(tmp_path / "p.csv", content="smiles,d\n*COC*,1\n*OCC*,2\n*CCOCCO*,9\n*CC(*)C,5\n", properties={"density": _property("d", "g/cm3")})
    facts = build(tmp_path, [table], name="polymers")
    glycol, propylene = rows_of(tmp_path / "polymers")
    assert (glycol["smiles"], glycol["repeat_unit"], glycol["density"]) == (canonical_polymer_smiles("*CCO*"), "*COC*", 2.0)
    assert (propylene["smiles"], propylene["repeat_unit"]) == ("*CC(*)C", "*CC(*)C")
    assert facts.summary["rows_merged_into_others"] == 2
    assert facts.summary["merged_values"] == {
        "density": {"rows": 1, "values": 3, "most_values_of_a_row": 3, "spread_median": 8.0, "spread_most": 8.0}
    }


def test_a_polymer_is_measured_and_split_alike_in_every_frame(tmp_path):
    config = DatasetConfig(descriptors=["mol_wt", "tpsa"], valid_fraction=0.3, test_fraction=0.3)
    frames = ["*COC(=O)c1ccc(C(=O)OC*)cc1", "*CCOC(=O)c1ccc(C(=O)O*)cc1", "*OCCOC(=O)c1ccc(C(*)=O)cc1"]
    for place, frame in enumerate(frames):
        build(tmp_path / str(place), [source(tmp_path / f"{place}.smi", content=f"{frame} x\n")], name="polymers", config=config)
    rows = [rows_of(tmp_path / str(place) / "polymers")[0] for place in range(len(frames))]
    assert len({row.pop("repeat_unit") for row in rows}) == len(frames)
    assert len({row.pop("source") for row in rows} | {row.pop("origin") for row in rows}) == 2 * len(frames)
    for row in rows:
        row.pop("source_ids")
        row["mol_wt"], row["tpsa"] = round(row["mol_wt"], 9), round(row["tpsa"], 9)
    assert rows[0] == rows[1] == rows[2]


def test_molecules_have_no_column_of_repeat_units(tmp_path):
    build(tmp_path, [source(tmp_path / "m.smi", content="CCO x\n")])
    assert "repeat_unit" not in pq.read_schema(tmp_path / "molecules/molecules-00000.parquet").names


@pytest.mark.parametrize("text", ["[CH3:1][OH:2]", "[CH3:3]O", "CO"])
def test_atom_maps_are_no_part_of_a_canonical_form(text):
    assert outcome(text, stars=0) == "CO"


def test_a_hand_that_only_atom_maps_made_goes_with_them():
    assert outcome("[CH3:1][C@H](O)[CH3:2]", stars=0) == "CC(C)O"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[e]CC[t]", "placeholder [e]"),
        ("[R1]CC[R2]", "placeholder [R1]"),
        ("R1CCR2", "placeholder R1"),
        ("[Po]CC[Po]", "placeholder [Po]"),
        ("[Xe]CCO[Xe]", "placeholder [Xe]"),
        ("CC[Xe]", "0 attachment points (*) instead of 2"),
        ("CC(", "not a SMILES"),
        ("*c1cc(*)c(*)cc1*", "ladder polymer: 4 attachment points"),
        ("*C1C(*)C2CC1C(*)C2*", "ladder polymer: 4 attachment points"),
        # Two vinyl groups joined by a bond make a network, not a ladder.
        ("*CC(*)CCOC(*)C*", "4 attachment points (*) instead of 2"),
    ],
)
def test_what_stands_for_an_attachment_point_is_named_in_the_reason(text, reason):
    assert outcome(text) == reason


def test_a_source_may_say_what_stands_for_its_attachment_points(tmp_path):
    content = "smiles\n[Po]CCO[Po]\nR1CC(R2)CR12\n[e]c1cc([d])c([t])cc1[g]\n[100*]CN[100*]\n"
    file = source(tmp_path / "p.csv", content=content, role="polymers", attachment_points=["[Po]", "R1", "R2", "[e]", "[d]", "[t]", "[g]"])
    assert [row.text for row in read_rows(file) if isinstance(row, Row)] == [
        "*CCO*", "*CC(*)CR12", "*c1cc(*)c(*)cc1*", "[100*]CN[100*]",
    ]  # fmt: skip
    build(tmp_path, [file], name="polymers")
    assert [row["smiles"] for row in rows_of(tmp_path / "polymers")] == [canonical_polymer_smiles("*CCO*"), "*CN*"]
    assert [row["reason"] for row in rejected_of(tmp_path / "polymers")] == ["placeholder R12", "ladder polymer: 4 attachment points"]


def test_an_empty_attachment_point_is_refused():
    with pytest.raises(ValueError, match="attachment_points holds an empty text"):
        SourceParams(name="p", kind="file", licence="MIT", path="p.csv", attachment_points=["[Po]", " "])


@pytest.mark.shared_data
def test_the_units_of_khazana_are_fewer_polymers(shared_data):
    units = set()
    for name in ("Egc", "Egb", "Eea", "Ei", "Xc"):
        units |= {Chem.CanonSmiles(row.text) for row in read_rows(source(shared_data / f"polymers/khazana/{name}.csv")) if isinstance(row, Row)}
    polymers = {canonical_polymer_smiles(unit) for unit in units}
    assert (len(units), len(polymers)) == (3_649, 3_644)
    assert {canonical_polymer_smiles(polymer) for polymer in polymers} == polymers


def _property(column: str, unit: str):
    from assets.molecules.layouts import Property

    return Property(column, unit)
