"""What decides the training of a property predictor: what it learns and from what, what molecules are to it, its size, and for how long."""

from dataclasses import dataclass

from formats.descriptors import DESCRIPTORS
from training.loop.bounds import at_least, within
from training.polymers.options import Dataset, TrainingOptions

# Several times as dear as all others together, and made from them.
_DEAR = ("qed", "sa_score")


@dataclass(frozen=True)
class PredictorConfig(TrainingOptions):
    """The section `property_predictor` of params.yaml. Samples are molecules shown to each member, repeats included.

    radius, bits: of the Morgan fingerprints. members: networks of the ensemble. checkpoint_every_samples: also evaluations, of which the best decides
    the weights. patience: evaluations without a better one until the training ends; 0 = never.
    """

    # What it learns, and from what
    train_on: tuple[Dataset, ...] = ("molecules",)
    properties: tuple[str, ...] = ("mol_log_p",)
    # What a molecule is to it
    radius: int = 2
    bits: int = 2048
    # Shape
    members: int = 5
    width: int = 256
    layers: int = 2
    dropout: float = 0.1
    # For how long, and in which way
    total_samples: int = 200_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_samples: int = 2_000
    weight_decay: float = 0.01
    gradient_clip_norm: float = 5.0
    # How it is watched
    checkpoint_every_samples: int = 5_000
    report_every_samples: int = 5_000
    patience: int = 10

    operational = ("max_seconds", "keep_checkpoints")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "radius", "bits", "members", "width", "layers")
        at_least(self, 0, "patience")
        within(self, 0, 1, "dropout")
        if not self.train_on or not self.properties:
            raise ValueError("train_on and properties must not be empty; name datasets, and columns of them that are to be predicted")
        if len(set(self.properties)) != len(self.properties):
            raise ValueError(f"properties names one twice: {', '.join(self.properties)}")

    @property
    def described_by(self) -> tuple[str, ...]:
        """The descriptors that the networks are given: none that they are to predict."""
        return tuple(name for name in DESCRIPTORS if name not in (*_DEAR, *self.properties))
