"""What PolyGPT learns from: the datasets that its options name, encoded, and the shape of the model that they imply."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.reporting import Reporter
from training.polymers.batches import TrainingSet
from training.polymers.data import open_data
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.networks import PolyGPTShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class PolyGPTData:
    """What PolyGPT learns from: the molecules of each phase (None: the phase is left out), those it is judged on, and the shape they imply."""

    shape: PolyGPTShape
    tokenizer: "Tokenizer"
    pretrain: TrainingSet | None
    finetune: TrainingSet | None
    valid: TrainingSet


def read_data(folder: Path, config: PolyGPTConfig, reporter: Reporter) -> PolyGPTData:
    """Read and encode what `config` names from the data folder. Raises MoleculeTableError, SmilesTokenizerError or MoleculeModelError."""
    teachers = config.finetune_on if config.finetune_samples else config.datasets
    data = open_data("polygpt", folder, config, teachers, reporter)
    sizes = {name: getattr(config, name) for name in ("width", "layers", "heads", "dropout", "predictor_width")}
    return PolyGPTData(
        shape=PolyGPTShape(**data.shape(), **sizes),
        tokenizer=data.tokenizer,
        pretrain=data.learnt(config.pretrain_on, "pre-train on", spellings=config.spellings_per_molecule) if config.pretrain_samples else None,
        finetune=data.learnt(config.finetune_on, "fine-tune on") if config.finetune_samples else None,
        valid=data.held_out(config.datasets),
    )
