"""Build `papers` from the stored journal pages: one row a paper, merged from all that was said of it; withdrawn ones leave, and why is told.

    python -m assets.papers.build
    python -m assets.papers.build --retractions retractions.yaml

Nothing is fetched. Reading pages again with a better page object costs no request; pages that were read before are remembered.
"""

import dataclasses
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from assets.images.columns import UNKNOWN_LICENCE
from assets.papers.checks import report_checks, report_shares
from assets.papers.identities import plain_doi
from assets.papers.items import PageObject
from assets.papers.merging import MergedPaper, PageHistory, merge
from assets.papers.near_duplicates import Text, near_duplicates
from assets.papers.page_objects import find_page_object
from assets.papers.parsed_memo import ParsedMemo
from assets.papers.pictures import StoredPictures, is_reserved
from assets.papers.raw_pages import RawPages, RawPagesError
from assets.papers.reading import UnknownPage, bounded, read_pages, rejected_row
from assets.papers.shared_pictures import set_aside_shared
from assets.papers.tables import IMAGES, PAPERS, REJECTED_PAPERS, WITHDRAWN
from assets.papers.withdrawals import REASONS, Withdrawn, requests_for_papers, withdrawn_by
from formats.plain_text import clean
from formats.tables import table_from_rows, write_table
from stages.markdown import counted, escape
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from stages.retractions import Request, Requests, RetractionsError, read_requests

# Columns that are copied from what is believed of a paper; empty texts become null.
_TEXTS = (
    "doi",
    "journal",
    "volume",
    "issue",
    "pages",
    "title",
    "abstract",
    "url",
    "source",
    "language",
    "translation_of",
    "image_url",
    "image_sha256",
    "caption",
)


class BuildError(Exception):
    """The papers cannot be built: there is no raw store, or a source names a page object that does not exist."""


@dataclass(frozen=True)
class PapersConfig:
    """The section `papers` of params.yaml.

    rows_per_shard:           serials of a Parquet shard.
    max_title_chars, max_abstract_chars: a paper with a longer one is set aside: it is no title or abstract.
    near_duplicate_similarity: Jaccard similarity of word shingles from which a paper repeats another.
    near_duplicate_min_words: title and abstract together; shorter ones are never called duplicates.
    collapse_fraction:        a version with fewer rows than this fraction of the previous one fails the check rows_did_not_collapse.
    share_fall:               a source whose share of papers with title, abstract or picture fell by more since the last crawl fails shares_held.
    """

    rows_per_shard: int = 5_000
    max_title_chars: int = 1_000
    max_abstract_chars: int = 30_000
    near_duplicate_similarity: float = 0.8
    near_duplicate_min_words: int = 12
    collapse_fraction: float = 0.5
    share_fall: float = 0.1

    def __post_init__(self) -> None:
        for name in ("rows_per_shard", "max_title_chars", "max_abstract_chars", "near_duplicate_min_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.near_duplicate_similarity <= 1:
            raise ValueError(f"near_duplicate_similarity must be above 0 and at most 1, found {self.near_duplicate_similarity}")
        for name in ("collapse_fraction", "share_fall"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")


@dataclass
class BuildFacts:
    """What a build found and did. Only the files go into the output; the rest is for those who watch."""

    papers: int = 0
    with_title: int = 0
    with_abstract: int = 0
    with_image: int = 0
    complete: int = 0
    new: int = 0
    changed: int = 0
    left: int = 0
    rows_before: int | None = None
    images: int = 0
    images_live: int = 0
    merged_statements: int = 0
    near_duplicates: int = 0
    translations: int = 0
    pages_parsed: int = 0
    pages_reused: int = 0
    sources: dict[str, Counter] = field(default_factory=dict)
    withdrawn: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    unknown_requests: list[str] = field(default_factory=list)
    sources_left_out: list[str] = field(default_factory=list)


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

    scratch: a folder for the memo of parsed pages; nothing in it decides what is written.
    Raises BuildError, RawPagesError, OutputBusyError; the previous output is then untouched.
    """
    # What pages say, from the memo where the same bytes were read by the same code before.
    facts = BuildFacts()
    memo = ParsedMemo(scratch)
    try:
        read = read_pages(raw, memo, find)
    except UnknownPage as error:
        raise BuildError(str(error)) from None
    histories, rejected = read.histories, read.rejected
    facts.sources = {name: Counter(pages=pages) for name, pages in read.pages.items()}
    facts.sources_left_out = read.sources_left_out
    # One paper of all statements about it. Its serial is its rank among all that ever came, so one that leaves moves no other.
    pictures = StoredPictures(raw)
    merged = merge(histories, picture_at=pictures.at, picture_changes=pictures.changes)
    wanted = requests_for_papers(requests)
    rows, withdrawn = _sort_out(config, merged, wanted, rejected, facts)
    rejected += _missing_pictures(rows, raw)
    rejected += set_aside_shared(rows)
    images = _image_rows(rows, pictures, histories)
    facts.unknown_requests = wanted.unknown
    # Order decides bytes: rows by serial, what was set aside by its own words.
    with OutputFolder(target) as output:
        previous = _previous_rows(target)
        _count(facts, rows, images, previous)
        _write_shards(output, rows, config.rows_per_shard)
        write_table(output.file("images.parquet"), table_from_rows(IMAGES, images))
        write_table(output.file("withdrawn.parquet"), table_from_rows(WITHDRAWN, withdrawn))
        # Merging sets papers aside by serial, reading by address: one order for both.
        rejected.sort(key=lambda row: tuple(str(row[name]) for name in ("source", "where", "reason", "words", "id")))
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED_PAPERS, rejected))
        facts.rejected = Counter(row["reason"] for row in rejected)
        memo.publish()
    facts.pages_parsed, facts.pages_reused = memo.added, memo.reused
    return facts


def _sort_out(
    config: PapersConfig, merged: Sequence[MergedPaper], requests: Requests, rejected: list[dict], facts: BuildFacts
) -> tuple[list[dict], list[dict]]:
    """The rows of the papers that stay and of those that are withdrawn, both by serial; the others are added to `rejected`."""
    rows: list[dict] = []
    withdrawn: list[dict] = []
    for serial, paper in enumerate(merged):
        facts.merged_statements += max(0, paper.statements - 1)
        # A person's request counts before anything that the sources say.
        why = withdrawn_by(requests.naming([paper.id, *sorted(paper.names)])) or paper.withdrawn
        if why is not None:
            withdrawn.append(_tombstone(paper, serial, why))
            facts.withdrawn[why.reason] += 1
        elif (fault := _fault(config, paper)) is not None:
            rejected.append(rejected_row(paper.fields.source, paper.fields.url, paper.first_crawl, *fault, paper.id))
        else:
            rows.append(_row(paper, serial))
    # Only papers that stay are compared: a withdrawn one is no original that another could repeat.
    texts = [Text(row["id"], row["title"], row["abstract"] or "", row["language"] or "", row["translation_of"] or row["id"]) for row in rows]
    repeated = near_duplicates(texts, similarity=config.near_duplicate_similarity, min_words=config.near_duplicate_min_words)
    for row in rows:
        row["near_duplicate_of"] = repeated.get(row["id"])
    return rows, withdrawn


def _fault(config: PapersConfig, paper: MergedPaper) -> tuple[str, str] | None:
    """(reason, words) where the paper cannot be used."""
    title, abstract = clean(paper.fields.title), clean(paper.fields.abstract)
    if not title:
        return "no_title", "no page gives it a title"
    if len(title) > config.max_title_chars:
        return "title_too_long", f"{len(title):,} characters, at most {config.max_title_chars:,} (papers.max_title_chars) are allowed"
    if len(abstract) > config.max_abstract_chars:
        return "abstract_too_long", f"{len(abstract):,} characters, at most {config.max_abstract_chars:,} (papers.max_abstract_chars) are allowed"
    return None


def _row(paper: MergedPaper, serial: int) -> dict:
    fields = paper.fields
    # Page objects give clean text; one of somebody's own may not, and no reordering or hidden sign may get further than this.
    texts = {name: clean(getattr(fields, name)) or None for name in _TEXTS}
    return texts | {
        "id": paper.id,
        "serial": serial,
        "date": fields.date,
        "licence": clean(fields.licence) or UNKNOWN_LICENCE,
        "tdm_reserved": fields.tdm_reserved,
        "first_crawl": paper.first_crawl,
        "first_seen": paper.first_seen,
        "last_changed": paper.last_changed,
        "status": "published",
    }


def _tombstone(paper: MergedPaper, serial: int, why: Withdrawn) -> dict:
    return {
        "id": paper.id,
        "serial": serial,
        "doi": plain_doi(paper.fields.doi) or None,
        "reason": why.reason,
        "why": bounded(why.why),
        "since": why.since,
        "image_sha256": paper.fields.image_sha256 or paper.last_picture or None,
    }


def _missing_pictures(rows: Sequence[dict], raw: RawPages) -> list[dict]:
    """A record for each paper whose picture has an address but is not stored; the paper itself stays."""
    known = {problem.url: f"{problem.kind}: {problem.words}" for problem in raw.problems()}
    return [
        rejected_row(
            row["source"],
            row["image_url"],
            row["first_crawl"],
            "picture_not_stored",
            known.get(row["image_url"], "no crawl has stored a picture from this address, or it is gone"),
            row["id"],
        )
        for row in rows
        if row["image_url"] and not row["image_sha256"]
    ]


def _image_rows(rows: Sequence[dict], pictures: StoredPictures, histories: Sequence[PageHistory]) -> list[dict]:
    """Every picture ever shown, by serial. One that no paper shows any more keeps its serial and loses all else."""
    showing: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        if row["image_sha256"]:
            showing[row["image_sha256"]].append(row)
    # A picture's serial is its rank by (crawl in which it was first shown, sha256).
    first = pictures.first_shown(histories)
    stored = pictures.records()
    images = []
    for serial, (sha256, (crawl, day)) in enumerate(sorted(first.items(), key=lambda item: (item[1][0], item[0]))):
        image = {"sha256": sha256, "serial": serial, "is_live": False, "paper_ids": [], "first_crawl": crawl, "first_seen": day}
        # A picture that several papers show may be used only as far as all of them allow.
        papers = showing.get(sha256)
        if papers:
            licences = sorted({paper["licence"] for paper in papers})
            reserved = [paper["tdm_reserved"] for paper in papers] + [is_reserved(stored[sha256])]
            image |= {
                "is_live": True,
                "paper_ids": [paper["id"] for paper in papers],
                "licence": UNKNOWN_LICENCE if UNKNOWN_LICENCE in licences else "; ".join(licences),
                "source": papers[0]["source"],
                "url": papers[0]["image_url"],
                "journal": papers[0]["journal"],
                "tdm_reserved": True if True in reserved else False if False in reserved else None,
            }
        images.append(image)
    missing = sorted(set(showing) - set(first))
    assert not missing, f"pictures of papers that were never shown: {missing[:3]}"
    return images


def _write_shards(output: OutputFolder, rows: Sequence[dict], rows_per_shard: int) -> None:
    """A shard holds a fixed range of serials, so that a paper that leaves or comes changes its own shard alone."""
    shards: dict[int, list[dict]] = defaultdict(list)
    for row in rows:
        shards[row["serial"] // rows_per_shard].append(row)
    for number, members in sorted(shards.items()) or [(0, [])]:
        write_table(output.file(f"papers-{number:05d}.parquet"), table_from_rows(PAPERS, members))


def _previous_rows(target: Path) -> dict[str, dict] | None:
    """The rows of the previous version by id; None when there is none, or it had other columns."""
    shards = sorted(target.glob("papers-*.parquet"))
    if not shards:
        return None
    try:
        return {row["id"]: row for shard in shards for row in pq.read_table(shard, schema=PAPERS).to_pylist()}
    except (OSError, ValueError):
        return None


def _count(facts: BuildFacts, rows: Sequence[dict], images: Sequence[dict], previous: Mapping[str, dict] | None) -> None:
    facts.papers = len(rows)
    facts.with_title = sum(bool(row["title"]) for row in rows)
    facts.with_abstract = sum(bool(row["abstract"]) for row in rows)
    facts.with_image = sum(bool(row["image_sha256"]) for row in rows)
    facts.complete = sum(bool(row["title"] and row["abstract"] and row["image_sha256"]) for row in rows)
    facts.near_duplicates = sum(row["near_duplicate_of"] is not None for row in rows)
    facts.translations = sum(row["translation_of"] is not None for row in rows)
    facts.images, facts.images_live = len(images), sum(image["is_live"] for image in images)
    for row in rows:
        counter = facts.sources[row["source"]]
        counter["papers"] += 1
        for name, column in (("title", "title"), ("abstract", "abstract"), ("image", "image_sha256")):
            counter[name] += bool(row[column])
        counter["complete"] += bool(row["title"] and row["abstract"] and row["image_sha256"])
    # New, changed and left are told against the previous version, row by row; a version with other columns counts as none.
    known = previous or {}
    facts.rows_before = None if previous is None else len(previous)
    facts.new = sum(row["id"] not in known for row in rows)
    facts.changed = sum(row["id"] in known and known[row["id"]] != row for row in rows)
    facts.left = len(set(known) - {row["id"] for row in rows})


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
    counts: dict[str, Any] = {
        name: value for name, value in dataclasses.asdict(facts).items() if isinstance(value, int) and not isinstance(value, bool)
    }
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
    rows = pq.read_table(newest).to_pylist()[-count:]
    lines = [
        f"| {escape(row['title'])} | {escape(row['journal'] or '')} | {_shown(row['date'])} | {escape(row['source'])} |" for row in reversed(rows)
    ]
    return "\n".join(["| title | journal | date | source |", "|---|---|---|---|", *lines])


def _shown(day: date | None) -> str:
    return day.isoformat() if day else ""


if __name__ == "__main__":
    sys.exit(main())
