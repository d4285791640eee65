"""What decides the training of a PolyLDM: which denoiser, how latents are noised, for how long, and in which way."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.loop.bounds import above, at_least, within
from training.loop.loop import Plan
from training.polymers.ldm.denoisers import DenoiserName
from training.polymers.ldm.schedule import Prediction, ScheduleName


@dataclass(frozen=True)
class Diffusion:
    """What is kept of a training with its model. Widths are the seed's, steps and schedule those of Ho et al. 2020."""

    denoiser: DenoiserName = "mlp"
    hidden_width: int = 256
    step_width: int = 64
    diffusion_steps: int = 1000
    schedule: ScheduleName = "linear"
    prediction: Prediction = "epsilon"
    condition_dropout: float = 0.1

    def __post_init__(self) -> None:
        at_least(self, 1, "hidden_width")
        # Fewer, and the linear schedule would begin with more noise than latent.
        at_least(self, 25, "diffusion_steps")
        within(self, 0, 0.5, "condition_dropout")
        if self.step_width < 2 or self.step_width % 2:
            raise ValueError(f"step_width must be even (sines and cosines) and at least 2, found {self.step_width}")


@dataclass(frozen=True)
class PolyLDMConfig(Diffusion):
    """The section `polyldm` of params.yaml; properties and longest molecule are those of data/polyvae. Samples are molecules, repeats included."""

    train_on: tuple[Literal["molecules", "polymers"], ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    samples: int = 10_000_000
    batch_size: int = 512
    unfreeze_at_samples: int = 2_000_000
    max_seconds: float | None = None
    learning_rate: float = 1e-3
    warmup_samples: int = 50_000
    final_learning_rate_fraction: float = 0.0
    weight_decay: float = 0.01
    gradient_clip_norm: float = 1.0
    ema_half_life_samples: int = 200_000
    seed: int = 0
    validation_steps: int = 50
    checkpoint_every_samples: int = 500_000
    keep_checkpoints: int = 2
    report_every_samples: int = 50_000

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "samples", "batch_size", "checkpoint_every_samples", "report_every_samples", "keep_checkpoints")
        at_least(self, 0, "unfreeze_at_samples", "warmup_samples", "weight_decay", "ema_half_life_samples")
        above(self, 0, "learning_rate", "gradient_clip_norm")
        within(self, 0, 1, "final_learning_rate_fraction")
        within(self, 1, self.diffusion_steps, "validation_steps")
        if not self.train_on:
            raise ValueError("train_on is empty; name at least one dataset, such as molecules")

    @property
    def plan(self) -> Plan:
        return Plan(self.samples, self.report_every_samples, self.checkpoint_every_samples, self.max_seconds, what="molecules")

    @property
    def side_by_side(self) -> int:
        return self.batch_size

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights; a training continues across changes of the others."""
        operational = ("max_seconds", "checkpoint_every_samples", "keep_checkpoints")
        return {name: value for name, value in asdict(self).items() if name not in operational}
