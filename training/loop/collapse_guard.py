"""Notice that the training of a generator has collapsed: a discriminator that has won, images all alike, a distance that grows.

The loop rolls back to a good state when `CollapseGuard.judge` names a reason; `GradientWatch` keeps single wild steps from the weights.
Both know numbers only, no model.
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from training.loop.bounds import above, at_least
from training.loop.loop import Guard

_STATE = ("_high_signs", "_far", "_best_spread", "_best_distance", "is_clean")


@dataclass(frozen=True)
class GuardLimits:
    """What counts as a collapse.

    sign_mean: of the discriminator's signs on reals; above it for `sign_windows` reports in a row, the discriminator has won.
    diversity: of the reference (the smaller of the reals' spread and the best spread so far); below it, images are all alike.
    distance: times the best distance so far; above it for `distance_windows` measurements in a row, the images get worse.
    """

    sign_mean: float = 0.95
    sign_windows: int = 3
    diversity: float = 0.5
    distance: float = 1.5
    distance_windows: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "sign_windows", "distance_windows")
        above(self, 1, "distance")


@dataclass
class CollapseGuard(Guard):
    """Judges reported values by `limits`.

    sign, spread, distance: the names of the three values; what a report lacks is not judged. real_spread: of as many real images.
    """

    limits: GuardLimits = field(default_factory=GuardLimits)
    sign: str = "r_t"
    spread: str = "spread"
    distance: str = "swd_x1000"
    real_spread: float = math.inf

    def __post_init__(self) -> None:
        self._high_signs = self._far = 0
        self._best_spread: float | None = None
        self._best_distance: float | None = None
        self.is_clean = True

    def judge(self, values: Mapping[str, float]) -> str | None:
        checks = ((self.sign, self._judge_sign), (self.spread, self._judge_spread), (self.distance, self._judge_distance))
        reasons = [check(values[name]) for name, check in checks if name in values]
        found = [reason for reason in reasons if reason]
        self.is_clean = not (found or self._high_signs or self._far)
        return "; ".join(found) or None

    def forget_windows(self) -> None:
        self._high_signs = self._far = 0
        self.is_clean = True

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])

    def _judge_sign(self, value: float) -> str | None:
        # Not a number means the discriminator is broken, which is no better.
        self._high_signs = 0 if value <= self.limits.sign_mean else self._high_signs + 1
        if self._high_signs < self.limits.sign_windows:
            return None
        return f"the discriminator knows every real image: {self.sign} {value:.3f} above {self.limits.sign_mean} {self._high_signs} times in a row"

    def _judge_spread(self, value: float) -> str | None:
        if not math.isfinite(value):
            return f"{self.spread} is {value}"
        self._best_spread = max(value, self._best_spread or 0.0)
        reference = min(self.real_spread, self._best_spread)
        if value >= self.limits.diversity * reference:
            return None
        return f"the images are all alike: {self.spread} {value:.4g} below {self.limits.diversity:g} of {reference:.4g}"

    def _judge_distance(self, value: float) -> str | None:
        if math.isfinite(value) and (self._best_distance is None or value <= self._best_distance):
            self._best_distance, self._far = value, 0
            return None
        # An estimate may fall to 0 or below it (KID is unbiased); no multiple of that means anything.
        is_near = math.isfinite(value) and self._best_distance is not None and not value > self.limits.distance * self._best_distance > 0
        self._far = 0 if is_near else self._far + 1
        if self._far < self.limits.distance_windows:
            return None
        best = "none so far" if self._best_distance is None else f"{self._best_distance:.4g}"
        return f"the images get worse: {self.distance} {value:.4g} above {self.limits.distance:g} times the best ({best}) {self._far} times in a row"


class GradientWatch:
    """Says whether the norm of a gradient is wild: not finite, or more than `ratio` times the running median of the finite norms before it.

    at_least: norms to have seen before any finite one can be wild.
    """

    def __init__(self, *, ratio: float = 20.0, window: int = 101, at_least: int = 20) -> None:
        self.ratio, self.at_least = ratio, at_least
        self._norms: deque[float] = deque(maxlen=window)

    def is_wild(self, norm: float) -> bool:
        """Judge `norm` and take it into the median; a wild one too, so that a lasting change of scale is not refused for ever."""
        if not math.isfinite(norm):
            return True
        wild = len(self._norms) >= self.at_least and norm > self.ratio * statistics.median(self._norms)
        self._norms.append(norm)
        return wild

    def state_dict(self) -> list[float]:
        return list(self._norms)

    def load_state_dict(self, state: list[float]) -> None:
        self._norms.clear()
        self._norms.extend(state)


def feature_spread(features: Tensor) -> float:
    """Root mean square distance of features [N, D] from their mean: how different N images are. 0 for equal ones."""
    return float((features.double() - features.double().mean(dim=0)).square().sum(dim=1).mean().sqrt()) if len(features) else 0.0


def gradient_norm(parameters: list[torch.nn.Parameter]) -> float:
    """The L2 norm over all gradients; not finite when one of them is not."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
