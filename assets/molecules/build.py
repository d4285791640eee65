"""Build the dataset `molecules` or `polymers` from the molecule sources: one row a molecule, canonical, measured, split.

    python -m assets.molecules.build molecules
    python -m assets.molecules.build polymers --workers 1

Building again after a change parses only rows that were not seen before, and gives the same bytes as building from nothing.
"""

import contextlib
import dataclasses
import resource
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import rdkit
from rdkit import Chem

from assets.molecules.checks import report_checks
from assets.molecules.layouts import Condition, Property
from assets.molecules.memo import Memo, MemoWriter, recipe_of
from assets.molecules.merging import Merger, SourceCounts, SourceFacts, cut_into_shards
from assets.molecules.parsing import ParseCounts, ParsedBatch, parse
from assets.molecules.reading import SourceFile, read_rows, source_properties
from assets.molecules.rows import SourceError
from assets.molecules.source_index import read_sources
from assets.molecules.standardize import Rules
from formats.descriptors import UnknownDescriptorError, descriptors_named
from formats.splits import SplitRule
from formats.tables import (
    MOLECULE_COLUMNS,
    POLYMER_COLUMNS,
    REJECTED_ROWS,
    ROWS_PER_ROW_GROUP,
    molecule_schema,
    open_writer,
    table_from_rows,
    write_table,
)
from stages.markdown import counted
from stages.memory import peak_memory_mib
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import add_workers, program, worker_count
from stages.reporting import Reporter, progress_line

_STARS = {"molecules": 0, "polymers": 2}
_COLUMNS = {"molecules": MOLECULE_COLUMNS, "polymers": POLYMER_COLUMNS}


class BuildError(Exception):
    """The dataset cannot be built from these sources: none for this dataset, conflicting units, or no row left."""


@dataclass(frozen=True)
class DatasetConfig:
    """The sections `molecules` and `polymers` of params.yaml.

    descriptors:      columns to compute; names from formats/descriptors.py.
    salts:            strip keeps the largest organic fragment, keep leaves mixtures, reject sets them aside.
    elements:         symbols allowed besides hydrogen and `*`; empty allows all.
    min_heavy_atoms, max_heavy_atoms, max_smiles_chars: size limits, included.
    valid_fraction, test_fraction, split_seed: the splits; train gets the rest.
    rows_per_shard:   size of a Parquet shard, about.
    """

    descriptors: list[str] = field(default_factory=list)
    salts: Literal["strip", "keep", "reject"] = "strip"
    elements: list[str] = field(default_factory=list)
    min_heavy_atoms: int = 1
    max_heavy_atoms: int = 100
    max_smiles_chars: int = 1_000
    valid_fraction: float = 0.05
    test_fraction: float = 0.05
    split_seed: int = 0
    rows_per_shard: int = 50_000

    def __post_init__(self) -> None:
        # Refused here, with the parameters, and not after an hour of parsing.
        SplitRule(self.valid_fraction, self.test_fraction, self.split_seed)
        if self.rows_per_shard < 1:
            raise ValueError(f"rows_per_shard must be at least 1, found {self.rows_per_shard}")
        if len(set(self.descriptors)) != len(self.descriptors):
            raise ValueError(f"descriptors names one twice: {', '.join(self.descriptors)}")
        table = Chem.GetPeriodicTable()
        for symbol in self.elements:
            if not symbol.isalpha() or not _is_element(table, symbol):
                raise ValueError(f"elements: '{symbol}' is not the symbol of an element")
        try:
            descriptors_named(self.descriptors)
        except UnknownDescriptorError as error:
            raise ValueError(f"descriptors: {error}") from None

    def rules(self, stars: int) -> Rules:
        """What a row must be, with this number of attachment points."""
        return Rules(
            stars=stars,
            salts=self.salts,
            elements=tuple(self.elements),
            min_heavy_atoms=self.min_heavy_atoms,
            max_heavy_atoms=self.max_heavy_atoms,
            max_smiles_chars=self.max_smiles_chars,
            descriptors=tuple(self.descriptors),
        )

    def split(self) -> SplitRule:
        return SplitRule(self.valid_fraction, self.test_fraction, self.split_seed)


@dataclass
class BuildFacts:
    """What a build did. The summary goes into the output; the rest (work done, seconds) depends on how it was made and does not."""

    summary: dict[str, Any]
    counts: ParseCounts
    seconds: float
    files: int = 0
    bytes: int = 0


def build_dataset(
    name: str, config: DatasetConfig, sources: Sequence[SourceFile], target: Path, *, scratch: Path, workers: int, reporter: Reporter
) -> BuildFacts:
    """Write the dataset `name` ("molecules" or "polymers") into the folder `target`.

    scratch: a folder for the memo of parsed rows and temporary files; nothing in it decides what is written.
    Raises BuildError, SourceError, OutputBusyError; the previous output is then untouched.
    """
    started = time.monotonic()
    # What decides a row (rules, RDKit, code) is named by the recipe; what was parsed under the same recipe is not parsed again.
    facts, schema = _describe(name, config, sources)
    rules = config.rules(_STARS[name])
    recipe = recipe_of(rules)
    counts = ParseCounts()
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(OutputFolder(target))
        writer = MemoWriter(scratch, recipe, len(rules.descriptors))
        stack.callback(writer.discard)
        merger = Merger(facts, schema, descriptor_count=len(rules.descriptors), temporary=scratch / ".tmp-first-seen.arrow")
        stack.callback(merger.close)
        # One pass over all sources: rows are read, parsed and merged as they come, and none of the three holds them all.
        streams = [read_rows(source) for source in sources]
        batches = parse(streams, rules, memo=Memo(scratch, recipe), writer=writer, workers=workers, counts=counts)
        _write_rejected(output.file("rejected.parquet"), _merge(batches, merger, name, reporter))
        # Second pass: the merged molecules, cut into shards by content.
        summary = _summary(name, schema, facts, merger.counts)
        if not summary["rows_accepted"]:
            raise BuildError(_nothing_left(name, summary))
        summary |= _write_shards(name, output, cut_into_shards(merger.tables(config.split()), rows_per_shard=config.rows_per_shard))
        if merger.merged:
            summary["merged_values"] = {column: merger.merged[column].as_record() for column in schema.names if column in merger.merged}
        output.write_json("summary.json", summary)
        # The memo is published inside the block: a build that fails leaves the old output and the old memo.
        files, size = output.size()
        writer.publish()
    return BuildFacts(summary, counts, time.monotonic() - started, files, size)


def _is_element(table: Any, symbol: str) -> bool:
    try:
        return table.GetAtomicNumber(symbol) > 0
    except RuntimeError:
        return False


def _describe(name: str, config: DatasetConfig, sources: Sequence[SourceFile]) -> tuple[list[SourceFacts], pa.Schema]:
    """The facts of each source and the columns of the dataset. Raises BuildError where two sources disagree about a unit or the use of a name."""
    units: dict[str, dict[str, str]] = {"properties": {}, "conditions": {}}
    stated_by: dict[str, str] = {}
    fixed = _COLUMNS[name]
    facts = []
    for source in sources:
        stated: dict[str, Mapping[str, Property | Condition]] = {"properties": source_properties(source), "conditions": source.options.conditions}
        for kind, other, word in (("properties", "conditions", "property"), ("conditions", "properties", "condition")):
            for key, item in stated[kind].items():
                if key in config.descriptors or key in fixed.names or key in units[other] or key in stated[other]:
                    raise BuildError(f"{name}: {word} '{key}' of source '{source.name}' has the name of another column; rename it under `{kind}`")
                # A column holds one unit: two sources that disagree must not meet in it.
                if units[kind].setdefault(key, item.unit) != item.unit:
                    raise BuildError(
                        f"{name}: {word} '{key}' is in {units[kind][key] or 'words'} in source '{stated_by[key]}' but in {item.unit or 'words'} "
                        f"in source '{source.name}'; give one of them another name under `{kind}`"
                    )
                stated_by.setdefault(key, source.name)
        facts.append(SourceFacts(source.name, source.licence, source.origin, tuple(stated["properties"]), tuple(stated["conditions"])))
    descriptor_units = {descriptor.name: descriptor.unit for descriptor in descriptors_named(config.descriptors)}
    return facts, molecule_schema(descriptor_units, units["properties"], condition_units=units["conditions"], fixed=fixed)


def _merge(batches: Iterator[ParsedBatch], merger: Merger, name: str, reporter: Reporter) -> Iterator[dict]:
    """Feed the merger, and give the rejected rows as they come."""
    started = last = time.monotonic()
    rows = 0
    for batch in batches:
        yield from merger.add(batch)
        rows += len(batch.rows)
        if time.monotonic() - last > 5:
            last = time.monotonic()
            reporter.progress_words(progress_line(rows, None, last - started, f"{name}: rows read"))


def _write_rejected(path: Path, rejected: Iterator[dict]) -> None:
    """All rejected rows, in whole row groups so that the bytes do not depend on the batches they came in."""
    with open_writer(path, REJECTED_ROWS) as writer:
        pending: list[dict] = []
        for record in rejected:
            pending.append(record)
            if len(pending) == ROWS_PER_ROW_GROUP:
                writer.write_table(table_from_rows(REJECTED_ROWS, pending))
                pending = []
        writer.write_table(table_from_rows(REJECTED_ROWS, pending))


def _write_shards(name: str, output: OutputFolder, shards: Iterator[pa.Table]) -> dict[str, Any]:
    """Write `<name>-00000.parquet`, …; gives what can only be counted on the way."""
    # Counted while the shards are written: they are not read again for it.
    rows = count = 0
    splits: dict[str, Counter] = {"split_random": Counter(), "split_scaffold": Counter()}
    licences: Counter = Counter()
    for count, shard in enumerate(shards, 1):
        write_table(output.file(f"{name}-{count - 1:05d}.parquet"), shard)
        rows += len(shard)
        for column, counter in splits.items():
            counter.update(_value_counts(shard[column]))
        licences.update(_value_counts(shard["licence"]))
    return {"rows": rows, "shards": count, "splits": {column: dict(counter) for column, counter in splits.items()}, "licences": dict(licences)}


def _value_counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in column.value_counts().to_pylist()}


def _summary(name: str, schema: pa.Schema, facts: Sequence[SourceFacts], counts: Sequence[SourceCounts]) -> dict[str, Any]:
    rejected: Counter = sum((count.rejected for count in counts), Counter())
    return {
        "dataset": name,
        "columns": schema.names,
        "units": {item.name: (item.metadata or {})[b"unit"].decode() for item in schema if pa.types.is_floating(item.type)},
        "rows_in": sum(count.rows for count in counts),
        "rows_accepted": sum(count.accepted for count in counts),
        "rows_merged_into_others": sum(count.duplicates for count in counts),
        "rows_rejected": rejected.total(),
        "rejected": dict(rejected),
        "rdkit": rdkit.__version__,
        "sources": {
            fact.name: {
                "rows": count.rows,
                "accepted": count.accepted,
                "duplicates": count.duplicates,
                "rejected": count.rejected.total(),
                "licence": fact.licence,
                "origin": fact.origin,
            }
            for fact, count in zip(facts, counts, strict=True)
        },
    }


def _nothing_left(name: str, summary: dict[str, Any]) -> str:
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(summary["rejected"].items(), key=lambda item: (-item[1], item[0])))
    return (
        f"{name}: all {summary['rows_in']:,} rows of {', '.join(summary['sources'])} were rejected: {reasons or 'the sources are empty'}; "
        "the previous output is kept; see whether the sources or the rules are meant for this dataset"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(BuildError, SourceError), configure=_configure)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("dataset", choices=sorted(_STARS), help="which dataset to build")
    add_workers(parser, "processes that parse")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    name = arguments.dataset
    config = load_params(arguments.params, name, DatasetConfig, overrides=arguments.overrides)
    workers = worker_count(arguments)
    sources = read_sources(arguments.data / "molecule_sources", role=name)
    target = arguments.data / name
    facts = build_dataset(name, config, sources, target, scratch=Path(".figment") / "reuse" / name, workers=workers, reporter=reporter)
    rejected = facts.summary["rejected"]
    _report(facts, reporter)
    reporter.markdown("examples", _examples(target / f"{name}-00000.parquet"))
    reporter.markdown("rejected_rows", counted("reason", "rows", rejected) if rejected else "No row was rejected.")
    if "merged_values" in facts.summary:
        reporter.markdown("merged_values", _merged_values(facts.summary))
    report_checks(target, name, reporter)


def _report(facts: BuildFacts, reporter: Reporter) -> None:
    summary = facts.summary
    rate = summary["rows_in"] / facts.seconds if facts.seconds else 0.0
    peak_mib = peak_memory_mib(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    reporter.metadata(
        rows=summary["rows"],
        rows_in=summary["rows_in"],
        rows_rejected=summary["rows_rejected"],
        rejected_by_reason=summary["rejected"],
        rows_merged_into_others=summary["rows_merged_into_others"],
        files=facts.files,
        bytes=facts.bytes,
        rows_per_s=round(rate, 1),
        peak_memory_mib=round(peak_mib),
        **{f"rows_{key}": value for key, value in dataclasses.asdict(facts.counts).items()},
    )
    reporter.log(
        f"{summary['dataset']}: {summary['rows']:,} molecules from {summary['rows_in']:,} rows "
        f"({summary['rows_rejected']:,} rejected, {summary['rows_merged_into_others']:,} merged), {facts.counts.parsed:,} parsed, "
        f"{facts.counts.reused:,} known from before; {rate:,.0f} rows/s, peak {peak_mib:,.0f} MiB"
    )


def _examples(shard: Path, *, count: int = 8) -> str:
    """The first molecules as a Markdown table; as code, because SMILES are full of signs that Markdown would take for its own."""
    rows = pq.read_table(shard, columns=["smiles", "source", "split_random"]).slice(0, count).to_pylist()
    lines = [f"| `{row['smiles']}` | {row['source']} | {row['split_random']} |" for row in rows]
    return "\n".join(["| molecule | source | split |", "|---|---|---|", *lines])


def _merged_values(summary: dict[str, Any]) -> str:
    """Of each property, how many rows had several values, which became their median, and how far apart they were."""
    lines = [
        f"| {name} | {one['rows']:,} | {one['values']:,} | {one['most_values_of_a_row']:,} | {one['spread_median']:.4g} | {one['spread_most']:.4g} "
        f"| {summary['units'][name]} |"
        for name, one in summary["merged_values"].items()
    ]
    head = "| property | rows with several values | values | most of a row | spread, median | spread, most | unit |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *lines])


if __name__ == "__main__":
    sys.exit(main())
