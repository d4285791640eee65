"""One night of the demo: the embedded journal publishes its next edition, the nightly re-scrape runs, and what moved is compared with what should.

An edition changes one abstract, adds one paper and retracts one. So one new crawl file, one changed, one new and one withdrawn paper, and one or two
shards of every image dataset are expected to move, and nothing else: trainings wait for a person, and what is not made from papers stays. Where the
embedded archive is harvested, too, it adds an item, prints a page of one anew and takes one away; so the pages of two items come or go, one page has
other pixels, and of the sets of pages no more shards move than items did.
"""

import dataclasses
import functools
import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from assets.demo_sites.opening import STATE, read_edition, write_edition
from orchestration.bridge.cache import cached_members
from orchestration.bridge.meta import stage_meta
from orchestration.bridge.project import Project
from orchestration.bridge.status import StageStatus, project_status
from orchestration.checkout import open_prepared, open_project
from orchestration.errors import CommandError, Exit
from orchestration.nights.nightly import followers, run_night
from orchestration.nights.retractions import tag_models
from orchestration.runs.outcome import report_run, say
from orchestration.terminal import paint, plural, short_id, table
from stages.params import ParamsError, read_yaml

SOURCE, PAPERS = "journal_pages", "papers"
EMBEDDED = "imaginary_letters"
ARCHIVE, EMBEDDED_ARCHIVE = "archive_items", "imaginary_archive"
# What an edition cannot leave as it was; other descendants may, for instance a dataset that the three papers are not in.
_MUST_MOVE = (SOURCE, PAPERS, "toc_images", "toc_dataset@*", ARCHIVE, "book_pages", "page_dataset@*")
_IMAGES = ("toc_images", "toc_dataset@*")
_PAGES, _PAGE_SETS = "book_pages", ("page_dataset@*",)
_SHARD = re.compile(r"-\d{5}\.(zip|parquet|warc\.gz)$")


@dataclasses.dataclass(frozen=True)
class Papers:
    """What `papers` holds. rows: by id; withdrawn: id → reason."""

    rows: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    withdrawn: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The project at one moment, as dvc.lock and the cache have it.

    ids: of every artifact, None where it was never made. files: artifact → path in it → object in the cache. images: artifact → its contents.
    items: of the archive, by identifier. pages: of its books, by page_id.
    """

    ids: Mapping[str, str | None]
    files: Mapping[str, Mapping[str, Path]]
    papers: Papers
    images: Mapping[str, frozenset[str]]
    items: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    pages: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def shards(self, name: str) -> dict[str, Path]:
        return {relative: path for relative, path in self.files.get(name, {}).items() if _SHARD.search(relative)}


@dataclasses.dataclass(frozen=True)
class ShardCounts:
    """What became of the shards of one artifact."""

    kept: int
    rewritten: int
    added: int
    gone: int


@dataclasses.dataclass(frozen=True)
class PaperCounts:
    """What became of the papers, by id. withdrawn: id → reason."""

    changed: tuple[str, ...]
    new: tuple[str, ...]
    withdrawn: Mapping[str, str]


def run_nightly_demo(root: Path, *, night: Callable[[], bool] | None = None) -> int:
    """Publish the next edition, crawl it, let the data follow, and print what moved; 0 only if exactly the expected things moved.

    night: does the night's work and says whether all of it went well; the real thing when None.
    """
    project = open_prepared(root)
    sources = _require_made(project)
    state = root / STATE
    edition = read_edition(state)
    before = take_snapshot(project)
    write_edition(edition + 1, state)
    is_done = False
    try:
        heading = paint(f"Edition {edition + 1} of Imaginary Letters", "bold")
        print(f"{heading}: one abstract changed, one paper new, one retracted. Looking again:\n")
        if ARCHIVE in sources:
            print("The imaginary archive has one item more, one page of another printed anew, and one item less.\n")
        is_done = (night or functools.partial(_night, root, sources))()
    finally:
        if not is_done and all(_id_of(open_project(root), source) == before.ids[source] for source in sources):
            # It was not crawled, so the same command publishes the same edition again, and the crawl goes on where it was.
            write_edition(edition, state)
    if not is_done:
        return Exit.DISAGREES
    project = open_prepared(root)
    after, statuses = take_snapshot(project), project_status(project)
    print_night(project, before, after, statuses)
    problems = unexpected(project, before, after, statuses)
    if tag_models(project, say=say) is None:
        problems.append("models could not be tagged; see above")
    for problem in problems:
        print(paint(f"figment: {problem}", "red"))
    if not problems:
        moved = sum(before.ids.get(name) != id for name, id in after.ids.items())
        print(f"\nExactly what was expected moved, and nothing else: {plural(moved, 'artifact')} of {len(project.graph.stages)}.")
    return Exit.DISAGREES if problems else Exit.WELL


def _night(root: Path, sources: Collection[str]) -> bool:
    result = run_night(root, sources, say=say)
    report_run(result)
    return result.is_success and not result.failed_checks and not result.is_interrupted


def _require_made(project: Project) -> list[str]:
    """The sources that have editions. Raises CommandError where there is nothing to compare with, or no journal that has editions."""
    # Everything is looked at before the night begins, for a night cannot be taken back: the journal has published.
    missing = [name for name in (SOURCE, PAPERS) if name not in project.graph.stages]
    if missing:
        raise CommandError(f"demo --nightly: dvc.yaml has no stage {missing[0]}")
    sources = embedded_sources(project)
    if SOURCE not in sources:
        raise CommandError(f"demo --nightly: no source of {SOURCE} has `embedded: {EMBEDDED}`, the journal that has editions; `figment preset demo`")
    statuses = project_status(project)
    stale = [name for name in (*sources, *followers(project, sources)) if statuses[name].state != "fresh"]
    if stale:
        remedy = f"`figment materialize {' '.join(stale)}`" if _id_of(project, SOURCE) else "`figment demo`"
        raise CommandError(f"demo --nightly: {', '.join(stale)} must be up to date before a night can be compared with it; run {remedy} first")
    return sources


def embedded_sources(project: Project) -> list[str]:
    """The source stages that ask an embedded site with editions. Raises CommandError when params.yaml cannot be read."""
    try:
        params = read_yaml(project.root / "params.yaml") or {}
    except ParamsError as error:
        raise CommandError(str(error)) from error
    found = []
    for stage, embedded in ((SOURCE, EMBEDDED), (ARCHIVE, EMBEDDED_ARCHIVE)):
        sources = (params.get(stage) or {}).get("sources") or ()
        if stage in project.graph.stages and any(isinstance(source, dict) and source.get("embedded") == embedded for source in sources):
            found.append(stage)
    return found


def take_snapshot(project: Project) -> Snapshot:
    ids = {name: _id_of(project, name) for name in project.graph.stages}
    files = {name: cached_members(project.cache_dir, id) or {} for name, id in ids.items() if id}
    images = {name: _contents(files[name]) for name in files if _is_one_of(name, _IMAGES)}
    items = {row["identifier"]: row for row in _rows(files.get(ARCHIVE, {}).get("items.parquet"))}
    pages = {row["page_id"]: row for row in _rows(files.get(_PAGES, {}).get("index.parquet"))}
    return Snapshot(ids, files, _papers(files.get(PAPERS, {})), images, items, pages)


def paper_counts(before: Papers, after: Papers) -> PaperCounts:
    changed = sorted(id for id, row in after.rows.items() if id in before.rows and before.rows[id] != row)
    new = sorted(id for id in after.rows if id not in before.rows)
    withdrawn = {id: reason for id, reason in sorted(after.withdrawn.items()) if id not in before.withdrawn}
    return PaperCounts(tuple(changed), tuple(new), withdrawn)


def item_counts(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """new, changed and dark → the identifiers of such items of the archive."""
    here = {name: row for name, row in after.items() if row["status"] != "dark"}
    changed = [name for name, row in here.items() if name in before and row["item_updated"] != before[name]["item_updated"]]
    dark = [name for name in after if name not in here and name in before and before[name]["status"] != "dark"]
    return {"new": sorted(here.keys() - before.keys()), "changed": sorted(changed), "dark": sorted(dark)}


def shard_counts(before: Mapping[str, Path], after: Mapping[str, Path]) -> ShardCounts:
    both = before.keys() & after.keys()
    kept = sum(before[path] == after[path] for path in both)
    return ShardCounts(kept, len(both) - kept, len(after.keys() - before.keys()), len(before.keys() - after.keys()))


def unexpected(project: Project, before: Snapshot, after: Snapshot, statuses: Mapping[str, StageStatus]) -> list[str]:
    """What an edition should not have done, and what it should have done but did not; in sentences."""
    # Nothing but the source and what follows it may move; of those, what holds papers must.
    sources = embedded_sources(project)
    allowed = {*sources, *followers(project, sources)}
    moved = [name for name in after.ids if before.ids.get(name) != after.ids[name]]
    found = [f"{name} moved, but it is not made from {' or '.join(sources)}, or waits for a person" for name in moved if name not in allowed]
    found += [
        f"{name} did not move, but it holds papers or pages"
        for name in after.ids
        if name in allowed and _is_one_of(name, _MUST_MOVE) and name not in moved
    ]
    found += [f"{name} is {statuses[name].state} after the night, expected fresh" for name in allowed if statuses[name].state != "fresh"]
    found += _unexpected_papers(paper_counts(before.papers, after.papers))
    if ARCHIVE in sources:
        found += _unexpected_items(before, after)
    # In the archives, changes stay local: one new crawl file, and of pictures no more shards than pictures that came or went.
    for name in after.files:
        counts = shard_counts(before.shards(name), after.shards(name))
        if name == SOURCE and (counts.rewritten or counts.gone or counts.added != 1):
            found.append(f"{name}: expected one new crawl file and the others untouched, found {_words(counts)}")
        if _is_one_of(name, _IMAGES):
            touched = len(before.images.get(name, frozenset()) ^ after.images[name])
            if counts.gone or counts.rewritten + counts.added > touched or (touched and not counts.rewritten):
                found.append(f"{name}: {plural(touched, 'picture')} came or went, but its shards are: {_words(counts)}")
    return found


def _unexpected_items(before: Snapshot, after: Snapshot) -> list[str]:
    items = item_counts(before.items, after.items)
    if [len(names) for names in items.values()] != [1, 1, 1]:
        told = ", ".join(f"{len(names)} {word} ({', '.join(names) or 'none'})" for word, names in items.items())
        return [f"{ARCHIVE}: expected 1 new, 1 changed and 1 dark item, found {told}"]
    found = []
    came = {after.pages[page]["item_id"] for page in after.pages.keys() - before.pages.keys()}
    gone = {before.pages[page]["item_id"] for page in before.pages.keys() - after.pages.keys()}
    if (came, gone) != (set(items["new"]), set(items["dark"])) or gone & {row["item_id"] for row in after.pages.values()}:
        found.append(f"{_PAGES}: expected the pages of {items['new'][0]} to come and those of {items['dark'][0]} to go, and no others")
    other = [page for page, row in after.pages.items() if page in before.pages and row["sha256"] != before.pages[page]["sha256"]]
    if [after.pages[page]["item_id"] for page in other] != items["changed"]:
        found.append(f"{_PAGES}: expected one page of {items['changed'][0]} with other pixels, found {', '.join(other) or 'none'}")
    for name in after.files:
        counts = shard_counts(before.shards(name), after.shards(name))
        if _is_one_of(name, _PAGE_SETS) and counts.rewritten + counts.added + counts.gone > len(items):
            found.append(f"{name}: {len(items)} items moved, but its shards are: {_words(counts)}")
    return found


def _unexpected_papers(counts: PaperCounts) -> list[str]:
    reasons = sorted(counts.withdrawn.values())
    if (len(counts.changed), len(counts.new), reasons) == (1, 1, ["retracted"]):
        return []
    found = f"{len(counts.changed)} changed, {len(counts.new)} new, {len(reasons)} withdrawn ({', '.join(reasons) or 'none'})"
    return [f"{PAPERS}: expected 1 changed, 1 new and 1 retracted paper, found {found}"]


def print_night(project: Project, before: Snapshot, after: Snapshot, statuses: Mapping[str, StageStatus]) -> None:
    """Every artifact before and after; the papers; the shards; and what waits for a person."""
    sources = embedded_sources(project)
    reach = {*sources, *followers(project, sources)}
    rows = []
    for name, id in after.ids.items():
        old, is_moved, shards = before.ids.get(name), before.ids.get(name) != id, after.shards(name)
        words = _words(shard_counts(before.shards(name), shards)) if is_moved and shards else "-"
        rows.append((name, short_id(old), short_id(id) if is_moved else "same", words, _role(project, name, reach)))
    _print_table(rows, ("artifact", "before", "after", "shards", ""))
    counts = paper_counts(before.papers, after.papers)
    told = [("changed", id, _title(after, id)) for id in counts.changed] + [("new", id, _title(after, id)) for id in counts.new]
    # What is withdrawn is not named by its title any more.
    told += [(reason, id, "") for id, reason in counts.withdrawn.items()]
    _print_table(told or [("none", "", "")], ("papers", "id", "title"))
    if ARCHIVE in sources:
        items = [(word, name) for word, names in item_counts(before.items, after.items).items() for name in names]
        _print_table(items or [("none", "")], ("items", "identifier"))
    waiting = [
        (name, status.state, "; ".join(cause.text for cause in status.causes)[:120]) for name, status in statuses.items() if status.state == "stale"
    ]
    if waiting:
        _print_table(waiting, ("waits for you", "state", "because"))
    print()


def _print_table(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> None:
    print()
    print("\n".join(table(rows, heads)))


def _role(project: Project, name: str, reach: Collection[str]) -> str:
    if name in reach:
        return "source" if name in {SOURCE, ARCHIVE} else "follows"
    return "waits for a person" if stage_meta(project.graph[name]).automation == "manual" else ""


def _words(counts: ShardCounts) -> str:
    named = [(counts.rewritten, "rewritten"), (counts.added, "new"), (counts.gone, "gone"), (counts.kept, "kept")]
    return ", ".join(f"{count} {word}" for count, word in named if count) or "none"


def _title(snapshot: Snapshot, id: str) -> str:
    return textwrap.shorten(str(snapshot.papers.rows[id].get("title") or ""), 80, placeholder=" …")


def _is_one_of(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _id_of(project: Project, name: str) -> str | None:
    entry = project.lock().entries.get(name)
    return entry.output_id(project.graph[name]) if entry else None


def _papers(files: Mapping[str, Path]) -> Papers:
    rows: dict[str, Mapping[str, Any]] = {}
    for relative, path in sorted(files.items()):
        if fnmatch(relative, "papers-*.parquet"):
            rows |= {row["id"]: row for row in _rows(path)}
    return Papers(rows, {row["id"]: str(row.get("reason") or "") for row in _rows(files.get("withdrawn.parquet"))})


def _contents(files: Mapping[str, Path]) -> frozenset[str]:
    return frozenset(row["sha256"] for row in _rows(files.get("index.parquet")))


def _rows(path: Path | None) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist() if path is not None and path.is_file() else []
