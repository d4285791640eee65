"""How all parts let a training learn: within their time, at the device's pace, with what that cost."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bench.gpu.device import Meter, wait
from bench.gpu.recording import Sizes, Work
from training.loop.compiling import compilations
from training.loop.flops import flop_rates

_WARM_UP, _TRIED, _AHEAD = 6, 6, 2


def take_steps(work: Work, trainer: Any, *, until: float = 0.0, samples: float = math.inf, steps: float = math.inf) -> dict[str, Any]:
    """Let a `Trainable` learn until it has seen so many samples, has taken so many steps, or `until` seconds are left.

    Returns what it did, what that cost, and the values of the last step. samples_per_s: of steps in which nothing was compiled.
    """
    ends, outcome, skipped = deque[torch.cuda.Event](), None, torch.zeros((), device=work.device)
    first, taken, compiled, compiling_s, compiling = trainer.samples_seen, 0, _compilations(), 0.0, 0
    with Meter(work.device) as meter:
        while trainer.samples_seen < samples and taken < steps and not work.is_over(until):
            began, before = time.monotonic(), _compilations()
            outcome = trainer.step()
            taken, skipped = taken + 1, skipped + outcome.skipped
            if _compilations() > before:
                wait(work.device)
                compiling_s, compiling = compiling_s + time.monotonic() - began, compiling + outcome.samples
            # The clock is looked at between steps. Launched as a graph, a step that takes the device a second takes the host none.
            if work.device.type == "cuda":
                ends.append(torch.cuda.Event())
                ends[-1].record()
                if len(ends) > _AHEAD:
                    ends.popleft().synchronize()
    seen = trainer.samples_seen - first
    rate = (seen - compiling) / max(1e-9, meter.seconds - compiling_s)
    told = {"samples": seen, "steps": taken, "skipped": int(skipped), "samples_per_s": rate, "seconds": meter.seconds, "watts": meter.watts}
    told |= {"memory_gib": meter.memory_gib, "compilations": _compilations() - compiled, "compiling_s": compiling_s}
    flops = getattr(trainer, "flops_per_sample", None)
    return told | (flop_rates(rate * flops, work.device) if flops else {}) | {"values": outcome.numbers() if outcome is not None else {}}


def learn(work: Work, trainer: Any, budget: Callable[[int], Sizes], *, until: float) -> dict[str, Any]:
    """`take_steps` until about `until` seconds are left, with a schedule that ends there: how many samples that are, its first steps say.

    budget: fields of the trainer's config for so many samples in all; it begins with those of the most there may be.
    """
    warm_up = take_steps(work, trainer, until=until, steps=1 if work.tiny else _WARM_UP)
    tried = take_steps(work, trainer, until=until, steps=1 if work.tiny else _TRIED)
    # A twentieth for what these did not see: longer batches, a second phase that has more to do.
    more = tried["samples"] if work.tiny else round(0.95 * tried["samples_per_s"] * (work.left() - until))
    total = max(trainer.samples_seen + 1, min(trainer.config.total_samples, trainer.samples_seen + more))
    trainer.config = replace(trainer.config, **budget(total))
    told = take_steps(work, trainer, until=until, samples=total)
    before = {name: warm_up[name] + tried[name] for name in ("samples", "seconds", "compilations", "compiling_s")}
    return {**told, **{name: told[name] + value for name, value in before.items()}, "planned": total}


def _compilations() -> int:
    """Nobody has compiled anything while the compiler is not imported, which takes a second."""
    return compilations() if "torch._dynamo" in sys.modules else 0
