"""Write texts by one CUDA graph a batch, which holds a whole step: choose a token of each text, append it, compute the next logits.

A small model's step is hundreds of kernels of a few microseconds; launched one by one they wait for the host. Replayed they do not, and the host
reads nothing back but every `LOOK_EVERY` steps, whether all texts have ended. Texts that have ended stay in the batch: a step takes as long.
"""

import logging
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

import torch
from torch import Tensor

from training.loop.recording import Recorder

LOOK_EVERY = 16
# Steps before one is recorded, which libraries need.
WARM_UP = 2
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_said = set[str]()


def write_captured(
    advance: Callable[[Tensor], Tensor],
    choose: Callable[[Tensor, Tensor, Tensor], Tensor],
    logits: Tensor,
    steps: int,
    ends: Collection[int],
    recorder: Recorder | None,
) -> Tensor:
    """Tokens [B, steps], the first after `logits` [B, V], with whatever follows an end, or 0 where nothing was written any more.

    advance: logits after tokens [B]. choose: tokens from logits, the step's number [1] and all tokens [B, steps], of which those before it are
    written. Both work at the same addresses each time. ends: tokens behind which a text means nothing. recorder: None = no graph.
    """
    written = torch.zeros(len(logits), steps, dtype=torch.long, device=logits.device)
    # All that changes from step to step lies in these, at addresses that stay.
    place, ended, logits = torch.zeros(1, dtype=torch.long, device=logits.device), torch.zeros_like(logits[:, 0], dtype=torch.bool), logits.clone()

    def choose_one() -> Tensor:
        token = choose(logits, place, written)
        written.index_copy_(1, place, token[:, None])
        for end in ends:
            ended.logical_or_(token == end)
        return token

    def step() -> None:
        logits.copy_(advance(choose_one()))
        place.add_(1)

    run = Played(step, recorder)
    for number in range(steps - 1):
        if number % LOOK_EVERY == LOOK_EVERY - 1 and bool(ended.all()):
            return written
        run()
    choose_one()
    return written


class Played(Generic[T]):
    """A call that is made as it is at first, then recorded and played: what it gives lies where it lay the time before.

    Without a recorder, and where it cannot be recorded, it is made as it is for good.
    """

    def __init__(self, call: Callable[[], T], recorder: Recorder | None) -> None:
        self.call, self.recorder = call, recorder
        self._warm = 0
        self._recorded: tuple[Callable[[], None], T] | None = None

    def __call__(self) -> T:
        if self.recorder is not None and self._warm < WARM_UP:
            self._warm += 1
            return self.recorder.warm_up(self.call)
        if self.recorder is not None and self._recorded is None:
            try:
                self._recorded = self.recorder.record(self.call)
            except RuntimeError as error:
                self.recorder, reason = None, str(error).strip().partition("\n")[0]
                if reason not in _said:
                    _said.add(reason)
                    _LOG.warning("texts are written without a CUDA graph, slower: it could not be recorded (%s)", reason)
        if self._recorded is None:
            return self.call()
        play, given = self._recorded
        play()
        return given
