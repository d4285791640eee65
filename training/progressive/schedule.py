"""When the networks grow: how far after so many pictures, as a pure function, and tables of what depends on the resolution.

4 px stable; then for each next side a fade and a stable phase; the last one goes on for as long as the training does. Source: Karras et al. 2018,
section 2 and appendix A.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from training.progressive.config import SMALLEST_PX, sides

Value = TypeVar("Value", int, float)


@dataclass(frozen=True)
class Growth:
    """Where a training stands. phase: 0 = 4 px stable, 1 = fade to 8 px, 2 = 8 px stable, …

    alpha: how much the newest layers count. begin, end: pictures before the phase begins and before it is over (end None: it goes on).
    is_new: this is the first picture of `px`.
    """

    phase: int
    px: int
    alpha: float
    begin: int
    end: int | None
    is_new: bool


@dataclass(frozen=True)
class GrowthSchedule:
    """resolution: of the finished picture. stable, fade: pictures in a phase of either kind; fade 0 = at once."""

    resolution: int
    stable: int
    fade: int

    def at(self, images: int) -> Growth:
        """Where the training stands after `images` pictures, and with which networks the next one is computed."""
        last = 2 * (len(sides(self.resolution)) - 1)
        # Turns of fade and stable behind the first phase.
        turns, place = divmod(images - self.stable, self.fade + self.stable)
        phase = 0 if turns < 0 else min(2 * turns + (1 if place < self.fade else 2), last)
        begin, end = self._begin(phase), self._begin(phase + 1)
        px = SMALLEST_PX * 2 ** ((phase + 1) // 2)
        is_fade = phase % 2 == 1
        first = begin if is_fade or not phase else begin - self.fade
        alpha = (images - begin) / self.fade if is_fade else 1.0
        return Growth(phase, px, alpha, begin, None if phase == last else end, is_new=images == first)

    @property
    def begin_of_last(self) -> int:
        """Pictures before the finished resolution is stable."""
        return self._begin(2 * (len(sides(self.resolution)) - 1))

    def _begin(self, phase: int) -> int:
        return (phase + 1) // 2 * self.stable + phase // 2 * self.fade


def value_at(px: int, value: Value, table: Mapping[int, Value]) -> Value:
    """`value`, or that of the table's highest side not above `px`: a table says what holds from a side on."""
    return table.get(max((side for side in table if side <= px), default=0), value)
