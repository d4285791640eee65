"""Tables and models as the folders that Hugging Face's libraries read, each with its card. Pictures have images.py."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestration.export.cards import About, Column, TableFacts, dataset_card, model_card

_CARD = "README.md"
_CONFIG = "config.json"
# The first of these columns that a table has tells its splits; the names are those that `datasets` uses.
_SPLIT_COLUMNS = ("split", "split_random")
_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_LICENCE = "licence"


def is_model(files: Mapping[str, Path]) -> bool:
    """Whether these files of an artifact are a trained model: weights as safetensors, and what its network is built from."""
    return _CONFIG in files and any(relative.endswith(".safetensors") for relative in files)


def write_model(files: Mapping[str, Path], target: Path, about: About) -> None:
    """All files as they are, and the card."""
    for relative, source in files.items():
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    config, options, summary = (
        json.loads(files[name].read_text(encoding="utf-8")) if name in files else {}
        for name in (_CONFIG, "training_options.json", "training_summary.json")
    )
    own_card = files[_CARD].read_text(encoding="utf-8") if _CARD in files else ""
    (target / _CARD).write_text(model_card(about, config, {**options, **summary}, own_card), encoding="utf-8")


def write_table(schema: Any, batches: Iterable[Any], target: Path, about: About) -> None:
    """data/<split>-00000-of-00001.parquet for each split that has rows (all of them `train` where the table has no splits), and the card."""
    import pyarrow.parquet as pq

    column = next((name for name in _SPLIT_COLUMNS if name in schema.names), None)
    (target / "data").mkdir(parents=True)
    rows: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    writers: dict[str, pq.ParquetWriter] = {}
    try:
        for batch in batches:
            for split, part in _parts(batch, column):
                if split not in writers:
                    writers[split] = pq.ParquetWriter(target / "data" / f"{split}-00000-of-00001.parquet", schema, compression="zstd")
                writers[split].write_batch(part)
                rows[split] += part.num_rows
            if _LICENCE in schema.names:
                licences.update(name for name in batch.column(_LICENCE).to_pylist() if name)
        if not writers:
            writers["train"] = pq.ParquetWriter(target / "data" / "train-00000-of-00001.parquet", schema, compression="zstd")
            rows["train"] = 0
    finally:
        for writer in writers.values():
            writer.close()
    order = [*_SPLITS.values(), *sorted(set(rows) - set(_SPLITS.values()))]
    columns = [Column(field.name, str(field.type), _unit(field)) for field in schema]
    facts = TableFacts({split: rows[split] for split in order if split in rows}, columns, dict(licences))
    (target / _CARD).write_text(dataset_card(about, facts), encoding="utf-8")


def _parts(batch: Any, column: str | None) -> Iterable[tuple[str, Any]]:
    import pyarrow.compute as pc

    if column is None:
        return [("train", batch)] if batch.num_rows else []
    values = batch.column(column)
    names = sorted({name for name in values.to_pylist() if name})
    # A row of no split is nobody's to learn from or to judge by; it keeps its place in the artifact alone.
    return [(_SPLITS.get(name, _file_name(name)), batch.filter(pc.equal(values, name))) for name in names]


def _file_name(split: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in split)


def _unit(field: Any) -> str:
    raw = (field.metadata or {}).get(b"unit", b"").decode()
    return str(json.loads(raw)) if raw.startswith('"') else raw
