"""Make small raw stores whose pages say, as JSON, what a page object would find on them, and build papers and pictures from them."""

import datetime
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from assets.papers.build import BuildFacts, PapersConfig, build_papers
from assets.papers.items import Page, Paper, Parsed, Problem, Withdrawal
from assets.papers.raw_pages import RawPages, SourceInfo, StoredPage
from stages.retractions import Request
from tests.assets.papers.raw_pages_writer import RawPagesWriter

SOURCES = (SourceInfo("letters", "json", "CC-BY-4.0"), SourceInfo("registry", "json", "CC0-1.0"))


def parse(page: Page) -> Parsed:
    """What the page says of itself."""
    said = json.loads(page.body)
    if said == "fail":
        raise RuntimeError("this page object fails")
    return Parsed(
        papers=tuple(Paper(**_values(paper)) for paper in said["papers"]),
        withdrawals=tuple(Withdrawal(*notice) for notice in said.get("withdrawals", [])),
        problems=tuple(Problem(*problem) for problem in said.get("problems", [])),
    )


def _values(paper: dict[str, Any]) -> dict[str, Any]:
    return paper | {"date": datetime.date.fromisoformat(paper["date"])} if "date" in paper else paper


def find(name: str):
    if name != "json":
        raise ValueError(f"page '{name}' is not known")
    return parse


def day(crawl: int) -> datetime.date:
    return datetime.date(2026, 1, 1) + datetime.timedelta(days=crawl - 1)


def paper(number: int, **values: Any) -> dict[str, Any]:
    """A paper as a listing tells of it: no DOI, no abstract."""
    address = f"http://letters.example/{number}"
    return {"key": address, "url": address, "title": f"Synthesis of imaginary compound number {number}"} | values


def picture(seed: int, side: int = 40) -> bytes:
    """A PNG of its own for every seed."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (seed % 256, seed // 256 % 256, 99)).save(stream, format="PNG")
    return stream.getvalue()


class Store:
    """A raw store under construction."""

    def __init__(self, folder: Path, sources: Sequence[SourceInfo] = SOURCES) -> None:
        self.folder, self.sources = folder, sources
        self._answers: list[dict[str, Any]] = []
        self._written = -1
        self._records: list[StoredPage] = []

    def page(
        self,
        url: str,
        *papers: Mapping[str, Any],
        crawl: int = 1,
        kind: str = "index",
        source: str = "letters",
        withdrawals: Sequence = (),
        problems: Sequence = (),
        **more: Any,
    ) -> "Store":
        said = {"papers": list(papers), "withdrawals": list(withdrawals), "problems": list(problems)}
        return self.answer(url, json.dumps(said).encode(), crawl=crawl, kind=kind, source=source, content_type="application/json", **more)

    def picture(self, url: str, data: bytes, *, crawl: int = 1, source: str = "letters", **more: Any) -> "Store":
        return self.answer(url, data, crawl=crawl, kind="image", source=source, content_type="image/png", **more)

    def gone(self, url: str, *, crawl: int, kind: str = "article", source: str = "letters", status: int = 404) -> "Store":
        return self.answer(url, b"", crawl=crawl, kind=kind, source=source, status=status)

    def moved(self, url: str, target: str, *, crawl: int, kind: str = "article", source: str = "letters") -> "Store":
        return self.answer(url, b"", crawl=crawl, kind=kind, source=source, status=301, headers={"Location": target})

    def answer(self, url: str, body: bytes, *, crawl: int, **more: Any) -> "Store":
        self._answers.append({"url": url, "body": body, "crawl": crawl, "day": day(crawl)} | more)
        return self

    def write(self) -> Path:
        if self._written == len(self._answers):
            return self.folder
        # Later crawls are added, as a crawl adds them; anything else is another store.
        old, new = self._answers[: max(0, self._written)], self._answers[max(0, self._written) :]
        last = max((answer["crawl"] for answer in old), default=0)
        if not old or min(answer["crawl"] for answer in new) <= last:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._records, new = [], self._answers
        self._written = len(self._answers)
        with RawPagesWriter(self.folder, self.sources, self._records) as writer:
            for answer in new:
                writer.add(**answer)
        return self.folder


def build(
    store: Store, target: Path, *, requests: Sequence[Request] = (), config: PapersConfig | None = None, scratch: Path | None = None
) -> BuildFacts:
    """Write the store and build papers from it into `target`."""
    with RawPages(store.write()) as raw:
        return build_papers(
            config or PapersConfig(rows_per_shard=4), raw, target, requests=requests, scratch=scratch or target.parent / "scratch", find=find
        )


def rows(target: Path) -> list[dict]:
    """All papers, by serial."""
    return [row for shard in sorted(target.glob("papers-*.parquet")) for row in pq.read_table(shard).to_pylist()]


def table(target: Path, name: str) -> list[dict]:
    return pq.read_table(target / f"{name}.parquet").to_pylist()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
