"""Train a StyleGAN3 on a set of pictures.

    python -m training.stylegan3.train
    python -m training.stylegan3.train --set resolution=32 --set cbase=512 --set cmax=32 --set kimg=2 --set snap=1     # two minutes on a CPU
    torchrun --nproc-per-node 4 -m training.stylegan3.train
    python -m training.stylegan3.train --images ~/pictures --out out/mine --resolution 128 --kimg 1000      # any pictures, without the graph

Reads data/toc_dataset@SIZE, SIZE being `dataset_size`; writes data/stylegan3_toc. The same command again continues where the last one was
interrupted, to the same bits; with a larger `kimg` it trains a finished model on.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from formats.image_shards import ImageSetError
from formats.weights import write_weights
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.gans.ada import AugmentController
from training.gans.augment import Augment, augment_preset
from training.gans.image_stream import TrainingImages, read_images
from training.gans.one_off import add_one_off_flags, one_off
from training.gans.players import AdversarialTrainer, adam
from training.gans.snapshots import Painter, Snapshots, latent_painter
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.loop.seeding import seed_everything
from training.metrics.images import FeatureExtractorError
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator, StyleGAN3Error, read_config, read_weights, save_generator
from training.stylegan3.losses import StyleGAN3Losses
from training.stylegan3.options import StyleGAN3Options

STAGE = "stylegan3_toc"
# What two models must have in common for one to start from the other.
_SHAPE = ("cfg", "resolution", "channels", "label_dim", "z_dim", "w_dim", "map_depth", "cbase", "cmax", "num_layers", "num_critical", "margin")


class StyleGAN3Training:
    """Both networks, fresh or from `resume_from`, and what goes with them. data: in the computer's own memory. Raises StyleGAN3Error."""

    def __init__(self, data: TrainingImages, options: StyleGAN3Options, devices: Devices, reporter: Reporter) -> None:
        self.options, self.devices, self.data = options, devices, data
        try:
            config = options.network_config(resolution=data.resolution, channels=data.channels, label_dim=data.label_dim)
        except ValueError as error:
            raise StyleGAN3Error(f"{STAGE}: {error}") from None
        seed_everything(options.seed)
        generator, discriminator = Generator(config), Discriminator(config)
        if options.resume_from is not None:
            _start_from(options.resume_from, generator, discriminator, reporter)
        self.generator, self.discriminator = generator.to(devices.device).train(), discriminator.to(devices.device).train()
        self.discriminator.freeze(options.freezed)

        # ADA, or a fixed strength.
        augment = Augment(augment_preset(options.aug_preset)).to(devices.device) if options.aug != "noaug" else None
        p, is_adaptive = (options.p if options.aug == "fixed" else 0.0), options.aug == "ada"
        self.controller = AugmentController(augment, p, is_adaptive=is_adaptive, target=options.target, kimg=options.resolved_ada_kimg)
        # Who plays, and the slow copy of G that snapshots and fakes are drawn with. Buffers of G are averages themselves.
        self.losses = StyleGAN3Losses(self.generator, self.discriminator, augment, data.near(devices), options, devices)
        buffers = [name for name, _ in self.generator.named_buffers()]
        self.ema = Ema(self.generator, half_life_samples=options.ema_half_life_images, rampup=options.resolved_ema_rampup, copied=buffers)
        players = {"G": adam(self.generator, options.glr), "D": adam(self.discriminator, options.dlr, lazy_interval=options.reg_interval)}
        self.trainer = AdversarialTrainer(
            players,
            self.losses.phases(),
            batch_size=options.batch,
            devices=devices,
            averages={"G": self.ema},
            others={"controller": self.controller},
            after_step=self.controller.after_step,
        )
        if devices.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        reporter.log(
            f"{STAGE}: {options.cfg}, {_parameters(generator):,} and {_parameters(discriminator):,} parameters, batch {options.batch}, "
            f"gamma {self.losses.gamma:g}, {options.loss} loss, {options.aug} ({options.aug_preset}), {options.kimg:g} kimg on {devices.device}"
        )

    def begin(self, place: Workplace) -> Companions:
        def painter() -> Painter:
            return latent_painter(self.ema.averaged(self.generator), self.options.z_dim, self.data, self.options)

        reals_id = place.input_ids[_dataset(self.options)]
        snapshots = Snapshots(self.trainer, painter, self.data, self.options, self.devices, place, reals_id=reals_id)

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            save_generator(output.folder, self.ema.averaged(self.generator))
            write_weights(output.file("discriminator.safetensors"), self.discriminator)
            parameters = {"generator": _parameters(self.generator), "discriminator": _parameters(self.discriminator)}
            facts = {"gamma": self.losses.gamma, "augment_p": self.controller.p, "parameters": parameters}
            return {"kimg": outcome.samples_seen / 1000, **snapshots.write(output, outcome, facts)}

        return Companions(save, [Hook(self.options.snap_images, snapshots.take, at_start=True)], snapshots.guard())


def _start_from(folder: Path, generator: Generator, discriminator: Discriminator, reporter: Reporter) -> None:
    """Fill both networks from another training's output. Raises StyleGAN3Error."""
    if not folder.is_dir():
        raise StyleGAN3Error(f"resume_from: {folder} is no folder; expected one with config.json and generator.safetensors")
    theirs, ours = read_config(folder), generator.config
    for name in _SHAPE:
        if getattr(theirs, name) != getattr(ours, name):
            raise StyleGAN3Error(
                f"{folder / 'config.json'}: {name} is {getattr(theirs, name)}, this training has {getattr(ours, name)}; set {name} to theirs, or "
                "start from another model"
            )
    read_weights(folder / "generator.safetensors", generator)
    if (folder / "discriminator.safetensors").is_file():
        read_weights(folder / "discriminator.safetensors", discriminator)
    else:
        reporter.log(f"WARNING: {folder}: no discriminator.safetensors; the discriminator starts from random weights")
    reporter.log(f"{STAGE}: starting from the weights in {folder}")


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _dataset(options: StyleGAN3Options) -> str:
    return f"toc_dataset@{options.dataset_size}"


def _inputs(data: Path, options: StyleGAN3Options) -> dict[str, Path]:
    transfer = {"resume_from": options.resume_from} if options.resume_from is not None else {}
    return {_dataset(options): data / _dataset(options), **transfer}


def _open(data: Path, options: StyleGAN3Options, devices: Devices, reporter: Reporter) -> Training:
    images = read_images(data / _dataset(options), resolution=options.resolution, with_labels=options.cond, stage=STAGE, reporter=reporter)
    training = StyleGAN3Training(images, options, devices, reporter)
    return Training(training.trainer, training.begin)


JOB = Job(STAGE, "training.stylegan3.train", StyleGAN3Options, _inputs, _open, budget="kimg")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `stylegan3_toc`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    expected = (StyleGAN3Error, ImageSetError, FeatureExtractorError)
    return run_job(JOB, __doc__, argv, expected=expected, add_flags=add_one_off_flags, adapt=functools.partial(one_off, dataset="toc_dataset"))


if __name__ == "__main__":
    sys.exit(main())
