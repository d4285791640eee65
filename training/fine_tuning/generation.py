"""Write text with any causal, T5 or VisionEncoderDecoder model of transformers: greedy, by beams, or sampled; each text from a seed of its own.

Sampling is `generate`'s greedy search over scores in which one token is left, the one that the text's own uniform number falls on. So a text is the
same whatever was written beside it and however large a batch is, but where its number is within a rounding error of a border between tokens.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad as padded_at_end
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from stages.derived_seed import derive_seed
from training.fine_tuning.captured_texts import captured_tokens, searched_tokens
from training.loop.bounds import above, at_least, within
from training.loop.recording import recorder_for

# What a model takes, by name, each [N, …].
Inputs = Mapping[str, Tensor]
Cache = Literal["auto", "static", "dynamic"]
_LOG = logging.getLogger(__name__)
# Why a static cache failed in this process: it is not tried again.
_without_static = list[str]()


class GenerationError(Exception):
    """A model cannot write what it was asked for; the message says what to change."""


@dataclass(frozen=True)
class Generation:
    """How texts are written.

    strategy: the likeliest token each time ("greedy"), the likeliest of `beams` texts ("beam"), or tokens drawn ("sample") at `temperature` from the
    `top_k` likeliest (0 = all) that together have probability `top_p`. no_repeat_ngram: no n tokens twice in a text (0 = may). length_penalty: of
    beams, above 0 favours long texts. max_new_tokens: without the prompt. returns: texts of an item. batch_size: texts at a time; decides no text.
    """

    strategy: Literal["greedy", "beam", "sample"] = "greedy"
    beams: int = 4
    top_k: int = 0
    top_p: float = 1.0
    temperature: float = 1.0
    no_repeat_ngram: int = 0
    length_penalty: float = 1.0
    max_new_tokens: int = 64
    returns: int = 1
    batch_size: int = 32

    def __post_init__(self) -> None:
        at_least(self, 1, "beams", "max_new_tokens", "returns", "batch_size")
        at_least(self, 0, "top_k", "no_repeat_ngram")
        above(self, 0, "top_p", "temperature")
        within(self, 0, 1, "top_p")
        most = {"greedy": 1, "beam": self.beams}.get(self.strategy, self.returns)
        if self.returns > most:
            raise ValueError(f"returns must be at most {most} for the strategy {self.strategy!r}, found {self.returns}; sample, or search more beams")


@dataclass(frozen=True)
class Written:
    """A text without special tokens, its prompt in front. tokens: how many were written, the end included. ended: by itself, before the longest."""

    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Prompts:
    """Texts as tokens. inputs: input_ids and attention_mask, each [N, T]. truncated: how many texts were cut to fit."""

    inputs: dict[str, Tensor]
    truncated: int


def tokenize(tokenizer: Any, texts: Sequence[str], *, most_tokens: int, pad: Literal["left", "right"] = "right", start: int | None = None) -> Prompts:
    """Inputs for `generate`: padded at the left for a causal model, at the right for an encoder; no text has more than `most_tokens` tokens.

    start: a token in front of each text, for a causal model whose texts begin with one; a prompt may then be empty. Raises GenerationError.
    """
    front = [] if start is None else [start]
    # Characters are bounded before they are tokens, so that a text of megabytes costs no more than a long one; no token has as many as 64.
    found = [[*front, *tokenizer(text[: 64 * most_tokens], add_special_tokens=start is None)["input_ids"]] for text in texts]
    if [] in found:
        raise GenerationError(f"prompt {found.index([])} has no token; give a text, or a start token that texts of this model begin with")
    cut = sum(len(text) > 64 * most_tokens or len(ids) > most_tokens for text, ids in zip(texts, found, strict=True))
    # An encoder's text keeps the end that its tokenizer put behind it.
    ends = [ids[-1:] if ids[-1] == tokenizer.eos_token_id and len(ids) > most_tokens else [] for ids in found]
    kept = [[*ids[: most_tokens - len(end)], *end] for ids, end in zip(found, ends, strict=True)]
    padded = tokenizer.pad({"input_ids": kept}, padding_side=pad, return_tensors="pt")
    return Prompts({name: padded[name] for name in ("input_ids", "attention_mask")}, cut)


def generate(model: PreTrainedModel, tokenizer: Any, inputs: Inputs, settings: Generation, *, seed: int, first: int = 0) -> list[list[str]]:
    """Texts without special tokens, [N][returns]; see `write`."""
    return [[text.text for text in texts] for texts in write(model, tokenizer, inputs, settings, seed=seed, first=first)]


def write(
    model: PreTrainedModel,
    tokenizer: Any,
    inputs: Inputs,
    settings: Generation,
    *,
    seed: int,
    first: int = 0,
    processors: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
    cache: Cache = "auto",
) -> list[list[Written]]:
    """What `model` writes for each of N items, [N][returns].

    inputs: input_ids and attention_mask (see `tokenize`), or pixel_values.
    first: the number of the first item, for callers who hand over some at a time: text r of item i depends on (seed, i, r).
    processors: of tokens so far [rows, T] and scores [rows, V], before the cuts of `settings`; new scores each.
    cache: of keys and values: "dynamic" grows with the text; "static" has its full length from the start, so that a GPU plays each step as a CUDA
    graph (captured_texts.py). "auto" is static on a GPU, where that works.
    Raises GenerationError where the model has too few positions for prompt and max_new_tokens, or the tokenizer no pad or end token.
    """
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise GenerationError("the tokenizer names no eos_token or no pad_token; save it with both, which must differ for a model to learn to end")
    _check_length(model, inputs, settings.max_new_tokens)
    # Beams come back as several texts of an item; drawn texts are rows of their own from the start.
    copies = settings.returns if settings.strategy == "sample" else 1
    rows = torch.arange(len(next(iter(inputs.values()))) * copies)
    was_training, texts = model.training, list[Written]()
    model.eval()
    for batch in rows.split(settings.batch_size):
        seeds = [derive_seed(seed, "text", first + row // copies, row % copies) for row in batch.tolist()]
        chosen = {name: values[batch // copies].to(model.device) for name, values in inputs.items()}
        if model.config.is_encoder_decoder:
            chosen["decoder_attention_mask"] = torch.ones(len(batch), 1, dtype=torch.long, device=model.device)
        is_static = cache == "static" or (cache == "auto" and not _without_static and is_static_by_default(model.device))
        try:
            texts += list(_write_batch(model, tokenizer, chosen, settings, seeds, processors, is_static=is_static))
        except Exception as error:
            if not is_static or cache == "static" or isinstance(error, torch.OutOfMemoryError):
                raise
            # Models have caches of many kinds; an error that has nothing to do with them comes again.
            _without_static.append(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            _LOG.warning("texts are written with a growing cache, slower: one of full length failed (%s)", _without_static[0])
            texts += _write_batch(model, tokenizer, chosen, settings, seeds, processors, is_static=False)
    model.train(was_training)
    return [texts[begin : begin + settings.returns] for begin in range(0, len(texts), settings.returns)]


def is_static_by_default(device: torch.device) -> bool:
    """A CPU waits for no launches, and looks over fewer keys while few are written."""
    return device.type == "cuda"


@torch.inference_mode()
def _write_batch(
    model: PreTrainedModel,
    tokenizer: Any,
    inputs: Inputs,
    settings: Generation,
    seeds: Sequence[int],
    before: Sequence[Callable[[Tensor, Tensor], Tensor]],
    *,
    is_static: bool,
) -> Iterator[Written]:
    # An encoder's decoder begins with a start token, which is no part of the text.
    begin = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    config: Any = _generation_config(model, tokenizer, settings)
    drawn = None
    if settings.strategy == "sample":
        uniforms = torch.stack([torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        drawn = Drawn(settings, uniforms.to(model.device), begin)
    processors = LogitsProcessorList([*before, *([drawn] if drawn else [])])
    start = torch.full((len(seeds), 1), config.decoder_start_token_id or 0, device=model.device)
    prompt = start if model.config.is_encoder_decoder else inputs["input_ids"]
    read = {name: values for name, values in inputs.items() if name != "decoder_attention_mask"}
    if not is_static:
        found: Any = model.generate(**inputs, generation_config=config, logits_processor=processors)
    elif before or settings.strategy == "beam":
        found = searched_tokens(model, read, prompt, config, processors, recorder_for(model.device))
    else:

        def pick(scores: Tensor, place: Tensor) -> Tensor:
            return scores.argmax(dim=-1) if drawn is None else drawn.tokens(scores, drawn.uniforms.index_select(1, place))[:, 0]

        rules: dict[str, Any] = {"never": config.suppress_tokens or (), "no_repeat_ngram": settings.no_repeat_ngram, "end": config.eos_token_id}
        found = captured_tokens(model, read, prompt, settings.max_new_tokens, pick, **rules, recorder=recorder_for(model.device))
    for row in found.tolist():
        new = row[begin:]
        length = new.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in new else None
        text = tokenizer.decode(row[: begin + len(new[:length])], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield Written(text, length or len(new), length is not None)


def _check_length(model: PreTrainedModel, inputs: Inputs, new_tokens: int) -> None:
    """Raises GenerationError where the part of the model that writes has too few positions for prompt and text."""
    prompt = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    # T5, whose positions are relative, has no bound.
    positions = getattr(getattr(model.config, "decoder", None) or model.config, "max_position_embeddings", None)
    if positions is not None and prompt + new_tokens > positions:
        lack = f"{type(model).__name__} has {positions} positions, too few for a prompt of {prompt} tokens and {new_tokens} more"
        raise GenerationError(f"{lack}; lower max_new_tokens to {max(1, positions - prompt)} or less, or cut the prompt")


def _generation_config(model: PreTrainedModel, tokenizer: Any, settings: Generation) -> GenerationConfig:
    """The settings in the words of transformers; what draws the tokens is ours, so it is told to search greedily."""
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    homes = (model.generation_config, model.config, getattr(model.config, "decoder", None)) if model.config.is_encoder_decoder else ()
    starts = [getattr(home, name, None) for name in ("decoder_start_token_id", "bos_token_id") for home in homes]
    tokens["decoder_start_token_id"] = next((start for start in starts if start is not None), None)
    # A pad or a start in the middle of a text means nothing, nor does what a model says it never writes; one that has seen none there still gives
    # them some probability.
    never = model.generation_config.suppress_tokens or ()
    senseless = sorted({tokenizer.pad_token_id, tokenizer.bos_token_id, *never} - {tokenizer.eos_token_id, None}) or None
    # What is not said here is the model's own, of which a greedy search would warn that it ignores it.
    unused: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 50, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0}
    beams: dict[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "length_penalty": 1.0}
    is_beam = settings.strategy == "beam"
    if is_beam:
        beams = {"num_beams": settings.beams, "num_return_sequences": settings.returns, "length_penalty": settings.length_penalty}
    lengths = {"max_new_tokens": settings.max_new_tokens, "no_repeat_ngram_size": settings.no_repeat_ngram, "early_stopping": is_beam}
    return GenerationConfig(do_sample=False, suppress_tokens=senseless, **lengths, **beams, **tokens, **unused)


class Drawn(LogitsProcessor):
    """Leaves one token in a row's scores: the one on which its number falls when the probabilities that are not cut lie end to end.

    uniforms: [rows, steps] in [0, 1). begin: tokens before the first that is drawn.
    """

    def __init__(self, settings: Generation, uniforms: Tensor, begin: int) -> None:
        self.settings, self.uniforms, self.begin = settings, uniforms, begin

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: [rows, V] log-probabilities up to a constant, -inf for tokens that are out."""
        token = self.tokens(scores, self.uniforms[:, input_ids.shape[1] - self.begin, None])
        return torch.full_like(scores, -torch.inf).scatter_(-1, token, 0.0)

    def tokens(self, scores: Tensor, uniforms: Tensor) -> Tensor:
        """Of each row the token on which its number falls, [rows, 1] as the numbers."""
        scores = self._cut(scores.float() / self.settings.temperature)
        ends = scores.softmax(dim=-1).cumsum(dim=-1)
        # The first token that ends beyond the number has a probability above 0; rounding may put the number on the last end, where none does.
        token = (ends <= uniforms.to(ends) * ends[:, -1:]).sum(dim=-1, keepdim=True)
        return torch.where(token < scores.shape[-1], token, scores.argmax(dim=-1, keepdim=True))

    def _cut(self, scores: Tensor) -> Tensor:
        if self.settings.top_k:
            least = scores.topk(min(self.settings.top_k, scores.shape[-1])).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if self.settings.top_p < 1:
            # Holtzman et al. 2020: from the least likely on, what together is no more than 1 - p; never the likeliest.
            rising, tokens = scores.sort(dim=-1)
            is_out = rising.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.settings.top_p
            is_out = padded_at_end(is_out[:, :-1], (0, 1))
            scores = scores.masked_fill(is_out.scatter(1, tokens, is_out), -torch.inf)
        return scores
