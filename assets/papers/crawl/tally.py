"""Counts of one night, and the nights so far as a table and a small picture."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assets.papers.crawl.unfinished import Done
from stages.markdown import escape, table

_NIGHTS_SHOWN = 14
_KINDS = ("robots", "index", "api", "article", "image")


@dataclass
class Night:
    """What one crawl did. day: of its sources, the last. requests: made, by kind, retries included. papers_*: as far as the pages tell.

    papers_gone: pages of papers found missing for the second time. papers_withdrawn: newly marked as retracted or deleted by their source.
    problems: addresses that could not be had. page_problems: places in pages that their page objects could not use.
    sources_without_papers: those that have told of no paper in this night or any before.
    is_new: whether the crawl changed the raw store.
    """

    output: str
    crawl: int
    day: str
    started_at: str
    is_new: bool = False
    seconds: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    stored: int = 0
    stored_bytes: int = 0
    unchanged: int = 0
    problems: int = 0
    page_problems: int = 0
    papers_new: int = 0
    papers_changed: int = 0
    papers_gone: int = 0
    papers_withdrawn: int = 0
    sources_without_papers: list[str] = field(default_factory=list)

    @property
    def total_requests(self) -> int:
        return sum(self.requests.values())

    def count(self, done: Iterable[Done]) -> None:
        """Take over what the crawl's log says."""
        done = list(done)
        tries: Counter[str] = Counter()
        for entry in done:
            tries[entry.kind] += entry.tries
        self.requests = {kind: tries[kind] for kind in _KINDS}
        self.stored = sum(entry.outcome == "stored" for entry in done)
        self.unchanged = sum(entry.outcome in {"unchanged", "same", "still_gone"} for entry in done)
        self.problems = sum(bool(entry.problem) for entry in done)


def append_night(path: Path, night: Night) -> None:
    """Add a line to the file of nights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(night)) + "\n")


def read_nights(path: Path, output: str) -> list[Night]:
    """The nights of that output folder, oldest first; lines that a killed program tore are left out."""
    nights = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            night = Night(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if night.output == output:
            nights.append(night)
    return nights


def nights_table(nights: Sequence[Night]) -> str:
    """The last nights as Markdown, newest first."""
    header = ["day", "requests", "images asked", "stored", "unchanged", "new", "changed", "gone", "withdrawn", "problems"]
    rows = [
        [
            escape(night.day),
            *(
                f"{number:,}"
                for number in (
                    night.total_requests,
                    night.requests.get("image", 0),
                    night.stored,
                    night.unchanged,
                    night.papers_new,
                    night.papers_changed,
                    night.papers_gone,
                    night.papers_withdrawn,
                    night.problems,
                )
            ),
        ]
        for night in reversed(nights[-_NIGHTS_SHOWN:])
    ]
    return table(header, rows)


def sparkline(values: Sequence[int]) -> str:
    """One block a value, as high as it is beside the largest; nothing for 0."""
    blocks = "▁▂▃▄▅▆▇█"
    top = max(values, default=0)
    return "".join(blocks[round((len(blocks) - 1) * value / top)] if value else "·" for value in values)


def nights_picture(nights: Sequence[Night]) -> str:
    """New, changed and gone papers over the nights, as lines of blocks, oldest first."""
    shown = nights[-_NIGHTS_SHOWN:]
    series = {
        "requests": [night.total_requests for night in shown],
        "new papers": [night.papers_new for night in shown],
        "changed papers": [night.papers_changed for night in shown],
        "gone or withdrawn": [night.papers_gone + night.papers_withdrawn for night in shown],
    }
    rows = [[name, f"`{sparkline(values)}`", f"{max(values, default=0):,}"] for name, values in series.items()]
    return table(["over the nights", "oldest to newest", "most"], rows)
