"""Crawl the journals: ask politely for what is new, and add it to the raw store.

    python -m assets.papers.crawl

Killed at any moment and run again, it goes on without asking for anything twice. A night without changes alters no byte of its output.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from assets.papers.crawl.config import JournalPagesConfig
from assets.papers.guarded_reading import supervised
from assets.papers.raw_pages import RawPagesError
from assets.papers.warc_store import WarcError
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter

_STATE = Path(".figment") / "crawls" / "journal_pages"


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    # Scrapy loads for a second: not for --help or wrong parameters.
    from assets.papers.crawl.crawling import CrawlError

    return program(__doc__, _run, argv, expected=(CrawlError, RawPagesError, WarcError))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    from assets.papers.crawl.crawling import crawl
    from assets.papers.crawl.stored_secrets import stored_secrets
    from assets.papers.crawl.tally import nights_picture, nights_table, read_nights
    from assets.papers.raw_pages import RawPages

    config = load_params(arguments.params, "journal_pages", JournalPagesConfig, overrides=arguments.overrides)
    if problem := config.unreachable_contact():
        raise ParamsError(f"{arguments.params}: journal_pages.contact {problem}")
    target = arguments.data / "journal_pages"
    night = crawl(config, target, state=_STATE, reporter=reporter)
    with RawPages(target) as raw:
        records, problems = raw.records(), raw.problems()
    files = list(target.iterdir())
    reporter.metadata(
        rows=len(records),
        files=len(files),
        bytes=sum(file.stat().st_size for file in files),
        crawls=len({record.crawl for record in records}),
        requests=night.total_requests,
        **{f"requests_{kind}": number for kind, number in night.requests.items()},
        responses_stored=night.stored,
        responses_unchanged=night.unchanged,
        papers_new=night.papers_new,
        papers_changed=night.papers_changed,
        papers_gone=night.papers_gone,
        papers_withdrawn=night.papers_withdrawn,
        problems=night.problems,
        problems_open=len(problems),
        page_problems=night.page_problems,
        seconds=night.seconds,
    )
    nights = read_nights(_STATE / "nights.jsonl", str(target))
    reporter.markdown("nights", nights_table(nights))
    reporter.markdown("nights over time", nights_picture(nights))
    # A source that has never answered, or in whose answers nobody finds a paper, is a matter for a person: a wrong address, a site that does not want
    # this, or markup that its page object does not know.
    answered = {record.source for record in records if record.status == 200 and record.kind != "robots"}
    silent = [source.name for source in config.sources if source.name not in answered]
    empty = [name for name in night.sources_without_papers if name not in silent]
    reporter.check("sources_answered", not (silent or empty), severity="WARN", sources=silent, **({"without_papers": empty} if empty else {}))
    secrets = stored_secrets(target, _STATE / "looked_at_for_secrets.json")
    reporter.check("no_secrets_stored", not secrets, severity="WARN", requests=sum(secrets.values()), files=list(secrets))
    if secrets:
        reporter.notice(
            f"journal_pages: {sum(secrets.values()):,} stored requests hold the password of a proxy or another credential, in {', '.join(secrets)}: "
            "earlier versions wrote it there. Change that password, and give these files and their copies in DVC's cache to nobody"
        )
    reporter.log(
        f"journal_pages: {night.total_requests:,} requests, {night.stored:,} responses stored, {night.unchanged:,} unchanged, "
        f"{night.papers_new:,} new papers, {night.papers_changed:,} changed, {night.papers_gone:,} gone, {night.problems:,} problems"
        + ("" if night.is_new else "; nothing new")
    )


if __name__ == "__main__":
    sys.exit(supervised(main))
