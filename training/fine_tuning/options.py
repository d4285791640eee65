"""What decides a fine-tuning beside what the model is."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.loop.bounds import above, at_least, within
from training.loop.compiling import Compile
from training.loop.loop import Plan


@dataclass(frozen=True)
class FineTuning:
    """What the sections of all fine-tunings have in common; each adds fields of its own, and says what its samples are: tokens, pictures.

    start_from: hub name, or folder of a model that transformers can load; None = new weights in the sizes of the section.
    total_samples, warmup_samples, …: tokens or pictures shown, repeats included; `batch_size` and `examples_at_once` are whole examples: documents,
    pairs, pictures. examples_at_once: of one forward and backward pass in one process; 0 = as many as fit, found by halving. It decides no gradient.
    ema_half_life_samples: of averaged weights, which are then judged and kept; 0 = none. early_stopping_evaluations: in a row without a lower
    held-out loss, after which the training ends with the best weights; 0 = never. evaluate_at_most: held-out examples of an evaluation; 0 = all.
    compile: the loss by torch.compile; "auto" = on a GPU where that works. It decides weights by their rounding alone.
    """

    start_from: str | None = None
    total_samples: int = 1_000_000
    warmup_samples: int = 0
    final_learning_rate_fraction: float = 0.0
    batch_size: int = 16
    examples_at_once: int = 0
    max_seconds: float | None = None
    early_stopping_evaluations: int = 0
    learning_rate: float = 5e-5
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.0
    adam_beta2: float = 0.999
    gradient_clip_norm: float = 1.0
    dropout: float = 0.1
    ema_half_life_samples: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Compile = "auto"
    seed: int = 0
    evaluate_every_samples: int = 100_000
    evaluate_at_most: int = 1024
    checkpoint_every_samples: int = 100_000
    keep_checkpoints: int = 2
    report_every_samples: int = 10_000

    def __post_init__(self) -> None:
        at_least(self, 1, "total_samples", "batch_size", "keep_checkpoints", "evaluate_every_samples", "checkpoint_every_samples")
        at_least(self, 1, "report_every_samples")
        at_least(self, 0, "warmup_samples", "examples_at_once", "early_stopping_evaluations", "ema_half_life_samples", "evaluate_at_most")
        above(self, 0, "learning_rate", "gradient_clip_norm")
        at_least(self, 0, "weight_decay")
        within(self, 0, 1, "final_learning_rate_fraction", "adam_beta2", "dropout")

    @property
    def what(self) -> str:
        """The noun of the samples, which a section may change: examples count as their lengths where it is "tokens", as one each otherwise."""
        return "tokens"

    @property
    def plan(self) -> Plan:
        return Plan(self.total_samples, self.report_every_samples, self.checkpoint_every_samples, self.max_seconds, what=self.what)

    @property
    def side_by_side(self) -> int:
        """A batch is cut anywhere: its gradient is one sum, and no process needs as many examples as another."""
        return 1

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights; the others only change when a training pauses."""
        operational = ("max_seconds", "checkpoint_every_samples", "keep_checkpoints")
        return {name: value for name, value in asdict(self).items() if name not in operational}
