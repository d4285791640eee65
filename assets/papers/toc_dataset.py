"""Build one size of the dataset of table-of-contents images: padded, resized, in StyleGAN dataset zips.

    python -m assets.papers.toc_dataset 256
    python -m assets.papers.toc_dataset 128 --workers 1

The sizes are artifacts of their own, and share the work: whichever program meets a picture first decodes it once, makes every size, and hands the
others over. Building again after a change makes only new pictures, rewrites only the shards that they or removed ones lie in, and gives the same
bytes as building from nothing.
"""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from assets.images.contact_sheet import write_contact_sheet
from assets.images.dataset_card import CardFacts, card
from assets.images.handover import Failure
from assets.images.maker import ImageMaker, WorkCounts
from assets.images.shard_memory import ShardMemory
from formats.image_shards import member_name, shard_name, write_shard
from formats.stored_zip import DamagedZipError
from formats.tables import table_from_rows, write_table
from stages.markdown import escape, png_data_uri, table
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter

Labels = Literal["journal", "year", "source", "licence"]

UNKNOWN = "unknown"
CONTACT_SHEET = "contact_sheet.png"
_PICTURES_SHOWN = 24

INDEX = pa.schema(
    [
        ("serial", pa.int64()),
        ("sha256", pa.string()),
        ("shard", pa.string()),
        ("member", pa.string()),
        ("class", pa.int64()),
        ("label", pa.string()),
        ("licence", pa.string()),
        ("source", pa.string()),
        ("paper_ids", pa.list_(pa.string())),
    ]
)
EXCLUDED = pa.schema(
    [
        ("serial", pa.int64()),
        ("sha256", pa.string()),
        ("reason", pa.string()),
        ("words", pa.string()),
        ("licence", pa.string()),
        ("source", pa.string()),
        ("paper_ids", pa.list_(pa.string())),
    ]
)


class DatasetError(Exception):
    """The dataset cannot be built: no picture may be used, or `toc_images` is damaged."""


@dataclass(frozen=True)
class TocDatasetConfig:
    """The section `toc_dataset` of params.yaml, one for all sizes.

    sizes:            sides, powers of two, each an artifact of its own; one decode feeds all.
    canvas_px:        the white square; a larger picture gets one of its longer side.
    resample:         lanczos is Pillow's, exactly; box is the mean of the area: faster, other pixels.
    labels:           what becomes the class of a picture; null for none.
    images_per_shard: serial numbers in a zip; numbers of pictures that are left out stay empty.
    allow_unknown_licence, respect_tdm_reservation: who is left out.
    handover_mib:     how much may lie in .figment/ for the other sizes; beyond it they decode again.
    """

    sizes: list[int] = field(default_factory=lambda: [512, 256, 128])
    canvas_px: int = 512
    padding: Literal["white"] = "white"
    resample: Literal["lanczos", "box"] = "lanczos"
    labels: Labels | None = None
    images_per_shard: int = 1_000
    allow_unknown_licence: bool = False
    respect_tdm_reservation: bool = True
    handover_mib: int = 4_096

    def __post_init__(self) -> None:
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            raise ValueError(f"sizes must name some sizes, each once; found {self.sizes}")
        for size in self.sizes:
            if size < 4 or size & (size - 1) or size > self.canvas_px:
                raise ValueError(f"sizes: {size} is not a power of two from 4 to canvas_px = {self.canvas_px}")
        if not 1 <= self.images_per_shard <= 60_000:
            raise ValueError(f"images_per_shard must lie between 1 and 60,000, found {self.images_per_shard}")
        if self.handover_mib < 0:
            raise ValueError(f"handover_mib must be 0 or more, found {self.handover_mib}")


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
    size: int, config: TocDatasetConfig, images: Path, target: Path, *, figment: Path, workers: int = 1, reporter: Reporter
) -> BuildFacts:
    """Write the dataset of `size` px into the folder `target`, made from the output folder of `toc_images`.

    figment: the folder for what may be lost: the memory of shards, and what the sizes hand each other. Nothing in it decides what is written.
    Raises DatasetError and OutputBusyError; the previous output is then untouched.
    """
    started = time.monotonic()
    facts = BuildFacts(size)
    rows, excluded = _select(_read_index(images), config)
    classes = _classes(rows, config.labels)
    with OutputFolder(target) as output, ImageMaker(size, config, images, target.parent, figment=figment, workers=workers) as maker:
        memory = ShardMemory(figment / "reuse" / f"{target.name}.json", maker.recipe, target)
        index = []
        shards = _by_shard(rows, config.images_per_shard)
        for done, (number, members) in enumerate(shards.items()):
            try:
                written, failed = _write_shard(number, members, classes, config, output, memory, maker)
            except DamagedZipError as error:
                raise DatasetError(f"{error}; `toc_images` is not what it was when it was made") from error
            index += written
            excluded += failed
            reporter.log(f"{target.name}: shard {done + 1:,} of {len(shards):,}, {len(index):,} pictures")
        if not index:
            raise DatasetError(_nothing_left(target.name, excluded))
        _write_tables(output, index, excluded)
        facts.pictures, facts.shards, facts.shards_kept = len(index), len({row["shard"] for row in index}), memory.kept
        facts.excluded.update(row["reason"] for row in excluded)
        facts.licences.update(row["licence"] for row in index)
        facts.sources.update(row["source"] for row in index)
        _write_card(output, config, facts, index, classes)
        facts.files, facts.bytes = output.size()
    memory.save()
    maker.finish()
    facts.work, facts.seconds = maker.counts, time.monotonic() - started
    return facts


def _read_index(images: Path) -> list[dict[str, Any]]:
    path = images / "index.parquet"
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; `toc_images` makes it")
    rows = pq.read_table(path).to_pylist()
    return sorted(rows, key=lambda row: row["serial"])


def _select(rows: Sequence[dict[str, Any]], config: TocDatasetConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(those that may be used, those left out with `reason` and `words`)."""
    kept, excluded = [], []
    for row in rows:
        known = {**row, "licence": row.get("licence") or UNKNOWN, "source": row.get("source") or UNKNOWN}
        if config.respect_tdm_reservation and row.get("tdm_reserved"):
            excluded.append({**known, "reason": "tdm_reserved", "words": "its publisher reserves text and data mining"})
        elif known["licence"] == UNKNOWN and not config.allow_unknown_licence:
            excluded.append({**known, "reason": "licence_unknown", "words": "name the licence of its source, or set allow_unknown_licence"})
        else:
            kept.append(known)
    return kept, excluded


def _classes(rows: Sequence[Mapping[str, Any]], labels: str | None) -> dict[str, int]:
    """Class number by name, numbered by first appearance, so that a new class at the tail moves none; empty without labels."""
    names = dict.fromkeys(_label(row, labels) for row in rows) if labels else {}
    return {name: number for number, name in enumerate(names)}


def _label(row: Mapping[str, Any], labels: str) -> str:
    value = row.get(labels)
    return UNKNOWN if value is None or value == "" else str(value)


def _by_shard(rows: Sequence[dict[str, Any]], images_per_shard: int) -> dict[int, list[dict[str, Any]]]:
    shards: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        shards.setdefault(row["serial"] // images_per_shard, []).append(row)
    return shards


def _write_shard(
    number: int,
    members: Sequence[dict[str, Any]],
    classes: Mapping[str, int],
    config: TocDatasetConfig,
    output: OutputFolder,
    memory: ShardMemory,
    maker: ImageMaker,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write shard `number`, or keep the previous one. Gives (rows of the index, rows of the excluded)."""
    name = shard_name(number)
    labels = {row["serial"]: classes[_label(row, config.labels)] for row in members} if config.labels else None
    wanted = [[row["serial"], row["sha256"], labels[row["serial"]] if labels else None] for row in members]
    failures = memory.keep(name, wanted)
    if failures is not None:
        output.keep(name)
    else:
        known = memory.pngs(row["sha256"] for row in members)
        maker.counts.reused += len(known)
        made = known | maker.make([row for row in members if row["sha256"] not in known])
        pngs = [(row["serial"], content) for row in members if isinstance(content := made[row["sha256"]], bytes)]
        failures = {key: value for key, value in made.items() if isinstance(value, Failure)}
        if pngs:
            write_shard(output.file(name), pngs, labels)
            memory.remember(name, output.file(name), wanted, failures)
    index = [_index_row(row, name, labels, config) for row in members if row["sha256"] not in failures]
    failed = [(row, failures[row["sha256"]]) for row in members if row["sha256"] in failures]
    return index, [{**row, "reason": failure.reason, "words": failure.words} for row, failure in failed]


def _index_row(row: Mapping[str, Any], shard: str, labels: Mapping[int, int] | None, config: TocDatasetConfig) -> dict[str, Any]:
    own: dict[str, Any] = {"shard": shard, "member": member_name(row["serial"])}
    if labels is not None and config.labels:
        own |= {"class": labels[row["serial"]], "label": _label(row, config.labels)}
    return {**{name: row.get(name) for name in INDEX.names if name not in ("class", "label")}, **own}


def _write_tables(output: OutputFolder, index: Sequence[Mapping], excluded: Sequence[Mapping]) -> None:
    write_table(output.file("index.parquet"), table_from_rows(INDEX, index))
    left_out = sorted(excluded, key=lambda row: row["serial"])
    write_table(output.file("excluded.parquet"), table_from_rows(EXCLUDED, [{name: row.get(name) for name in EXCLUDED.names} for row in left_out]))


def _write_card(
    output: OutputFolder, config: TocDatasetConfig, facts: BuildFacts, index: Sequence[Mapping[str, Any]], classes: Mapping[str, int]
) -> None:
    shown = index[:_PICTURES_SHOWN]
    write_contact_sheet(output.file(CONTACT_SHEET), [(output.file(row["shard"]), row["member"]) for row in shown])
    counts = Counter(row.get("class") for row in index)
    text = card(
        CardFacts(
            size_px=facts.size_px,
            canvas_px=config.canvas_px,
            resample=config.resample,
            shards=facts.shards,
            licences=[row["licence"] for row in index],
            sources=[row["source"] for row in index],
            excluded=facts.excluded,
            labels=config.labels,
            classes=list(classes),
            class_counts=[counts[number] for number in range(len(classes))],
        )
    )
    output.file("README.md").write_text(text, encoding="utf-8")


def _nothing_left(name: str, excluded: Sequence[Mapping[str, Any]]) -> str:
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in Counter(row["reason"] for row in excluded).most_common())
    return f"{name}: no picture may be used: {reasons or '`toc_images` has none'}; the previous output is kept; see the sources' licences"


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(DatasetError,), configure=_configure)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("size", type=int, metavar="SIZE", help="side in pixels: one of toc_dataset.sizes")
    parser.add_argument("--workers", type=int, default=None, metavar="N", help="threads that make pictures (default: one for each core, at most 8)")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "toc_dataset", TocDatasetConfig, overrides=arguments.overrides)
    if arguments.size not in config.sizes:
        raise ParamsError(f"{arguments.params}: toc_dataset.sizes has no {arguments.size}; sizes there: {', '.join(map(str, config.sizes))}")
    if arguments.workers is not None and arguments.workers < 1:
        raise ParamsError(f"--workers must be at least 1, found {arguments.workers}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    target = arguments.data / f"toc_dataset@{arguments.size}"
    facts = build_dataset(
        arguments.size,
        config,
        arguments.data / "toc_images",
        target,
        figment=Path(".figment"),
        workers=arguments.workers or min(cores, 8),
        reporter=reporter,
    )
    _report(facts, target, reporter)


def _report(facts: BuildFacts, target: Path, reporter: Reporter) -> None:
    work = facts.work
    reporter.metadata(
        rows=facts.pictures,
        resolution_px=facts.size_px,
        excluded=facts.excluded.total(),
        excluded_by_reason=dict(facts.excluded),
        licences=dict(facts.licences),
        sources=dict(facts.sources),
        shards=facts.shards,
        shards_kept=facts.shards_kept,
        files=facts.files,
        bytes=facts.bytes,
        seconds=round(facts.seconds, 2),
        **{f"images_{item.name}": getattr(work, item.name) for item in fields(work)},
    )
    rows = [[escape(name), f"{count:,}"] for name, count in sorted(facts.licences.items(), key=lambda item: (-item[1], item[0]))]
    reporter.markdown("licence_counts", table(["licence", "pictures"], rows))
    reporter.markdown("contact_sheet", f"![the first pictures]({png_data_uri(target / CONTACT_SHEET)})")
    unknown = facts.licences[UNKNOWN]
    reporter.check("licences_known", unknown == 0, severity="WARN", pictures_of_unknown_licence=unknown)
    reporter.log(
        f"{target.name}: {facts.pictures:,} pictures in {facts.shards:,} shards ({facts.shards_kept:,} kept as they were), "
        f"{facts.excluded.total():,} left out; {work.decodes:,} decoded, {work.taken:,} taken from another size, {work.reused:,} known from before; "
        f"{facts.seconds:,.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
