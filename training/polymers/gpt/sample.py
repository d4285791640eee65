"""Let a trained PolyGPT write molecules.

    python -m training.polymers.gpt.sample                                             # the stage: data/polygpt_samples/samples.parquet
    python -m training.polymers.gpt.sample --model data/polygpt --number 20 --property mol_wt=200 --temperature 0.8    # SMILES, one a line

Every molecule has random numbers of its own, drawn from (seed, its index): what it becomes does not depend on how many are asked for.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from torch import Tensor

from formats.molecule_tables import MoleculeTableError, read_molecules
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.loop.seeding import generator
from training.polymers.gpt.networks import KeyValueCache, PolyGPT, PolyGPTError
from training.polymers.smiles_tokenizer import BOS, EOS, MASK, PAD, UNK, SmilesTokenizerError

STAGE = "polygpt_samples"


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are chosen. temperature: 0 takes the likeliest. top_k: only the k likeliest, 0 all.

    top_p: the smallest set of at least this probability, 1 all. batch_size: molecules written side by side; it does not change them.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must not be negative, found {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must not be negative, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], found {self.top_p}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {self.batch_size}")


@dataclass(frozen=True)
class SampledMolecule:
    """smiles: as written, valid or not. finished: whether the model ended it; otherwise the room ran out."""

    smiles: str
    finished: bool


@dataclass(frozen=True)
class PolyGPTSamplesConfig:
    """The section `polygpt_samples`. unconditional, conditional: molecules for each temperature.

    wanted_from: dataset whose test split gives the property values to ask for, first rows first, over again when they run out.
    """

    unconditional: int = 1000
    conditional: int = 500
    temperatures: tuple[float, ...] = (1.0, 0.8)
    top_k: int = 0
    top_p: float = 1.0
    wanted_from: Literal["molecules", "polymers"] = "molecules"
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.unconditional < 0 or self.conditional < 0 or self.unconditional + self.conditional == 0:
            raise ValueError("unconditional and conditional must not be negative, and not both 0")
        if not self.temperatures:
            raise ValueError("temperatures is empty; name at least one, such as 1.0")
        for temperature in self.temperatures:
            self.settings(temperature)

    def settings(self, temperature: float, seed_shift: int = 0) -> SamplingSettings:
        return SamplingSettings(temperature, self.top_k, self.top_p, self.batch_size, self.seed + seed_shift)


def sample_molecules(
    model: PolyGPT, tokenizer: Tokenizer, requests: Sequence[Mapping[str, float]], settings: SamplingSettings
) -> Iterator[SampledMolecule]:
    """One molecule for each request, in order, batch by batch. A request holds wanted properties by name, in the units of the dataset; {} wants none.

    Raises PolyGPTError for a property the model does not know.
    """
    for start in range(0, len(requests), settings.batch_size):
        wanted = [model.standardise(request) for request in requests[start : start + settings.batch_size]]
        values, masks = (torch.stack(column) for column in zip(*wanted, strict=True))
        tokens = sample_tokens(model, values, masks, settings, first_index=start).tolist()
        for ids in tokens:
            finished = EOS in ids
            text = tokenizer.decode(ids[: ids.index(EOS)] if finished else ids, skip_special_tokens=True)
            yield SampledMolecule(text, finished)


@torch.inference_mode()
def sample_tokens(
    model: PolyGPT, wanted: Tensor, wanted_mask: Tensor, settings: SamplingSettings, *, first_index: int = 0, steps: int | None = None
) -> Tensor:
    """Tokens [B, at most maximum_tokens - 1] after <bos>, <eos> included, then <pad>.

    wanted, wanted_mask: [B, P], see `PolyGPT.standardise`. first_index: index of the first molecule, which with the seed decides its random numbers.
    """
    was_training = model.training
    model.eval()
    device = model.token_embedding.weight.device
    steps = steps or model.shape.maximum_tokens - 1
    B = len(wanted)
    uniform = torch.stack([torch.rand(steps, generator=generator(settings.seed, "sample", first_index + row)) for row in range(B)]).to(device)
    prefix = model.property_embedding(wanted.to(device), wanted_mask.to(device))
    cache = KeyValueCache(model.shape, B, capacity=steps + 1, device=device, dtype=prefix.dtype)
    written = torch.full((B, steps), PAD, device=device)
    alive = torch.arange(B, device=device)
    hidden = model(torch.full((B, 1), BOS, device=device), prefix, cache)
    for step in range(steps):
        token = choose_token(model.logits(hidden[:, -1]).float(), uniform[alive, step], settings)
        written[alive, step] = token
        unfinished = token != EOS
        if not unfinished.any() or step == steps - 1:
            break
        # Finished molecules leave the batch once they are a quarter of it: copying the cache costs about as much as a few steps.
        if unfinished.sum() <= 0.75 * len(alive):
            rows = unfinished.nonzero().squeeze(-1)
            alive, token = alive[rows], token[rows]
            cache.keep(rows)
        hidden = model(token.unsqueeze(-1), None, cache)
    model.train(was_training)
    return _blank_after_end(written)


def choose_token(logits: Tensor, uniform: Tensor, settings: SamplingSettings) -> Tensor:
    """Tokens [B] from logits [B, V] with uniform random numbers [B] in [0, 1), by the inverse of the cumulated distribution.

    <pad>, <bos>, <unk> and <mask> are never chosen. Source of top-p: Holtzman et al. 2020.
    """
    logits = logits.index_fill(-1, torch.tensor([PAD, BOS, UNK, MASK], device=logits.device), float("-inf"))
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    # Likeliest first, ties by id, so that both cuts are prefixes of the list.
    ordered, tokens = (logits / settings.temperature).sort(dim=-1, descending=True, stable=True)
    if settings.top_k:
        ordered[:, settings.top_k :] = float("-inf")
    probabilities = ordered.softmax(dim=-1)
    cumulated = probabilities.cumsum(dim=-1)
    if settings.top_p < 1:
        # The token that crosses the line stays in.
        probabilities = torch.where(cumulated - probabilities < settings.top_p, probabilities, torch.zeros_like(probabilities))
        cumulated = probabilities.cumsum(dim=-1)
    total = cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, uniform.unsqueeze(-1) * total, right=True)
    # Rounding may carry the search past the last token that has any probability.
    last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1
    return tokens.gather(-1, torch.minimum(chosen, last)).squeeze(-1)


def _blank_after_end(written: Tensor) -> Tensor:
    """A finished molecule that stayed in the batch went on writing; what follows <eos> becomes <pad>."""
    ended = (written == EOS).cumsum(dim=-1) - (written == EOS).long() > 0
    return written.masked_fill(ended, PAD)


def sample_table(
    model: PolyGPT, tokenizer: Tokenizer, config: PolyGPTSamplesConfig, wanted: Sequence[Mapping[str, float]], reporter: Reporter
) -> pa.Table:
    """The rows of samples.parquet. wanted: property values by name to ask for, repeated as often as needed."""
    rows: list[tuple[str, float, SampledMolecule, Mapping[str, float]]] = []
    for index, temperature in enumerate(config.temperatures):
        conditional = [wanted[row % len(wanted)] for row in range(config.conditional)] if wanted else []
        for mode, requests in (("unconditional", [{}] * config.unconditional), ("conditional", conditional)):
            # Another temperature or mode is another set of molecules, not the same dice thrown again.
            settings = config.settings(temperature, 2 * index + (mode == "conditional"))
            sampled = sample_molecules(model, tokenizer, requests, settings)
            what = f"{STAGE}: {mode} at T={temperature:g}"
            for molecule, request in zip(reporter.progress(sampled, total=len(requests), what=what), requests, strict=True):
                rows.append((mode, temperature, molecule, request))
    columns = {
        "index": pa.array(range(len(rows)), pa.int64()),
        "mode": pa.array([row[0] for row in rows], pa.string()),
        "temperature": pa.array([row[1] for row in rows], pa.float64()),
        "smiles": pa.array([row[2].smiles for row in rows], pa.string()),
        "finished": pa.array([row[2].finished for row in rows], pa.bool_()),
    }
    for name in model.shape.properties:
        columns[f"requested_{name}"] = pa.array([row[3].get(name) for row in rows], pa.float64())
    units = {f"requested_{name}": unit for name, unit in model.shape.property_units.items() if unit}
    fields = [pa.field(name, array.type, metadata={"unit": units[name]} if name in units else None) for name, array in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def held_out_properties(folder: Path, model: PolyGPT, *, split_column: str, number: int) -> list[dict[str, float]]:
    """Property values of up to `number` molecules of the test split, values that are missing left out; molecules without any are passed over."""
    if not model.shape.properties:
        return []
    table = read_molecules(folder, split="test", split_column=split_column, properties=model.shape.properties)
    vectors = [
        {name: float(value) for name, value in zip(table.property_names, row, strict=True) if not numpy.isnan(value)} for row in table.properties
    ]
    wanted = [vector for vector in vectors if vector][:number]
    if not wanted and number:
        raise PolyGPTError(
            f"{folder}: no molecule of the test split has any of {', '.join(model.shape.properties)}; set conditional: 0, or change the split"
        )
    return wanted


def _run_stage(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, PolyGPTSamplesConfig, overrides=arguments.overrides)
    with open_devices() as devices:
        model, tokenizer = PolyGPT.load(arguments.data / "polygpt", device=devices.device)
        wanted = held_out_properties(arguments.data / config.wanted_from, model, split_column=config.split_column, number=config.conditional)
        table = sample_table(model, tokenizer, config, wanted, reporter)
    with OutputFolder(arguments.data / STAGE) as output:
        pq.write_table(table, output.file("samples.parquet"), compression="zstd", row_group_size=65_536)
    finished = sum(table["finished"].to_pylist())
    reporter.metadata(rows=table.num_rows, finished=finished)
    reporter.log(f"{STAGE}: {table.num_rows:,} molecules, {finished:,} ended by the model itself")


def _run_by_hand(arguments: Namespace) -> None:
    with open_devices() as devices:
        model, tokenizer = PolyGPT.load(arguments.model, device=devices.device)
        try:
            settings = SamplingSettings(arguments.temperature, arguments.top_k, arguments.top_p, min(128, arguments.number), arguments.seed)
        except ValueError as error:
            raise ParamsError(str(error)) from None
        requests = [_wanted(arguments.property)] * arguments.number
        for molecule in sample_molecules(model, tokenizer, requests, settings):
            print(molecule.smiles)


def _wanted(pairs: Sequence[str]) -> dict[str, float]:
    wanted = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            wanted[name] = float(text)
        except ValueError:
            raise ParamsError(f"--property takes name=number such as mol_wt=200, found {pair!r}") from None
    return wanted


def _run(arguments: Namespace, reporter: Reporter) -> None:
    if arguments.model is None:
        _run_stage(arguments, reporter)
    else:
        _run_by_hand(arguments)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="DIR", help="print molecules of this model instead of running the stage")
    parser.add_argument("--number", type=_count, default=10, metavar="N", help="molecules to print (default: %(default)s)")
    parser.add_argument(
        "--property", action="append", default=[], metavar="NAME=VALUE", help="a wanted property, in the units of the dataset; repeatable"
    )
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=0, help="only the k likeliest tokens; 0 is all (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=1.0, help="only the likeliest tokens of this total probability (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is not at least 1")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    return program(__doc__, _run, argv, expected=(PolyGPTError, SmilesTokenizerError, MoleculeTableError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
