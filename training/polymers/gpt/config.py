"""What decides the training of a PolyGPT: its size, what it learns from, for how long, and in which way."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.loop.bounds import at_least, within
from training.loop.loop import Plan

Dataset = Literal["molecules", "polymers"]

# These change when a training pauses, never what it ends with: a training continues across changes of them.
OPERATIONAL = ("max_seconds", "checkpoint_every_samples", "keep_checkpoints")


@dataclass(frozen=True)
class PolyGPTConfig:
    """The section `polygpt` of params.yaml. Defaults are MolGPT's (Bagal et al. 2022); counts of samples are molecules shown, repeats included."""

    # What it learns from
    pretrain_on: tuple[Dataset, ...] = ("molecules",)
    finetune_on: tuple[Dataset, ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    properties: tuple[str, ...] = ("mol_wt", "mol_log_p", "tpsa")
    maximum_tokens: int = 128
    spellings_per_molecule: int = 0
    # Shape
    width: int = 256
    layers: int = 8
    heads: int = 8
    dropout: float = 0.1
    predictor_width: int = 64
    # For how long
    pretrain_samples: int = 8_000_000
    finetune_samples: int = 1_000_000
    batch_size: int = 384
    max_seconds: float | None = None
    # In which way
    learning_rate: float = 6e-4
    finetune_learning_rate: float = 2e-4
    warmup_samples: int = 20_000
    final_learning_rate_fraction: float = 0.0
    weight_decay: float = 0.1
    adam_beta2: float = 0.95
    gradient_clip_norm: float = 1.0
    alpha: float = 1.0
    beta: float = 0.1
    gamma: float = 0.1
    property_noise: float = 0.1
    condition_dropout: float = 0.2
    ema_half_life_samples: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    # How it is watched
    checkpoint_every_samples: int = 200_000
    keep_checkpoints: int = 2
    report_every_samples: int = 10_000

    def __post_init__(self) -> None:
        at_least(self, 1, "batch_size", "width", "layers", "heads", "checkpoint_every_samples", "report_every_samples", "keep_checkpoints")
        at_least(self, 0, "pretrain_samples", "finetune_samples", "spellings_per_molecule", "warmup_samples", "ema_half_life_samples")
        within(self, 0, 1, "dropout", "condition_dropout", "final_learning_rate_fraction", "adam_beta2")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.maximum_tokens < 4:
            raise ValueError(f"maximum_tokens must be at least 4 (<bos>, two atoms, <eos>), found {self.maximum_tokens}")
        if self.pretrain_samples + self.finetune_samples == 0:
            raise ValueError("pretrain_samples and finetune_samples are both 0; nothing would be trained")
        if self.pretrain_samples and not self.pretrain_on:
            raise ValueError("pretrain_on is empty although pretrain_samples is not 0")
        if self.finetune_samples and not self.finetune_on:
            raise ValueError("finetune_on is empty although finetune_samples is not 0")
        if len(set(self.properties)) != len(self.properties):
            raise ValueError(f"properties names one twice: {', '.join(self.properties)}")

    @property
    def total_samples(self) -> int:
        return self.pretrain_samples + self.finetune_samples

    @property
    def plan(self) -> Plan:
        return Plan(self.total_samples, self.report_every_samples, self.checkpoint_every_samples, self.max_seconds, what="molecules")

    @property
    def side_by_side(self) -> int:
        """Molecules of one forward and backward pass."""
        return self.batch_size

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that are read at all, each once."""
        pretrain = self.pretrain_on if self.pretrain_samples else ()
        finetune = self.finetune_on if self.finetune_samples else ()
        return tuple(dict.fromkeys((*pretrain, *finetune)))

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the OPERATIONAL ones."""
        return {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}
