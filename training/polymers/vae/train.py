"""Train PolyVAE: to read molecules into latents and to write them back.

    python -m training.polymers.vae.train
    python -m training.polymers.vae.train --set total_samples=5000      # a quarter of a minute on a CPU
    torchrun --nproc-per-node 4 -m training.polymers.vae.train

Reads data/molecules, data/polymers (whichever `train_on` names) and data/smiles_tokenizer; writes data/polyvae. The same command again continues
where the last one was interrupted.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from formats.molecule_tables import MoleculeTableError
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.job import Job, Training, run_job
from training.polymers.conditions import MoleculeModelError
from training.polymers.data import TOKENIZER, open_data
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.polymers.trainer import training_of
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.model_folder import save_polyvae
from training.polymers.vae.networks import PolyVAEShape
from training.polymers.vae.trainer import PolyVAEData, PolyVAETrainer
from training.tracking.tracker import Field, Signature

_SIZES = ("width", "property_width", "latent", "encoder_layers", "layers", "heads", "dropout")


def read_data(folder: Path, config: PolyVAEConfig, reporter: Reporter) -> PolyVAEData:
    """Read and encode what `config` names from the data folder. Raises MoleculeTableError, SmilesTokenizerError or MoleculeModelError."""
    data = open_data("polyvae", folder, config, config.train_on, reporter)
    shape = PolyVAEShape(**data.shape(), **{name: getattr(config, name) for name in _SIZES})
    return PolyVAEData(shape, data.tokenizer, data.learnt(config.train_on, "learn from"), data.held_out(config.train_on))


def _inputs(folder: Path, config: PolyVAEConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*dict.fromkeys(config.train_on), TOKENIZER)}


def _open(folder: Path, config: PolyVAEConfig, devices: Devices, reporter: Reporter) -> Training:
    data = read_data(folder, config, reporter)
    shape = data.shape
    conditions = [Field("properties", "float32", (-1, len(shape.properties)))] if shape.properties else []
    takes = (Field("latents", "float32", (-1, shape.latent)), *conditions, Field("tokens", "int64", (-1, -1)))
    return training_of(
        PolyVAETrainer(data, config, devices, reporter),
        config.train_on,
        {"train": data.train, "valid": data.valid},
        partial(save_polyvae, tokenizer=data.tokenizer),
        size=f"{shape.latent} of {shape.layers} x {shape.width}",
        outcome="validation_loss",
        signature=Signature(takes, (Field("logits", "float32", (-1, -1, shape.vocabulary_size)),)),
    )


JOB = Job("polyvae", "training.polymers.vae.train", PolyVAEConfig, _inputs, _open, budget="total_samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polyvae`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
