"""One harvest: ask every source what there is, take what is new or has changed, mark what is gone, publish, remember."""

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from assets.books.harvest.archive import open_archive
from assets.books.harvest.config import ArchiveItemsConfig, SourceParams, check_identifiers
from assets.books.harvest.one_source import OneSource
from assets.books.harvest.run import HarvestError, Run, Tally
from assets.books.harvest.store import Store, publish, read_store
from assets.books.harvest.unfinished import read_memory, write_memory
from stages.output_folder import only_run
from stages.reporting import Reporter


@dataclass
class Harvest:
    """What came of it. here_before: living items of the harvest before. is_new: whether a byte of the output changed."""

    store: Store
    tallies: list[Tally]
    here_before: int
    is_new: bool


def harvest(config: ArchiveItemsConfig, target: Path, *, state: Path, authorization: str, reporter: Reporter) -> Harvest:
    """Harvest all sources once into the folder `target`.

    state: a folder for what is not part of the output. authorization: of an account at the archive, or empty.
    Raises HarvestError, ItemsError (the output is damaged), OutputBusyError (another harvest runs) or OSError (disk full …); the same call goes on.
    """
    own = state / hashlib.sha256(str(target.resolve()).encode()).hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    with only_run(own / "lock", target, "harvest"):
        old = read_store(target)
        run = Run(config, target, old.copy(), read_memory(own / "memory.json", config), own, reporter)
        for source in config.sources:
            _harvest_source(run, source, authorization)
        _leave_what_nobody_asks_for(run)
        problem = next((tally.problems[0] for tally in run.tallies if tally.problems), "")
        if problem and not run.store.items:
            raise HarvestError(f"nothing could be harvested: {problem}")
        # First the output, all at once; then what is remembered of it. Killed in between, the next harvest asks once more, and finds all files here.
        is_new = publish(target, old, run.store, run.downloaded)
        write_memory(own / "memory.json", run.memory, config)
        shutil.rmtree(run.replies, ignore_errors=True)
        for path in run.downloads.iterdir() if run.downloads.is_dir() else ():
            if path not in run.waiting:
                path.unlink()
    return Harvest(run.store, run.tallies, len(old.living()), is_new)


def _harvest_source(run: Run, source: SourceParams, authorization: str) -> None:
    with contextlib.ExitStack() as open_things:
        try:
            named = _named(source)
            archive = open_things.enter_context(open_archive(source, run.config, authorization))
        except (ValueError, FileNotFoundError) as error:
            raise HarvestError(f"source '{source.name}': {error}") from None
        run.tallies.append(tally := Tally(source.name))
        OneSource(run, source, archive, tally, named).harvest()
        run.today = max(run.today, archive.day)
    for problem in tally.problems[:3]:
        run.reporter.notice(f"archive_items: source '{source.name}': {problem}")


def _leave_what_nobody_asks_for(run: Run) -> None:
    """Items whose source is not in params.yaml any more, and what was set aside for it."""
    for row in run.store.items.values():
        if row["source"] not in run.asked_sources:
            run.leave(row, f"source '{row['source']}' is not asked any more", run.today)
    run.store.rejected = {key: rows for key, rows in run.store.rejected.items() if key[0] in run.asked_sources}


def _named(source: SourceParams) -> list[str]:
    """The items of a source that names them; none of one that searches. Raises ValueError or FileNotFoundError."""
    if isinstance(source.identifiers, list) or not source.identifiers:
        return list(source.identifiers)
    lines = Path(source.identifiers).read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    check_identifiers(names, where=f"{source.identifiers}:")
    return names
