"""Write molecules by one CUDA graph a batch, which holds a whole step: choose a token of each molecule, append it, compute the next logits.

A small model's step is hundreds of kernels of a few microseconds; launched one by one they wait for the host. Replayed they do not, and the host
reads nothing back but every `LOOK_EVERY` steps, whether all molecules have ended. Molecules that have ended stay in the batch: a step takes as long.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from training.polymers.smiles_tokenizer import EOS, PAD
from training.polymers.transformer import KeyValueCache

LOOK_EVERY = 16
Step = Callable[[], None]
# A step to one that does the same at the same addresses.
Capture = Callable[[Step], Step]
_LOG = logging.getLogger(__name__)
_said = set[str]()


class Recorder:
    """Gives `record` a step, and goes on with the step itself where that fails. warm_up: steps that are to be run before, which libraries need."""

    def __init__(self, record: Capture, warm_up: int = 2) -> None:
        self.record, self.warm_up = record, warm_up

    def __call__(self, step: Step) -> Step:
        try:
            return self.record(step)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            if reason not in _said:
                _said.add(reason)
                _LOG.warning("molecules are written without a CUDA graph, slower: it could not be recorded (%s)", reason)
            return step


def cuda_graph(step: Step) -> Step:
    """What replays `step`, whose kernels are recorded and not run."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        step()
    replay: Step = graph.replay
    return replay


def recorder_for(device: torch.device) -> Recorder | None:
    """None where there are no graphs to record, and each step is launched anew."""
    return Recorder(cuda_graph) if device.type == "cuda" else None


def write_captured(
    advance: Callable[[Tensor, Any], Tensor],
    choose: Callable[[Tensor, Tensor], Tensor],
    logits: Tensor,
    cache: KeyValueCache,
    uniform: Tensor,
    recorder: Recorder,
) -> Tensor:
    """Tokens [B, steps], with whatever follows an end. What `sample_tokens` writes for the same numbers, up to the rounding of longer attention.

    advance: logits [B, V] after tokens [B], with the cache. choose: tokens from logits and numbers [B]. uniform: [B, steps], one for each token.
    """
    steps, written = uniform.shape[1], torch.full(uniform.shape, PAD, device=uniform.device)
    # All that changes from step to step lies in these, at addresses that stay.
    place, ended, logits = torch.zeros(1, dtype=torch.long, device=uniform.device), torch.zeros_like(uniform[:, 0], dtype=torch.bool), logits.clone()
    cache.fix()

    def choose_one() -> Tensor:
        token = choose(logits, uniform.index_select(1, place)[:, 0])
        written.index_copy_(1, place, token[:, None])
        ended.logical_or_((token == EOS) | (token == PAD))
        return token

    def step() -> None:
        logits.copy_(advance(choose_one(), cache))
        place.add_(1)

    # What the warm-up writes counts.
    done, run = min(recorder.warm_up, steps - 1), step
    for _ in range(done):
        step()
    if done < steps - 1:
        run = recorder(step)
    for number in range(done, steps - 1):
        if number % LOOK_EVERY == LOOK_EVERY - 1 and bool(ended.all()):
            return written
        run()
    choose_one()
    return written
