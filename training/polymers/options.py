"""What the section of params.yaml of every model of molecules that is trained from nothing says alike."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from training.loop.bounds import above, at_least, within
from training.loop.loop import Plan

Dataset = Literal["molecules", "polymers"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingOptions(ABC):
    """Counts of samples are molecules shown, repeats included. A subclass adds what it learns from, its shape and `total_samples`, and calls
    `check_properties` where it has some of its own.
    """

    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    # For how long
    batch_size: int = 256
    max_seconds: float | None = None
    # In which way
    learning_rate: float = 6e-4
    warmup_samples: int = 20_000
    final_learning_rate_fraction: float = 0.0
    weight_decay: float = 0.1
    gradient_clip_norm: float = 1.0
    ema_half_life_samples: int = 0
    seed: int = 0
    # How it is watched
    checkpoint_every_samples: int = 200_000
    keep_checkpoints: int = 2
    report_every_samples: int = 10_000

    # These change when a training pauses and what its log says, never what it ends with: a training continues across changes of them.
    operational: ClassVar[tuple[str, ...]] = ("max_seconds", "checkpoint_every_samples", "keep_checkpoints")

    def __post_init__(self) -> None:
        at_least(self, 1, "total_samples", "batch_size", "checkpoint_every_samples", "report_every_samples", "keep_checkpoints")
        at_least(self, 0, "warmup_samples", "weight_decay", "ema_half_life_samples")
        above(self, 0, "learning_rate", "gradient_clip_norm")
        within(self, 0, 1, "final_learning_rate_fraction")

    @property
    @abstractmethod
    def total_samples(self) -> int:
        """Of the whole training."""

    @property
    def plan(self) -> Plan:
        return Plan(self.total_samples, self.report_every_samples, self.checkpoint_every_samples, self.max_seconds, what="molecules")

    @property
    def side_by_side(self) -> int:
        """Molecules of one forward and backward pass."""
        return self.batch_size

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the operational ones."""
        return {name: value for name, value in asdict(self).items() if name not in self.operational}


def check_properties(properties: tuple[str, ...], maximum_tokens: int) -> None:
    """Raises ValueError for a property named twice and for molecules without room for an atom."""
    if maximum_tokens < 4:
        raise ValueError(f"maximum_tokens must be at least 4 (<bos>, two atoms, <eos>), found {maximum_tokens}")
    if len(set(properties)) != len(properties):
        raise ValueError(f"properties names one twice: {', '.join(properties)}")
