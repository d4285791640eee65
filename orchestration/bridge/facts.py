"""What can be said of any output from its files alone: rows of Parquet shards, numbers of metric files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .graph import Stage
from .project import Project


def output_facts(project: Project, stage: Stage) -> dict[str, Any]:
    """Metadata of a stage's outputs: `dagster/row_count` for Parquet, and every number in its metric files."""
    facts: dict[str, Any] = {}
    rows = [count for out in stage.data_outs if (count := parquet_rows(project.root / out.path)) is not None]
    if rows:
        facts["dagster/row_count"] = sum(rows)
    written = tuple(out.path for out in stage.outs)
    metrics = [out.path for out in stage.outs if out.kind == "metric"]
    metrics += [path for path in project.graph.metric_files if any(path == out or path.startswith(f"{out}/") for out in written)]
    for path in dict.fromkeys(metrics):
        facts |= metric_numbers(project.root / path)
    return facts


def pictures_of(project: Project, stage: Stage) -> list[str]:
    """The PNG files among the `plots` of dvc.yaml that the stage writes and that are there."""
    written = tuple(stage.writes)
    listed = [out.path for out in stage.outs if out.kind == "plot"]
    listed += [path for path in project.graph.plot_files if any(path == out or path.startswith(f"{out}/") for out in written)]
    return [path for path in dict.fromkeys(listed) if path.endswith(".png") and (project.root / path).is_file()]


def parquet_shards(path: Path) -> list[Path]:
    """The Parquet files that are the table: numbered shards (`name-00000.parquet`) where there are any, else `index.parquet`, else the one that the
    folder is named after (`archive_items/items.parquet`), else all.
    """
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    files = sorted(path.glob("*.parquet"))
    shards = [file for file in files if file.stem.rpartition("-")[2].isdigit()]
    named = [file for file in files if path.name.endswith(file.stem)]
    return shards or [file for file in files if file.name == "index.parquet"] or named or files


def parquet_rows(path: Path) -> int | None:
    """Rows of all shards below `path`, from their footers; None when there is no Parquet."""
    shards = parquet_shards(path)
    if not shards:
        return None
    from pyarrow.parquet import read_metadata

    return sum(read_metadata(shard).num_rows for shard in shards)


def metric_numbers(path: Path) -> dict[str, float]:
    """The numbers of a metric file without their bounds and denominators; none where there is no such file or it is not JSON."""
    if path.suffix != ".json" or not path.is_file():
        return {}
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        return {}
    # The bounds and the denominator of a number stay beside it in the file: a page of them hides the numbers.
    numbers = flat_numbers(found)
    beside = {f"{key}{end}" for key in numbers for end in ("_low", "_high", "_n")}
    return {key: value for key, value in numbers.items() if key not in beside}


def flat_numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a metric file by their ways through it, such as `test.loss`: the names that DVC shows them by."""
    numbers: dict[str, float] = {}
    for key, value in found.items():
        if isinstance(value, Mapping):
            numbers |= {f"{key}.{name}": number for name, number in flat_numbers(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[str(key)] = value
    return numbers
