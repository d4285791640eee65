"""Numbers of many steps added up where they were computed, and read all at once: reading a GPU's number means waiting for all it has still to do."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from training.loop.devices import moved


@dataclass(frozen=True)
class Counts:
    """What a tally holds. sums, counts: by name, over the steps that were not skipped. longest_skipped: the longest row of skipped steps."""

    sums: dict[str, float]
    counts: dict[str, int]
    skipped: int
    skipped_in_a_row: int
    longest_skipped: int


class Tally:
    """Adds up what steps tell, in double precision, on `device`. start: what there was before."""

    def __init__(self, device: torch.device, start: Counts) -> None:
        self._device = device
        self._places = {name: place for place, name in enumerate(start.sums)}
        self._chosen: dict[tuple[str, ...], Tensor] = {}
        before = [list(start.sums.values()), [float(start.counts[name]) for name in start.sums]]
        self._totals = moved(torch.tensor(before, dtype=torch.float64), device)
        skips = [start.skipped, start.skipped_in_a_row, start.skipped_in_a_row]
        self._skips = moved(torch.tensor(skips, dtype=torch.float64), device)

    def add(self, values: Mapping[str, Tensor | float], skipped: Tensor) -> None:
        """One step. skipped: bool, 0-d; the values of a skipped step do not count."""
        total, in_a_row, longest = self._skips.unbind()
        in_a_row = (in_a_row + 1) * skipped
        self._skips = torch.stack([total + skipped, in_a_row, torch.maximum(longest, in_a_row)])
        if not values:
            return
        # First of all: names that are new make the totals longer.
        places = self._places_of(tuple(values))
        row = torch.stack([self._number(value) for value in values.values()])
        self._totals.index_add_(1, places, torch.stack([row, torch.ones_like(row)]).masked_fill(skipped, 0.0))

    def read(self) -> Counts:
        """What there is by now: waits for the device."""
        size = len(self._places)
        numbers = torch.cat([self._totals.flatten(), self._skips]).tolist()
        sums, counts = dict(zip(self._places, numbers, strict=False)), dict(zip(self._places, numbers[size:], strict=False))
        told = {name: int(count) for name, count in counts.items() if count}
        return Counts({name: sums[name] for name in told}, told, *(int(number) for number in numbers[2 * size :]))

    def _number(self, value: Tensor | float) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach().double()
        return torch.full((), value, dtype=torch.float64, device=self._device)

    def _places_of(self, names: tuple[str, ...]) -> Tensor:
        if names not in self._chosen:
            new = [name for name in names if name not in self._places]
            self._places |= {name: len(self._places) + number for number, name in enumerate(new)}
            self._totals = torch.cat([self._totals, self._totals.new_zeros(2, len(new))], dim=1)
            self._chosen[names] = moved(torch.tensor([self._places[name] for name in names]), self._device)
        return self._chosen[names]
