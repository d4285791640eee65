"""Notice that the training of a generator has collapsed: a discriminator that has won, images all alike, a distance that grows.

The loop rolls back to a good state when `CollapseGuard.judge` names a reason; `GradientWatch` keeps single wild steps from the weights.
Both know numbers only, no model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from training.loop.bounds import above, within
from training.loop.loop import Guard

_STATE = ("_era", "_last", "_signs", "_far_since", "_best_spread", "_best_distance", "is_clean")
# A mean of equal numbers may differ from them in its last digits.
_RISE = 1e-6
_NO_SIGNS = (0, 0.0, 0.0)


@dataclass(frozen=True)
class GuardLimits:
    """What counts as a collapse. Time is thousands of images, so that it does not matter how often they are reported on.

    sign_mean: of the discriminator's signs over `sign_kimg`; above it on reals and below its negative on fakes, the discriminator has won. While an
    augmentation still grows stronger, it is only overfitting that is being dealt with: nothing is judged, and what was seen before does not count.
    diversity: of the reference (the smaller of the reals' spread and the best spread so far); below it, images are all alike.
    distance: times the best distance so far; above it from one measurement to another at least `distance_kimg` later, the images get worse.
    """

    sign_mean: float = 0.98
    sign_kimg: float = 12.0
    diversity: float = 0.5
    distance: float = 1.5
    distance_kimg: float = 150.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "sign_mean")
        above(self, 0, "sign_kimg", "distance_kimg")
        above(self, 1, "distance")


@dataclass
class CollapseGuard(Guard):
    """Judges reported values by `limits`.

    sign, fake_sign, strength, spread, distance: the names of the values; what a report lacks is not judged. strength: of the augmentation.
    real_spread: of as many real images as the spread is computed from. era: of a value that stays the same for long, such as the resolution of a
    network that grows; when it changes, the best so far and what was amiss before do not count any more.
    """

    limits: GuardLimits = field(default_factory=GuardLimits)
    sign: str = "r_t"
    fake_sign: str = "fake_sign"
    strength: str = "p"
    spread: str = "spread"
    distance: str = "swd_x1000"
    real_spread: float = math.inf
    era: str = ""

    def __post_init__(self) -> None:
        self._era: float | None = None
        self._best_spread: float | None = None
        self._best_distance: float | None = None
        self.forget_windows()

    def judge(self, values: Mapping[str, float], samples: int) -> str | None:
        if self.era in values and values[self.era] != self._era:
            self._era, self._best_spread, self._best_distance = values[self.era], None, None
            self.forget_windows()
        reasons = []
        if self.sign in values:
            reasons.append(self._judge_signs(values, samples))
        if self.spread in values:
            reasons.append(self._judge_spread(values[self.spread]))
        if self.distance in values:
            reasons.append(self._judge_distance(values[self.distance], samples))
        found = [reason for reason in reasons if reason]
        self.is_clean = not found and not self._has_won(self._signs) and self._far_since is None
        return "; ".join(found) or None

    def forget_windows(self) -> None:
        # The number of images and the strength of the augmentation at the last report of signs.
        self._last: tuple[int, float] | None = None
        # Of the images since then: their number, and their mean signs on reals and on fakes.
        self._signs = _NO_SIGNS
        self._far_since: int | None = None
        self.is_clean = True

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])

    def _judge_signs(self, values: Mapping[str, float], samples: int) -> str | None:
        real, fake, strength = values[self.sign], values.get(self.fake_sign, -1.0), values.get(self.strength, 0.0)
        last, self._last = self._last, (samples, strength)
        # Of the first report it is not known how many images it is about.
        if last is None or samples <= last[0] or strength > last[1] + _RISE:
            self._signs = _NO_SIGNS
            return None
        images, real_mean, fake_mean = self._signs
        images += samples - last[0]
        share = (samples - last[0]) / images
        self._signs = (images, real_mean + share * (real - real_mean), fake_mean + share * (fake - fake_mean))
        if self._signs[0] < self.limits.sign_kimg * 1000:
            return None
        judged, self._signs = self._signs, _NO_SIGNS
        if not self._has_won(judged):
            return None
        return (
            f"the discriminator knows every image: {self.sign} {judged[1]:.3f} above {self.limits.sign_mean:g} and {self.fake_sign} {judged[2]:.3f} "
            f"below {-self.limits.sign_mean:g} over {judged[0] / 1000:g} kimg"
        )

    def _has_won(self, signs: tuple[int, float, float]) -> bool:
        images, real, fake = signs
        # Not a number means the discriminator is broken, which is no better.
        return images > 0 and not (real <= self.limits.sign_mean or fake >= -self.limits.sign_mean)

    def _judge_spread(self, value: float) -> str | None:
        if not math.isfinite(value):
            return f"{self.spread} is {value}"
        self._best_spread = max(value, self._best_spread or 0.0)
        reference = min(self.real_spread, self._best_spread)
        if value >= self.limits.diversity * reference:
            return None
        return f"the images are all alike: {self.spread} {value:.4g} below {self.limits.diversity:g} of {reference:.4g}"

    def _judge_distance(self, value: float, samples: int) -> str | None:
        if math.isfinite(value) and (self._best_distance is None or value <= self._best_distance):
            self._best_distance, self._far_since = value, None
            return None
        # An estimate may fall to 0 or below it (KID is unbiased); no multiple of that means anything.
        is_near = math.isfinite(value) and self._best_distance is not None and not value > self.limits.distance * self._best_distance > 0
        if is_near:
            self._far_since = None
            return None
        self._far_since = samples if self._far_since is None else self._far_since
        far = samples - self._far_since
        if far < self.limits.distance_kimg * 1000:
            return None
        best = "none so far" if self._best_distance is None else f"{self._best_distance:.4g}"
        return f"the images get worse: {self.distance} {value:.4g} above {self.limits.distance:g} times the best ({best}) for {far / 1000:g} kimg"


class GradientWatch:
    """Says whether the norm of a gradient is wild: not finite, or more than `ratio` times the running median of the finite norms before it.

    at_least: norms to have seen before any finite one can be wild. It judges where norms are computed, and nobody waits for it.
    """

    def __init__(self, *, ratio: float = 20.0, window: int = 101, at_least: int = 20, device: torch.device | None = None) -> None:
        self.ratio, self.at_least = ratio, at_least
        # The last norms in a ring, infinite where there is none yet, so that these come last when sorted; and how many there have been.
        self._norms = torch.full((window,), math.inf, dtype=torch.float64, device=device)
        self._places = torch.arange(window, device=device)
        self._seen = torch.zeros((), dtype=torch.int64, device=device)

    def is_wild(self, norm: Tensor) -> Tensor:
        """Judge `norm` (0-d) and take it into the median; a wild one too, so that a lasting change of scale is not refused for ever. Bool, 0-d."""
        norm, window = norm.double(), len(self._norms)
        is_finite, known = norm.isfinite(), self._seen.clamp(max=window)
        middle = torch.stack([(known - 1).clamp(min=0) // 2, (known // 2).clamp(max=window - 1)])
        median = self._norms.sort().values.gather(0, middle).sum() / 2
        is_wild = ~is_finite | ((known >= self.at_least) & (norm > self.ratio * median))
        self._norms.copy_(torch.where((self._places == self._seen % window) & is_finite, norm, self._norms))
        self._seen += is_finite
        return is_wild

    def state_dict(self) -> list[float]:
        """The norms, oldest first."""
        norms, seen = self._norms.tolist(), int(self._seen)
        place = seen % len(norms)
        return [*norms[place:], *norms[:place]] if seen > len(norms) else norms[:seen]

    def load_state_dict(self, state: list[float]) -> None:
        kept = state[-len(self._norms) :]
        self._norms.copy_(torch.tensor([*kept, *[math.inf] * (len(self._norms) - len(kept))], dtype=torch.float64))
        self._seen.fill_(len(kept))


def feature_spread(features: Tensor) -> float:
    """Root mean square distance of features [N, D] from their mean: how different N images are. 0 for equal ones."""
    return float((features.double() - features.double().mean(dim=0)).square().sum(dim=1).mean().sqrt()) if len(features) else 0.0


def gradient_norm(parameters: Sequence[torch.nn.Parameter]) -> Tensor:
    """The L2 norm over all gradients, 0-d; not finite when one of them is not."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros((), device=parameters[0].device)
