"""The end of a crawl: what it found becomes part of the raw store, all at once, or nothing at all where nothing changed."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from assets.papers.crawl.config import JournalPagesConfig
from assets.papers.crawl.credits import EXHAUSTED
from assets.papers.crawl.unfinished import PASSING, Done, Unfinished
from assets.papers.raw_pages import RawPages, StoredProblem, write_index, write_problems, write_sources
from stages.output_folder import OutputFolder

# Passing problems that are none where an answer is stored already. That credits ran out is told until the source was had to its end.
_SETTLED_BY_THE_STORE = PASSING - {EXHAUSTED}


@dataclass(frozen=True)
class Chains:
    """What became of chained answers. ended: by start address and source, the problem of a chain, None where it came to its end.

    is_link: whether an address belongs to a chain: its token is another one in every night, so its troubles are told at the start.
    """

    ended: Mapping[tuple[str, str], StoredProblem | None]
    is_link: Callable[[str], bool]


NO_CHAINS = Chains({}, lambda url: False)


def publish(unfinished: Unfinished, config: JournalPagesConfig, raw: RawPages, offsite: Iterable[StoredProblem], chains: Chains = NO_CHAINS) -> bool:
    """Add the crawl to the store; gives whether that changed a byte of it.

    offsite: the hosts that pages linked to and the parameters do not allow.
    Raises OutputBusyError while another process writes the store.
    """
    new = list(unfinished.stored())
    sources = [source.info() for source in config.sources]
    problems = merged_problems(raw, unfinished, [source.name for source in config.sources], offsite, chains)
    # A night that stored nothing and met the same problems writes nothing: not even the same bytes once more.
    is_complete = all((raw.folder / name).is_file() for name in ("index.parquet", "sources.parquet", "problems.parquet"))
    if is_complete and not new and problems == raw.problems() and sources == list(raw.sources().values()):
        return False
    # Earlier WARC files are taken over as they are; the new one and the three tables appear with them, or not at all.
    with OutputFolder(raw.folder) as output:
        for name in dict.fromkeys(record.warc for record in raw.records()):
            output.keep(name)
        if new:
            output.take(unfinished.warc, unfinished.warc.name)
        write_index(output.file("index.parquet"), [*raw.records(), *new])
        write_sources(output.file("sources.parquet"), sources)
        write_problems(output.file("problems.parquet"), problems)
    return True


def merged_problems(
    raw: RawPages, unfinished: Unfinished, sources: Iterable[str], offsite: Iterable[StoredProblem], chains: Chains = NO_CHAINS
) -> list[StoredProblem]:
    """What could not be had, by this crawl or by an earlier one that nothing has mended since.

    A problem that goes on keeps its row as it was, and a passing one with a page that is stored already is none: neither makes a night without
    changes look like another.
    """
    known = set(sources)
    # Problems of earlier crawls stay until their address has been had, or their source left params.yaml.
    rows = {(problem.url, problem.source): problem for problem in raw.problems() if problem.source in known}
    for place in list(rows):
        if chains.ended[place] is None if place in chains.ended else _is_had(unfinished.done.get(place[0])):
            del rows[place]
    for done in unfinished.done.values():
        place = (done.url, done.source)
        is_passing = done.problem in _SETTLED_BY_THE_STORE and raw.history(done.url)
        if done.problem and not is_passing and not chains.is_link(done.link) and (place not in rows or rows[place].kind != done.problem):
            rows[place] = StoredProblem(done.url, done.source, unfinished.crawl, done.problem, done.words)
    for place, problem in chains.ended.items():
        is_settled = problem is not None and problem.kind in _SETTLED_BY_THE_STORE and raw.history(problem.url)
        if problem and not is_settled and (place not in rows or rows[place].kind != problem.kind):
            rows[place] = problem
    # One row a host that may not be asked, whichever of its addresses was met first.
    told = {(problem.source, problem.words) for problem in rows.values()}
    for problem in offsite:
        if (problem.source, problem.words) not in told:
            rows.setdefault((problem.url, problem.source), problem)
    return sorted(rows.values())


def discard(unfinished: Unfinished) -> None:
    """Remove the crawl in progress, once it is part of the store or has nothing to add."""
    unfinished.close()
    shutil.rmtree(unfinished.folder)


def _is_had(done: Done | None) -> bool:
    return done is not None and not done.problem
