"""What decides the training of a PolyLDM: which denoiser, how latents are noised, for how long, and in which way."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.loop.bounds import above, at_least, within
from training.loop.loop import Plan
from training.polymers.ldm.denoisers import DenoiserName
from training.polymers.ldm.schedule import Prediction, ScheduleName

# These change when a training pauses, never what it ends with: a training continues across changes of them.
OPERATIONAL = ("max_seconds", "checkpoint_every_samples", "keep_checkpoints")


@dataclass(frozen=True)
class PolyLDMConfig:
    """The section `polyldm` of params.yaml; properties and longest molecule are those of the PolyVAE in data/polyvae.

    Counts of samples are molecules shown, repeats included. Widths are the seed's, steps and schedule those of Ho et al. 2020.
    """

    # What it learns from
    train_on: tuple[Literal["molecules", "polymers"], ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    # Shape
    denoiser: DenoiserName = "mlp"
    hidden_width: int = 256
    step_width: int = 64
    diffusion_steps: int = 1000
    schedule: ScheduleName = "linear"
    prediction: Prediction = "epsilon"
    # For how long
    samples: int = 10_000_000
    batch_size: int = 512
    unfreeze_at_samples: int = 2_000_000
    max_seconds: float | None = None
    # In which way
    learning_rate: float = 1e-3
    warmup_samples: int = 50_000
    final_learning_rate_fraction: float = 0.0
    weight_decay: float = 0.01
    gradient_clip_norm: float = 1.0
    condition_dropout: float = 0.1
    ema_half_life_samples: int = 200_000
    seed: int = 0
    # How it is watched
    validation_steps: int = 50
    checkpoint_every_samples: int = 500_000
    keep_checkpoints: int = 2
    report_every_samples: int = 50_000

    def __post_init__(self) -> None:
        at_least(self, 1, "samples", "batch_size", "hidden_width", "validation_steps", "checkpoint_every_samples", "report_every_samples")
        at_least(self, 0, "unfreeze_at_samples", "warmup_samples", "weight_decay", "ema_half_life_samples")
        at_least(self, 1, "keep_checkpoints")
        at_least(self, 3, "diffusion_steps")
        above(self, 0, "learning_rate", "gradient_clip_norm")
        within(self, 0, 0.5, "condition_dropout")
        within(self, 0, 1, "final_learning_rate_fraction")
        if not self.train_on:
            raise ValueError("train_on is empty; name at least one dataset, such as molecules")
        if self.step_width < 2 or self.step_width % 2:
            raise ValueError(f"step_width must be even and at least 2 (sines and cosines), found {self.step_width}")
        if self.validation_steps > self.diffusion_steps:
            raise ValueError(f"validation_steps {self.validation_steps} is more than diffusion_steps {self.diffusion_steps}")

    @property
    def plan(self) -> Plan:
        return Plan(self.samples, self.report_every_samples, self.checkpoint_every_samples, self.max_seconds, what="molecules")

    @property
    def side_by_side(self) -> int:
        """Molecules of one forward and backward pass."""
        return self.batch_size

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the OPERATIONAL ones."""
        return {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}
