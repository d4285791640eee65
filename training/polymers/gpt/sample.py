"""Let a trained PolyGPT write molecules.

    python -m training.polymers.gpt.sample                                             # the stage: data/polygpt_samples/samples.parquet
    python -m training.polymers.gpt.sample --model data/polygpt --number 20 --temperature 0.8                          # SMILES, one a line
    python -m training.polymers.gpt.sample --model data/polygpt --number 20 --property mol_wt=150:350 --property tpsa=60    # a table

Every molecule has random numbers of its own, drawn from (seed, its index): what it becomes does not depend on how many are asked for.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from tokenizers import Tokenizer
from torch import Tensor

from formats.molecule_tables import MoleculeTableError
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.loop.seeding import generator
from training.polymers.gpt.model_folder import load_polygpt
from training.polymers.gpt.networks import KeyValueCache, PolyGPT, PolyGPTError
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.sampling import NothingToAskForError, SamplesConfig, configure_by_hand, requests_by_hand, run_sampling
from training.polymers.smiles_tokenizer import BOS, EOS, MASK, PAD, UNK, SmilesTokenizerError

STAGE = "polygpt_samples"
# How a table by hand is made decides no byte of the stage, so that module must stay out of the stage's code version, which follows imports by name.
_OBEDIENCE = "training.polymers.obedience"


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
class PolyGPTSamplesConfig(SamplesConfig):
    """The section `polygpt_samples`. top_k, top_p: see SamplingSettings."""

    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for temperature in self.temperatures:
            self.settings(temperature, self.seed)

    def settings(self, temperature: float, seed: int) -> SamplingSettings:
        """How the molecules of one group are made."""
        return SamplingSettings(temperature, self.top_k, self.top_p, self.batch_size, seed)


def sample(
    model: PolyGPT, tokenizer: Tokenizer, *, number: int, temperature: float = 1.0, properties: Mapping[str, float] | None = None, seed: int = 0
) -> list[str]:
    """`number` SMILES as written by the model, valid or not. properties: wanted values by name, in the units of the dataset."""
    settings = SamplingSettings(temperature=temperature, seed=seed)
    return [molecule.smiles for molecule in sample_molecules(model, tokenizer, [properties or {}] * number, settings)]


def sample_molecules(model: PolyGPT, tokenizer: Tokenizer, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[SampledMolecule]:
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
    # All random numbers are drawn beforehand, from (seed, index of the molecule): batches, and who leaves them early, change nothing.
    uniform = torch.stack([torch.rand(steps, generator=generator(settings.seed, "sample", first_index + row)) for row in range(B)]).to(device)
    # The prefix with the wanted properties and <bos> fill the cache; from there on each step feeds one token.
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
    # Top-p, Holtzman et al. 2020, section 3.1: the smallest set of the likeliest whose probability reaches p.
    probabilities = ordered.softmax(dim=-1)
    cumulated = probabilities.cumsum(dim=-1)
    if settings.top_p < 1:
        # The token that crosses the line stays in.
        probabilities = torch.where(cumulated - probabilities < settings.top_p, probabilities, torch.zeros_like(probabilities))
        cumulated = probabilities.cumsum(dim=-1)
    # The inverse of the cumulated distribution, over what is left of it.
    total = cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, uniform.unsqueeze(-1) * total, right=True)
    # Rounding may carry the search past the last token that has any probability.
    last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1
    return tokens.gather(-1, torch.minimum(chosen, last)).squeeze(-1)


def _blank_after_end(written: Tensor) -> Tensor:
    """A finished molecule that stayed in the batch went on writing; what follows <eos> becomes <pad>."""
    ended = (written == EOS).cumsum(dim=-1) - (written == EOS).long() > 0
    return written.masked_fill(ended, PAD)


def _run_stage(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, PolyGPTSamplesConfig, overrides=arguments.overrides)
    with open_devices() as devices:
        model, tokenizer = load_polygpt(arguments.data / "polygpt", device=devices.device)

        def sampler(requests: Sequence[Request], temperature: float, seed: int) -> Iterator[SampledMolecule]:
            return sample_molecules(model, tokenizer, requests, config.settings(temperature, seed))

        units = {name: model.shape.property_units.get(name, "") for name in model.shape.properties}
        run_sampling(STAGE, sampler, config, arguments.data, reporter, units=units)


def _run_by_hand(arguments: Namespace, reporter: Reporter) -> None:
    with open_devices() as devices:
        model, tokenizer = load_polygpt(arguments.model, device=devices.device)
        try:
            settings = SamplingSettings(arguments.temperature, arguments.top_k, arguments.top_p, min(128, arguments.number), arguments.seed)
        except ValueError as error:
            raise ParamsError(str(error)) from None
        requests = requests_by_hand(arguments.property, arguments.number, arguments.seed)
        molecules = list(sample_molecules(model, tokenizer, requests, settings))
    text = "".join(f"{molecule.smiles}\n" for molecule in molecules)
    if arguments.property:
        text, lines = import_module(_OBEDIENCE).obedience(requests, molecules)
        for line in lines:
            reporter.log(line)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    (_run_by_hand if arguments.model else _run_stage)(arguments, reporter)


def _configure(parser: ArgumentParser) -> None:
    configure_by_hand(parser)
    parser.add_argument("--top-k", type=int, default=0, help="only the k likeliest tokens; 0 is all (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=1.0, help="only the likeliest tokens of this total probability (default: %(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    expected = (PolyGPTError, SmilesTokenizerError, MoleculeTableError, NothingToAskForError)
    return program(__doc__, _run, argv, expected=expected, configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
