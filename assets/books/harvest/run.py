"""What the sources of one harvest share, and what each of them counts."""

import itertools
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.harvest.store import Row, Store
from assets.books.harvest.unfinished import Memory
from stages.reporting import Reporter


class HarvestError(Exception):
    """Nothing could be harvested, or a source cannot be asked as params.yaml says; the same command goes on."""


@dataclass
class Tally:
    """What a harvest did at one source. left_out: items that its caps kept away. problems: what it could not say now; tomorrow it may."""

    source: str
    listed: int = 0
    asked: int = 0
    new: int = 0
    changed: int = 0
    dark: int = 0
    left_out: int = 0
    downloaded: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Run:
    """What the sources of a harvest share. store: as the harvest before left it, and changed by this one. own: its folder outside the output.

    downloaded: new files by their path in the output. waiting: files that are whole, or begun, and not settled today.
    """

    config: ArchiveItemsConfig
    target: Path
    store: Store
    memory: Memory
    own: Path
    reporter: Reporter
    tallies: list[Tally] = field(default_factory=list)
    downloaded: dict[str, Path] = field(default_factory=dict)
    waiting: set[Path] = field(default_factory=set)
    today: date = date.min

    def __post_init__(self) -> None:
        rows = self.store.items.values()
        self.serials = itertools.count(max((row["serial"] for row in rows), default=-1) + 1)
        self.file_serials = itertools.count(max((row["last_file"] for row in rows if row["last_file"] is not None), default=-1) + 1)
        self.number = max((row["first_harvest"] for row in rows), default=0) + 1
        self.asked_sources = {source.name for source in self.config.sources}
        self.replies, self.downloads = self.own / "replies", self.own / "downloads"

    def leave(self, row: Row, words: str, day: date) -> None:
        """Of an item that nobody asks for any more stay its row and its number."""
        if row["status"] in {"here", "without_file"}:
            row |= {"status": "left", "words": words, "last_changed": day}
            self.store.files.pop(row["identifier"], None)
            self.store.rejected.pop((row["source"], row["identifier"]), None)
