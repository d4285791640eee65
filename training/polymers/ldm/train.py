"""Train PolyLDM: diffusion in the latent space of data/polyvae.

    python -m training.polymers.ldm.train
    python -m training.polymers.ldm.train --set total_samples=20000 --set denoiser=unet      # seconds on a CPU

Reads data/polyvae, data/smiles_tokenizer and data/molecules or data/polymers (whichever `train_on` names); writes data/polyldm. The same command
again continues where the last one was interrupted.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy

from formats.molecule_tables import MoleculeTableError
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.job import Job, Training, Workplace, run_job
from training.polymers.conditions import MoleculeModelError
from training.polymers.data import TOKENIZER, MoleculeData
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.ldm.latents import encode
from training.polymers.ldm.model_folder import save_polyldm
from training.polymers.ldm.trainer import PolyLDMTrainer
from training.polymers.origin import read_origin
from training.polymers.smiles_tokenizer import SmilesTokenizerError, load_smiles_tokenizer
from training.polymers.trainer import training_of
from training.polymers.vae import load_polyvae
from training.polymers.vae.config import PolyVAEConfig

_VAE = "polyvae"


def _inputs(folder: Path, config: PolyLDMConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*config.train_on, TOKENIZER, _VAE)}


def _open(folder: Path, config: PolyLDMConfig, devices: Devices, reporter: Reporter) -> Training:
    vae, tokenizer = load_polyvae(folder / _VAE, device=devices.device)
    if load_smiles_tokenizer(folder / TOKENIZER).get_vocab() != tokenizer.get_vocab():
        raise MoleculeModelError(f"{folder / _VAE}: its vocabulary is not that of {folder / TOKENIZER}; make polyvae again")
    shape = vae.requires_grad_(False).shape
    # As it was read for the PolyVAE, all but the splits.
    options = PolyVAEConfig(split_column=config.split_column, properties=shape.properties, maximum_tokens=shape.maximum_tokens, seed=config.seed)
    mean, std = numpy.array(shape.property_mean), numpy.array(shape.property_std)
    data = MoleculeData("polyldm", folder, options, reporter, tokenizer, mean, std, shape.property_units)
    train, valid = data.learnt(config.train_on, "learn from"), data.held_out(config.train_on)
    trainer = PolyLDMTrainer(vae, encode(vae, train, devices.device), encode(vae, valid, devices.device), config, devices)
    return training_of(
        trainer,
        config.train_on,
        {"train": train, "valid": valid},
        partial(save_polyldm, tokenizer=tokenizer),
        facts=lambda _: {"trained_parameters": sum(parameter.numel() for parameter in trainer.parameters)},
        check=partial(_check_origin, folder / _VAE, config),
        size=f"{config.denoiser} {config.hidden_width}",
        outcome="validation_epsilon_loss",
    )


def _check_origin(vae: Path, config: PolyLDMConfig, place: Workplace) -> None:
    """Raises MoleculeModelError for a PolyVAE that may have seen what is held out here."""
    origin = read_origin(vae)
    if origin.split_column != config.split_column:
        raise MoleculeModelError(f"{vae} was taught by {origin.split_column}, polyldm.split_column is {config.split_column}; set both alike")
    changed = [name for name in config.train_on if origin.data_ids.get(name, place.input_ids[name]) != place.input_ids[name]]
    if changed:
        raise MoleculeModelError(f"{vae} was taught by other rows of {', '.join(changed)} than are there now; make polyvae again")


JOB = Job("polyldm", "training.polymers.ldm.train", PolyLDMConfig, _inputs, _open, budget="total_samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polyldm`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
