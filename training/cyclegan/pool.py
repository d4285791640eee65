"""Earlier fakes, which discriminators see beside new ones, so that they do not forget what the generators used to do wrong."""

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Up to `size` fakes, each as it was when it was made; 0 keeps none. Its state are these pictures, bit by bit.

    Source: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images", section 2.3; 50 pictures: Zhu et al. 2017, section 4.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[Tensor] = []

    def mix(self, fakes: Tensor, random: torch.Generator) -> Tensor:
        """As many pictures as fakes [B, C, H, W]: until the pool is full the fakes; then, for every other one, a kept picture that it replaces.

        random: on the CPU. Fakes that are not numbers are given back and never kept: they would come back long after.
        """
        if not self.size or not bool(torch.isfinite(fakes).all()):
            return fakes
        shown = []
        for fake in fakes:
            if len(self.kept) < self.size:
                self.kept.append(fake.clone())
            elif torch.rand((), generator=random) < 0.5:
                place = int(torch.randint(self.size, (), generator=random))
                earlier, self.kept[place] = self.kept[place].to(fake.device), fake.clone()
                shown.append(earlier)
                continue
            shown.append(fake)
        return torch.stack(shown)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": list(self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = list(state["kept"])
