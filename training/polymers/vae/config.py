"""What decides the training of a PolyVAE: its size, what it learns from, for how long, and how its latent is kept in use."""

from dataclasses import dataclass

from training.loop.bounds import at_least, within
from training.polymers.options import Dataset, Precision, TrainingOptions, check_properties


@dataclass(frozen=True)
class PolyVAEConfig(TrainingOptions):
    """The section `polyvae` of params.yaml.

    kl_weight: of the Kullback-Leibler term at its highest. kl_warmup_samples: molecules in which it rises there from 0 in a straight line (Bowman et
    al. 2016). kl_cycle_samples: molecules after which it rises again (Fu et al. 2019); 0 = once. free_nats: of each latent dimension, on average over
    a batch, that cost nothing (Kingma et al. 2016). word_dropout: share of the tokens that the writer is shown as <mask> (Bowman et al. 2016).
    active_units_floor: share of the latent dimensions; below it the log warns.
    """

    # What it learns from
    train_on: tuple[Dataset, ...] = ("molecules",)
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
    # In which way
    adam_beta2: float = 0.95
    kl_weight: float = 1.0
    kl_warmup_samples: int = 2_000_000
    kl_cycle_samples: int = 0
    free_nats: float = 0.0
    word_dropout: float = 0.0
    condition_dropout: float = 0.2
    precision: Precision = "auto"
    # How it is watched
    active_units_floor: float = 0.25

    operational = (*TrainingOptions.operational, "active_units_floor")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_properties(self.properties, self.maximum_tokens)
        at_least(self, 1, "width", "property_width", "latent", "encoder_layers", "layers", "heads")
        at_least(self, 0, "kl_weight", "kl_warmup_samples", "kl_cycle_samples", "free_nats")
        within(self, 0, 1, "dropout", "word_dropout", "condition_dropout", "adam_beta2", "active_units_floor")
        if not self.train_on:
            raise ValueError("train_on is empty; name at least one dataset, such as molecules")
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
