"""What each source gave: pages, papers with title, abstract and picture, and what was set aside, and why.

    python -m assets.papers.sources_report                  a Markdown table on standard output
    python -m assets.papers.sources_report --data ../other/data

Reads `journal_pages` and `papers`, and `toc_images` where there is one; makes nothing.
"""

import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from assets.papers.raw_pages import RawPages, RawPagesError
from stages.markdown import escape, table

_NO_PAGE = ("robots", "image")


class ReportError(Exception):
    """There is nothing to report on, or it cannot be read."""


@dataclass(frozen=True)
class SourceReport:
    """The counts of one source. A paper that several sources tell of is counted with the one that `papers` believes first.

    pages: stored lists, answers and articles that are there. pictures: stored ones. complete: papers with title, abstract and picture.
    usable: pictures that were decoded, None where they have not been yet. set_aside: by reason, of pages, papers and pictures.
    """

    name: str
    licence: str = ""
    pages: int = 0
    pictures: int = 0
    papers: int = 0
    with_title: int = 0
    with_abstract: int = 0
    with_picture: int = 0
    complete: int = 0
    translations: int = 0
    near_duplicates: int = 0
    usable: int | None = None
    set_aside: Mapping[str, int] = field(default_factory=dict)


def report_sources(data: Path) -> list[SourceReport]:
    """One report a source, in the order of the parameters. Raises ReportError."""
    for name in ("journal_pages", "papers"):
        if not (data / name).is_dir():
            raise ReportError(f"{data / name}: no such folder; run `figment materialize papers` first")
    try:
        with RawPages(data / "journal_pages") as raw:
            sources, problems = raw.sources(), raw.problems()
            stored = Counter(
                (record.source, record.kind) for record in {record.url: record for record in raw.records()}.values() if record.status == 200
            )
    except RawPagesError as error:
        raise ReportError(str(error)) from error
    papers = Counter(_paper_facts(data / "papers"))
    # Reasons come from three places: the crawl, the reading of pages, the decoding of pictures.
    aside = Counter((problem.source, problem.kind) for problem in problems)
    aside += Counter((row["source"], row["reason"]) for row in _rows(data / "papers/rejected.parquet"))
    aside += Counter((row["source"], row["reason"]) for row in _rows(data / "toc_images/rejected.parquet"))
    decoded = Counter(row["source"] for row in _rows(data / "toc_images/index.parquet")) if (data / "toc_images").is_dir() else None
    return [
        SourceReport(
            name,
            licence=source.licence,
            pages=sum(count for (of, kind), count in stored.items() if of == name and kind not in _NO_PAGE),
            pictures=stored[name, "image"],
            **{fact: papers[name, fact] for fact in _FACTS},
            usable=decoded[name] if decoded is not None else None,
            set_aside={reason: count for (of, reason), count in sorted(aside.items()) if of == name},
        )
        for name, source in sources.items()
    ]


_FACTS = ("papers", "with_title", "with_abstract", "with_picture", "complete", "translations", "near_duplicates")


def _paper_facts(folder: Path) -> Iterable[tuple[str, str]]:
    """(source, fact) for everything that is true of a paper."""
    for path in sorted(folder.glob("papers-*.parquet")):
        for row in _rows(path):
            has = {"with_title": row["title"], "with_abstract": row["abstract"], "with_picture": row["image_sha256"]}
            true = ["papers", *(name for name, value in has.items() if value)]
            true += (
                ["complete"] * all(has.values())
                + ["translations"] * bool(row["translation_of"])
                + ["near_duplicates"] * bool(row["near_duplicate_of"])
            )
            yield from ((row["source"], fact) for fact in true)


def _rows(path: Path) -> list[dict]:
    return pq.read_table(path, partitioning=None).to_pylist() if path.is_file() else []


def markdown(reports: Sequence[SourceReport]) -> str:
    """The reports as one table."""
    header = ["source", "licence", "pages", "papers", "with title", "with abstract", "with picture", "complete", "usable pictures", "set aside"]
    rows = []
    for report in reports:
        counts = (report.pages, report.papers, report.with_title, report.with_abstract, report.with_picture, report.complete)
        reasons = ", ".join(f"{count:,} {escape(reason.replace('_', ' '))}" for reason, count in report.set_aside.items())
        usable = "-" if report.usable is None else f"{report.usable:,}"
        rows.append([escape(report.name), escape(report.licence), *(f"{count:,}" for count in counts), usable, reasons or "-"])
    return table(header, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 when there is nothing to report on."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="the folder of the artifacts (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        print(markdown(report_sources(arguments.data)), end="")
    except ReportError as error:
        print(f"figment: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
