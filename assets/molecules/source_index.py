"""The index of `data/molecule_sources`: what each source file is, where it came from, and how to read it."""

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq

from assets.molecules.layouts import Condition, Property
from assets.molecules.reading import SourceFile
from assets.molecules.rows import ReadOptions, SourceError
from formats.tables import SOURCE_INDEX
from stages.files import sha256_of


def options_to_json(options: ReadOptions) -> str:
    """`options` as the index stores them; the keys that came later are left out where they say nothing, so that an older index stays the same."""
    values = dataclasses.asdict(options)
    said = {key: value for key, value in values.items() if value or key not in {"conditions", "attachment_points"}}
    return json.dumps(said, sort_keys=True, ensure_ascii=False)


def options_from_json(text: str) -> ReadOptions:
    """The inverse of `options_to_json`."""
    values = json.loads(text)
    values["properties"] = {name: Property(**item) for name, item in values["properties"].items()}
    values["conditions"] = {name: Condition(**item) for name, item in values.get("conditions", {}).items()}
    return ReadOptions(**values)


def read_index(folder: Path) -> list[dict]:
    """The records of the index in the artifact `folder`, in the order of the parameters; [] when there is none yet."""
    path = folder / "index.parquet"
    return pq.read_table(path, schema=SOURCE_INDEX).to_pylist() if path.is_file() else []


def read_sources(folder: Path, *, role: str) -> list[SourceFile]:
    """The sources that feed the dataset `role`, each with the bytes its sha256 names.

    Raises SourceError when there is no index, no source for this dataset, or a file is not what the index says.
    """
    records = read_index(folder)
    if not records:
        raise SourceError(f"{folder / 'index.parquet'}: no such file; fetch the sources first: python -m assets.molecules.sources")
    chosen = [record for record in records if record["role"] == role]
    if not chosen:
        raise SourceError(f"{folder}: no source has the role '{role}'; add one to the section molecule_sources of params.yaml")
    return [_verified(folder, record) for record in chosen]


def _verified(folder: Path, record: dict) -> SourceFile:
    path = folder / record["file"]
    if not path.is_file():
        raise SourceError(f"source '{record['source']}': {path} is missing; make molecule_sources again")
    # Read again before every build: what the dataset says of its origin must hold for the bytes it is made from.
    found = sha256_of(path)
    if found != record["sha256"]:
        raise SourceError(
            f"source '{record['source']}': {path} has sha256 {found}, the index says {record['sha256']}; it was changed after it was fetched: "
            "make molecule_sources again"
        )
    options = options_from_json(record["options"])
    return SourceFile(record["source"], path, record["role"], record["licence"], record["origin"], options)
