"""Harvest books from an archive: their files, verified, with what it states of them.

    python -m assets.books.harvest

Killed at any moment and run again, it goes on without fetching a file twice. A night without changes alters no byte of its output.
"""

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from assets.books.harvest.config import ArchiveItemsConfig, credentials
from assets.books.harvest.run import HarvestError, Tally
from assets.books.items import ItemsError
from assets.images.columns import UNKNOWN_LICENCE
from stages.markdown import escape, table
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter

_STATE = Path(".figment") / "harvests" / "archive_items"
_COLLAPSED = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(HarvestError, ItemsError))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "archive_items", ArchiveItemsConfig, overrides=arguments.overrides)
    if problem := config.unreachable_contact():
        raise ParamsError(f"{arguments.params}: archive_items.contact {problem}")
    try:
        authorization = credentials(os.environ)
    except ValueError as error:
        raise ParamsError(str(error)) from None
    # With it comes the archive's client: only now, when everything else is in order.
    from assets.books.harvest.harvesting import harvest

    done = harvest(config, arguments.data / "archive_items", state=_STATE, authorization=authorization, reporter=reporter)
    store, tallies = done.store, done.tallies
    here, files, rejected = store.living(), store.rows("files"), store.rows("rejected")
    size = sum({row["path"]: row["bytes"] for row in files}.values())
    totals = {key: sum(getattr(tally, key) for tally in tallies) for key in ("asked", "new", "changed", "dark", "left_out", "downloaded")}
    silent = [tally.source for tally in tallies if tally.problems]
    problems = sum(len(tally.problems) for tally in tallies)
    reporter.metadata(rows=len(here), files=len(store.paths), bytes=size, tombstones=len(store.items) - len(here), problems=problems, **totals)
    reporter.metadata(set_aside=len(rejected), set_aside_by_reason=dict(sorted(Counter(row["reason"] for row in rejected).items())))
    columns = [field.name for field in fields(Tally)]
    facts = [vars(tally) | {"problems": len(tally.problems)} for tally in tallies]
    reporter.markdown("sources", table([name.replace("_", " ") for name in columns], [[escape(str(row[name])) for name in columns] for row in facts]))
    first = next((tally.problems[0] for tally in tallies if tally.problems), "")
    reporter.check("sources_answered", not silent, severity="WARN", sources=silent, first=first)
    unknown = sum(row["licence"] == UNKNOWN_LICENCE for row in here)
    reporter.check("licences_known", unknown == 0, severity="WARN", items_of_unknown_licence=unknown)
    # Far fewer than last time mean an archive in disorder, or a question that was changed by mistake.
    least = _COLLAPSED * done.here_before
    reporter.check("items_did_not_collapse", len(here) >= least, severity="WARN", items=len(here), items_before=done.here_before)
    reporter.log(
        f"archive_items: {len(here):,} items here, {size / 1e6:,.1f} MB; {totals['asked']:,} asked about, {totals['new']:,} new, "
        f"{totals['changed']:,} changed, {totals['dark']:,} gone dark, {len(rejected):,} set aside, {problems:,} problems"
        + ("" if done.is_new else "; nothing new")
    )


if __name__ == "__main__":
    sys.exit(main())
