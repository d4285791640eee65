"""Train PolyLDM: diffusion in the latent space of data/polyvae.

    python -m training.polymers.ldm.train
    python -m training.polymers.ldm.train --set samples=20000 --set denoiser=unet      # seconds on a CPU

Reads data/polyvae, data/smiles_tokenizer and data/molecules or data/polymers (whichever `train_on` names); writes data/polyldm. The same command again
continues where the last one was interrupted.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from tokenizers import Tokenizer

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
from training.polymers.vae import PolyVAE, load_polyvae
from training.tracking.tracker import Field, Signature

_VAE = "polyvae"


def _inputs(folder: Path, config: PolyLDMConfig) -> dict[str, Path]:
    return {name: folder / name for name in (*config.train_on, TOKENIZER, _VAE)}


@dataclass(frozen=True)
class _ReadOptions:
    """As training/polymers/data.py wants them; all but the split are the PolyVAE's."""

    split_column: str
    properties: tuple[str, ...]
    maximum_tokens: int
    seed: int


def _open(folder: Path, config: PolyLDMConfig, devices: Devices, reporter: Reporter) -> Training:
    vae, tokenizer = load_polyvae(folder / _VAE, device=devices.device)
    _check_vae(folder, config, tokenizer)
    data = _data(folder, config, vae, tokenizer, reporter)
    train, valid = data.learnt(config.train_on, "learn from"), data.held_out(config.train_on)
    vae.requires_grad_(False)
    trainer = PolyLDMTrainer(vae, *(encode(vae, part, devices.device) for part in (train, valid)), config, devices)

    def begin(place: Workplace) -> Companions:
        seen = read_origin(folder / _VAE).data_ids
        other = [name for name in config.train_on if seen.get(name, place.input_ids[name]) != place.input_ids[name]]
        if other:
            raise MoleculeModelError(f"{folder / _VAE} was taught by other rows of {', '.join(other)} than there are now; make polyvae again")

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            write_origin(output, place.input_ids, config.train_on, config.split_column)
            save_polyldm(output.folder, trainer.final_model(), tokenizer)
            molecules = {"train": len(train), "valid": len(valid)}
            set_aside = {"train": train.set_aside, "valid": valid.set_aside}
            parts = {"diffuser": trainer.diffuser, "vae": vae}
            sizes = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
            summary = {
                "samples_seen": outcome.samples_seen,
                "finished": outcome.finished,
                "parameters": sum(sizes.values()),
                "parameters_of": sizes,
                "skipped_steps": outcome.skipped_steps,
                "rollbacks": outcome.rollbacks,
                "molecules": molecules,
                "set_aside": set_aside,
                "last_values": {name: round(value, 6) for name, value in sorted(outcome.values.items())},
            }
            output.write_json("training_summary.json", summary)
            shown = ("validation_", "latent_distance", "loss")
            return {"parameters": sum(sizes.values()), **{name: value for name, value in outcome.values.items() if name.startswith(shown)}}

        return Companions(save, [Hook(config.checkpoint_every_samples, trainer.validate)])

    latent = (-1, vae.shape.latent)
    fields = (Field("noised", "float32", latent), Field("t", "int64", (-1,)), Field("embedding", "float32", (-1, trainer.diffuser.property_width)))
    signature = Signature(fields, (Field(config.prediction, "float32", latent),))
    return Training(trainer, begin, size=f"{config.denoiser} {config.hidden_width}", outcome="validation_epsilon_loss", signature=signature)


def _data(folder: Path, config: PolyLDMConfig, vae: PolyVAE, tokenizer: Tokenizer, reporter: Reporter) -> MoleculeData:
    """The molecules, in the tokens, properties and standard deviations of the PolyVAE."""
    shape = vae.shape
    options = _ReadOptions(config.split_column, shape.properties, shape.maximum_tokens, config.seed)
    mean, std = numpy.array(shape.property_mean), numpy.array(shape.property_std)
    return MoleculeData("polyldm", folder, options, reporter, tokenizer, mean, std, shape.property_units)


def _check_vae(folder: Path, config: PolyLDMConfig, tokenizer: Tokenizer) -> None:
    """Raises MoleculeModelError for a PolyVAE of another vocabulary, or one that was shown what is held out here."""
    place, now = folder / _VAE, load_smiles_tokenizer(folder / TOKENIZER)
    if now.get_vocab() != tokenizer.get_vocab():
        raise MoleculeModelError(
            f"{place}: it writes {tokenizer.get_vocab_size()} tokens that are not the {now.get_vocab_size()} of {folder / TOKENIZER}; make polyvae again"
        )
    origin = read_origin(place)
    if origin.split_column != config.split_column:
        raise MoleculeModelError(
            f"{place} was trained on the splits of {origin.split_column}, polyldm is to be on those of {config.split_column}: what is held out of one "
            "was shown to the other; set polyldm.split_column the same"
        )


JOB = Job("polyldm", "training.polymers.ldm.train", PolyLDMConfig, _inputs, _open, budget="samples", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polyldm`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, SmilesTokenizerError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
