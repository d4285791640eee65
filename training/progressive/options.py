"""What decides a Progressive GAN's training: its images, its networks, how fast they grow, how they learn, and how they are watched."""

from dataclasses import dataclass, field
from typing import Literal

from training.gans.options import GanOptions
from training.loop.bounds import above, at_least
from training.loop.devices import Precision
from training.progressive.config import SMALLEST_PX, ProgressiveConfig, published_filters, sides
from training.progressive.schedule import GrowthSchedule, value_at

# A decay of 0.999 an iteration halves a weight in the average in so many.
_EMA_ITERATIONS = 692.8


@dataclass(frozen=True)
class ProgressiveOptions(GanOptions):
    """The section `pggan_pages` of params.yaml. Defaults are the published ones for one GPU.

    Tables are from a side in px to what holds from that side on, a fade to it included: `batch` and `lr` hold below the first.
    """

    # What it learns from
    dataset_size: int = 1024
    resolution: int | None = None
    mirror: bool = False
    # Its networks
    z_dim: int = 512
    fmap_base: int = 8192
    fmap_max: int = 512
    filters: dict[int, int] = field(default_factory=dict)
    normalize_latents: bool = True
    mbstd_group: int = 4
    # How it grows
    kimg: float = 12_000.0
    stable_kimg: float = 600.0
    fade_kimg: float = 600.0
    batch: int = 128
    batch_by_px: dict[int, int] = field(default_factory=lambda: {32: 64, 64: 32, 128: 16, 256: 8, 512: 4})
    lr: float = 0.001
    lr_by_px: dict[int, float] = field(default_factory=lambda: {1024: 0.0015})
    # In which way it learns
    loss: Literal["wgan-gp", "non-saturating"] = "wgan-gp"
    gp_lambda: float = 10.0
    drift: float = 0.001
    gamma: float = 10.0
    n_critic: int = 1
    ema_kimg: float | None = None
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "z_dim", "fmap_base", "fmap_max", "mbstd_group", "n_critic")
        at_least(self, 0, "fade_kimg", "gp_lambda", "drift", "gamma")
        above(self, 0, "stable_kimg", "lr")
        for name in ("filters", "batch_by_px", "lr_by_px"):
            for px, value in getattr(self, name).items():
                if px < SMALLEST_PX or px & (px - 1) or not value > 0:
                    raise ValueError(f"{name} must go from powers of two, in px and at least {SMALLEST_PX}, to positive numbers, found {px}: {value}")
        if self.filters and SMALLEST_PX not in self.filters:
            raise ValueError(f"filters must begin at {SMALLEST_PX} px, found {sorted(self.filters)}; {{}} takes them from fmap_base and fmap_max")
        for batch in self.batches:
            if (side_by_side := min(self.side_by_side, batch)) < self.mbstd_group:
                raise ValueError(
                    f"mbstd_group is {self.mbstd_group}, but only {side_by_side} pictures are side by side (batch {batch}, batch_gpu "
                    f"{self.batch_gpu}); raise batch_gpu or batch, or lower mbstd_group"
                )

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(sorted({self.batch, *self.batch_by_px.values()}, reverse=True))

    def schedule(self, resolution: int) -> GrowthSchedule:
        return GrowthSchedule(resolution, round(self.stable_kimg * 1000), round(self.fade_kimg * 1000))

    def batch_of(self, px: int) -> int:
        """Pictures of an iteration at a side, unless the phase ends within it."""
        return value_at(px, self.batch, self.batch_by_px)

    def ema_half_life_images(self, batch: int) -> float:
        """Images after which an old weight counts half in the average; by default 0.999 an iteration, as published."""
        return self.ema_kimg * 1000 if self.ema_kimg is not None else _EMA_ITERATIONS * batch

    def check_processes(self, schedule: GrowthSchedule, world_size: int) -> None:
        """Raises ValueError when some iteration, those at the ends of phases included, does not divide among so many processes."""
        for px in sides(schedule.resolution):
            batch = self.batch_of(px)
            for images in (batch, schedule.stable % batch, schedule.fade % batch):
                if images % world_size:
                    raise ValueError(
                        f"at {px} px an iteration has {images} pictures (batch {batch}, stable_kimg {self.stable_kimg:g}, fade_kimg "
                        f"{self.fade_kimg:g}), which do not divide among {world_size} processes; choose multiples"
                    )
            if min(self.batch_gpu or batch, batch // world_size) < self.mbstd_group:
                raise ValueError(
                    f"mbstd_group is {self.mbstd_group}, but at {px} px a process has only {batch // world_size} pictures side by side; raise the "
                    "batch, use fewer processes, or lower mbstd_group"
                )

    def network_config(self, *, resolution: int, channels: int) -> ProgressiveConfig:
        """The constructor arguments of both networks, for pictures of that kind. Raises ValueError for shapes that cannot be."""
        filters = published_filters(resolution, fmap_base=self.fmap_base, fmap_max=self.fmap_max)
        if self.filters:
            filters = tuple(value_at(px, 0, self.filters) for px in sides(resolution))
        return ProgressiveConfig(
            resolution=resolution,
            channels=channels,
            z_dim=self.z_dim,
            filters=filters,
            normalize_latents=self.normalize_latents,
            mbstd_group=self.mbstd_group,
            grown_px=SMALLEST_PX,
        )
