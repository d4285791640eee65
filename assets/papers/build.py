"""Build `papers` from the stored journal pages: one row a paper, merged from all that was said of it; withdrawn ones leave, and why is told.

    python -m assets.papers.build
    python -m assets.papers.build --retractions retractions.yaml

Nothing is fetched. Reading pages again with a better page object costs no request; pages that were read before are remembered.
"""

import hashlib
import json
import sys
import unicodedata
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa

from assets.papers.build_facts import BuildFacts, PapersConfig
from assets.papers.build_memory import BuildMemory, files_of, read_receipt, write_receipt
from assets.papers.checks import report_checks, report_shares
from assets.papers.guarded_reading import supervised
from assets.papers.items import PageObject
from assets.papers.night import Night
from assets.papers.page_objects import find_page_object
from assets.papers.parsed_memo import ParsedMemo, code_version
from assets.papers.raw_pages import RawPages, RawPagesError
from assets.papers.reading import PageReader, UnknownPage
from assets.papers.withdrawals import REASONS
from formats.tables import read_table
from stages.files import sha256_of
from stages.markdown import counted, escape
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from stages.retractions import Request, RetractionsError, read_requests

_OWN_MODULE = "assets.papers.build"


class BuildError(Exception):
    """The papers cannot be built: there is no raw store, or a source names a page object that does not exist."""


def build_papers(
    config: PapersConfig,
    raw: RawPages,
    target: Path,
    *,
    requests: Sequence[Request] = (),
    scratch: Path,
    find: Callable[[str], PageObject] = find_page_object,
) -> BuildFacts:
    """Write `papers` into the folder `target`.

    scratch: a folder for what builds remember; nothing in it decides what is written.
    Raises BuildError, RawPagesError, OutputBusyError; the previous output is then untouched.
    """
    # The lock of the output is that of the memory too.
    with OutputFolder(target) as output, closing(ParsedMemo(scratch)) as memo:
        try:
            reader = PageReader(raw, memo, find)
        except UnknownPage as error:
            raise BuildError(str(error)) from None
        identity = _identity(config, reader)
        inputs = _digest([identity, [asdict(request) for request in requests], [sha256_of(path) for path in sorted(raw.folder.glob("*.parquet"))]])
        receipt = read_receipt(scratch, inputs, target)
        if receipt is not None:
            for name in receipt["files"]:
                output.keep(name)
            return _facts_again(receipt["facts"])
        with closing(BuildMemory(scratch, identity)) as memory:
            night = Night(config, raw, reader, memory, target, requests)
            night.read()
            night.merge()
            night.compare()
            facts = night.write(output)
            if night.is_first:
                memo.keep_only(reader.asked)
            facts.pages_parsed, facts.pages_reused = memo.added, reader.answers - memo.added
            # Noted before they take their place: a build that is killed in between leaves files that nobody has noted, and those are made again.
            written = files_of(output.folder)
            memory.note(files=written)
            memory.save(raw.index())
        write_receipt(scratch, inputs, {"files": written, "facts": vars(facts)})
    return facts


def _identity(config: PapersConfig, reader: PageReader) -> str:
    """Of everything but the store and the requests that decides what is written: code, libraries, parameters, and how each source is read."""
    code = code_version(_OWN_MODULE)
    sources = [[source.name, source.licence, reader.versions[source.name]] for source in reader.sources.values()]
    return _digest([code, sys.version_info[:2], unicodedata.unidata_version, pa.__version__, numpy.__version__, asdict(config), sources])


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def _facts_again(told: Mapping[str, Any]) -> BuildFacts:
    """The facts of a build of what was built before."""
    facts = BuildFacts(**told)
    facts.sources = {name: Counter(counts) for name, counts in facts.sources.items()}
    facts.withdrawn, facts.rejected = Counter(facts.withdrawn), Counter(facts.rejected)
    facts.pages_reused += facts.pages_parsed
    facts.pages_parsed = facts.papers_merged = facts.texts_compared = facts.shards_written = facts.new = facts.changed = facts.left = 0
    facts.rows_before = facts.papers
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(BuildError, RawPagesError, RetractionsError), configure=_configure)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--retractions", type=Path, default=Path("retractions.yaml"), metavar="PATH", help="withdrawals on request (default: %(default)s)"
    )


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "papers", PapersConfig, overrides=arguments.overrides)
    requests = read_requests(arguments.retractions)
    store, target = arguments.data / "journal_pages", arguments.data / "papers"
    if not (store / "index.parquet").is_file():
        raise BuildError(f"{store / 'index.parquet'}: no such file; crawl first: python -m assets.papers.crawl")
    with RawPages(store) as raw:
        facts = build_papers(config, raw, target, requests=requests, scratch=Path(".figment") / "reuse" / "papers")
        _report(facts, target, reporter)
        report_checks(target, raw, reporter, rows_before=facts.rows_before, collapse_fraction=config.collapse_fraction)
        report_shares(target, raw, facts.sources, reporter, share_fall=config.share_fall)


def _report(facts: BuildFacts, target: Path, reporter: Reporter) -> None:
    counts: dict[str, Any] = {name: value for name, value in asdict(facts).items() if isinstance(value, int) and not isinstance(value, bool)}
    reporter.metadata(
        rows=facts.papers,
        **{name: value for name, value in counts.items() if name not in ("papers", "rows_before")},
        withdrawn={reason: facts.withdrawn[reason] for reason in REASONS if facts.withdrawn[reason]},
        rejected_by_reason=dict(sorted(facts.rejected.items())),
        by_source={name: dict(sorted(counter.items())) for name, counter in facts.sources.items()},
        retractions_of_unknown_papers=facts.unknown_requests,
        sources_left_out=facts.sources_left_out,
    )
    gone = ", ".join(f"{facts.withdrawn[reason]:,} {reason}" for reason in REASONS if facts.withdrawn[reason]) or "none"
    reporter.log(
        f"papers: {facts.papers:,} ({facts.with_abstract:,} with abstract, {facts.with_image:,} with picture, {facts.complete:,} with both); "
        f"{facts.new:,} new, {facts.changed:,} changed, {facts.left:,} left; withdrawn: {gone}; set aside: {facts.rejected.total():,}; "
        f"{facts.pages_parsed:,} pages read, {facts.pages_reused:,} known from before"
    )
    for name in facts.unknown_requests:
        reporter.log(f"papers: retractions.yaml names {name!r}, which is no paper that a crawl has seen")
    for name in facts.sources_left_out:
        reporter.log(f"papers: pages of '{name}' are stored, but that source is not in params.yaml any more; they are left out")
    reporter.markdown("sources", _source_table(facts))
    reporter.markdown("examples", _examples(target))
    reporter.markdown("set_aside", counted("reason", "items", facts.rejected) if facts.rejected else "Nothing was set aside.")


def _source_table(facts: BuildFacts) -> str:
    names = ("pages", "papers", "title", "abstract", "image", "complete")
    lines = [f"| {escape(name)} | {' | '.join(f'{counter[column]:,}' for column in names)} |" for name, counter in facts.sources.items()]
    return "\n".join(["| source | pages | papers | with title | with abstract | with picture | with all |", "|---|" + "---:|" * 6, *lines])


def _examples(target: Path, *, count: int = 8) -> str:
    """The papers that came last, as a Markdown table."""
    newest = max(target.glob("papers-*.parquet"))
    rows = read_table(newest, ["title", "journal", "date", "source"])[-count:].to_pylist()
    lines = [
        f"| {escape(row['title'])} | {escape(row['journal'] or '')} | {_shown(row['date'])} | {escape(row['source'])} |" for row in reversed(rows)
    ]
    return "\n".join(["| title | journal | date | source |", "|---|---|---|---|", *lines])


def _shown(day: date | None) -> str:
    return day.isoformat() if day else ""


if __name__ == "__main__":
    sys.exit(supervised(main))
