"""A month of nights, simulated: what a restless site and a registry cost when next to nothing changes, night by night.

    python -m bench.quiet_month                                    # 5 nights
    python -m bench.quiet_month --scale std --before ../checkout   # 30 nights, the crawl of another checkout beside ours

The site writes another token, counter and comment into its lists at every request, and links to a list that is not there. The registry speaks
OAI-PMH. Every fifth night brings one paper and one record; in between nothing that a page object reads changes. First checked: both sides find as
many new papers in every night. Then printed: requests, bytes added to the store, answers stored and new papers, by night; CPU seconds of all.
Exits 1 when a night without news stored anything on our side.
"""

import itertools
import json
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from assets.demo_sites.exchange import Request, Response
from assets.demo_sites.oai import OaiRecord, OaiRepository
from assets.demo_sites.server import serve
from bench.measuring import cpu_and_wall_s, parser, processor, write_report

SCALES = {"smoke": (6, 3, 10, 250), "std": (30, 20, 50, 2_000)}  # nights, lists, papers a list, records
FIRST_DAY = date(2026, 6, 1)
LETTERS, RECORDS = "letters.example", "records.example"
OURS = [sys.executable, "-m", "assets.papers.crawl"]
SOURCES = [
    {"name": "letters", "page": "acs_lists", "start": [f"http://{LETTERS}/toc/letters/1/1"]},
    {"name": "records", "page": "oai", "start": [f"http://{RECORDS}/oai?verb=ListRecords&metadataPrefix=oai_dc"], "start_kind": "api"},
]


@dataclass
class Month:
    """Both sites of one side. today: the day that their clocks show."""

    lists: int
    per_list: int
    records: list[OaiRecord]
    today: date = FIRST_DAY
    papers: int = 0
    hosts: tuple[str, ...] = (LETTERS, RECORDS)
    _count: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.papers = self.lists * self.per_list

    def now(self) -> datetime:
        return datetime(self.today.year, self.today.month, self.today.day, 3, tzinfo=UTC)

    def news(self) -> None:
        """One paper more, and one record."""
        self.papers += 1
        self.records.append(_record(len(self.records), self.today))

    def respond(self, request: Request) -> Response:
        if request.host == RECORDS and request.path == "/oai":
            return OaiRepository("Records", f"http://{RECORDS}/oai", self.records, page_size=100).answer(request.query, self.now())
        number = request.path.rpartition("/")[2]
        if request.path.startswith("/toc/letters/1/") and number.isdigit() and int(number) <= self.lists:
            return Response(self._list(int(number)))
        if request.path.startswith("/images/"):
            return Response(b"\x89PNG\r\n\x1a\n" + request.path.encode() * 40, "image/png")
        return Response(b"there is nothing here", status=404)

    def _list(self, number: int) -> bytes:
        mine = range((number - 1) * self.per_list, min(number * self.per_list, self.papers) if number < self.lists else self.papers)
        items = "".join(
            f'<div class="issue-item"><h5 class="issue-item_title"><a href="/doi/10.5555/month.{paper}" title="t">Paper {paper}</a></h5>'
            f"<img data-src='/images/{paper}.png'><span class='hlFld-Abstract'><p>{f'What paper {paper} found. ' * 20}</p></span></div>"
            for paper in mine
        )
        # One issue more than there are.
        numbers = range(1, self.lists + 2) if number == 1 else ()
        links = "".join(f'<a class="issue" href="/toc/letters/1/{other}">Issue {other}</a>' for other in numbers)
        token = next(self._count)
        head = f"<!doctype html><html><head><meta name=csrf content=t{token}></head>"
        return f"{head}<body><!-- {token} visitors -->{links}{items}</body></html>".encode()


def _record(number: int, day: date) -> OaiRecord:
    said = (("title", f"Record {number}"), ("description", f"What record {number} tells. " * 20), ("identifier", f"http://{RECORDS}/{number}"))
    return OaiRecord(f"oai:{RECORDS}:{number}", day, said)


def live(folder: Path, scale: str, checkout: Path | None) -> list[dict]:
    """The nights of one side, in order; checkout: whose code crawls, ours unless told otherwise."""
    nights, lists, per_list, records = SCALES[scale]
    month = Month(lists, per_list, [_record(number, FIRST_DAY - timedelta(days=30)) for number in range(records)])
    variables = {"PYTHONPATH": str(checkout.resolve())} if checkout else {}
    rows = []
    with serve(month) as server:
        common = {"via": server.proxy, "licence": "CC0-1.0", "delay_s": 0}
        section = {"contact": "bench@figment-crawl.net", "concurrency_per_host": 8, "sources": [source | common for source in SOURCES]}
        (folder / "params.yaml").write_text(json.dumps({"journal_pages": section}))
        for number in range(nights):
            month.today = FIRST_DAY + timedelta(days=number)
            has_news = number > 0 and number % 5 == 4
            if has_news:
                month.news()
            store = folder / "data/journal_pages"
            before = sum(path.stat().st_size for path in store.glob("crawl-*")) if store.is_dir() else 0
            cpu_s, _ = cpu_and_wall_s(OURS, cwd=folder, variables=variables)
            night = json.loads((folder / ".figment/crawls/journal_pages/nights.jsonl").read_text().splitlines()[-1])
            added = sum(path.stat().st_size for path in store.glob("crawl-*")) - before
            rows.append({"night": number + 1, "has_news": has_news, "requests": sum(night["requests"].values()), "bytes": added,
                         "stored": night["stored"], "papers_new": night["papers_new"], "cpu_s": round(cpu_s, 2)})  # fmt: skip
    return rows


def main() -> int:
    arguments_parser = parser(__doc__)
    arguments_parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout of this project, whose crawl goes beside ours")
    arguments = arguments_parser.parse_args()
    sides: dict[str, list[dict]] = {}
    for name, checkout in (("ours", None), ("before", arguments.before)):
        if name == "ours" or checkout:
            with tempfile.TemporaryDirectory() as folder:
                sides[name] = live(Path(folder), arguments.scale, checkout)
    news = {name: [row["papers_new"] for row in rows] for name, rows in sides.items()}
    if any(found != news["ours"] for found in news.values()):
        raise SystemExit(f"quiet_month: the sides do not find the same papers: {news}")
    print(f"on {processor()}; requests, bytes added, answers stored" + (", ours and before" if arguments.before else ""))
    for row in zip(*sides.values(), strict=True):
        shown = " | ".join(f"{side['requests']:>6,} {side['bytes']:>10,} {side['stored']:>6,}" for side in row)
        print(f"night {row[0]['night']:>2} {row[0]['papers_new']:>6,} new | {shown}")
    for name, rows in sides.items():
        requests, added, cpu_s = (sum(row[column] for row in rows) for column in ("requests", "bytes", "cpu_s"))
        print(f"{name}: {requests:,} requests, {added:,} bytes, {cpu_s:.1f} CPU-s")
    write_report(arguments.json, {"scale": arguments.scale, "sides": sides})
    loud = [row["night"] for row in sides["ours"][1:] if not row["has_news"] and row["stored"]]
    if loud:
        print(f"quiet_month: nights {loud} had no news and stored something", file=sys.stderr)
    return 1 if loud else 0


if __name__ == "__main__":
    sys.exit(main())
