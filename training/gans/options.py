"""What every GAN of pictures can be told: how long it learns, and how it is watched. A model's own options inherit these."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.gans.graphs import CudaGraphs
from training.loop.bounds import above, at_least
from training.loop.collapse_guard import GuardLimits
from training.loop.loop import Plan

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
    "cuda_graphs",
)

MetricName = Literal["fd", "kid", "swd", "ms_ssim", "prdc"]


@dataclass(frozen=True)
class GanOptions:
    """In the words users of StyleGAN know; `training.loop.job.Options`. 1 kimg is a thousand real images shown.

    batch: images an iteration over all processes. batch_gpu: images side by side in one process. cuda_graphs: auto records turns where the GPU can.
    """

    # For how long
    kimg: float = 25000.0
    batch: int = 32
    batch_gpu: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    cuda_graphs: CudaGraphs = "auto"
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
        at_least(self, 1, "batch", "keep_checkpoints")
        at_least(self, 2, "guard_images", *(["metric_images"] if self.metrics else []))
        above(self, 0, "kimg", "snap", "tick", "checkpoint_kimg")
        for batch in self.batches:
            if batch % min(self.side_by_side, batch):
                raise ValueError(f"batch {batch} is not a multiple of batch_gpu {self.side_by_side}")
        if len(self.grid) not in (0, 2) or any(side < 1 for side in self.grid):
            raise ValueError(f"grid must be [columns, rows] or [] for the usual one, found {list(self.grid)}")

    @property
    def batches(self) -> tuple[int, ...]:
        """Images of an iteration; where that changes while it learns, every number there may be, the largest first."""
        return (self.batch,)

    @property
    def batch_size(self) -> int:
        return self.batches[0]

    @property
    def side_by_side(self) -> int:
        """Images of one forward and backward pass, at most."""
        return self.batch_gpu or self.batch_size

    @property
    def plan(self) -> Plan:
        report, checkpoint = (max(1, round(kimg * 1000)) for kimg in (self.tick, self.checkpoint_kimg))
        return Plan(round(self.kimg * 1000), report, checkpoint, self.max_seconds, what="images", good_states=3)

    @property
    def snap_images(self) -> int:
        return max(1, round(self.snap * 1000))

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the OPERATIONAL ones."""
        return {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}
