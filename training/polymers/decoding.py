"""Write molecules token by token with any causal model of molecules: which tokens are chosen, and how a batch is kept going.

Every molecule has random numbers of its own, drawn from (seed, its index): what it becomes does not depend on how many are asked for, nor on how
many are written side by side.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from training.loop.captured import write_captured
from training.loop.recording import Recorder, recorder_for
from training.loop.seeding import generator
from training.polymers.conditions import ConditionedShape
from training.polymers.guided import GuidedLogits, guide_for
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.smiles_grammar import Rule
from training.polymers.smiles_tokenizer import BOS, EOS, MASK, PAD, UNK
from training.polymers.transformer import KeyValueCache

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are chosen. temperature: 0 takes the likeliest. top_k: only the k likeliest, 0 all.

    top_p: the smallest set of at least this probability, 1 all. batch_size: molecules written side by side; it does not change them.
    guided: only tokens that can still become a molecule of `rule` (training/polymers/guided.py).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    batch_size: int = 64
    seed: int = 0
    guided: bool = False
    rule: Rule = "molecule"

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must not be negative, found {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must not be negative, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], found {self.top_p}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {self.batch_size}")


class Writer(Protocol):
    """A trained model that writes molecules, with its tokenizer, in evaluation mode."""

    @property
    def shape(self) -> ConditionedShape: ...
    @property
    def tokenizer(self) -> "Tokenizer": ...
    @property
    def device(self) -> torch.device: ...

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, random: Sequence[torch.Generator], /) -> tuple[Tensor, KeyValueCache]:
        """Logits [B, V] of the first token, and a cache with room for `capacity` more.

        wanted, mask: [B, P] from `ConditionedShape.standardise`, on the CPU. random: one generator for each molecule, for a model with latents.
        """
        ...

    def advance(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        """Logits [B, V] after one more token [B] of each molecule that is left in the cache."""
        ...


@dataclass(frozen=True)
class ModelWriter:
    """A model of our own as a `Writer` but for its `begin`. model: has a `shape` and an `advance`."""

    model: Any
    tokenizer: "Tokenizer"

    @property
    def shape(self) -> Any:
        return self.model.shape

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def advance(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        return self.model.advance(tokens, cache)


def sample_smiles(writer: Writer, *, number: int, properties: Request | None = None, **settings: Any) -> list[str]:
    """`number` SMILES as written by the model, valid or not.

    properties: wanted values by name, in the units of the dataset. settings: fields of SamplingSettings, such as temperature and seed.
    """
    return [molecule.smiles for molecule in sample_molecules(writer, [properties or {}] * number, SamplingSettings(**settings))]


def sample_molecules(writer: Writer, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[SampledMolecule]:
    """One molecule for each request, in order, batch by batch. A request holds wanted properties by name, in the units of the dataset; {} wants none.

    Raises MoleculeModelError for a property the model does not know.
    """
    for start in range(0, len(requests), settings.batch_size):
        wanted = [writer.shape.standardise(request) for request in requests[start : start + settings.batch_size]]
        values, masks = (torch.stack(column) for column in zip(*wanted, strict=True))
        tokens = sample_tokens(writer, values, masks, settings, first_index=start).tolist()
        for ids in tokens:
            finished = EOS in ids
            text = writer.tokenizer.decode(ids[: ids.index(EOS)] if finished else ids, skip_special_tokens=True)
            yield SampledMolecule(text, finished)


@torch.inference_mode()
def sample_tokens(
    writer: Writer,
    wanted: Tensor,
    wanted_mask: Tensor,
    settings: SamplingSettings,
    *,
    first_index: int = 0,
    steps: int | None = None,
    recorder: Recorder | None = None,
) -> Tensor:
    """Tokens [B, at most maximum_tokens - 1] after <bos>, <eos> included, then <pad>.

    wanted, wanted_mask: [B, P], see `ConditionedShape.standardise`. first_index: index of the first molecule, which with the seed decides its random
    numbers. recorder: of the step; on a GPU of CUDA graphs, on a CPU none. What is guided has a step of its own for each text, and is not recorded.
    """
    steps = steps or writer.shape.maximum_tokens - 1
    B, device = len(wanted), writer.device
    # All random numbers are drawn beforehand, from (seed, index of the molecule): batches, and who leaves them early, change nothing.
    uniform = torch.stack([torch.rand(steps, generator=generator(settings.seed, "sample", first_index + row)) for row in range(B)]).to(device)
    latents = [generator(settings.seed, "latent", first_index + row) for row in range(B)]
    # What is wanted, and <bos>, fill the cache; from there on each step feeds one token.
    logits, cache = writer.begin(wanted, wanted_mask, steps, latents)
    recorder = recorder or recorder_for(device)
    if recorder is not None and not settings.guided:
        cache.fix()
        choose = functools.partial(_chosen, settings, uniform)
        return _blank_after_end(write_captured(lambda token: writer.advance(token, cache), choose, logits, steps, (EOS, PAD), recorder))
    written = torch.full((B, steps), PAD, device=device)
    alive = torch.arange(B, device=device)
    guided = GuidedLogits(guide_for(writer.tokenizer, settings.rule), begin=0, room=steps) if settings.guided else None
    for step in range(steps):
        process = functools.partial(guided, written[alive, :step]) if guided else None
        token = choose_token(logits.float(), uniform[alive, step], settings, process)
        written[alive, step] = token
        unfinished = (token != EOS) & (token != PAD)
        if not unfinished.any() or step == steps - 1:
            break
        # Finished molecules leave the batch once they are a quarter of it: copying the cache costs about as much as a few steps.
        if unfinished.sum() <= 0.75 * len(alive):
            rows = unfinished.nonzero().squeeze(-1)
            alive, token = alive[rows], token[rows]
            cache.keep(rows)
        logits = writer.advance(token, cache)
    return _blank_after_end(written)


def choose_token(logits: Tensor, uniform: Tensor, settings: SamplingSettings, process: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Tokens [B] from logits [B, V] with uniform random numbers [B] in [0, 1), by the inverse of the cumulated distribution.

    <pad>, <bos>, <unk> and <mask> are never chosen, but what `process` makes of the other logits is, before any cut.
    Source of top-p: Holtzman et al. 2020.
    """
    logits = logits.index_fill(-1, _never(logits.device), float("-inf"))
    if process is not None:
        logits = process(logits)
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    # Likeliest first, ties by id, so that both cuts are prefixes of the list.
    ordered, tokens = (logits / settings.temperature).sort(dim=-1, descending=True, stable=True)
    if settings.top_k:
        ordered[:, settings.top_k :].fill_(float("-inf"))
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


def _chosen(settings: SamplingSettings, uniform: Tensor, logits: Tensor, place: Tensor, _: Tensor) -> Tensor:
    return choose_token(logits.float(), uniform.index_select(1, place)[:, 0], settings)


@functools.lru_cache
def _never(device: torch.device) -> Tensor:
    """Made once for each device: a copy from the host is nothing that a graph can hold."""
    return torch.tensor([PAD, BOS, UNK, MASK], device=device)


def _blank_after_end(written: Tensor) -> Tensor:
    """A molecule that stayed in the batch went on writing; what follows <eos>, or <pad> where a guided one was at a loss, becomes <pad>."""
    stops = (written == EOS) | (written == PAD)
    ended = stops.cumsum(dim=-1) - stops.long() > 0
    return written.masked_fill(ended, PAD)
