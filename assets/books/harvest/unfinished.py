"""What a harvest keeps outside its output: the answers of the one under way, and what was known of each item after the last.

replies.jsonl   the day it began, then one line an item that the archive has told of; a killed harvest goes on after the last whole line
memory.json     of each item: what the search told of it when its metadata were read last, when that was, and which files were of no use
downloads/      files that are whole or on their way
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.harvest.stated import Stated
from stages.files import write_file_atomically

_VALID_S = 86_400.0


class Replies:
    """The answers of a harvest that is under way; those of yesterday's are asked for again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, str], Stated] = {}
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []  # What follows the last newline is torn.
        began = time.time()
        try:
            began = float(json.loads(lines[0])["began"]) if lines else began
            is_valid = bool(lines) and 0 <= time.time() - began < _VALID_S
            for line in lines[1:] if is_valid else ():
                values = json.loads(line)
                self._known[values["source"], values["stated"]["identifier"]] = Stated.from_json(values["stated"])
        except (ValueError, TypeError, KeyError):
            is_valid = False
            self._known.clear()
        text = [json.dumps({"began": began if is_valid else time.time()}), *(_line(source, stated) for (source, _), stated in self._known.items())]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(path, ("\n".join(text) + "\n").encode())
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, source: str, identifier: str) -> Stated | None:
        return self._known.get((source, identifier))

    def add(self, source: str, stated: Stated) -> None:
        # One call, so that threads do not tear each other's lines.
        os.write(self._file, f"{_line(source, stated)}\n".encode())

    def close(self) -> None:
        os.close(self._file)

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Remembered:
    """told: by the search, empty where nothing. asked: the archive's day. useless: md5 of files that were fetched in vain, by name."""

    told: str
    asked: date
    useless: dict[str, str] = field(default_factory=dict)


@dataclass
class Memory:
    """By source and identifier. Without it, the next harvest asks about every item, and fetches nothing that is here."""

    items: dict[tuple[str, str], Remembered] = field(default_factory=dict)


def read_memory(path: Path, config: ArchiveItemsConfig) -> Memory:
    """Empty where there is none, or where other files would be chosen by now."""
    try:
        values = json.loads(path.read_bytes())
        if values["choice"] != _choice(config):
            return Memory()
        rows = {(row["source"], row["identifier"]): row for row in values["items"]}
        return Memory({key: Remembered(row["told"], date.fromisoformat(row["asked"]), row["useless"]) for key, row in rows.items()})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return Memory()


def write_memory(path: Path, memory: Memory, config: ArchiveItemsConfig) -> None:
    rows = [{"source": source, "identifier": name, **asdict(known)} for (source, name), known in sorted(memory.items.items())]
    write_file_atomically(path, json.dumps({"choice": _choice(config), "items": rows}, default=str).encode())


def _choice(config: ArchiveItemsConfig) -> list[Any]:
    return [config.prefer, config.files, config.max_file_mib]


def _line(source: str, stated: Stated) -> str:
    return json.dumps({"source": source, "stated": stated.to_json()})
