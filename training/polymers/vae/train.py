"""Train PolyVAE: to read molecules into latents and to write them back.

    python -m training.polymers.vae.train
    python -m training.polymers.vae.train --set total_samples=5000      # a quarter of a minute on a CPU
    torchrun --nproc-per-node 4 -m training.polymers.vae.train

Reads data/molecules, data/polymers (whichever `learn_from` names) and data/smiles_tokenizer; writes data/polyvae. The same command again continues
where the last one was interrupted.
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
from training.polymers.data import TOKENIZER, open_data
from training.polymers.origin import write_origin
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.model_folder import save_polyvae
from training.polymers.vae.networks import PolyVAEShape
from training.polymers.vae.trainer import PolyVAEData, PolyVAETrainer
from training.tracking.tracker import Field, Signature

_SIZES = ("width", "property_width", "latent", "encoder_layers", "layers", "heads", "dropout")


def read_data(folder: Path, config: PolyVAEConfig, reporter: Reporter) -> PolyVAEData:
    """Read and encode what `config` names from the data folder. Raises MoleculeTableError, SmilesTokenizerError or MoleculeModelError."""
    data = open_data("polyvae", folder, config, config.learn_from, reporter)
    shape = PolyVAEShape(**data.shape(), **{name: getattr(config, name) for name in _SIZES})
    return PolyVAEData(shape, data.tokenizer, data.learnt(config.learn_from, "learn from"), data.held_out(config.learn_from))


def _inputs(folder: Path, config: PolyVAEConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*dict.fromkeys(config.learn_from), TOKENIZER)}


def _open(folder: Path, config: PolyVAEConfig, devices: Devices, reporter: Reporter) -> Training:
    data = read_data(folder, config, reporter)
    trainer = PolyVAETrainer(data, config, devices, reporter)

    def begin(place: Workplace) -> Companions:
        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            write_origin(output, place.input_ids, config.learn_from, config.split_column)
            return _write(output, trainer, data, outcome)

        return Companions(save, [Hook(config.checkpoint_every_samples, trainer.validate)])

    conditions = [Field("properties", "float32", (-1, len(data.shape.properties)))] if data.shape.properties else []
    takes = (Field("latents", "float32", (-1, data.shape.latent)), *conditions, Field("tokens", "int64", (-1, -1)))
    signature = Signature(takes, (Field("logits", "float32", (-1, -1, data.shape.vocabulary_size)),))
    size = f"{data.shape.latent} of {data.shape.layers} x {data.shape.width}"
    return Training(trainer, begin, size=size, outcome="validation_loss", signature=signature)


def _write(output: OutputFolder, trainer: PolyVAETrainer, data: PolyVAEData, outcome: Outcome) -> dict[str, float]:
    """Everything `load_polyvae` needs, and how the training went. Returns what is worth telling."""
    model = trainer.final_model()
    parts = {"train": data.train, "valid": data.valid}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    summary = {
        "samples_seen": outcome.samples_seen,
        "finished": outcome.finished,
        "parameters": parameters,
        "skipped_steps": outcome.skipped_steps,
        "rollbacks": outcome.rollbacks,
        "molecules": {name: len(part) for name, part in parts.items()},
        "set_aside": {name: part.set_aside for name, part in parts.items()},
        "last_values": {name: round(value, 6) for name, value in sorted(outcome.values.items())},
    }
    save_polyvae(output.folder, model, data.tokenizer)
    output.write_json("training_summary.json", summary)
    shown = ("validation_", "loss")
    return {"parameters": parameters, **{name: value for name, value in outcome.values.items() if name.startswith(shown)}}


JOB = Job("polyvae", "training.polymers.vae.train", PolyVAEConfig, _inputs, _open, budget="total_samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polyvae`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
