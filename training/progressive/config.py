"""What a Progressive GAN is built from, and how far it has grown."""

import math
from dataclasses import dataclass

SMALLEST_PX = 4


def sides(resolution: int) -> tuple[int, ...]:
    """4, 8, … `resolution`: the side lengths, in pixels, that a network grows through."""
    return tuple(2**power for power in range(2, int(math.log2(resolution)) + 1))


def published_filters(resolution: int, *, fmap_base: int = 8192, fmap_max: int = 512) -> tuple[int, ...]:
    """Feature maps at each of `sides(resolution)`: min(fmap_base / 2^stage, fmap_max), stage = log2 px - 1. Source: Karras et al. 2018, table 2.

    DeepZine's `max_filter` M, halved from `filter_num_reduction_transition_size` R on, is fmap_max M and fmap_base M · R / 4.
    """
    return tuple(max(1, min(2 * fmap_base // px, fmap_max)) for px in sides(resolution))


@dataclass(frozen=True)
class ProgressiveConfig:
    """Constructor arguments of `Generator` and `Discriminator`; saved as config.json beside the weights. Defaults are the paper's.

    resolution: side of the finished picture in pixels, a power of two. channels: of the picture, 3 or 1.
    filters: feature maps at 4 px, 8 px, … `resolution`; () = `published_filters`.
    normalize_latents: whether z is divided by its root mean square. mbstd_group: pictures whose variety D sees together.
    grown_px, alpha: how far both have grown: pictures have `grown_px` pixels a side of their own, and the newest layers count `alpha`.
    grown_px 0 = `resolution`.
    """

    resolution: int = 1024
    channels: int = 3
    z_dim: int = 512
    filters: tuple[int, ...] = ()
    normalize_latents: bool = True
    mbstd_group: int = 4
    grown_px: int = 0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.resolution < SMALLEST_PX or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two and at least {SMALLEST_PX}, found {self.resolution}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), found {self.channels}")
        for name in ("z_dim", "mbstd_group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        # What was left to the rules is written down, so that config.json says all.
        object.__setattr__(self, "filters", tuple(self.filters) or published_filters(self.resolution))
        object.__setattr__(self, "grown_px", self.grown_px or self.resolution)
        if len(self.filters) != len(sides(self.resolution)) or min(self.filters) < 1:
            raise ValueError(
                f"filters must be {len(sides(self.resolution))} positive numbers, one for each side from {SMALLEST_PX} to {self.resolution} px, "
                f"found {list(self.filters)}"
            )
        if self.grown_px not in sides(self.resolution) or not 0 <= self.alpha <= 1:
            raise ValueError(
                f"grown_px must be one of {', '.join(map(str, sides(self.resolution)))} and alpha lie in [0, 1], "
                f"found {self.grown_px} px and {self.alpha}"
            )

    @property
    def level(self) -> int:
        """The place of `grown_px` among the sides: 0 at 4 px."""
        return sides(self.resolution).index(self.grown_px)
