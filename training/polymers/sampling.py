"""What the sampling stage of any model of molecules shares: free and requested samples at each temperature, their seeds, and the table of them.

A model's stage opens an `OpenModel`; by hand, the same sampler prints molecules, or a table of what was asked for beside what RDKit finds in what
came of it.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy
import torch

from formats.molecule_tables import MoleculeTableError, read_molecules
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.polymers.conditions import ConditionedShape, MoleculeModelError
from training.polymers.decoding import SamplingSettings, Writer, sample_molecules
from training.polymers.flags import add_wishes
from training.polymers.options import Dataset
from training.polymers.sample_table import GUIDED, Request, SampledMolecule, SampleRow, write_samples
from training.polymers.smiles_grammar import Rule
from training.polymers.smiles_tokenizer import SmilesTokenizerError

# One molecule for each request, in order.
Sampler = Callable[[Sequence[Request], SamplingSettings], Iterable[SampledMolecule]]

RULES: Mapping[Dataset, Rule] = {"molecules": "molecule", "polymers": "polymer"}

# How a table by hand is made decides no byte of a stage, so that module must stay out of the stages' code versions, which follow imports by name.
_OBEDIENCE = "training.polymers.obedience"


@dataclass(frozen=True)
class OpenModel:
    """A trained model that is ready to write. units: by name, of the properties it knows. ranges: least and greatest value in training, if known."""

    sampler: Sampler
    units: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def open_writer(writer: Writer) -> OpenModel:
    """A model of our own that is ready to write."""
    return OpenModel(partial(sample_molecules, writer), units_of(writer.shape))


def units_of(shape: ConditionedShape) -> dict[str, str]:
    """By the names of all properties; "" where the dataset says none."""
    return {name: shape.property_units.get(name, "") for name in shape.properties}


class NothingToAskForError(Exception):
    """Samples on request are wanted, but the dataset has no property values to ask for."""


@dataclass(frozen=True)
class SamplesConfig:
    """The section of a sampling stage. unconditional, conditional: molecules for each temperature. batch_size: of them, made side by side.

    wanted_from: dataset whose test split gives the property values to ask for: of molecules drawn at random, over again when they run out.
    top_k, top_p: see SamplingSettings. guided: write each group once more, in the mode "<mode> guided", with the same random numbers but only tokens
    that can still become a molecule like those of `guided_like`.
    """

    unconditional: int = 1000
    conditional: int = 500
    temperatures: tuple[float, ...] = (1.0, 0.8)
    wanted_from: Literal["molecules", "polymers"] = "molecules"
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    top_k: int = 0
    top_p: float = 1.0
    batch_size: int = 128
    seed: int = 0
    guided: bool = False
    guided_like: Dataset = "molecules"

    def __post_init__(self) -> None:
        if self.unconditional < 0 or self.conditional < 0 or self.unconditional + self.conditional == 0:
            raise ValueError("unconditional and conditional must not be negative, and not both 0")
        if not self.temperatures:
            raise ValueError("temperatures is empty; name at least one, such as 1.0")
        for temperature in self.temperatures:
            self.settings(temperature, self.seed)

    def settings(self, temperature: float, seed: int, *, guided: bool = False) -> SamplingSettings:
        """How the molecules of one group are made."""
        return SamplingSettings(temperature, self.top_k, self.top_p, self.batch_size, seed, guided, RULES[self.guided_like])


def sampling_program(
    stage: str,
    model: str,
    open_model: Callable[[Path, torch.device], OpenModel],
    description: str | None,
    argv: Sequence[str] | None,
    *,
    expected: tuple[type[Exception], ...],
    config: type[SamplesConfig] = SamplesConfig,
) -> int:
    """The program of the stage `stage`, which lets `data/<model>` write; by hand it prints molecules. Returns the exit code.

    open_model: from the model's folder, onto a device. expected: errors of the model's own beside those of its tokenizer and the tables.
    config: the dataclass of the stage's section.
    """

    def run(arguments: Namespace, reporter: Reporter) -> None:
        with open_devices() as devices:
            if arguments.model is not None:
                _print_by_hand(arguments, open_model(arguments.model, devices.device), reporter)
                return
            options = load_params(arguments.params, stage, config, overrides=arguments.overrides)
            run_sampling(stage, open_model(arguments.data / model, devices.device), options, arguments.data, reporter)

    failures = (*expected, MoleculeModelError, SmilesTokenizerError, MoleculeTableError, NothingToAskForError)
    return program(description, run, argv, expected=failures, configure=_configure_by_hand)


def _print_by_hand(arguments: Namespace, model: OpenModel, reporter: Reporter) -> None:
    try:
        batch, rule = min(128, arguments.number), RULES[arguments.guided or "molecules"]
        cuts = (arguments.top_k, arguments.top_p)
        settings = SamplingSettings(arguments.temperature, *cuts, batch, arguments.seed, arguments.guided is not None, rule)
    except ValueError as error:
        raise ParamsError(str(error)) from None
    requests = requests_by_hand(arguments.property, arguments.number, arguments.seed)
    _warn_of_unseen(requests, model.ranges, reporter)
    molecules = list(model.sampler(requests, settings))
    text = "".join(f"{molecule.smiles}\n" for molecule in molecules)
    if arguments.property:
        text, lines = import_module(_OBEDIENCE).obedience(requests, molecules)
        for line in lines:
            reporter.log(line)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def run_sampling(stage: str, model: OpenModel, config: SamplesConfig, data: Path, reporter: Reporter) -> None:
    """Write `data/<stage>/samples.parquet`. Raises NothingToAskForError, MoleculeTableError."""
    place = data / config.wanted_from
    wanted = held_out_properties(place, list(model.units), split_column=config.split_column, number=config.conditional, seed=config.seed)
    _warn_of_unseen(wanted, model.ranges, reporter)
    started = time.monotonic()
    rows = list(_sampled(stage, model.sampler, config, wanted, reporter))
    # How fast depends on the machine: it is told, and stands in no file.
    per_s = len(rows) / max(time.monotonic() - started, 1e-9)
    with OutputFolder(data / stage) as output:
        write_samples(rows, output.file("samples.parquet"), units=model.units)
    finished = sum(row.molecule.finished for row in rows)
    reporter.metadata(rows=len(rows), finished=finished, molecules_per_s=round(per_s, 1))
    reporter.log(f"{stage}: {len(rows):,} molecules, {finished:,} ended by the model itself, {per_s:,.1f}/s")


def held_out_properties(folder: Path, properties: Sequence[str], *, split_column: str, number: int, seed: int) -> Sequence[Request]:
    """Property values of up to `number` molecules of the test split, drawn by the seed, values that are missing left out; molecules without any are
    passed over.
    """
    if not properties:
        return []
    table = read_molecules(folder, split="test", split_column=split_column, properties=properties)
    vectors = [
        {name: float(value) for name, value in zip(table.property_names, row, strict=True) if not numpy.isnan(value)} for row in table.properties
    ]
    # Drawn, not the first ones: a dataset's rows stand together by source, and molecules of one source may all weigh the same.
    having = [vector for vector in vectors if vector]
    wanted = [having[row] for row in numpy.random.default_rng(seed).permutation(len(having))[:number]]
    if not wanted and number:
        raise NothingToAskForError(
            f"{folder}: no molecule of the test split has any of {', '.join(properties)}; set conditional: 0, or change the split"
        )
    return wanted


def _warn_of_unseen(requests: Sequence[Request], ranges: Mapping[str, tuple[float, float]], reporter: Reporter) -> None:
    for name, (low, high) in ranges.items():
        outside = [request[name] for request in requests if not low <= request.get(name, low) <= high and not numpy.isnan(request[name])]
        if outside:
            told = f"{len(outside):,} of {len(requests):,} requests for {name} ({min(outside):g} to {max(outside):g})"
            reporter.log(f"WARNING: {told} lie outside what the model saw in training, {low:g} to {high:g}")


def _configure_by_hand(parser: ArgumentParser) -> None:
    """The flags with which a program of a sampling stage prints molecules instead."""
    parser.add_argument("--model", type=Path, metavar="DIR", help="print molecules of this model instead of running the stage")
    more = ". With it a table (CSV) of requested and obtained values is printed, and how well they agree is told at the end"
    add_wishes(parser, number=10, more=more)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what would be printed to this file")
    parser.add_argument("--top-k", type=int, default=0, help="only the k likeliest tokens; 0 is all (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=1.0, help="only the likeliest tokens of this total probability (default: %(default)s)")
    words = "only tokens that can still become a molecule, or, with `polymers`, a repeat unit with two stars"
    parser.add_argument("--guided", nargs="?", const="molecules", choices=list(RULES), help=words)


def requests_by_hand(pairs: Sequence[str], number: int, seed: int) -> list[Request]:
    """`number` requests from the values of `--property`. Raises ParamsError.

    Values of a range are its ends and those between in equal steps, in an order of their own for each property, so that no two go together.
    """
    columns: dict[str, list[float]] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        low, _, high = text.partition(":")
        try:
            ends = float(low), float(high or low)
        except ValueError:
            raise ParamsError(f"--property takes name=number such as mol_wt=200, or name=low:high such as mol_wt=150:350, found {pair!r}") from None
        if name in columns:
            raise ParamsError(f"--property names {name} twice")
        values = numpy.linspace(*ends, number)
        columns[name] = numpy.random.default_rng([seed, len(columns)]).permutation(values).tolist()
    return [{name: values[row] for name, values in columns.items()} for row in range(number)]


def _sampled(stage: str, sampler: Sampler, config: SamplesConfig, wanted: Sequence[Request], reporter: Reporter) -> Iterator[SampleRow]:
    """Without anything to ask for, only the free samples."""
    for index, temperature in enumerate(config.temperatures):
        asked = [wanted[row % len(wanted)] for row in range(config.conditional)] if wanted else []
        for mode, requests in (("unconditional", [{}] * config.unconditional), ("conditional", asked)):
            # Another temperature or mode is another set of molecules, not the same dice thrown again.
            seed = config.seed + 2 * index + (mode == "conditional")
            # Guided ones do throw the same dice: what differs between the two groups is what guiding does.
            for guided in (False, True)[: 1 + config.guided]:
                name = mode + GUIDED * guided
                molecules = sampler(requests, config.settings(temperature, seed, guided=guided))
                told = reporter.progress(molecules, total=len(requests), what=f"{stage}: {name} at T={temperature:g}")
                yield from (SampleRow(name, temperature, molecule, request) for molecule, request in zip(told, requests, strict=True))
