"""What a night costs `papers`: a first build, a night without changes and a night in which 1 % changed, on a crawl's store of drawn papers.

    python -m bench.nights                                # 1,000 papers
    python -m bench.nights --scale std --json nights.json # 1,000, 10,000 and 60,000 papers, several minutes
    python -m bench.nights --papers 10000

The store is what a crawl leaves: issue pages of 100 papers, an article page and a picture for each paper, in WARC files with their index. In the
night of 1 %, six in ten of those papers have another abstract, three in ten are new (with issue page and picture), one in ten is retracted; a tenth
of all issue pages have another title in them. The last build is compared, byte for byte, with one from scratch, without a memory. CPU seconds are
those of the whole process with its start (rusage), peak memory is its resident set, bytes are all that it wrote. Aims, of the first build's CPU: 5 %
without changes, 8 % at 1 %; 400 MiB for both. Exits 1 when a build differs from one from scratch, or a counter is not as it should be.
"""

import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from assets.papers.items import PageKind
from assets.papers.raw_pages import RawPages, SourceInfo, StoredPage, stored_page, warc_name, write_index, write_problems, write_sources
from assets.papers.warc_store import Exchange, WarcWriter
from bench.measuring import parser, processor, usage_of, write_report

SCALES = {"smoke": (1_000,), "std": (1_000, 10_000, 60_000)}
PER_ISSUE = 100
AIMS = {"no change": 0.05, "1 %": 0.08}
AIM_MIB = 400
SITE = "http://letters.example"
COUNTERS = ("pages_parsed", "papers_merged", "texts_compared", "shards_written", "rows")

# The stage as DVC runs it; what it tells of itself and what the kernel counted of its writing go into a file.
PROGRAM = """
import json, sys
from pathlib import Path
from assets.papers import build
from stages.reporting import Reporter

told = {}
Reporter.metadata = lambda self, **values: told.update(values)
code = build.main([])
written = next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar"))
Path("told.json").write_text(json.dumps({**told, "bytes_written": int(written.partition(":")[2])}, default=str))
sys.exit(code)
"""


class Journal:
    """Papers drawn from a seed; `night` says what each page shows, and `crawl` stores what is new of it."""

    def __init__(self, root: Path, papers: int) -> None:
        self.folder, self.papers = root / "data/journal_pages", papers
        self.folder.mkdir(parents=True)
        self._random = random.Random(papers)
        # Words by Zipf's law, as in texts.
        self._words = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "nu", "re", "so", "ti", "ve") for b in _SYLLABLES for c in _SYLLABLES]
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(len(self._words))))
        self._crawl = 0
        self._records: list[StoredPage] = []
        self._abstracts: dict[int, str] = {}
        self._titles: dict[int, str] = {}
        self._retracted: set[int] = set()
        (root / "params.yaml").write_text("papers: {}\n")

    def first_night(self) -> None:
        """Every paper, for the first time."""
        self._come(range(self.papers))

    def night_of_one_percent(self) -> int:
        """Changed, new and retracted papers; gives how many pages a crawl stored."""
        share = max(10, self.papers // 100)
        known = self._random.sample(range(self.papers), share * 7 // 10)
        changed, retracted = known[: share * 6 // 10], known[share * 6 // 10 :]
        self._retracted.update(retracted)
        self._abstracts.update((number, self._text(120)) for number in changed)
        issues = self._random.sample(range(self.papers // PER_ISSUE), max(1, self.papers // PER_ISSUE // 10))
        self._titles.update((issue * PER_ISSUE, self._text(9)) for issue in issues)
        new = range(self.papers, self.papers + share * 3 // 10)
        self.papers = new.stop
        return self._come(new, also=[*changed, *retracted], issues=issues)

    def _come(self, new: range, *, also: Iterable[int] = (), issues: Iterable[int] = ()) -> int:
        for number in new:
            # One paper in fifty repeats the one before it, but for its first word.
            repeats = number % 50 == 49
            self._titles[number] = self._titles[number - 1] if repeats else self._text(9)
            self._abstracts[number] = f"anew {self._abstracts[number - 1]}" if repeats else self._text(self._random.randint(60, 160))
        self._crawl += 1
        with WarcWriter(self.folder / warc_name(self._crawl), about={"software": "figment"}) as writer:
            for issue in sorted({*issues, *(number // PER_ISSUE for number in new)}):
                self._store(writer, f"{SITE}/toc/letters/1/{issue + 1}", "index", "lists", self._issue(issue))
            for number in [*new, *also]:
                self._store(writer, f"{SITE}/doi/10.5555/bench.{number}", "article", "articles", self._article(number))
            for number in new:
                picture = b"\x89PNG\r\n\x1a\n" + hashlib.shake_128(str(number).encode()).digest(2_000)
                self._store(writer, f"{SITE}/images/{number}_0001.png", "image", "lists", picture)
        write_index(self.folder / "index.parquet", self._records)
        sources = [SourceInfo("lists", "acs_lists", "CC-BY-4.0"), SourceInfo("articles", "article", "CC-BY-4.0")]
        write_sources(self.folder / "sources.parquet", sources)
        write_problems(self.folder / "problems.parquet", [])
        return sum(record.crawl == self._crawl and record.kind != "image" for record in self._records)

    def _store(self, writer: WarcWriter, url: str, kind: PageKind, source: str, body: bytes) -> None:
        day = date(2026, 1, 1) + timedelta(days=self._crawl)
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        headers = (("Content-Type", "image/png" if kind == "image" else "text/html; charset=utf-8"),)
        place = writer.write(Exchange(url, moment, 200, headers, body))
        facts: dict[str, Any] = {"source": source, "kind": kind, "crawl": self._crawl, "day": day, "fetched_at": moment, "status": 200}
        self._records.append(stored_page(headers, place, url=url, content_sha256=hashlib.sha256(body).hexdigest(), tdm_reserved=None, **facts))

    def _issue(self, issue: int) -> bytes:
        numbers = range(issue * PER_ISSUE, min(self.papers, (issue + 1) * PER_ISSUE))
        items = "".join(
            f'<div class="issue-item clearfix"><h5 class="issue-item_title"><a href="/doi/10.5555/bench.{number}" title="t">{self._titles[number]}'
            f"</a></h5><img data-src='/images/{number}_0001.png'><span class='issue-item_page-range'>{number}-{number + 7}</span></div>"
            for number in numbers
        )
        return f"<!DOCTYPE html><html><body>{items}</body></html>".encode()

    def _article(self, number: int) -> bytes:
        title = ("RETRACTED: " if number in self._retracted else "") + self._titles[number]
        return (
            f'<!DOCTYPE html><html><head><title>{title}</title><meta name="citation_title" content="{title}">'
            f'<meta name="citation_doi" content="10.5555/bench.{number}"><meta name="citation_journal_title" content="Letters">'
            f'<meta name="citation_publication_date" content="2025/0{number % 9 + 1}/11"></head><body><h1>{title}</h1>'
            f'<section id="abstract"><p>{self._abstracts[number]}</p></section></body></html>'
        ).encode()

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=words))


_SYLLABLES = [f"{consonant}{vowel}{end}" for consonant in "bdfgklmnprst" for vowel in "aeiou" for end in ("", "n")]


def build(root: Path) -> dict[str, Any]:
    """Run the stage in `root`: CPU and wall seconds, peak MiB, bytes written and counters."""
    usage, wall_s = usage_of([sys.executable, "-c", PROGRAM], cwd=root, variables={})
    told = json.loads((root / "told.json").read_text())
    spent = {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall_s, "peak_mib": usage.ru_maxrss / 1024, "bytes_written": told["bytes_written"]}
    return spent | {name: told.get(name, 0) for name in COUNTERS}


def contents(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((root / "data/papers").iterdir())}


def measure(papers: int) -> dict[str, Any]:
    """One size of store."""
    with tempfile.TemporaryDirectory(prefix="figment-nights-") as folder:
        root = Path(folder)
        journal = Journal(root, papers)
        journal.first_night()
        builds = {"first": build(root)}
        before = contents(root)
        builds["no change"] = build(root)
        is_same = contents(root) == before
        stored = journal.night_of_one_percent()
        builds["1 %"] = build(root)
        # The same store in a folder of its own, where nothing is remembered of it.
        scratch = root / "scratch"
        (scratch / "data").mkdir(parents=True)
        (scratch / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
        (scratch / "data/journal_pages").symlink_to(root / "data/journal_pages")
        builds["from scratch"] = build(scratch)
        is_same = is_same and contents(root) == contents(scratch)
        with RawPages(journal.folder) as raw:
            pages = sum(record.kind != "image" for record in raw.records())
    return {"papers": papers, "pages": pages, "pages_of_night": stored, "is_same": is_same, "builds": builds}


def faults(found: dict[str, Any]) -> list[str]:
    """What is wrong with the bytes and counters of one size."""
    builds = found["builds"]
    wanted = {
        ("first", "pages_parsed"): found["pages"] - found["pages_of_night"],
        ("no change", "pages_parsed"): 0,
        ("no change", "papers_merged"): 0,
        ("no change", "texts_compared"): 0,
        ("no change", "shards_written"): 0,
        ("1 %", "pages_parsed"): found["pages_of_night"],
    }
    wrong = [
        f"{found['papers']:,} papers, {build}: {name} is {builds[build][name]:,}, expected {number:,}"
        for (build, name), number in wanted.items()
        if builds[build][name] != number
    ]
    return wrong + ([] if found["is_same"] else [f"{found['papers']:,} papers: the bytes differ from those of a build from scratch"])


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--papers", type=int, metavar="N", help="one store of N papers, instead of those of the scale")
    arguments = flags.parse_args()
    report: dict[str, Any] = {"scale": arguments.scale, "processor": processor(), "sizes": []}
    wrong = []
    print(f"{report['processor']}; CPU with the start of the process")
    print(f"{'papers':>8} {'build':<13} {'CPU s':>7} {'of first':>9} {'peak MiB':>9} {'written MB':>11}  pages parsed, papers merged, texts, shards")
    for papers in [arguments.papers] if arguments.papers else SCALES[arguments.scale]:
        found = measure(papers)
        report["sizes"].append(found)
        wrong += faults(found)
        for name, spent in found["builds"].items():
            share = spent["cpu_s"] / found["builds"]["first"]["cpu_s"]
            counts = ", ".join(f"{spent[counter]:,}" for counter in COUNTERS[:4])
            print(
                f"{papers:>8,} {name:<13} {spent['cpu_s']:>7.2f} {share:>8.1%} {spent['peak_mib']:>9.0f} "
                f"{spent['bytes_written'] / 1e6:>11.2f}  {counts}" + (f"   aim {AIMS[name]:.0%}, {AIM_MIB} MiB" if name in AIMS else ""),
                flush=True,
            )
    write_report(arguments.json, report)
    for line in wrong:
        print(f"nights: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
