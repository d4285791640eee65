"""Make a dataset of one size from gathered originals: fitted to a square and resized, in StyleGAN zips with labels and a card.

Whichever size is built first decodes each new picture once, makes every size, and hands the others over. Building again after a change makes only new
pictures, rewrites only the shards that they or removed ones lie in, and gives the same bytes as building from nothing.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.images.columns import EXCLUDED, INDEXED, UNKNOWN_LICENCE
from assets.images.contact_sheet import write_contact_sheet
from assets.images.dataset_card import CardFacts, card
from assets.images.dataset_config import DatasetConfig, Subject
from assets.images.handover import Failure
from assets.images.maker import ImageMaker, WorkCounts
from assets.images.shard_memory import ShardMemory
from formats.image_shards import member_name, shard_name, write_shard
from formats.stored_zip import DamagedZipError
from formats.tables import read_table, table_from_rows, write_table
from stages.output_folder import OutputFolder
from stages.reporting import Reporter

CONTACT_SHEET = "contact_sheet.png"
_PICTURES_SHOWN = 24


class DatasetError(Exception):
    """The dataset cannot be built: no picture may be used, or the folder of originals is damaged."""


@dataclass
class BuildFacts:
    """What a build did."""

    size_px: int
    pictures: int = 0
    excluded: Counter = field(default_factory=Counter)
    licences: Counter = field(default_factory=Counter)
    sources: Counter = field(default_factory=Counter)
    work: WorkCounts = field(default_factory=WorkCounts)
    shards: int = 0
    shards_kept: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0


def build_dataset(
    size: int, config: DatasetConfig, subject: Subject, originals: Path, target: Path, *, figment: Path, workers: int = 1, reporter: Reporter
) -> BuildFacts:
    """Write the dataset of `size` px into the folder `target`, `NAME@SIZE`, from the folder `originals` that `gather` wrote.

    figment: the folder for what may be lost: the memory of shards, and what the sizes hand each other. Nothing in it decides what is written.
    Raises DatasetError and OutputBusyError; the previous output is then untouched.
    """
    started = time.monotonic()
    # Who may be in the set is decided anew at every build: a licence that was taken back takes its picture along.
    rows, excluded = select(read_originals(originals), subject, allow_unknown_licence=config.allow_unknown_licence)
    with OutputFolder(target) as output:
        written = write_set(size, config, rows, originals, output, figment=figment, workers=workers, reporter=reporter)
        if not written.index:
            raise DatasetError(_nothing_left(target.name, originals.name, excluded + written.failed))
        write_tables(output, subject, written.index, excluded + written.failed)
        facts = facts_of(size, [written], excluded)
        _write_card(output, config, subject, facts, written)
        facts.files, facts.bytes = output.size()
    written.remember()
    facts.seconds = time.monotonic() - started
    return facts


@dataclass
class WrittenSet:
    """A set of pictures that was written into an output. index, failed: its rows, of what is in it and of what could not be made."""

    index: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    classes: Mapping[str, int]
    memory: ShardMemory
    maker: ImageMaker

    def remember(self) -> None:
        """What is remembered, and forgotten, holds for what was published: call it then."""
        self.memory.save()
        self.maker.finish()


def write_set(
    size: int,
    config: DatasetConfig,
    rows: Sequence[dict[str, Any]],
    originals: Path,
    output: OutputFolder,
    *,
    figment: Path,
    workers: int,
    reporter: Reporter,
    folder: str = "",
) -> WrittenSet:
    """Write the pictures of `rows` as shards into the output, or into a folder of it. Raises DatasetError for damaged originals."""
    target = output.target
    name = f"{target.name}-{folder}" if folder else target.name
    classes = _classes(rows, config.labels)
    with ImageMaker(size, config, originals, target, figment=figment, workers=workers) as maker:
        written = WrittenSet([], [], classes, ShardMemory(figment / "reuse" / f"{name}.json", maker.recipe, target / folder), maker)
        shards = [(number, list(members)) for number, members in groupby(rows, key=lambda row: row["serial"] // config.images_per_shard)]
        # One shard after the other: no more pictures are held at once than one has.
        for done, (number, members) in enumerate(shards, 1):
            try:
                index, failed = _write_shard(number, members, classes, config, output, written.memory, maker, folder)
            except DamagedZipError as error:
                raise DatasetError(f"{error}; `{originals.name}` is not what it was when it was made") from error
            written.index += index
            written.failed += failed
            reporter.progress_words(f"{name}: shard {done:,} of {len(shards):,}, {len(written.index):,} pictures")
    return written


def facts_of(size: int, written: Sequence[WrittenSet], excluded: Sequence[Mapping[str, Any]]) -> BuildFacts:
    """What the card and the report say, counted from what was written, not on the way. excluded: what was in no set from the beginning."""
    facts = BuildFacts(size)
    index = [row for one in written for row in one.index]
    facts.pictures, facts.shards = len(index), sum(len({row["shard"] for row in one.index}) for one in written)
    facts.excluded = Counter(row["reason"] for row in [*excluded, *(row for one in written for row in one.failed)])
    facts.licences, facts.sources = Counter(row["licence"] for row in index), Counter(row["source"] for row in index)
    for one in written:
        facts.shards_kept += one.memory.kept
        for item in fields(WorkCounts):
            setattr(facts.work, item.name, getattr(facts.work, item.name) + getattr(one.maker.counts, item.name))
    return facts


def read_originals(originals: Path) -> list[dict[str, Any]]:
    """The index of gathered pictures, by serial. Raises DatasetError."""
    path = originals / "index.parquet"
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; `{originals.name}` makes it")
    return sorted(read_table(path).to_pylist(), key=lambda row: row["serial"])


def select(rows: Sequence[dict[str, Any]], subject: Subject, *, allow_unknown_licence: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(those that may be used, those left out with `reason` and `words`)."""
    kept, excluded = [], []
    for row in rows:
        known = {**row, "licence": row.get("licence") or UNKNOWN_LICENCE, "source": row.get("source") or UNKNOWN_LICENCE}
        refusal = subject.refusal(row)
        if refusal is None and known["licence"] == UNKNOWN_LICENCE and not allow_unknown_licence:
            refusal = ("licence_unknown", "name the licence of its source, or set allow_unknown_licence")
        if refusal is None:
            kept.append(known)
        else:
            excluded.append({**known, "reason": refusal[0], "words": refusal[1]})
    return kept, excluded


def _classes(rows: Sequence[Mapping[str, Any]], labels: str | None) -> dict[str, int]:
    """Class number by name, numbered by first appearance, so that a new class at the tail moves none; empty without labels."""
    names = dict.fromkeys(_label(row, labels) for row in rows) if labels else {}
    return {name: number for number, name in enumerate(names)}


def _label(row: Mapping[str, Any], labels: str) -> str:
    value = row.get(labels)
    return UNKNOWN_LICENCE if value is None or value == "" else str(value)


def _write_shard(
    number: int,
    members: Sequence[dict[str, Any]],
    classes: Mapping[str, int],
    config: DatasetConfig,
    output: OutputFolder,
    memory: ShardMemory,
    maker: ImageMaker,
    folder: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write shard `number`, or keep the previous one. Gives (rows of the index, rows of the excluded)."""
    # What the shard is made of, label included: as long as the list is the same, the file is.
    name = shard_name(number)
    place = f"{folder}/{name}" if folder else name
    labels = {row["serial"]: classes[_label(row, config.labels)] for row in members} if config.labels else None
    wanted = [[row["serial"], row["sha256"], labels[row["serial"]] if labels else None] for row in members]
    failures = memory.keep(name, wanted)
    if failures is not None:
        output.keep(place)
    else:
        # Of a shard that changed, most pictures are as before: their PNGs come from the previous file, and only the others are made.
        known = memory.pngs(row["sha256"] for row in members)
        maker.counts.reused += len(known)
        made = known | maker.make([row for row in members if row["sha256"] not in known])
        pngs = [(row["serial"], content) for row in members if isinstance(content := made[row["sha256"]], bytes)]
        failures = {key: value for key, value in made.items() if isinstance(value, Failure)}
        if pngs:
            write_shard(output.file(place), pngs, labels)
            memory.remember(name, output.file(place), wanted, failures)
    # Each member is listed once: in the index, or among the excluded when it could not be made.
    index, failed = [], []
    for row in members:
        if row["sha256"] in failures:
            failure = failures[row["sha256"]]
            failed.append({**row, "reason": failure.reason, "words": failure.words})
        else:
            label = {"class": labels[row["serial"]], "label": _label(row, config.labels)} if labels and config.labels else {}
            index.append({**row, "class": None, "label": None, **label, "shard": name, "member": member_name(row["serial"])})
    return index, failed


def write_tables(output: OutputFolder, subject: Subject, index: Sequence[Mapping], excluded: Sequence[Mapping]) -> None:
    """`index.parquet` and `excluded.parquet`."""
    write_table(output.file("index.parquet"), table_from_rows(pa.schema([*INDEXED, *subject.columns]), index))
    left_out = sorted(excluded, key=lambda row: row["serial"])
    write_table(output.file("excluded.parquet"), table_from_rows(pa.schema([*EXCLUDED, *subject.columns]), left_out))


def _write_card(output: OutputFolder, config: DatasetConfig, subject: Subject, facts: BuildFacts, written: WrittenSet) -> None:
    shown = written.index[:_PICTURES_SHOWN]
    write_contact_sheet(output.file(CONTACT_SHEET), [(output.file(row["shard"]), row["member"]) for row in shown])
    counts = Counter(row["class"] for row in written.index)
    card_facts = CardFacts(
        size_px=facts.size_px,
        shards=facts.shards,
        licences=facts.licences,
        sources=facts.sources,
        excluded=facts.excluded,
        classes=list(written.classes),
        class_counts=[counts[number] for number in range(len(written.classes))],
    )
    output.file("README.md").write_text(card(card_facts, config, subject), encoding="utf-8")


def _nothing_left(name: str, originals: str, excluded: Sequence[Mapping[str, Any]]) -> str:
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in Counter(row["reason"] for row in excluded).most_common())
    return f"{name}: no picture may be used: {reasons or f'`{originals}` has none'}; the previous output is kept; see the sources' licences"
