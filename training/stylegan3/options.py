"""What decides a StyleGAN3 training: its images, its networks, how long and in which way it learns, and how it is watched."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.gans.augment import Preset
from training.loop.collapse_guard import GuardLimits
from training.stylegan3.gamma import default_gamma

# These change how long a training goes on and what is written about it, never the weights at a given number of images: a training continues
# across changes of them. (Only where the guard steps in can `snap`, `tick` or the metrics matter: it judges what is measured.)
OPERATIONAL = (
    "kimg",
    "max_seconds",
    "snap",
    "tick",
    "checkpoint_kimg",
    "keep_checkpoints",
    "grid",
    "grid_psi",
    "metrics",
    "metric_images",
    "inception",
)

MetricName = Literal["fd", "kid", "swd", "ms_ssim", "prdc"]


@dataclass(frozen=True)
class StyleGAN3Options:
    """The section `stylegan3_toc` of params.yaml, in the words users of StyleGAN know. Defaults are the published ones for one GPU.

    1 kimg is a thousand real images shown. batch: images an iteration over all processes. batch_gpu: images side by side in one process.
    """

    # What it learns from
    dataset_size: int = 256
    resolution: int | None = None
    mirror: bool = False
    cond: bool = False
    # Its networks
    cfg: Literal["stylegan3-t", "stylegan3-r"] = "stylegan3-t"
    cbase: int = 32768
    cmax: int = 512
    z_dim: int = 512
    w_dim: int = 512
    map_depth: int = 2
    num_layers: int = 14
    num_critical: int = 2
    margin: int = 10
    mbstd_group: int = 4
    # For how long
    kimg: float = 25000.0
    batch: int = 32
    batch_gpu: int | None = None
    max_seconds: float | None = None
    # In which way
    loss: Literal["non-saturating", "rpgan"] = "non-saturating"
    gamma: float | None = None
    glr: float = 0.0025
    dlr: float = 0.002
    reg_interval: int = 16
    ema_kimg: float | None = None
    ema_rampup: float = 0.05
    aug: Literal["noaug", "ada", "fixed"] = "ada"
    aug_preset: Preset = "text"
    p: float = 0.2
    target: float = 0.6
    ada_kimg: float = 500.0
    freezed: int = 0
    resume_from: Path | None = None
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = 0
    # How it is watched
    snap: float = 200.0
    tick: float = 4.0
    grid: tuple[int, ...] = ()
    grid_psi: float = 1.0
    metrics: tuple[MetricName, ...] = ("fd", "kid", "swd")
    metric_images: int = 10_000
    inception: Path | None = None
    guard: GuardLimits = field(default_factory=GuardLimits)
    guard_images: int = 256
    checkpoint_kimg: float = 40.0
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        for name in ("dataset_size", "cbase", "cmax", "z_dim", "w_dim", "map_depth", "num_layers", "batch", "reg_interval", "mbstd_group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("kimg", "snap", "tick", "checkpoint_kimg", "ada_kimg", "glr", "dlr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("freezed", "ema_rampup", "num_critical", "margin"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        for name in ("p", "target"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], found {getattr(self, name)}")
        if self.gamma is not None and self.gamma < 0:
            raise ValueError(f"gamma must not be negative, found {self.gamma}; null takes it from resolution and batch")
        if self.batch % self.side_by_side:
            raise ValueError(f"batch {self.batch} is not a multiple of batch_gpu {self.side_by_side}")
        if len(self.grid) not in (0, 2) or any(side < 1 for side in self.grid):
            raise ValueError(f"grid must be [columns, rows] or [] for the usual one, found {list(self.grid)}")
        if self.guard_images < 2:
            raise ValueError(f"guard_images must be at least 2, found {self.guard_images}")
        if self.metrics and self.metric_images < 2:
            raise ValueError(f"metric_images must be at least 2, found {self.metric_images}")
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints must be at least 1, found {self.keep_checkpoints}")

    @property
    def side_by_side(self) -> int:
        """Images of one forward and backward pass."""
        return self.batch_gpu or self.batch

    @property
    def total_images(self) -> int:
        return round(self.kimg * 1000)

    @property
    def snap_images(self) -> int:
        return max(1, round(self.snap * 1000))

    @property
    def ema_half_life_images(self) -> float:
        """Images after which an old weight counts half: ten thousand for a batch of 32, in proportion to it."""
        return (self.ema_kimg if self.ema_kimg is not None else self.batch * 10 / 32) * 1000

    def resolved_gamma(self, resolution: int) -> float:
        return self.gamma if self.gamma is not None else default_gamma(resolution, self.batch)

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the OPERATIONAL ones. resume_from counts by its content, see train.py."""
        left_out = (*OPERATIONAL, "resume_from")
        return {name: value for name, value in asdict(self).items() if name not in left_out}
