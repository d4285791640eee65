"""Withdraw papers and books: they leave every artifact the next time it is made, and models made from them lose the title of champion.

They are entered in retractions.yaml (commit it); models are tagged at once. What was fetched stays in the raw store until `dvc gc`.
ID is an id as in data/papers, a DOI, an address, or an item's identifier in its archive. Taking an entry out of retractions.yaml lets it in again.

Examples:
  figment retract 10.5555/imlett.11c00064 --reason "the author asked"
  figment retract https://doi.org/10.5555/imlett.11c00064 --materialize
  figment retract histoireimaginaire00figm --reason "taken down"
  figment retract --sync                    tag the models made from what sources have withdrawn meanwhile

exit codes: 0 done · 1 the models could not be tagged, or --materialize failed · 2 no such paper or book, or wrong usage
"""

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.errors import CommandError, Exit

if TYPE_CHECKING:
    from orchestration.bridge.project import Project


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="papers and books to withdraw")
    parser.add_argument("--reason", default="on request", metavar="TEXT", help="kept in retractions.yaml (default: %(default)s)")
    parser.add_argument("--unseen", action="store_true", help="accept ids that are not there, so that they never get in")
    parser.add_argument("--sync", action="store_true", help="withdraw nothing new; tag models made from what was withdrawn")
    parser.add_argument("--materialize", action="store_true", help="then make again what is made from them, trainings excepted")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.checkout import open_project
    from orchestration.nights.retractions import RetractionError

    if bool(arguments.ids) == arguments.sync:
        raise CommandError("retract: name papers or books, or give --sync (one of the two)")
    project = open_project(root)
    try:
        items = _enter(root, arguments)
        status = _flag(project, items)
    except RetractionError as error:
        raise CommandError(str(error)) from error
    # The models are tagged before the data is made again: should that fail, none of them keeps its title meanwhile.
    if arguments.materialize:
        from orchestration.nights.nightly import follow_retractions

        return max(status, follow_retractions(root))
    if arguments.ids:
        print("`figment materialize --stale` takes them out of the data")
    return status


def _enter(root: Path, arguments: argparse.Namespace) -> dict[str, str] | None:
    """Write the entries; id → picture, or None for all that is withdrawn already. Nothing is written when one of the ids is unknown."""
    from orchestration.nights.retractions import find_item, near_misses, retract

    if arguments.sync:
        return None
    # All ids are looked up before one is written, so that a misspelt one leaves the file as it was.
    found = {wanted: find_item(root, wanted) for wanted in arguments.ids}
    for wanted, item in found.items():
        if item is None and not arguments.unseen:
            near = near_misses(root, wanted)
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise CommandError(f"there is no paper {wanted!r}, and no book{hint}; --unseen enters it all the same")
    today = datetime.datetime.now(datetime.UTC).date()
    for wanted, item in found.items():
        id, title = (item.id, item.title) if item else (wanted, "not there")
        entered = retract(root, id, arguments.reason, today)
        print(f"{id} ({title}): {'entered in retractions.yaml' if entered else 'is in retractions.yaml already'}")
    return {item.id: item.image for item in found.values() if item}


def _flag(project: "Project", items: dict[str, str] | None) -> int:
    from orchestration.nights.retractions import tag_models

    flagged = tag_models(project, items, say=print)
    if flagged is None:
        return Exit.DISAGREES
    if not flagged.all:
        print("no model that is not tagged already was made from it")
    return Exit.WELL
