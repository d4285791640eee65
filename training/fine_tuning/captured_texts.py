"""Texts of a model of transformers whose every step is the same work at the same addresses, so that a GPU can record it: greedy or drawn, no beams.

Keys and values have their full length from the start; what is not written yet is masked, by tensors that count along. What the host decides in
`generate`, which tokens a rule forbids and which one is taken, is computed on the device from all that is written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel, StaticCache

from training.loop.captured import write_captured
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


class _Steps:
    """A model's logits, token by token. A causal model's prompts are padded at the left."""

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Tensor], prompt: Tensor, steps: int) -> None:
        self.model, self.prompt, length = model, prompt, prompt.shape[1] + steps
        network: Any = model
        self.is_reader = bool(model.config.is_encoder_decoder)
        decoder = network.get_decoder() if self.is_reader else network
        cache = StaticCache(config=decoder.config, max_cache_len=length)
        self.is_real = torch.ones(len(prompt), length, dtype=torch.bool, device=prompt.device)
        self.given: dict[str, Any] = {"past_key_values": EncoderDecoderCache(cache, DynamicCache()) if self.is_reader else cache, "use_cache": True}
        if self.is_reader:
            self.given["encoder_outputs"] = network.get_encoder()(**inputs)
            if "attention_mask" in inputs:
                self.given["attention_mask"] = self._mask(inputs["attention_mask"].bool()[:, None])
        else:
            self.is_real[:, : prompt.shape[1]] = inputs["attention_mask"].bool()
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
        logits: Tensor = self.model(**named, **self.given).logits[:, -1]
        return logits

    def _mask(self, seen: Tensor) -> Tensor:
        """[B, T, S] as [B, 1, T, S] of four dimensions, which no model looks into or changes: 0 where a key is seen, -inf elsewhere."""
        return torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device).masked_fill(~seen, -torch.inf)[:, None]
