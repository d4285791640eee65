"""Molecules with wanted properties from any trained model: a table (CSV) of requested and obtained values, and a picture.

    python -m training.polymers.generate --model polygpt --property mol_wt=200 -n 20 --out my_molecules
    python -m training.polymers.generate --model polytao --property mol_wt=150:350 --property band_gap=2.5 -n 100 --unique --out my_molecules

This is what `figment generate` runs. A property that RDKit cannot compute is told by the property predictor, with its standard deviation and whether
the molecule lies in its domain. Text with a `*` is valid where it is the repeat unit of a linear polymer, other text where RDKit reads it.
"""

import csv
import itertools
import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy

from formats.descriptors import DESCRIPTORS
from formats.molecule_tables import MoleculeTableError, property_columns, read_molecules
from stages.near_misses import did_you_mean
from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.metrics.molecules import Reading, read_generated
from training.polymers.conditions import MoleculeModelError, check_known
from training.polymers.decoding import SamplingSettings
from training.polymers.drawings import draw_molecules
from training.polymers.flags import MODELS, add_generate_flags
from training.polymers.origin import read_origin
from training.polymers.property_judge import PREDICTOR, Predictor, open_predictor, predicted
from training.polymers.sample_table import Request
from training.polymers.sampling import OpenModel, requests_by_hand
from training.polymers.scoring import obtained_values
from training.polymers.smiles_tokenizer import SmilesTokenizerError

_BATCH, _DRAWN = 128, 24
# A model that was trained on no table that is at hand knows about four standard deviations around its mean.
_DEVIATIONS = 4


def open_model(name: str, folder: Path, device: Any) -> OpenModel:
    """Raises MoleculeModelError for a name that is not known, and what the model itself raises for its folder."""
    if name not in MODELS:
        raise MoleculeModelError(f"no model '{name}'{did_you_mean(name, MODELS)}; models: {', '.join(MODELS)}")
    opened: OpenModel = getattr(import_module(MODELS[name]), f"open_{name}")(folder, device)
    return opened


def known_ranges(data: Path, folder: Path, properties: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each property among the training molecules of the model in `folder`, where its tables are below `data`.

    Of others mean ± 4 standard deviations, where the model's config.json has them; a property of neither is left out.
    """
    ranges: dict[str, tuple[float, float]] = {}
    origin = read_origin(folder)
    for place in (data / name for name in origin.data_ids if any((data / name).glob(f"{name}-*.parquet"))):
        had = [name for name in properties if name in property_columns(place)]
        values = read_molecules(place, split="train", split_column=origin.split_column, properties=had).properties
        for name, column in zip(had, values.T, strict=True):
            if len(known := column[numpy.isfinite(column)]):
                low, high = ranges.get(name, (math.inf, -math.inf))
                ranges[name] = min(low, float(known.min())), max(high, float(known.max()))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    scales = zip(*(config.get(key, ()) for key in ("properties", "property_mean", "property_std")), strict=False)
    return {name: (mean - _DEVIATIONS * std, mean + _DEVIATIONS * std) for name, mean, std in scales if name in properties} | ranges


def check_requests(requests: Sequence[Request], model: OpenModel, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises MoleculeModelError for a property that the model does not know, or a value beyond what it saw in training."""
    check_known(requests[0], tuple(model.units))
    for name, value in ((name, value) for request in requests for name, value in request.items()):
        low, high = ranges.get(name, (-math.inf, math.inf))
        if not low <= value <= high or not math.isfinite(value):
            unit = f" {model.units[name]}" if model.units[name] else ""
            raise MoleculeModelError(f"{name}={value:g} lies outside what the model saw in training, {low:.6g} to {high:.6g}{unit}; ask within it")


def read_texts(texts: Sequence[str]) -> Reading:
    """As `read_generated`; text with a `*` by the rule for polymers, the rest by that for molecules."""
    polymers = read_generated((text if "*" in text else None for text in texts), rule="polymer")
    molecules = read_generated(None if "*" in text else text for text in texts)
    canonical = tuple(one or other for one, other in zip(polymers.canonical, molecules.canonical, strict=True))
    return Reading(canonical, {**polymers.molecules, **molecules.molecules}, {}, polymers.parses + molecules.parses)


def rounds(model: OpenModel, requests: Sequence[Request], arguments: Namespace) -> Iterator[tuple[Request, str]]:
    """Requests with what was written for each: once, or again and again with other dice until `--tries` times as many."""
    for turn in range(arguments.tries if arguments.unique and arguments.temperature > 0 else 1):
        settings = SamplingSettings(arguments.temperature, batch_size=min(_BATCH, len(requests)), seed=arguments.seed + turn)
        yield from zip(requests, (molecule.smiles for molecule in model.sampler(requests, settings)), strict=True)


def generate(model: OpenModel, requests: Sequence[Request], arguments: Namespace) -> tuple[list[tuple[Request, str]], int]:
    """The chosen requests with their texts, and how many were written: all, or with --unique the different valid ones, at most as many as asked."""
    chosen: dict[str, tuple[Request, str]] = {}
    tried = 0
    written = rounds(model, requests, arguments)
    if not arguments.unique:
        return (everything := list(written)), len(everything)
    while len(chosen) < len(requests) and (part := list(itertools.islice(written, len(requests)))):
        tried += len(part)
        for pair, smiles in zip(part, read_texts([text for _, text in part]).canonical, strict=True):
            if smiles is not None and len(chosen) < len(requests):
                chosen.setdefault(smiles, pair)
    return list(chosen.values()), tried


def table_of(pairs: Sequence[tuple[Request, str]], reading: Reading, predictor: Predictor | None) -> list[dict[str, Any]]:
    """A row a text: smiles, valid, and of each property requested and obtained values, or what the predictor tells."""
    names = list(pairs[0][0]) if pairs else []
    obtained = {name: obtained_values(reading, name) for name in names if name in DESCRIPTORS}
    columns: dict[str, Sequence[Any]] = {"smiles": [text for _, text in pairs]}
    columns["valid"] = [str(smiles is not None).lower() for smiles in reading.canonical]
    for name in names:
        columns[f"requested_{name}"] = [request[name] for request, _ in pairs]
        if name in obtained:
            columns[f"obtained_{name}"] = obtained[name].tolist()
    if predictor is not None:
        means, deviations, at_home = predicted(reading, names, predictor)
        for name in means:
            columns |= {f"predicted_{name}": means[name].tolist(), f"predicted_std_{name}": deviations[name].tolist()}
        columns["in_domain"] = [str(bool(one)).lower() for one in at_home]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _run(arguments: Namespace, reporter: Reporter) -> None:
    requests = requests_by_hand(arguments.property, arguments.number, arguments.seed)
    folder = arguments.data / arguments.model
    try:
        SamplingSettings(arguments.temperature)
    except ValueError as error:
        raise ParamsError(str(error)) from None
    with open_devices() as devices:
        model = open_model(arguments.model, folder, devices.device)
        check_requests(requests, model, {**model.ranges, **known_ranges(arguments.data, folder, list(requests[0]))} if requests[0] else {})
        predictor = open_predictor(arguments.data / PREDICTOR) if requests[0].keys() - DESCRIPTORS.keys() else None
        pairs, tried = generate(model, requests, arguments)
    reading = read_texts([text for _, text in pairs])
    rows = table_of(pairs, reading, predictor)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "molecules.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else ["smiles", "valid"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    draw_molecules([reading.molecules[smiles] for smiles in dict.fromkeys(reading.valid)][:_DRAWN], arguments.out / "molecules.png")
    what = "different valid" if arguments.unique else "valid"
    reporter.log(f"{arguments.model}: {len(reading.valid):,} {what} molecules of {arguments.number:,} asked for, {tried:,} written: {arguments.out}")


def _cell(value: Any) -> str:
    return str(value) if isinstance(value, str) else "" if math.isnan(value) else f"{value:.6g}"


def main(argv: Sequence[str] | None = None) -> int:
    return program(__doc__, _run, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError), configure=add_generate_flags)


if __name__ == "__main__":
    sys.exit(main())
