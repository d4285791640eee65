"""What decides the training of a property predictor: what it learns and from what, what molecules are to it, its size, and for how long."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from formats.descriptors import DESCRIPTORS
from training.loop.bounds import above, at_least, within
from training.loop.loop import Plan

# These change when a training pauses, never what it ends with: a training continues across changes of them.
OPERATIONAL = ("max_seconds", "keep_checkpoints")
# Several times as dear as all others together, and made from them.
_DEAR = ("qed", "sa_score")


@dataclass(frozen=True)
class PredictorConfig:
    """The section `property_predictor` of params.yaml. Samples are molecules shown to each member, repeats included.

    radius, bits: of the Morgan fingerprints. members: networks of the ensemble. evaluate_every_samples: also checkpoints. patience: evaluations
    without a better one until the training ends; 0 = never.
    """

    # What it learns, and from what
    train_on: tuple[Literal["molecules", "polymers"], ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
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
    max_seconds: float | None = None
    learning_rate: float = 1e-3
    warmup_samples: int = 2_000
    weight_decay: float = 0.01
    seed: int = 0
    # How it is watched
    evaluate_every_samples: int = 5_000
    patience: int = 10
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "radius", "bits", "members", "width", "layers", "total_samples", "batch_size", "evaluate_every_samples", "keep_checkpoints")
        at_least(self, 0, "warmup_samples", "weight_decay", "patience")
        above(self, 0, "learning_rate")
        within(self, 0, 1, "dropout")
        if not self.train_on or not self.properties:
            raise ValueError("train_on and properties must not be empty; name datasets, and columns of them that are to be predicted")
        if len(set(self.properties)) != len(self.properties):
            raise ValueError(f"properties names one twice: {', '.join(self.properties)}")

    @property
    def described_by(self) -> tuple[str, ...]:
        """The descriptors that the networks are given: none that they are to predict."""
        return tuple(name for name in DESCRIPTORS if name not in (*_DEAR, *self.properties))

    @property
    def plan(self) -> Plan:
        return Plan(self.total_samples, self.evaluate_every_samples, self.evaluate_every_samples, self.max_seconds, what="molecules")

    @property
    def side_by_side(self) -> int:
        return self.batch_size

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the OPERATIONAL ones."""
        return {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}
