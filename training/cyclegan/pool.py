"""Earlier fakes, which discriminators see beside new ones, so that they do not forget what the generators used to do wrong."""

from typing import Any

import torch
from torch import Tensor

from training.loop.devices import moved
from training.loop.seeding import numbers


class ImagePool:
    """Up to `size` fakes, each as it was when it was made; 0 keeps none. Its state are these pictures, bit by bit.

    Source: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images", section 2.3; 50 pictures: Zhu et al. 2017, section 4.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._places: list[Tensor] = []
        # By place, whether there is a picture: bool, 0-d, where the pictures are, so that nobody waits for them. A bad fake leaves its place free.
        self._is_taken: list[Tensor] = []

    @property
    def kept(self) -> list[Tensor]:
        """The pictures; waits for the device."""
        return [picture for picture, is_taken in zip(self._places, self._is_taken, strict=True) if is_taken]

    def mix(self, fakes: Tensor, random: torch.Generator) -> Tensor:
        """As many pictures as fakes [B, C, H, W]: until the pool is full the fakes; then, for every other one, a kept picture that it replaces.

        random: on the CPU. Fakes that are not numbers are given back and never kept: they would come back long after.
        """
        if not self.size:
            return fakes
        are_numbers, shown = torch.isfinite(fakes).all(), []
        for fake in fakes:
            place = len(self._places)
            if place < self.size:
                self._places.append(torch.zeros_like(fake))
                self._is_taken.append(torch.zeros_like(are_numbers))
            elif numbers(torch.rand((), generator=random)) < 0.5:
                place = numbers(torch.randint(self.size, (), generator=random))
            else:
                shown.append(fake)
                continue
            earlier, is_taken = (moved(part[place], fake.device) for part in (self._places, self._is_taken))
            shown.append(torch.where(is_taken & are_numbers, earlier, fake))
            self._places[place], self._is_taken[place] = torch.where(are_numbers, fake, earlier), is_taken | are_numbers
        return torch.stack(shown)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": list(self._places), "taken": [bool(is_taken) for is_taken in self._is_taken]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._places, self._is_taken = list(state["kept"]), [torch.tensor(is_taken) for is_taken in state["taken"]]
