"""Train PolyGPT: first to write molecules at all, then to write molecules with wanted properties.

    python -m training.polymers.gpt.train
    python -m training.polymers.gpt.train --set pretrain_samples=2000 --set finetune_samples=1000      # a minute on a CPU
    torchrun --nproc-per-node 4 -m training.polymers.gpt.train

Reads data/molecules, data/polymers (whichever `pretrain_on` and `finetune_on` name) and data/smiles_tokenizer; writes data/polygpt. The same command
again continues where the last one was interrupted.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from formats.molecule_tables import MoleculeTableError
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.drivers import why_no_gpu
from training.loop.job import Job, Training, run_job
from training.loop.memory import CudaMeter, measured_model, require_memory
from training.polymers.conditions import MoleculeModelError
from training.polymers.data import TOKENIZER
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import read_data
from training.polymers.gpt.model_folder import save_polygpt
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.smiles import SpellingError
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.polymers.trainer import training_of
from training.tracking.tracker import Field, Signature


def _inputs(folder: Path, config: PolyGPTConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*config.datasets, TOKENIZER)}


def _open(folder: Path, config: PolyGPTConfig, devices: Devices, reporter: Reporter) -> Training:
    data = read_data(folder, config, reporter)
    tokens, scores = (-1, -1), (-1, -1, data.shape.vocabulary_size)
    conditions = [Field("properties", "float32", (-1, len(data.shape.properties)))] if data.shape.properties else []
    trainer = PolyGPTTrainer(data, config, devices)
    if devices.device.type == "cuda":
        # Before anything is recorded: a batch that will not fit is no reason to have waited for an epoch.
        meter, sizes = CudaMeter(devices.device), (max(1, config.batch_size // 16), max(2, config.batch_size // 8))
        later = 8.0 * sum(parameter.numel() for parameter in trainer.parameters)
        model = measured_model(meter, trainer.trial, sizes, later=later)
        require_memory("polygpt", model, -(-config.batch_size // devices.world_size), meter.capacity())
    elif why := why_no_gpu():
        reporter.log(f"polygpt: WARNING: it trains on the CPU: {why}")
    return training_of(
        trainer,
        config.datasets,
        {"pretrain": data.pretrain, "finetune": data.finetune, "valid": data.valid},
        partial(save_polygpt, tokenizer=data.tokenizer),
        size=f"{data.shape.layers} x {data.shape.width}",
        outcome="validation_loss",
        signature=Signature((Field("tokens", "int64", tokens), *conditions), (Field("logits", "float32", scores),)),
    )


JOB = Job("polygpt", "training.polymers.gpt.train", PolyGPTConfig, _inputs, _open, budget="finetune_samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polygpt`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError, SpellingError))


if __name__ == "__main__":
    sys.exit(main())
