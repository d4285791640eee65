"""Facts about outputs that need no word from the stage."""

import json
from pathlib import Path

from orchestration.bridge.facts import output_facts, parquet_shards
from tests.orchestration.bridge.toy import Toy


def test_numbers_of_a_metric_file_are_facts_by_the_names_dvc_gives_them_without_bounds_and_denominators(toy: Toy) -> None:
    path = toy.root / "data/total.json"
    path.unlink()
    nested = {"validity": 0.5, "validity_low": 0.4, "validity_high": 0.6, "validity_n": 10}
    path.write_text(json.dumps({"rows_n": 3, "is_good": True, "name": "x", "test": nested}))
    project = toy.project()

    assert output_facts(project, project.graph["total"]) == {"test.validity": 0.5, "rows_n": 3}


def test_the_table_of_a_folder_is_its_numbered_shards_else_its_index(tmp_path: Path) -> None:
    for name in ("index", "rejected"):
        (tmp_path / f"{name}.parquet").touch()
    assert [path.name for path in parquet_shards(tmp_path)] == ["index.parquet"]
    (tmp_path / "rows-00000.parquet").touch()
    assert [path.name for path in parquet_shards(tmp_path)] == ["rows-00000.parquet"]


def test_without_shards_and_index_the_table_is_the_one_that_the_folder_is_named_after(tmp_path):
    folder = tmp_path / "archive_items"
    folder.mkdir()
    for name in ("files", "items", "rejected"):
        (folder / f"{name}.parquet").write_bytes(b"")
    assert [path.name for path in parquet_shards(folder)] == ["items.parquet"]
    (folder / "items.parquet").unlink()
    assert [path.name for path in parquet_shards(folder)] == ["files.parquet", "rejected.parquet"]
