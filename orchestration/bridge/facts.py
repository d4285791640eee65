"""What can be said of any output from its files alone: rows of Parquet shards, numbers of metric files.

These are said after the output was recorded: a file that is not what its name promises is told, and keeps nothing from being said of the others.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .graph import Stage
from .project import Project

_MOST_METRIC_BYTES = 16 << 20


def output_facts(project: Project, stage: Stage) -> dict[str, Any]:
    """Metadata of a stage's outputs: `dagster/row_count` for Parquet, every number in its metric files, and under `problems` what cannot be read."""
    facts: dict[str, Any] = {}
    problems: list[str] = []
    rows = [count for out in stage.data_outs if (count := parquet_rows(project.root / out.path, problems)) is not None]
    if rows and not problems:
        facts["dagster/row_count"] = sum(rows)
    written = tuple(out.path for out in stage.outs)
    metrics = [out.path for out in stage.outs if out.kind == "metric"]
    metrics += [path for path in project.graph.metric_files if any(path == out or path.startswith(f"{out}/") for out in written)]
    for path in dict.fromkeys(metrics):
        facts |= metric_numbers(project.root / path, problems)
    return facts | ({"problems": problems} if problems else {})


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
    files = sorted(file for file in path.glob("*.parquet") if file.is_file())
    shards = [file for file in files if file.stem.rpartition("-")[2].isdigit()]
    named = [file for file in files if path.name.endswith(file.stem)]
    return shards or [file for file in files if file.name == "index.parquet"] or named or files


def parquet_rows(path: Path, problems: list[str]) -> int | None:
    """Rows of all shards below `path` that can be read, from their footers; None when there are none. `problems` gets a line for each other shard."""
    counts = [metadata.num_rows for metadata in _read_all(parquet_shards(path), "read_metadata", problems).values()]
    return sum(counts) if counts else None


def parquet_schemas(path: Path, problems: list[str]) -> dict[str, Any]:
    """The schema of each shard below `path` by its name. `problems` gets a line for each shard that cannot be read."""
    return {shard.name: schema for shard, schema in _read_all(parquet_shards(path), "read_schema", problems).items()}


def _read_all(shards: list[Path], how: str, problems: list[str]) -> dict[Path, Any]:
    if not shards:
        return {}
    from pyarrow import ArrowException, parquet

    found = {}
    for shard in shards:
        try:
            found[shard] = getattr(parquet, how)(shard)
        except (ArrowException, OSError) as error:
            problems.append(f"{shard.name} is no Parquet that can be read: {str(error).partition(chr(10))[0]}")
    return found


def metric_numbers(path: Path, problems: list[str]) -> dict[str, float]:
    """The numbers of a metric file without their bounds and denominators; none where there is no such file. `problems` gets a line otherwise."""
    if path.suffix != ".json" or not path.is_file():
        return {}
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_MOST_METRIC_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} is no JSON that can be read: {error}")
        return {}
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
