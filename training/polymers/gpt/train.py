"""Train PolyGPT: first to write molecules at all, then to write molecules with wanted properties.

    python -m training.polymers.gpt.train
    python -m training.polymers.gpt.train --set pretrain_samples=2000 --set finetune_samples=1000      # a minute on a CPU
    torchrun --nproc-per-node 4 -m training.polymers.gpt.train

Reads data/molecules, data/polymers (whichever `pretrain_on` and `finetune_on` name) and data/smiles_tokenizer; writes data/polygpt. The same command
again continues where the last one was interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from formats.molecule_tables import MoleculeTableError
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.polymers.conditions import MoleculeModelError
from training.polymers.data import TOKENIZER
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import PolyGPTData, read_data
from training.polymers.gpt.model_folder import save_polygpt
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.origin import write_origin
from training.polymers.smiles import SpellingError
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.tracking.tracker import Field, Signature


def _inputs(folder: Path, config: PolyGPTConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*config.datasets, TOKENIZER)}


def _open(folder: Path, config: PolyGPTConfig, devices: Devices, reporter: Reporter) -> Training:
    data = read_data(folder, config, reporter)
    trainer = PolyGPTTrainer(data, config, devices)
    hooks = [Hook(config.checkpoint_every_samples, trainer.validate)]

    def begin(place: Workplace) -> Companions:
        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            write_origin(output, place.input_ids, config.datasets, config.split_column)
            return _write(output, trainer, data, outcome)

        return Companions(save, hooks)

    tokens, scores = (-1, -1), (-1, -1, data.shape.vocabulary_size)
    conditions = [Field("properties", "float32", (-1, len(data.shape.properties)))] if data.shape.properties else []
    signature = Signature((Field("tokens", "int64", tokens), *conditions), (Field("logits", "float32", scores),))
    size = f"{data.shape.layers} x {data.shape.width}"
    return Training(trainer, begin, size=size, outcome="validation_loss", signature=signature)


def _write(output: OutputFolder, trainer: PolyGPTTrainer, data: PolyGPTData, outcome: Outcome) -> dict[str, float]:
    """Everything `load_polygpt` and `transformers` need, and how the training went. Returns what is worth telling."""
    model = trainer.final_model()
    parts = {"pretrain": data.pretrain, "finetune": data.finetune, "valid": data.valid}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    summary = {
        "samples_seen": outcome.samples_seen,
        "finished": outcome.finished,
        "parameters": parameters,
        "skipped_steps": outcome.skipped_steps,
        "rollbacks": outcome.rollbacks,
        "molecules": {name: len(part) for name, part in parts.items() if part is not None},
        "set_aside": {name: part.set_aside for name, part in parts.items() if part is not None},
        "last_values": {name: round(value, 6) for name, value in sorted(outcome.values.items())},
    }
    save_polygpt(output.folder, model, data.tokenizer)
    output.write_json("training_summary.json", summary)
    shown = ("validation_", "loss")
    return {"parameters": parameters, **{name: value for name, value in outcome.values.items() if name.startswith(shown)}}


JOB = Job("polygpt", "training.polymers.gpt.train", PolyGPTConfig, _inputs, _open, budget="finetune_samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polygpt`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError, SpellingError))


if __name__ == "__main__":
    sys.exit(main())
