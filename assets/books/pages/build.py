"""Draw every page of every file of the items in `archive_items`, each under its own id, and gather them with what is written on them.

python -m assets.books.pages.build
python -m assets.books.pages.build --workers 1
"""

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from assets.books.items import Item, ItemFile, ItemsError, read_items
from assets.books.pages.checks import report_page_checks
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawn_pages import DrawnPages, page_id
from assets.books.pages.pdf import missing_program
from assets.books.pages.supervising import FileFacts, Page
from assets.books.tables import PAGE_FILES, PAGES, REJECTED_PAGES, WITHDRAWN_ITEMS
from assets.images.columns import UNKNOWN_LICENCE
from assets.images.gather import GatherConfig, GatherFacts, Original, gather
from assets.images.gather_report import report_gathered
from formats.stored_zip import DamagedZipError
from formats.tables import table_from_rows, write_table
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import add_workers, program, worker_count
from stages.reporting import Reporter
from stages.retractions import Request, Requests, RetractionsError, read_requests

# A picture of a dataset has a serial number of eight digits.
_MOST_SERIALS = 100_000_000


class PagesError(Exception):
    """The pages cannot be made: the engine that params.yaml names is not installed, or a number is too large."""


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
    Raises ItemsError, PagesError and OutputBusyError; the previous output is then untouched.
    """
    if missing := missing_program(config.engine):
        raise PagesError(f"book_pages.engine is {config.engine}, whose program {missing} is not installed; install it, or set engine: pdfium")
    items = read_items(archive)
    withdrawn = _withdrawn(items, requests)
    gone = {row["id"] for row in withdrawn}
    whole = [(item, file) for item in items if item.identifier not in gone for file in item.files]
    whole.sort(key=lambda pair: pair[1].serial)
    files = [file for _, file in whole]
    if files and (files[-1].serial + 1) * config.max_pages > _MOST_SERIALS:
        found = f"file number {files[-1].serial:,} times max_pages = {config.max_pages:,} is over {_MOST_SERIALS:,}"
        raise PagesError(f"{files[-1].identifier}/{files[-1].name}: {found}; lower book_pages.max_pages")
    pages = DrawnPages(config, target, scratch)
    found_of = pages.prepare(files, workers=workers, reporter=reporter)
    originals: list[Original] = []
    set_aside: list[dict[str, Any]] = []
    by_id: dict[str, tuple[ItemFile, Page]] = {}
    for (item, file), facts in zip(whole, found_of, strict=True):
        for page in facts.drawn:
            row = _columns(item, file, page.number) | {"engine": page.engine}
            originals.append(Original(page.sha256, pages.serial(file, page.number), row, partial(pages.png, file, page)))
            by_id[row["page_id"]] = (file, page)
        for number, reason, words in facts.aside:
            set_aside.append(_columns(item, file, number) | {"serial": pages.serial(file, number or 1), "reason": reason, "words": words})
    built = PagesFacts(files=len(files), withdrawn=len(withdrawn))

    def also(output: OutputFolder, index: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]) -> None:
        built.texts = pages.write_texts(output, (by_id[row["page_id"]] for row in index))
        write_table(output.file("files.parquet"), table_from_rows(PAGE_FILES, _file_rows(files, found_of, index, rejected)))
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


def _withdrawn(items: Sequence[Item], requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Items that must not be used: asked for in retractions.yaml by identifier or address, or not shown by the archive any more."""
    wanted = Requests(requests)
    rows = []
    for item in items:
        row = {"id": item.identifier, "serial": item.serial}
        if request := wanted.naming([item.identifier, item.url]):
            rows.append(row | {"reason": "on_request", "why": request.reason, "since": request.day})
        elif item.status == "dark":
            rows.append(row | {"reason": "dark", "why": item.words, "since": item.last_changed})
    return rows


def _columns(item: Item, file: ItemFile, number: int | None) -> dict[str, Any]:
    name = None if number is None else page_id(file, number)
    about = {"licence": item.licence or UNKNOWN_LICENCE, "source": item.source, "first_seen": item.first_seen}
    return {"page_id": name, "item_id": item.identifier, "file": file.name, "page": number, **about}


def _file_rows(
    files: Sequence[ItemFile], found: Sequence[FileFacts], index: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Counted from the rows that are written, not on the way."""
    drawn = Counter((row["item_id"], row["file"]) for row in index)
    aside = Counter((row["item_id"], row["file"]) for row in rejected if row["page"] is not None)
    rows = []
    for file, facts in zip(files, found, strict=True):
        place = (file.identifier, file.name)
        counts = {"pages": facts.pages, "drawn": drawn[place], "set_aside": aside[place]}
        rows.append({"item_id": file.identifier, "file": file.name, "serial": file.serial, "sha256": file.sha256, "kind": file.kind, **counts})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(ItemsError, PagesError, RetractionsError), configure=_configure)


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
