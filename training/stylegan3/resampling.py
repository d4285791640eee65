"""What the filtered leaky ReLU does to the rates of a picture, for any way of computing it.

Along an axis, resampling is a matrix with few diagonals. Both resamplings of a layer are kept as the same kind of thing, a `Stage`: entry (m, i) of
its matrix, from low-rate place i to middle place m, is taps[m + offset - i * factor]. Going up multiplies by it, going down by its transpose, so that
the gradient of "up by one stage, down by the other" is the same with the stages exchanged. Source: Karras et al. 2021, sections 2 and 3, figure 4.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Stage(NamedTuple):
    """A change of rate between a low and the middle rate. taps: [T] for both axes, or [T, T]; in the order of the formula above, gain included."""

    taps: np.ndarray
    factor: int
    offset: int

    @property
    def is_radial(self) -> bool:
        return self.taps.ndim == 2


@dataclass(frozen=True, eq=False)
class Resampling:
    """Up by one stage, down by the other. Sizes are (height, width) at the input, the middle and the output."""

    up: Stage
    down: Stage
    in_size: tuple[int, int]
    middle_size: tuple[int, int]
    out_size: tuple[int, int]

    @functools.cached_property
    def transposed(self) -> "Resampling":
        """What gradients take: the transposed matrices in the opposite order."""
        other = Resampling(self.down, self.up, self.out_size, self.middle_size, self.in_size)
        other.__dict__["transposed"] = self
        return other


def resampling(
    up_kernel: np.ndarray, down_kernel: np.ndarray, *, in_size: tuple[int, int], up: int, down: int, padding: tuple[int, int]
) -> Resampling:
    """What `layers.filtered_lrelu_reference` does with the same arguments. Raises ValueError where the filters are longer than the picture."""
    # Output m of the first filter takes tap t of the padded sample m + taps - 1 - t, and input i lies at i * up + padding[0].
    first = Stage(up_kernel * float(up) ** up_kernel.ndim, up, len(up_kernel) - 1 - padding[0])
    # Output o of the second takes tap t of sample o * down + taps - 1 - t: the filter is reversed in the order of samples.
    second = Stage(np.flip(down_kernel).copy(), down, 0)
    middle_size = tuple(size * up + sum(padding) - len(up_kernel) + 1 for size in in_size)
    out_size = tuple((size - len(down_kernel)) // down + 1 for size in middle_size)
    if min(out_size) < 1:
        raise ValueError(
            f"nothing is left of {in_size[0]} x {in_size[1]} pixels, {up} times up and {down} times down with padding {padding}: "
            f"the filters have {len(up_kernel)} and {len(down_kernel)} taps; pad more"
        )
    return Resampling(first, second, in_size, middle_size, out_size)  # type: ignore[arg-type]
