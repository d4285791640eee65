"""Make trainA, trainB, testA and testB of the gathered paintings and photographs: without duplicates, of one size, in StyleGAN zips with a card.

python -m assets.paintings.build
"""

import hashlib
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assets.images.contact_sheet import write_contact_sheet
from assets.images.dataset import BuildFacts, DatasetError, WrittenSet, facts_of, read_originals, select, write_set, write_tables
from assets.images.dataset_card import COLOURS, CardFacts, card
from assets.images.dataset_config import DatasetConfig, Subject
from assets.images.dataset_program import report_dataset
from assets.images.perceptual_hash import Fingerprint
from assets.paintings.duplicates import Row, fingerprints, leaks, without_duplicates
from assets.paintings.tables import DUPLICATES, OWN, SETS
from formats.pad_resize import Resample
from formats.stored_zip import DamagedZipError, StoredZips
from formats.tables import read_table, table_from_rows, write_table
from stages.markdown import escape, table
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import add_workers, program, worker_count
from stages.reporting import Reporter

_SHOWN = 24


@dataclass(frozen=True)
class PaintingsConfig:
    """The section `paintings` of params.yaml.

    domain_a, domain_b: what the pictures of the domains are called.
    size:             side in px, a power of two.
    fit:              crop takes the square in the middle, pad puts the picture on a white square; nothing is stretched.
    enlarge:          bring smaller pictures to that size; false leaves them out. With crop the shorter side counts, with pad the longer one.
    resample:         lanczos or box, as in DatasetConfig.
    colours_a, colours_b: rgb, or grey: one channel.
    test_fraction:    of the pictures of which no layout says a split, by the hash of each; split_seed draws others.
    duplicate_bits, duplicate_levels: pictures look the same when their hashes differ in at most so many of 64 bits, and the pictures reduced to
                      16 x 16 px by at most so many of 255 levels, as root mean square. 0 and 0: equal pixels only.
    max_pictures:     in all four sets; beyond it, what came last of the larger domain is left out, train pictures first. null: all.
    images_per_shard: serial numbers in a zip.
    allow_unknown_licence: let pictures of unknown licence in.
    """

    domain_a: str = "paintings"
    domain_b: str = "photographs"
    size: int = 256
    fit: Literal["crop", "pad"] = "crop"
    enlarge: bool = False
    resample: Resample = "lanczos"
    colours_a: Literal["rgb", "grey"] = "rgb"
    colours_b: Literal["rgb", "grey"] = "rgb"
    test_fraction: float = 0.1
    split_seed: int = 0
    duplicate_bits: int = 10
    duplicate_levels: float = 12.0
    max_pictures: int | None = None
    images_per_shard: int = 1_000
    allow_unknown_licence: bool = False

    def __post_init__(self) -> None:
        if self.size < 4 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two, at least 4; found {self.size}")
        self.dataset("a")
        if not 0 <= self.test_fraction < 1:
            raise ValueError(f"test_fraction must be at least 0 and below 1, found {self.test_fraction}")
        if not 0 <= self.duplicate_bits < 32 or self.duplicate_levels < 0:
            raise ValueError(
                f"duplicate_bits must lie between 0 and 31, and duplicate_levels be at least 0; found {self.duplicate_bits}, {self.duplicate_levels}"
            )
        if self.max_pictures is not None and self.max_pictures < len(SETS):
            raise ValueError(f"max_pictures must be at least {len(SETS)}, one for each set, or null; found {self.max_pictures}")

    def dataset(self, domain: str) -> DatasetConfig:
        """What decides the pictures of one domain."""
        return DatasetConfig(
            sizes=[self.size],
            fit=self.fit,
            canvas_px=self.size,
            enlarge=self.enlarge,
            resample=self.resample,
            colours=self.colours_a if domain == "a" else self.colours_b,
            images_per_shard=self.images_per_shard,
            allow_unknown_licence=self.allow_unknown_licence,
        )

    @property
    def likeness(self) -> dict[str, Any]:
        return {"max_bits": self.duplicate_bits, "max_levels": self.duplicate_levels}


@dataclass
class PaintingsFacts:
    """What a build did. sets: pictures by set; compared: pictures whose fingerprint was made now."""

    build: BuildFacts
    sets: Counter = field(default_factory=Counter)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[tuple[int, int]] = field(default_factory=list)
    compared: int = 0


def build_paintings(config: PaintingsConfig, originals: Path, target: Path, *, figment: Path, workers: int = 1, reporter: Reporter) -> PaintingsFacts:
    """Write the four sets into the folder `target`, from `painting_sources` in the folder `originals`.

    figment: the folder for what may be lost; nothing in it decides what is written.
    Raises DatasetError and OutputBusyError; the previous output is then untouched.
    """
    started = time.monotonic()
    rows, excluded = select(read_originals(originals), _subject(config), allow_unknown_licence=config.allow_unknown_licence)
    zips = StoredZips(originals)
    try:
        memory = figment / "reuse" / f"{target.name}-fingerprints.npz"
        prints, compared = fingerprints(rows, lambda row: zips.read(row["shard"], row["member"]), workers=workers, memory=memory)
    except DamagedZipError as error:
        raise DatasetError(f"{error}; `{originals.name}` is not what it was when it was made") from error
    rows, left_out, duplicates = _arranged(config, rows, prints)
    excluded += left_out
    with OutputFolder(target) as output:
        written: dict[str, WrittenSet] = {}
        for name in SETS:
            members = [row for row in rows if row["set"] == name]
            written[name] = write_set(
                config.size, config.dataset(name[-1].lower()), members, originals, output,
                figment=figment, workers=workers, reporter=reporter, folder=name,
            )  # fmt: skip
        index = [row for one in written.values() for row in one.index]
        failed = [row for one in written.values() for row in one.failed]
        _refuse_empty_sets(index, excluded + failed, config, target.name)
        write_tables(output, _subject(config), index, excluded + failed)
        write_table(output.file("duplicates.parquet"), table_from_rows(DUPLICATES, duplicates))
        facts = PaintingsFacts(facts_of(config.size, list(written.values()), excluded), Counter(row["set"] for row in index), duplicates)
        for name, one in written.items():
            shown = [one.index[place * len(one.index) // _SHOWN] for place in range(_SHOWN)] if len(one.index) > _SHOWN else one.index
            write_contact_sheet(output.file(f"{name}.png"), [(output.file(f"{name}/{row['shard']}"), row["member"]) for row in shown])
        output.file("README.md").write_text(_card(config, facts), encoding="utf-8")
        facts.build.files, facts.build.bytes = output.size()
    for one in written.values():
        one.remember()
    # Read back, so that what was published is what is judged.
    facts.leaks = leaks(read_table(target / "index.parquet").to_pylist(), prints, **config.likeness)
    facts.compared, facts.build.seconds = compared, time.monotonic() - started
    return facts


def _arranged(config: PaintingsConfig, rows: Sequence[Row], prints: Mapping[str, Fingerprint]) -> tuple[list[Row], list[Row], list[dict[str, Any]]]:
    """(the pictures of all sets, those of none with `reason` and `words`, rows of `duplicates.parquet`)."""
    for row in rows:
        row["split"] = row["split"] or _split_of(row["sha256"], config)
        row["set"] = f"{row['split']}{row['domain'].upper()}"
    broken = [{**row, "reason": "broken", "words": "cannot be decoded any more"} for row in rows if row["sha256"] not in prints]
    kept, alike, duplicates = without_duplicates([row for row in rows if row["sha256"] in prints], prints, **config.likeness)
    kept, beyond = _within(config.max_pictures, kept)
    return kept, broken + alike + beyond, duplicates


def _subject(config: PaintingsConfig) -> Subject:
    def refusal(row: Mapping[str, Any]) -> tuple[str, str] | None:
        which, side = ("shorter", min(row["width"], row["height"])) if config.fit == "crop" else ("longer", max(row["width"], row["height"]))
        if config.enlarge or side >= config.size:
            return None
        words = f"{row['width']} x {row['height']} px, the {which} side must have at least {config.size}; set enlarge: true, or a smaller size"
        return "too_small", words

    return Subject(
        title=f"{config.domain_a[:1].upper()}{config.domain_a[1:]} and {config.domain_b}",
        pictures=f"{config.domain_a} and {config.domain_b} of which no two belong together",
        tags=("unpaired", "cyclegan"),
        tasks=("image-to-image",),
        columns=OWN,
        names="licence, source and place",
        refusal=refusal,
    )


def _split_of(sha256: str, config: PaintingsConfig) -> str:
    draw = int.from_bytes(hashlib.sha256(f"{config.split_seed}:{sha256}".encode()).digest()[:8]) / 2**64
    return "test" if draw < config.test_fraction else "train"


def _within(most: int | None, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(rows that stay, those beyond `most` pictures). The domains share what there is evenly, as far as each has so many."""
    if most is None or len(rows) <= most:
        return rows, []
    ordered = sorted(rows, key=lambda row: (row["split"] != "test", row["serial"]))
    by_domain = {domain: [row for row in ordered if row["domain"] == domain] for domain in "ab"}
    of_a = min(len(by_domain["a"]), max(most // 2, most - len(by_domain["b"])))
    beyond = {row["serial"] for row in by_domain["a"][of_a:] + by_domain["b"][most - of_a :]}
    words = f"more than max_pictures = {most:,}"
    left_out = [{**row, "reason": "beyond_max_pictures", "words": words} for row in rows if row["serial"] in beyond]
    return [row for row in rows if row["serial"] not in beyond], left_out


def _refuse_empty_sets(rows: Sequence[Row], excluded: Sequence[Row], config: PaintingsConfig, name: str) -> None:
    empty = [one for one in SETS if one not in {row["set"] for row in rows}]
    if empty:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in Counter(row["reason"] for row in excluded).most_common()) or "nothing"
        remedy = "name sources of both domains" if empty[0].startswith("train") else f"raise test_fraction ({config.test_fraction:g}), or bring more"
        raise DatasetError(f"{name}: {', '.join(empty)} would have no picture; left out: {reasons}; the previous output is kept; {remedy}")


_FILES = """\
- `trainA/`, `trainB/`, `testA/`, `testB/`: `shard-*.zip` with pictures `NNNNN/imgNNNNNNNN.png`, numbered by first appearance, and `dataset.json`.
  A number never moves; a picture that was left out leaves a gap.
- `index.parquet`: for each picture its number, SHA-256 of the original, set, shard, member, domain, split, licence, source and place.
- `excluded.parquet`: what was left out, and why. `duplicates.parquet`: which pictures look the same, and which one stayed.
"""


def _card(config: PaintingsConfig, facts: PaintingsFacts) -> str:
    build = facts.build
    colours = " or ".join(sorted({COLOURS[config.colours_a], COLOURS[config.colours_b]}))
    card_facts = CardFacts(config.size, build.shards, build.licences, build.sources, build.excluded, [], [], colours)
    called = {"A": f"{config.domain_a}, {COLOURS[config.colours_a]}", "B": f"{config.domain_b}, {COLOURS[config.colours_b]}"}
    dropped = sum(pair["is_dropped"] for pair in facts.duplicates)
    sections = {
        "Files": _FILES,
        "Sets": table(["set", "pictures"], [[escape(f"{name} ({called[name[-1]]})"), f"{facts.sets[name]:,}"] for name in SETS]),
        "Duplicates": (
            f"{dropped:,} pictures look like another that stayed, and were left out: a test picture went before a train picture, then an earlier one "
            "before a later one. Nothing in a train set looks like anything in a test set. "
            f"{len(facts.duplicates) - dropped:,} pairs across the domains of one split look the same and are in both.\n"
        ),
    }
    return card(card_facts, config.dataset("a"), _subject(config), sheets=[f"{name}.png" for name in SETS], sections=sections)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(DatasetError,), configure=lambda parser: add_workers(parser, "threads that make pictures"))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "paintings", PaintingsConfig, overrides=arguments.overrides)
    target = arguments.data / "paintings"
    workers = worker_count(arguments)
    facts = build_paintings(config, arguments.data / "painting_sources", target, figment=Path(".figment"), workers=workers, reporter=reporter)
    report_dataset(facts.build, target, reporter, sheets=[f"{name}.png" for name in SETS])
    across = [pair for pair in facts.duplicates if not pair["is_dropped"]]
    exact = sum(pair["kept_sha256"] == pair["other_sha256"] for pair in facts.duplicates)
    dropped = len(facts.duplicates) - len(across)
    reporter.metadata(sets=dict(facts.sets), compared=facts.compared, dropped_duplicates=dropped, same_files=exact, alike_across_domains=len(across))
    reporter.check("no_split_leak", not facts.leaks, leaks=len(facts.leaks), first=str(facts.leaks[0]) if facts.leaks else "")
    sets = ", ".join(f"{name} {facts.sets[name]:,}" for name in SETS)
    reporter.log(f"paintings: {sets}; {dropped:,} that look like another left out, {len(across):,} pairs alike across the domains")


if __name__ == "__main__":
    sys.exit(main())
