"""What decides the training of a PolyGPT: its size, what it learns from, for how long, and in which way."""

from dataclasses import dataclass

from training.loop.bounds import at_least, within
from training.loop.compiling import Compile
from training.polymers.options import Dataset, Precision, TrainingOptions, check_properties


@dataclass(frozen=True)
class PolyGPTConfig(TrainingOptions):
    """The section `polygpt` of params.yaml. Defaults are MolGPT's (Bagal et al. 2022)."""

    # What it learns from
    pretrain_on: tuple[Dataset, ...] = ("molecules",)
    finetune_on: tuple[Dataset, ...] = ("molecules",)
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
    # In which way
    finetune_learning_rate: float = 2e-4
    adam_beta2: float = 0.95
    alpha: float = 1.0
    beta: float = 0.1
    gamma: float = 0.1
    property_noise: float = 0.1
    condition_dropout: float = 0.2
    precision: Precision = "auto"
    compile: Compile = "auto"

    def __post_init__(self) -> None:
        at_least(self, 0, "pretrain_samples", "finetune_samples", "spellings_per_molecule")
        if self.pretrain_samples + self.finetune_samples == 0:
            raise ValueError("pretrain_samples and finetune_samples are both 0; nothing would be trained")
        super().__post_init__()
        check_properties(self.properties, self.maximum_tokens)
        at_least(self, 1, "width", "layers", "heads")
        within(self, 0, 1, "dropout", "condition_dropout", "adam_beta2")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.pretrain_samples and not self.pretrain_on:
            raise ValueError("pretrain_on is empty although pretrain_samples is not 0")
        if self.finetune_samples and not self.finetune_on:
            raise ValueError("finetune_on is empty although finetune_samples is not 0")

    @property
    def total_samples(self) -> int:
        return self.pretrain_samples + self.finetune_samples

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that are read at all, each once."""
        pretrain = self.pretrain_on if self.pretrain_samples else ()
        finetune = self.finetune_on if self.finetune_samples else ()
        return tuple(dict.fromkeys((*pretrain, *finetune)))
