"""How strong the augmentation is: fixed, or steered by how well the discriminator knows the reals (ADA).

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3 (r_t, equation 1).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.gans.augment import Augment

_INTERVAL = 4


class AugmentController:
    """Holds the probability p of `augment` (None: of nothing). With `is_adaptive` p goes up while D knows the reals too well, else down.

    Every four iterations p moves by sign(r_t - target) · images / (1000 · kimg), where r_t is the mean sign of D's logits on reals.
    Differs from the published program: p stays in [0, 1], because a p above 1 does nothing but take long to come back.
    """

    def __init__(self, augment: Augment | None, p: float, *, is_adaptive: bool, target: float = 0.6, kimg: float = 500.0) -> None:
        self.augment, self.is_adaptive, self.target, self.kimg = augment, is_adaptive, target, kimg
        # p, and since it moved last: the sum of signs, of how many reals, in how many iterations. Where D is, so that nobody waits for them.
        self._state = torch.tensor([p, 0.0, 0.0, 0.0], dtype=torch.float64, device=None if augment is None else augment.p.device)
        self._tell()

    @property
    def p(self) -> float:
        """Waits for the device."""
        return float(self._state[0])

    def after_step(self, values: Mapping[str, Tensor], images: int) -> Mapping[str, Tensor]:
        """For `AdversarialTrainer`: watch r_t among the values of a step on `images` reals; returns p."""
        if self.is_adaptive:
            self.observe(values["r_t"], images)
        return {"p": self._state[0].clone()}

    def observe(self, sign_mean: Tensor, images: int) -> None:
        """After one iteration: the mean sign (0-d) of the logits on `images` reals. One that is no number is not counted."""
        sign_mean, is_number = sign_mean.double(), sign_mean.isfinite()
        p, signs, count, iterations = self._state.unbind()
        signs = torch.where(is_number, signs + sign_mean * images, signs)
        count, iterations = count + images * is_number, iterations + is_number
        r_t, step = signs / count, count / (1000 * self.kimg)
        moved_p = (p + torch.copysign(step, r_t - self.target) * (r_t != self.target)).clamp(0.0, 1.0)
        is_due = iterations >= _INTERVAL
        kept = torch.stack([torch.where(is_due, moved_p, p), *(torch.where(is_due, 0.0, part) for part in (signs, count, iterations))])
        self._state.copy_(kept)
        self._tell()

    def state_dict(self) -> dict[str, Any]:
        p, signs, count, iterations = self._state.tolist()
        return {"p": p, "signs": signs, "count": count, "iterations": int(iterations)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state.copy_(torch.tensor([float(state[name]) for name in ("p", "signs", "count", "iterations")], dtype=torch.float64))
        self._tell()

    def _tell(self) -> None:
        if self.augment is not None:
            self.augment.p.copy_(self._state[0])
