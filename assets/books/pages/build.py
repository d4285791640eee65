"""Draw every page of every file of the items in `archive_items`, each under its own id, and gather them with what is written on them.

python -m assets.books.pages.build
python -m assets.books.pages.build --workers 1
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from assets.books.pages.checks import report_page_checks
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawn_pages import DrawnPages, ItemFile
from assets.books.pages.pdf import missing_program
from assets.books.pages.supervising import FileFacts, Page
from assets.books.tables import PAGE_FILES, PAGES, REJECTED_PAGES, WITHDRAWN_ITEMS
from assets.images.columns import UNKNOWN_LICENCE
from assets.images.gather import GatherConfig, GatherFacts, Original, gather
from assets.images.gather_report import report_gathered
from formats.stored_zip import DamagedZipError
from formats.tables import read_table, table_from_rows, write_table
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import add_workers, program, worker_count
from stages.reporting import Reporter
from stages.retractions import Request, Requests, RetractionsError, read_requests

# A picture of a dataset has a serial number of eight digits.
_MOST_SERIALS = 100_000_000
_KINDS = ("pdf", "jp2_zip")


class PagesError(Exception):
    """The pages cannot be made: `archive_items` is missing or damaged, or the engine that params.yaml names is not installed."""


@dataclass
class PagesFacts:
    """What a build did. texts: pages with a text. withdrawn: items. files_drawn, files_reused: drawn anew, and taken over without being opened."""

    gathered: GatherFacts = field(default_factory=GatherFacts)
    files: int = 0
    texts: int = 0
    withdrawn: int = 0
    files_drawn: int = 0
    files_reused: int = 0


def build_pages(
    config: BookPagesConfig, archive: Path, requests: Sequence[Request], target: Path, *, scratch: Path, workers: int, reporter: Reporter
) -> PagesFacts:
    """Write `book_pages` into the folder `target` from the folder `archive` of `archive_items`.

    requests: of retractions.yaml. scratch: a folder for what may be lost; nothing in it decides what is written.
    Raises PagesError and OutputBusyError; the previous output is then untouched.
    """
    missing = missing_program(config.engine)
    if missing:
        raise PagesError(f"book_pages.engine is {config.engine}, whose program {missing} is not installed; install it, or set engine: auto")
    items = {row["identifier"]: row for row in _read(archive, "items.parquet")}
    withdrawn = _withdrawn(list(items.values()), requests)
    gone = {row["id"] for row in withdrawn}
    files = [_file(row, archive, config) for row in _read(archive, "files.parquet") if row["identifier"] in items and row["identifier"] not in gone]
    files.sort(key=lambda file: file.serial)
    pages = DrawnPages(config, target, scratch)
    found = pages.prepare(files, workers=workers, reporter=reporter)
    originals: list[Original] = []
    set_aside: list[dict[str, Any]] = []
    by_id: dict[str, tuple[ItemFile, Page]] = {}
    for file in files:
        facts = found[file.key]
        for page in facts.drawn:
            row = _columns(file, page.number, items[file.item_id]) | {"engine": page.engine}
            originals.append(Original(page.sha256, file.serial_of(page.number, config), row, partial(pages.png, file, page)))
            by_id[row["page_id"]] = (file, page)
        for number, reason, words in facts.aside:
            row = _columns(file, number, items[file.item_id])
            set_aside.append({**row, "serial": file.serial_of(number or 1, config), "reason": reason, "words": words})
    built = PagesFacts(files=len(files), withdrawn=len(withdrawn))

    def also(output: OutputFolder, index: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]) -> None:
        built.texts = pages.write_texts(output, (by_id[row["page_id"]] for row in index))
        write_table(output.file("files.parquet"), table_from_rows(PAGE_FILES, _file_rows(files, found, index, rejected)))
        write_table(output.file("withdrawn.parquet"), table_from_rows(WITHDRAWN_ITEMS, withdrawn))

    try:
        built.gathered = gather(
            originals, gathering(config), target, index_schema=PAGES, rejected_schema=REJECTED_PAGES, scratch=scratch, set_aside=set_aside, also=also
        )
    except DamagedZipError as error:
        raise PagesError(f"{error}; it changed while book_pages was made: run it again") from error
    pages.save()
    built.files_drawn, built.files_reused = pages.drawn, pages.reused
    return built


def gathering(config: BookPagesConfig) -> GatherConfig:
    """How the page images are published: PNGs that this project made, so the bounds only guard against ourselves."""
    most = config.page_px * config.page_px
    return GatherConfig(config.images_per_shard, max_mib=4 * most / 2**20 + 1, max_pixels=most, min_side_px=config.min_side_px, formats=["png"])


def _read(archive: Path, name: str) -> list[dict[str, Any]]:
    if not (archive / name).is_file():
        raise PagesError(f"{archive / name}: no such file; harvest the items first: `archive_items`")
    return read_table(archive / name).to_pylist()


def _file(row: Mapping[str, Any], archive: Path, config: BookPagesConfig) -> ItemFile:
    path = archive / row["path"]
    where = f"{archive / 'files.parquet'}: {row['identifier']}/{row['name']}"
    if row["kind"] not in _KINDS:
        raise PagesError(f"{where}: kind is {row['kind']!r}, expected {' or '.join(_KINDS)}")
    if not path.is_file() or not path.resolve().is_relative_to(archive.resolve()):
        raise PagesError(f"{where}: {row['path']} is not there; harvest the items again, or restore the folder with `dvc checkout`")
    if (row["serial"] + 1) * config.max_pages > _MOST_SERIALS:
        raise PagesError(f"{where}: file number {row['serial']:,} times max_pages = {config.max_pages:,} is over {_MOST_SERIALS:,}; lower max_pages")
    return ItemFile(row["identifier"], row["name"], row["serial"], row["kind"], row["sha256"], path)


def _withdrawn(items: Sequence[Mapping[str, Any]], requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Items that must not be used: asked for in retractions.yaml by identifier or address, or not shown by the archive any more."""
    wanted = Requests(requests)
    rows = []
    for item in sorted(items, key=lambda item: item["serial"]):
        request = wanted.naming([item["identifier"], item["url"]])
        row = {"id": item["identifier"], "serial": item["serial"]}
        if request:
            rows.append(row | {"reason": "on_request", "why": request.reason, "since": request.day})
        elif item["status"] == "dark":
            rows.append(row | {"reason": "dark", "why": item["words"] or "the archive shows it no more", "since": item["last_changed"]})
    return rows


def _columns(file: ItemFile, number: int | None, item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "page_id": None if number is None else file.page_id(number),
        "item_id": file.item_id,
        "file": file.name,
        "page": number,
        "licence": item["licence"] or UNKNOWN_LICENCE,
        "source": item["source"],
        "first_seen": item["first_seen"],
    }


def _file_rows(
    files: Sequence[ItemFile], found: Mapping[str, FileFacts], index: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Counted from the rows that are written, not on the way."""
    drawn: dict[tuple[str, str], int] = {}
    aside: dict[tuple[str, str], int] = {}
    for counts, rows in ((drawn, index), (aside, [row for row in rejected if row["page"] is not None])):
        for row in rows:
            counts[row["item_id"], row["file"]] = counts.get((row["item_id"], row["file"]), 0) + 1
    return [
        {
            "item_id": file.item_id,
            "file": file.name,
            "serial": file.serial,
            "sha256": file.sha256,
            "kind": file.kind,
            "pages": found[file.key].pages,
            "drawn": drawn.get((file.item_id, file.name), 0),
            "set_aside": aside.get((file.item_id, file.name), 0),
        }
        for file in files
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(PagesError, RetractionsError), configure=_configure)


def _configure(parser: ArgumentParser) -> None:
    add_workers(parser, "files drawn side by side")
    parser.add_argument(
        "--retractions", type=Path, default=Path("retractions.yaml"), metavar="PATH", help="withdrawals on request (default: %(default)s)"
    )


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "book_pages", BookPagesConfig, overrides=arguments.overrides)
    archive, target = arguments.data / "archive_items", arguments.data / "book_pages"
    requests = read_requests(arguments.retractions)
    scratch = Path(".figment") / "reuse" / "book_pages"
    facts = build_pages(config, archive, requests, target, scratch=scratch, workers=worker_count(arguments), reporter=reporter)
    counts = {"files": facts.files, "files_drawn": facts.files_drawn, "files_reused": facts.files_reused}
    reporter.metadata(**counts, pages_with_text=facts.texts, items_withdrawn=facts.withdrawn)
    report_gathered(facts.gathered, target, reporter)
    report_page_checks(target, archive, config.max_pages, reporter)
    reporter.log(
        f"book_pages: {facts.files:,} files, {facts.files_drawn:,} drawn, {facts.files_reused:,} as they were; "
        f"{facts.texts:,} pages with a text; {facts.withdrawn:,} items withdrawn"
    )


if __name__ == "__main__":
    sys.exit(main())
