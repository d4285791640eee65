"""How strong the augmentation is: fixed, or steered by how well the discriminator knows the reals (ADA).

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3 (r_t, equation 1).
"""

import math
from collections.abc import Mapping
from typing import Any

from training.gans.augment import Augment

_INTERVAL = 4


class AugmentController:
    """Holds the probability p of `augment` (None: of nothing). With `is_adaptive` p goes up while D knows the reals too well, else down.

    Every four iterations p moves by sign(r_t - target) · images / (1000 · kimg), where r_t is the mean sign of D's logits on reals.
    Differs from the published program: p stays in [0, 1], because a p above 1 does nothing but take long to come back.
    """

    def __init__(self, augment: Augment | None, p: float, *, is_adaptive: bool, target: float = 0.6, kimg: float = 500.0) -> None:
        self.augment, self.p, self.is_adaptive, self.target, self.kimg = augment, p, is_adaptive, target, kimg
        self._signs = self._count = 0.0
        self._iterations = 0
        self._tell()

    def after_step(self, values: Mapping[str, float], images: int) -> Mapping[str, float]:
        """For `AdversarialTrainer`: watch r_t among the values of a step on `images` reals; returns p."""
        if self.is_adaptive and math.isfinite(values["r_t"]):
            self.observe(values["r_t"], images)
        return {"p": self.p}

    def observe(self, sign_mean: float, images: int) -> None:
        """After one iteration: the mean sign of the logits on `images` reals."""
        self._signs += sign_mean * images
        self._count += images
        self._iterations += 1
        if self._iterations < _INTERVAL:
            return
        r_t = self._signs / self._count
        step = self._count / (1000 * self.kimg)
        self.p = min(1.0, max(0.0, self.p + math.copysign(step, r_t - self.target) * (r_t != self.target)))
        self._signs = self._count = 0.0
        self._iterations = 0
        self._tell()

    def state_dict(self) -> dict[str, Any]:
        return {"p": self.p, "signs": self._signs, "count": self._count, "iterations": self._iterations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.p, self._signs, self._count, self._iterations = state["p"], state["signs"], state["count"], state["iterations"]
        self._tell()

    def _tell(self) -> None:
        if self.augment is not None:
            self.augment.p.fill_(self.p)
