"""`figment export`, `id`, `preset` and `deps`."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from orchestration.export.copying import export
from tests.orchestration.bridge.toy import Toy
from tests.orchestration.cli.figment import figment


@pytest.fixture
def shards(tmp_path: Path) -> dict[str, Path]:
    """A table of three molecules in two shards, beside a table that is not part of it."""
    rows = [{"id": "a", "smiles": "CCO", "source_ids": ["x:1", "x:2"], "tpsa": 20.2}, {"id": "b", "smiles": "C", "source_ids": [], "tpsa": None}]
    more = [{"id": "c", "smiles": "c1ccccc1", "source_ids": ["y:1"], "tpsa": 0.0}]
    schema = pa.schema([("id", pa.string()), ("smiles", pa.string()), ("source_ids", pa.list_(pa.string())), ("tpsa", pa.float64())])
    files = {"molecules-00000.parquet": (rows, schema), "molecules-00001.parquet": (more, schema)}
    files["rejected.parquet"] = ([{"reason": "empty"}], pa.schema([("reason", pa.string())]))
    for name, (values, shape) in files.items():
        pq.write_table(pa.Table.from_pylist(values, shape), tmp_path / name)
    return {name: tmp_path / name for name in files}


def test_shards_are_merged_in_order_into_one_table(shards, tmp_path: Path):
    export(shards, tmp_path / "all.parquet", "parquet")
    assert pq.read_table(tmp_path / "all.parquet")["id"].to_pylist() == ["a", "b", "c"]
    export(shards, tmp_path / "all.csv", "csv")
    table = pc.read_csv(tmp_path / "all.csv")
    assert table["smiles"].to_pylist() == ["CCO", "C", "c1ccccc1"]
    assert table["source_ids"].to_pylist() == ['["x:1", "x:2"]', "[]", '["y:1"]']
    export(shards, tmp_path / "all.smi", "smi")
    assert (tmp_path / "all.smi").read_text() == "CCO a\nC b\nc1ccccc1 c\n"


@pytest.mark.parametrize("format", ["parquet", "csv", "smi", "zip"])
def test_the_same_artifact_gives_the_same_bytes(shards, tmp_path: Path, format: str):
    export(shards, tmp_path / "one", format)
    for path in shards.values():
        path.touch()
    export(dict(reversed(shards.items())), tmp_path / "two", format)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_folder_leaves_as_it_is_and_belongs_to_the_user(known_toy: Toy, tmp_path: Path):
    answer = figment(known_toy.root, "export", "rows", str(tmp_path / "out"))
    id = known_toy.project().lock().entries["rows"].outs["data/rows"]
    assert (answer.code, answer.out) == (0, f"rows {id} -> {tmp_path / 'out'} (folder)\n")
    assert figment(known_toy.root, "id", str(tmp_path / "out")).out.strip() == id
    assert (tmp_path / "out/rows.txt").stat().st_mode & 0o200
    assert figment(known_toy.root, "export", "rows", str(tmp_path / "out")).code == 1, "never over something that is there"


def test_a_zip_holds_the_output_sorted_and_without_a_date(known_toy: Toy, tmp_path: Path):
    assert figment(known_toy.root, "export", "rows", str(tmp_path / "rows.zip")).code == 0
    with zipfile.ZipFile(tmp_path / "rows.zip") as archive:
        assert archive.namelist() == ["deep/count.txt", "rows.txt"]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_stale_artifact_is_refused_and_its_recorded_version_comes_from_the_cache(known_toy: Toy, tmp_path: Path):
    known_toy.write("data/rows/rows.txt", "mine\n")
    refused = figment(known_toy.root, "export", "rows", str(tmp_path / "out"))
    assert refused.code == 1
    assert "rows is stale (data/rows was changed by hand" in refused.err
    assert "--stale-ok" in refused.err
    assert figment(known_toy.root, "export", "rows", str(tmp_path / "out"), "--stale-ok").code == 0
    assert (tmp_path / "out/rows.txt").read_text() == "1\n2\n3\n4\n5\n"


def test_a_model_folder_is_no_table(known_toy: Toy, tmp_path: Path):
    answer = figment(known_toy.root, "export", "rows", str(tmp_path / "rows.csv"))
    assert answer.code == 1
    assert "no table in this artifact (its files: deep/count.txt, rows.txt)" in answer.err
    assert list(tmp_path.glob("*.csv*")) == []


def test_a_preset_changes_its_own_keys_and_keeps_the_comments(known_toy: Toy):
    known_toy.write("params.yaml", "# the toy\nrows:\n  repeat: 1  # times\n  note: first\nevens:\n  modulo: 2\n")
    known_toy.write("presets/triple.yaml", "# Everything three times.\nrows:\n  repeat: 3\nevens:\n  unused: 5\n")
    assert figment(known_toy.root, "preset", "--list").out == "triple: Everything three times.\n"
    answer = figment(known_toy.root, "preset", "triple")
    assert answer.out == "rows.repeat was 1, is now 3\nevens.unused is new: 5\n"
    expected = "# the toy\nrows:\n  repeat: 3  # times\n  note: first\nevens:\n  modulo: 2\n  unused: 5\n"
    assert (known_toy.root / "params.yaml").read_text() == expected
    assert figment(known_toy.root, "preset", "triple").out == "params.yaml has the settings of triple already\n"
    wrong = figment(known_toy.root, "preset", "tripel")
    assert (wrong.code, "did you mean 'triple'?" in wrong.err) == (2, True)


def test_the_id_of_a_folder_is_dvcs_and_needs_no_project(known_toy: Toy, tmp_path: Path):
    done = subprocess.run([sys.executable, "-m", "orchestration.cli.main", "id", str(known_toy.root / "data/rows")], capture_output=True, text=True)
    assert done.stdout.strip() == known_toy.project().lock().entries["rows"].outs["data/rows"]
