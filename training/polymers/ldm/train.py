"""Train PolyLDM: diffusion in the latent space of data/polyvae.

    python -m training.polymers.ldm.train
    python -m training.polymers.ldm.train --set samples=20000 --set denoiser=unet      # seconds on a CPU

Reads data/polyvae, data/smiles_tokenizer and data/molecules or data/polymers (whichever `train_on` names); writes data/polyldm. The same command
again continues where the last one was interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy

from formats.molecule_tables import MoleculeTableError
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.polymers.conditions import MoleculeModelError
from training.polymers.data import TOKENIZER, MoleculeData
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.ldm.latents import encode
from training.polymers.ldm.model_folder import save_polyldm
from training.polymers.ldm.trainer import PolyLDMTrainer
from training.polymers.origin import read_origin, write_origin
from training.polymers.smiles_tokenizer import SmilesTokenizerError, load_smiles_tokenizer
from training.polymers.vae import load_polyvae

_VAE = "polyvae"


class _ReadOptions(NamedTuple):
    """As training/polymers/data.py wants them; all but the splits are the PolyVAE's."""

    split_column: str
    properties: tuple[str, ...]
    maximum_tokens: int
    seed: int


def _inputs(folder: Path, config: PolyLDMConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*config.train_on, TOKENIZER, _VAE)}


def _open(folder: Path, config: PolyLDMConfig, devices: Devices, reporter: Reporter) -> Training:
    vae, tokenizer = load_polyvae(folder / _VAE, device=devices.device)
    if load_smiles_tokenizer(folder / TOKENIZER).get_vocab() != tokenizer.get_vocab():
        raise MoleculeModelError(f"{folder / _VAE}: its vocabulary is not that of {folder / TOKENIZER}; make polyvae again")
    shape = vae.requires_grad_(False).shape
    options = _ReadOptions(config.split_column, shape.properties, shape.maximum_tokens, config.seed)
    mean, std = numpy.array(shape.property_mean), numpy.array(shape.property_std)
    data = MoleculeData("polyldm", folder, options, reporter, tokenizer, mean, std, shape.property_units)
    train, valid = data.learnt(config.train_on, "learn from"), data.held_out(config.train_on)
    trainer = PolyLDMTrainer(vae, encode(vae, train, devices.device), encode(vae, valid, devices.device), config, devices)

    def begin(place: Workplace) -> Companions:
        _check_origin(folder / _VAE, config, place)

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            write_origin(output, place.input_ids, config.train_on, config.split_column)
            save_polyldm(output.folder, trainer.final_model(), tokenizer)
            parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
            summary = {
                "samples_seen": outcome.samples_seen,
                "finished": outcome.finished,
                "parameters": parameters,
                "trained_parameters": sum(parameter.numel() for parameter in trainer.parameters),
                "skipped_steps": outcome.skipped_steps,
                "rollbacks": outcome.rollbacks,
                "molecules": {"train": len(train), "valid": len(valid)},
                "set_aside": {"train": train.set_aside, "valid": valid.set_aside},
                "last_values": {name: round(value, 6) for name, value in sorted(outcome.values.items())},
            }
            output.write_json("training_summary.json", summary)
            shown = ("validation_epsilon_loss", "latent_distance", "loss")
            return {"parameters": parameters, **{name: value for name, value in outcome.values.items() if name.startswith(shown)}}

        return Companions(save, [Hook(config.checkpoint_every_samples, trainer.validate)])

    return Training(trainer, begin, size=f"{config.denoiser} {config.hidden_width}", outcome="validation_epsilon_loss")


def _check_origin(vae: Path, config: PolyLDMConfig, place: Workplace) -> None:
    """Raises MoleculeModelError for a PolyVAE that may have seen what is held out here."""
    origin = read_origin(vae)
    if origin.split_column != config.split_column:
        raise MoleculeModelError(f"{vae} was taught by {origin.split_column}, polyldm.split_column is {config.split_column}; set both alike")
    changed = [name for name in config.train_on if origin.data_ids.get(name, place.input_ids[name]) != place.input_ids[name]]
    if changed:
        raise MoleculeModelError(f"{vae} was taught by other rows of {', '.join(changed)} than are there now; make polyvae again")


JOB = Job("polyldm", "training.polymers.ldm.train", PolyLDMConfig, _inputs, _open, budget="samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polyldm`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
