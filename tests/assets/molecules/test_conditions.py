"""Numbers measured at several conditions are several rows of one molecule, not one median."""

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

import pyarrow.parquet as pq

from assets.molecules.build import BuildError, DatasetConfig
from assets.molecules.checks import split_leaks
from assets.molecules.layouts import Condition, Property
from assets.molecules.reading import SourceFile
from assets.molecules.rows import ReadOptions, SourceError
from assets.molecules.source_index import options_from_json, options_to_json
from formats.molecule_tables import property_columns, read_molecules
from tests.assets.molecules.building import SMALL, build, bytes_of, rows_of, source

_CHI = """smiles,solvent,T,chi
*CC(*)c1ccccc1,toluene,300,0.4
*CC(*)c1ccccc1,toluene,300,0.6
*CC(*)c1ccccc1,toluene,350,0.3
*CC(*)c1ccccc1,cyclohexane,300,0.9
C(*)C(*)c1ccccc1,cyclohexane,300.0,1.1
*CC(*)C,,,0.1
*CC(*)C,water,,2
"""


def chi(tmp_path, **changes) -> SourceFile:
    options = {
        "properties": {"flory_huggins_chi": Property("chi", "1")},
        "conditions": {"solvent": Condition("solvent"), "temperature": Condition("T", "K")},
    }
    return source(tmp_path / "chi.csv", content=_CHI, role="polymers", **(options | changes))


def test_the_conditions_are_columns_and_keep_values_apart(tmp_path):
    facts = build(tmp_path, [chi(tmp_path)], name="polymers")
    found = [(row["smiles"], row["solvent"], row["temperature"], row["flory_huggins_chi"]) for row in rows_of(tmp_path / "polymers")]
    styrene, propylene = "*CC(*)c1ccccc1", "*CC(*)C"
    assert found == [
        (styrene, "toluene", 300.0, 0.5),
        (styrene, "toluene", 350.0, 0.3),
        (styrene, "cyclohexane", 300.0, 1.0),
        (propylene, None, None, 0.1),
        (propylene, "water", None, 2.0),
    ]
    merged = facts.summary["merged_values"]["flory_huggins_chi"]
    assert (merged["rows"], merged["values"], merged["most_values_of_a_row"]) == (2, 4, 2)
    assert merged["spread_most"] == pytest.approx(0.2)
    field = pq.read_schema(tmp_path / "polymers/polymers-00000.parquet").field("temperature")
    assert field.metadata == {b"unit": b"K", b"role": b"condition"}


def test_one_molecule_is_in_one_split_at_whatever_conditions(tmp_path):
    lines = "".join(f"{'C' * (1 + index // 5)}O,{300 + index % 5},{index}\n" for index in range(200))
    table = source(
        tmp_path / "t.csv", content=f"smiles,T,v\n{lines}", properties={"v": Property("v", "1")}, conditions={"temperature": Condition("T", "K")}
    )
    build(tmp_path, [table], config=DatasetConfig(valid_fraction=0.3, test_fraction=0.3, rows_per_shard=50))
    rows = rows_of(tmp_path / "molecules")
    assert len(rows) == len({row["id"] for row in rows}) == 200
    assert len({(row["smiles"], row["split_random"], row["split_scaffold"]) for row in rows}) == 40
    assert split_leaks(sorted((tmp_path / "molecules").glob("*-0*.parquet"))) == (0, 0, 0)


def test_a_row_without_conditions_is_the_same_beside_a_source_that_has_some(tmp_path):
    plain = source(tmp_path / "plain.csv", content="smiles,tg\n*CC(*)C,-10\n", role="polymers", properties={"tg": Property("tg", "degC")})
    build(tmp_path / "alone", [plain], name="polymers")
    build(tmp_path / "both", [plain, chi(tmp_path)], name="polymers")
    (alone,) = rows_of(tmp_path / "alone/polymers")
    beside = rows_of(tmp_path / "both/polymers")[0]
    assert beside.pop("flory_huggins_chi") == 0.1 and beside.pop("solvent") is None and beside.pop("temperature") is None
    assert beside.pop("source_ids")[-1] == alone.pop("source_ids")[-1]
    assert beside == alone


def test_a_rebuild_with_the_memo_gives_the_same_bytes(tmp_path):
    build(tmp_path, [chi(tmp_path)], name="polymers")
    first = bytes_of(tmp_path / "polymers")
    # Twice, because the second memo is a copy of the first.
    for _ in range(2):
        assert build(tmp_path, [chi(tmp_path)], name="polymers").counts.parsed == 0
        assert bytes_of(tmp_path / "polymers") == first


def test_a_training_that_asks_for_no_value_meets_each_molecule_once(tmp_path):
    config = DatasetConfig(descriptors=["tpsa"], valid_fraction=0, test_fraction=0)
    build(tmp_path, [chi(tmp_path)], name="polymers", config=config)
    folder = tmp_path / "polymers"
    assert read_molecules(folder, split="train").smiles == ["*CC(*)c1ccccc1", "*CC(*)C"]
    assert len(read_molecules(folder, split="train", properties=["tpsa"])) == 2
    measured = read_molecules(folder, split="train", properties=["temperature", "flory_huggins_chi"])
    assert len(measured) == 5 and measured.units == {"temperature": "K", "flory_huggins_chi": "1"}
    assert property_columns(folder) == ["temperature", "tpsa", "flory_huggins_chi"]


def test_an_index_without_the_new_keys_reads_and_writes_as_before():
    old = options_to_json(ReadOptions())
    assert "conditions" not in old and "attachment_points" not in old
    new = ReadOptions(conditions={"solvent": Condition("s")}, attachment_points=["[Po]"])
    assert options_from_json(options_to_json(new)) == new
    assert options_from_json(old) == ReadOptions()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"tpsa": Condition("T", "K")}, "condition 'tpsa' of source 'chi' has the name of another column; rename it under `conditions`"),
        ({"repeat_unit": Condition("solvent")}, "condition 'repeat_unit' of source 'chi' has the name of another column"),
        ({"flory_huggins_chi": Condition("T", "K")}, "'flory_huggins_chi' of source 'chi' has the name of another column"),
    ],
)
def test_a_condition_may_not_take_the_name_of_another_column(tmp_path, conditions, message):
    with pytest.raises(BuildError, match=message):
        build(tmp_path, [chi(tmp_path, conditions=conditions)], name="polymers", config=SMALL)


def test_a_condition_is_a_text_or_a_number_in_one_unit_everywhere(tmp_path):
    other = source(tmp_path / "b.csv", content="smiles,s\n*C*,2\n", role="polymers", conditions={"solvent": Condition("s", "K")})
    with pytest.raises(BuildError, match="condition 'solvent' is in words in source 'chi' but in K in source 'b'"):
        build(tmp_path, [chi(tmp_path), other], name="polymers")


def test_conditions_need_a_table(tmp_path):
    with pytest.raises(SourceError, match="`conditions` are columns of a table, and this is smiles"):
        build(tmp_path, [source(tmp_path / "a.smi", content="C x\n", conditions={"solvent": Condition("s")})])


def test_an_unknown_condition_column_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"no column 'Temp' \(asked for by `conditions.temperature.column`\)"):
        build(tmp_path, [chi(tmp_path, conditions={"temperature": Condition("Temp", "K")})], name="polymers")
