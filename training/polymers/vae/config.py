"""What decides the training of a PolyVAE: its size, what it learns from, for how long, and how its latent is kept in use."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.loop.bounds import above, at_least, within
from training.loop.loop import Plan

Dataset = Literal["molecules", "polymers"]

# These change when a training pauses and what its log says, never what it ends with: a training continues across changes of them.
OPERATIONAL = ("max_seconds", "checkpoint_every_samples", "keep_checkpoints", "active_units_floor")


@dataclass(frozen=True)
class PolyVAEConfig:
    """The section `polyvae` of params.yaml. Counts of samples are molecules shown, repeats included.

    kl_weight: of the Kullback-Leibler term at its highest. kl_warmup_samples: molecules in which it rises there from 0 in a straight line (Bowman et
    al. 2016). kl_cycle_samples: molecules after which it rises again (Fu et al. 2019); 0 = once. free_nats: of each latent dimension, on average over
    a batch, that cost nothing (Kingma et al. 2016). word_dropout: share of the tokens that the writer is shown as <mask> (Bowman et al. 2016).
    active_units_floor: share of the latent dimensions; below it the log warns.
    """

    # What it learns from
    learn_from: tuple[Dataset, ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    properties: tuple[str, ...] = ("mol_wt", "mol_log_p", "tpsa")
    maximum_tokens: int = 128
    # Shape
    width: int = 256
    property_width: int = 64
    latent: int = 32
    encoder_layers: int = 4
    layers: int = 4
    heads: int = 8
    dropout: float = 0.1
    # For how long
    total_samples: int = 8_000_000
    batch_size: int = 256
    max_seconds: float | None = None
    # In which way
    learning_rate: float = 6e-4
    warmup_samples: int = 20_000
    final_learning_rate_fraction: float = 0.0
    weight_decay: float = 0.1
    adam_beta2: float = 0.95
    gradient_clip_norm: float = 1.0
    kl_weight: float = 1.0
    kl_warmup_samples: int = 2_000_000
    kl_cycle_samples: int = 0
    free_nats: float = 0.0
    word_dropout: float = 0.0
    condition_dropout: float = 0.2
    ema_half_life_samples: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    # How it is watched
    active_units_floor: float = 0.25
    checkpoint_every_samples: int = 200_000
    keep_checkpoints: int = 2
    report_every_samples: int = 10_000

    def __post_init__(self) -> None:
        at_least(self, 1, "batch_size", "width", "property_width", "latent", "encoder_layers", "layers", "heads", "total_samples")
        at_least(self, 1, "checkpoint_every_samples", "report_every_samples", "keep_checkpoints")
        at_least(self, 0, "warmup_samples", "ema_half_life_samples", "kl_weight", "kl_warmup_samples", "kl_cycle_samples", "free_nats")
        above(self, 0, "learning_rate", "gradient_clip_norm")
        within(self, 0, 1, "dropout", "word_dropout", "condition_dropout", "final_learning_rate_fraction", "adam_beta2", "active_units_floor")
        if self.maximum_tokens < 4:
            raise ValueError(f"maximum_tokens must be at least 4 (<bos>, two atoms, <eos>), found {self.maximum_tokens}")
        if not self.learn_from:
            raise ValueError("learn_from is empty; name at least one dataset, such as molecules")
        if len(set(self.properties)) != len(self.properties):
            raise ValueError(f"properties names one twice: {', '.join(self.properties)}")
        if self.width % self.heads or (self.width + self.property_width) % self.heads:
            raise ValueError(
                f"width {self.width} and width + property_width {self.width + self.property_width} must be multiples of heads {self.heads}"
            )
        if self.kl_cycle_samples and self.kl_cycle_samples < self.kl_warmup_samples:
            raise ValueError(f"kl_cycle_samples {self.kl_cycle_samples} must be 0 or at least kl_warmup_samples {self.kl_warmup_samples}")

    def kl_weight_after(self, samples: int) -> float:
        """The weight of the Kullback-Leibler term once `samples` molecules have been shown."""
        since = samples % self.kl_cycle_samples if self.kl_cycle_samples else samples
        return self.kl_weight * (min(1.0, since / self.kl_warmup_samples) if self.kl_warmup_samples else 1.0)

    @property
    def plan(self) -> Plan:
        return Plan(self.total_samples, self.report_every_samples, self.checkpoint_every_samples, self.max_seconds, what="molecules")

    @property
    def side_by_side(self) -> int:
        """Molecules of one forward and backward pass."""
        return self.batch_size

    def decisive(self) -> dict[str, Any]:
        """The values that decide the weights: all but the OPERATIONAL ones."""
        return {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}
