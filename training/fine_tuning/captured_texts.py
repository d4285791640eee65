"""Texts of a model of transformers whose every step is the same work at the same addresses, so that a GPU can record it.

Keys and values have their full length from the start; what is not written yet is masked, by tensors that count along. Of greedy and drawn texts the
whole step is recorded: what the host decides in `generate`, which tokens a rule forbids and which one is taken, is computed on the device. Of beams
and of rules that the host must apply the model's pass alone is recorded, and `generate` goes on as ever.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig, LogitsProcessorList, PreTrainedModel, StaticCache
from transformers.modeling_outputs import BaseModelOutput, ModelOutput, Seq2SeqLMOutput

from training.loop.captured import Played, write_captured
from training.loop.recording import Recorder


def captured_tokens(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    prompt: Tensor,
    steps: int,
    pick: Callable[[Tensor, Tensor], Tensor],
    *,
    never: Sequence[int],
    no_repeat_ngram: int,
    end: int,
    recorder: Recorder | None,
) -> Tensor:
    """Tokens [B, P + steps]: `prompt` [B, P] and what is written behind it; what follows an end means nothing.

    inputs: as `generate` takes them. pick: tokens [B] from scores [B, V] and the step's number [1]. never: tokens that are not written.
    no_repeat_ngram: no n tokens twice in a text, the prompt included (0 = may).
    """
    steps_of = _Steps(model, inputs, prompt, steps)
    left_out = torch.tensor(sorted(never), dtype=torch.long, device=prompt.device)

    def choose(logits: Tensor, place: Tensor, written: Tensor) -> Tensor:
        scores = logits.float()
        if no_repeat_ngram:
            scores = without_repeats(scores, torch.cat([prompt, written], dim=1), place + prompt.shape[1], no_repeat_ngram)
        return pick(scores.index_fill(1, left_out, -torch.inf), place)

    written = write_captured(steps_of.advance, choose, steps_of.first(), steps, (end,), recorder)
    return torch.cat([prompt, written], dim=1)


def without_repeats(scores: Tensor, tokens: Tensor, count: Tensor, size: int) -> Tensor:
    """Scores [B, V] of the token behind the first `count` [1] of `tokens` [B, L]; -inf for those with which `size` tokens would come again."""
    if tokens.shape[1] < size:
        return scores
    rows = tokens.unfold(1, size, 1)
    last = tokens.index_select(1, (count - torch.arange(size - 1, 0, -1, device=count.device)).clamp(min=0))
    is_written = torch.arange(size, tokens.shape[1] + 1, device=count.device) <= count
    is_same = (rows[..., :-1] == last[:, None]).all(dim=-1) & is_written
    # What is not the same forbids a token beyond the last.
    forbidden = torch.where(is_same, rows[..., -1], scores.shape[1])
    return functional.pad(scores, (0, 1)).scatter(1, forbidden, -torch.inf)[:, :-1]


def searched_tokens(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    prompt: Tensor,
    config: GenerationConfig,
    processors: LogitsProcessorList,
    recorder: Recorder | None,
) -> Tensor:
    """What `generate` finds, [B x returns, P + at most max_new_tokens]; the model's passes are recorded."""
    copies, network = config.num_beams or 1, cast(Any, model)
    steps = _Steps(model, inputs, prompt, config.max_new_tokens or 1, copies)
    token = steps.prompt[:, -1].clone()
    advance, calls = Played(lambda: steps.advance(token), recorder), count()

    @functools.wraps(network.forward)
    def forward(**named: Any) -> ModelOutput:
        ids = named["decoder_input_ids" if steps.is_reader else "input_ids"]
        token.copy_(ids[:, -1])
        logits = advance() if next(calls) else steps.first()
        return Seq2SeqLMOutput(logits=logits[:, None], past_key_values=steps.given["past_key_values"])

    given = {"encoder_outputs": steps.read, "decoder_input_ids": prompt} if steps.is_reader else {"input_ids": prompt}
    config.disable_compile = True
    # What `generate` calls; set back to that of the class.
    network.forward = forward
    try:
        rest = {name: values for name, values in inputs.items() if name == "attention_mask"}
        kept = {"past_key_values": steps.given["past_key_values"], "generation_config": config, "logits_processor": processors}
        found: Tensor = network.generate(**given, **rest, **kept)
    finally:
        del network.forward
    return found


class _Layers(StaticCache):
    """Beams change places where the keys lie."""

    def reorder_cache(self, beam_idx: Tensor) -> None:
        for layer in cast(Any, self.layers):
            for values in (layer.keys, layer.values):
                values.copy_(values.index_select(0, beam_idx))


class _ReadLayers(EncoderDecoderCache):
    """Beams change places among those of one text, and all of these have read the same."""

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.self_attention_cache.reorder_cache(beam_idx)


class _Steps:
    """A model's logits, token by token, of `copies` texts of each prompt. A causal model's prompts are padded at the left."""

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Tensor], prompt: Tensor, steps: int, copies: int = 1) -> None:
        prompt = prompt.repeat_interleave(copies, dim=0)
        network: Any = model
        # As it is now, whatever stands in for it later.
        self.model, self.forward, self.prompt, length = model, network.forward, prompt, prompt.shape[1] + steps
        self.is_reader = bool(model.config.is_encoder_decoder)
        decoder = network.get_decoder() if self.is_reader else network
        cache = _Layers(config=decoder.config, max_cache_len=length)
        self.is_real = torch.ones(len(prompt), length, dtype=torch.bool, device=prompt.device)
        self.given: dict[str, Any] = {"past_key_values": _ReadLayers(cache, DynamicCache()) if self.is_reader else cache, "use_cache": True}
        if self.is_reader:
            self.read = network.get_encoder()(**inputs)
            self.given["encoder_outputs"] = BaseModelOutput(last_hidden_state=self.read[0].repeat_interleave(copies, dim=0))
        mask = inputs.get("attention_mask")
        real = None if mask is None else mask.bool().repeat_interleave(copies, dim=0)
        if real is not None and self.is_reader:
            self.given["attention_mask"] = self._mask(real[:, None])
        elif real is not None:
            self.is_real[:, : prompt.shape[1]] = real
        self.numbers = torch.arange(length, device=prompt.device)
        # The number of the token that comes next, in a row and, of a causal model, in its text.
        self.place = torch.full((1,), prompt.shape[1], device=prompt.device)
        self.position = self.is_real[:, : prompt.shape[1]].sum(dim=1, keepdim=True)

    def first(self) -> Tensor:
        """Logits [B, V] behind the prompt."""
        places = self.numbers[: self.prompt.shape[1], None]
        # Pads see themselves, for nobody's use: a softmax over nothing is none.
        seen = ((self.numbers <= places) & self.is_real[:, None]) | (self.numbers == places)
        positions = self.is_real[:, : self.prompt.shape[1]].cumsum(dim=1) - 1
        return self._logits(self.prompt, seen, positions.clamp(min=0))

    def advance(self, tokens: Tensor) -> Tensor:
        """Logits [B, V] after one more token [B] of each text."""
        logits = self._logits(tokens[:, None], ((self.numbers <= self.place) & self.is_real)[:, None], self.position)
        self.place.add_(1)
        self.position.add_(1)
        return logits

    def _logits(self, tokens: Tensor, seen: Tensor, positions: Tensor) -> Tensor:
        """seen: [B, T, length], which keys each token looks at."""
        front = "decoder_" if self.is_reader else ""
        named = {f"{front}input_ids": tokens, f"{front}attention_mask": self._mask(seen), **({} if self.is_reader else {"position_ids": positions})}
        logits: Tensor = self.forward(**named, **self.given).logits[:, -1]
        return logits

    def _mask(self, seen: Tensor) -> Tensor:
        """[B, T, S] as [B, 1, T, S] of four dimensions, which no model looks into or changes: 0 where a key is seen, -inf elsewhere."""
        return torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device).masked_fill(~seen, -torch.inf)[:, None]
