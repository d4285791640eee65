"""The program of a stage that makes image datasets: `python -m MODULE SIZE [--workers N]`, and what it reports."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from assets.images.columns import UNKNOWN_LICENCE
from assets.images.dataset import CONTACT_SHEET, BuildFacts, DatasetError, build_dataset
from assets.images.dataset_config import DatasetConfig, Subject
from stages.markdown import counted, png_data_uri
from stages.params import ParamsError, load_params
from stages.program import add_workers, program, worker_count
from stages.reporting import Reporter

Config = TypeVar("Config", bound=DatasetConfig)


def dataset_program(
    description: str | None,
    stage: str,
    config_class: type[Config],
    subject_of: Callable[[Config], Subject],
    argv: Sequence[str] | None,
    *,
    originals: str,
) -> int:
    """Run the program of `stage`, whose section of params.yaml is a `config_class`, on the output of the stage `originals`; gives the exit code."""

    def run(arguments: Namespace, reporter: Reporter) -> None:
        config = load_params(arguments.params, stage, config_class, overrides=arguments.overrides)
        if arguments.size not in config.sizes:
            raise ParamsError(f"{arguments.params}: {stage}.sizes has no {arguments.size}; sizes there: {', '.join(map(str, config.sizes))}")
        facts = build_dataset(
            arguments.size,
            config,
            subject_of(config),
            arguments.data / originals,
            target := arguments.data / f"{stage}@{arguments.size}",
            figment=Path(".figment"),
            workers=worker_count(arguments),
            reporter=reporter,
        )
        report_dataset(facts, target, reporter)

    def configure(parser: ArgumentParser) -> None:
        parser.add_argument("size", type=int, metavar="SIZE", help=f"side in pixels: one of {stage}.sizes")
        add_workers(parser, "threads that make pictures")

    return program(description, run, argv, expected=(DatasetError,), configure=configure)


def report_dataset(facts: BuildFacts, target: Path, reporter: Reporter, *, sheets: Sequence[str] = (CONTACT_SHEET,)) -> None:
    """Report what `build_dataset`, or another builder of image sets, wrote into `target`. sheets: files with pictures of it."""
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
    reporter.markdown("licence_counts", counted("licence", "pictures", facts.licences))
    for sheet in sheets:
        reporter.markdown(Path(sheet).stem, f"![some of the pictures]({png_data_uri(target / sheet)})")
    unknown = facts.licences[UNKNOWN_LICENCE]
    reporter.check("licences_known", unknown == 0, severity="WARN", pictures_of_unknown_licence=unknown)
    reporter.log(
        f"{target.name}: {facts.pictures:,} pictures in {facts.shards:,} shards ({facts.shards_kept:,} kept as they were), "
        f"{facts.excluded.total():,} left out; {work.decodes:,} decoded, {work.taken:,} taken from another size, {work.reused:,} known from before; "
        f"{facts.seconds:,.1f} s"
    )
