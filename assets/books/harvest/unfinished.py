"""What a harvest keeps outside its output: the answers of the one under way, and what was known of each item after the last.

replies/      a file an item that the archive has told of today, so that a killed harvest need not ask again
downloads/    files that are whole or on their way
memory.json   of each item: what the search told of it when its metadata were read last, when that was, and which files were of no use
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.harvest.stated import Stated
from stages.files import write_file_atomically

_VALID_S = 86_400.0


def recall_reply(folder: Path, question: str) -> Stated | None:
    """What was stated today in answer to that question, if it was asked."""
    path = _place(folder, question)
    try:
        return Stated.from_json(json.loads(path.read_bytes())) if time.time() - path.stat().st_mtime < _VALID_S else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def keep_reply(folder: Path, question: str, stated: Stated) -> None:
    write_file_atomically(_place(folder, question), json.dumps(asdict(stated)).encode())


def _place(folder: Path, question: str) -> Path:
    return folder / f"{hashlib.sha256(question.encode()).hexdigest()[:32]}.json"


@dataclass(frozen=True)
class Remembered:
    """told: by the search, empty where nothing. asked: the archive's day. useless: md5 of files that were fetched in vain, by name."""

    told: str
    asked: date
    useless: dict[str, str] = field(default_factory=dict)


# By source and identifier. Without it, the next harvest asks about every item, and fetches nothing that is here.
Memory = dict[tuple[str, str], Remembered]


def read_memory(path: Path, config: ArchiveItemsConfig) -> Memory:
    """Empty where there is none, or where others would be chosen by now."""
    try:
        values = json.loads(path.read_bytes())
        rows = values["items"] if values["choice"] == _choice(config) else []
        return {(source, name): Remembered(told, date.fromisoformat(asked), useless) for source, name, told, asked, useless in rows}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}


def write_memory(path: Path, memory: Memory, config: ArchiveItemsConfig) -> None:
    rows = [(*key, known.told, known.asked.isoformat(), known.useless) for key, known in sorted(memory.items())]
    write_file_atomically(path, json.dumps({"choice": _choice(config), "items": rows}).encode())


def _choice(config: ArchiveItemsConfig) -> list[Any]:
    caps = [[source.name, source.max_items, source.max_pages, source.max_mib] for source in config.sources]
    return [config.prefer, config.files, config.max_file_mib, caps]
