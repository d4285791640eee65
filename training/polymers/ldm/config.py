"""What decides the training of a PolyLDM: which denoiser, how latents are noised, for how long, and in which way."""

from dataclasses import dataclass

from training.loop.bounds import at_least, within
from training.polymers.ldm.denoisers import DenoiserName
from training.polymers.ldm.schedule import Prediction, ScheduleName
from training.polymers.options import Dataset, TrainingOptions


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
class PolyLDMConfig(Diffusion, TrainingOptions):
    """The section `polyldm` of params.yaml; properties and longest molecule are those of data/polyvae."""

    train_on: tuple[Dataset, ...] = ("molecules",)
    total_samples: int = 10_000_000
    batch_size: int = 512
    unfreeze_at_samples: int = 2_000_000
    learning_rate: float = 1e-3
    warmup_samples: int = 50_000
    weight_decay: float = 0.01
    ema_half_life_samples: int = 200_000
    validation_steps: int = 50
    checkpoint_every_samples: int = 500_000
    report_every_samples: int = 50_000

    def __post_init__(self) -> None:
        Diffusion.__post_init__(self)
        TrainingOptions.__post_init__(self)
        at_least(self, 0, "unfreeze_at_samples")
        within(self, 1, self.diffusion_steps, "validation_steps")
        if not self.train_on:
            raise ValueError("train_on is empty; name at least one dataset, such as molecules")
