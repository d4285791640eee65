"""Train a StyleGAN3 on a set of pictures.

    python -m training.stylegan3.train
    python -m training.stylegan3.train --set resolution=32 --set cbase=512 --set cmax=32 --set kimg=2 --set snap=1     # two minutes on a CPU
    torchrun --nproc-per-node 4 -m training.stylegan3.train
    python -m training.stylegan3.train stylegan3_pages       # any other stage: section, output and run are called so, `dataset` says what it reads
    python -m training.stylegan3.train --images ~/pictures --out out/mine --resolution 128 --kimg 1000      # any pictures, without the graph

Reads data/toc_dataset@SIZE, SIZE being `dataset_size`; writes data/stylegan3_toc. The same command again continues where the last one was
interrupted, to the same bits; with a larger `kimg` it trains a finished model on.
"""

import copy
import functools
import sys
from argparse import ArgumentParser, Namespace
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
from training.gans.graphs import open_graphs
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
from training.stylegan3.generator import TRAINED, Generator, StyleGAN3Error, read_config, read_weights, save_generator
from training.stylegan3.losses import StyleGAN3Losses
from training.stylegan3.options import NamedSetOptions, StyleGAN3Options
from training.tracking.tracker import Field, Signature

STAGE = "stylegan3_toc"
# What the set of one's own pictures is called in a one-off training of another stage.
_OWN_PICTURES = "pictures"
# What two models must have in common for one to start from the other.
_SHAPE = ("cfg", "resolution", "channels", "label_dim", "z_dim", "w_dim", "map_depth", "cbase", "cmax", "num_layers", "num_critical", "margin")


# Measured: docs/stylegan3_speed.md, "What precision costs".
_BFLOAT16 = (
    "WARNING: precision bfloat16 rounds so much that no model follows translations better than 57 dB (EQ-T; in float16 75): one that would have "
    "63 loses 7, one of at most 51 less than 1; precision=auto is float16"
)


class StyleGAN3Training:
    """Both networks, fresh or from `resume_from`, and what goes with them. data: in the computer's own memory. Raises StyleGAN3Error."""

    def __init__(self, data: TrainingImages, options: StyleGAN3Options, devices: Devices, reporter: Reporter, *, stage: str = STAGE) -> None:
        self.options, self.devices, self.data = options, devices, data
        try:
            options.check_group(min(options.side_by_side, options.batch // devices.world_size))
            config = options.network_config(resolution=data.resolution, channels=data.channels, label_dim=data.label_dim)
        except ValueError as error:
            raise StyleGAN3Error(f"{stage}: {error}") from None
        seed_everything(options.seed)
        generator, discriminator = Generator(config), Discriminator(config)
        averaged = generator
        if options.resume_from is not None:
            averaged = _start_from(options.resume_from, generator, discriminator, reporter)
            reporter.log(f"{stage}: starting from the weights in {options.resume_from}")
        self.generator, self.discriminator = generator.to(devices.device).train(), discriminator.to(devices.device).train()
        self.discriminator.freeze(options.freezed)

        # ADA, or a fixed strength.
        augment = Augment(augment_preset(options.aug_preset)).to(devices.device) if options.aug != "noaug" else None
        p, is_adaptive = (options.p if options.aug == "fixed" else 0.0), options.aug == "ada"
        self.controller = AugmentController(augment, p, is_adaptive=is_adaptive, target=options.target, kimg=options.resolved_ada_kimg)
        # Who plays, and the slow copy of G that snapshots and fakes are drawn with. Buffers of G are averages themselves.
        self.losses = StyleGAN3Losses(self.generator, self.discriminator, augment, data.near(devices), options, devices)
        buffers = [name for name, _ in self.generator.named_buffers()]
        averaged = averaged.to(devices.device)
        self.ema = Ema(averaged, half_life_samples=options.ema_half_life_images, rampup=options.resolved_ema_rampup, copied=buffers)
        players = {"G": adam(self.generator, options.glr), "D": adam(self.discriminator, options.dlr, lazy_interval=options.reg_interval)}
        self.trainer = AdversarialTrainer(
            players,
            self.losses.phases(),
            batch_size=options.batch,
            devices=devices,
            averages={"G": self.ema},
            others={"controller": self.controller},
            after_step=self.controller.after_step,
            graphs=open_graphs(options.cuda_graphs, devices.device, devices.world_size, reporter),
            random=self.losses.random,
        )
        if devices.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        if options.precision == "bfloat16":
            reporter.log(_BFLOAT16)
        reporter.log(
            f"{stage}: {options.cfg}, {_parameters(generator):,} and {_parameters(discriminator):,} parameters, batch {options.batch}, "
            f"gamma {self.losses.gamma:g}, {options.loss} loss, {options.aug} ({options.aug_preset}), {options.kimg:g} kimg on {devices.device}"
        )

    def begin(self, place: Workplace) -> Companions:
        def painter() -> Painter:
            return latent_painter(self.ema.averaged(self.generator), self.options.z_dim, self.data, self.options)

        reals_id = place.input_ids[self.options.reads]
        snapshots = Snapshots(self.trainer, painter, self.data, self.options, self.devices, place, reals_id=reals_id)

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            save_generator(output.folder, self.ema.averaged(self.generator))
            write_weights(output.file("discriminator.safetensors"), self.discriminator)
            parameters = {"generator": _parameters(self.generator), "discriminator": _parameters(self.discriminator)}
            facts = {"gamma": self.losses.gamma, "augment_p": self.controller.p, "parameters": parameters}
            return {"kimg": outcome.samples_seen / 1000, **snapshots.write(output, outcome, facts)}

        return Companions(save, [Hook(self.options.snap_images, snapshots.take, at_start=True)], snapshots.guard())


def _start_from(folder: Path, generator: Generator, discriminator: Discriminator, reporter: Reporter) -> Generator:
    """Fill both networks from another training's output, or a converted snapshot. Returns the average to go on with. Raises StyleGAN3Error."""
    if not folder.is_dir():
        raise StyleGAN3Error(
            f"resume_from: {folder} is no folder; expected one with config.json and generator.safetensors (of a snapshot: "
            "python -m training.stylegan3.nvidia_snapshots FILE.pkl FOLDER)"
        )
    theirs, ours = read_config(folder), generator.config
    for name in _SHAPE:
        if getattr(theirs, name) != getattr(ours, name):
            raise StyleGAN3Error(
                f"{folder / 'config.json'}: {name} is {getattr(theirs, name)}, this training has {getattr(ours, name)}; set {name} to theirs, or "
                "start from another model"
            )
    if theirs.mbstd_group != ours.mbstd_group:
        reporter.log(f"WARNING: {folder}: its discriminator saw {theirs.mbstd_group} pictures together, mbstd_group is {ours.mbstd_group}")
    averaged = copy.deepcopy(generator)
    read_weights(folder / "generator.safetensors", averaged)
    # Where the weights that were trained on are not there, it starts from their average.
    trained = folder / TRAINED
    read_weights(trained if trained.is_file() else folder / "generator.safetensors", generator)
    if (folder / "discriminator.safetensors").is_file():
        read_weights(folder / "discriminator.safetensors", discriminator)
    else:
        reporter.log(f"WARNING: {folder}: no discriminator.safetensors; the discriminator starts from random weights")
    return averaged


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _inputs(data: Path, options: StyleGAN3Options) -> dict[str, Path]:
    transfer = {"resume_from": options.resume_from} if options.resume_from is not None else {}
    return {options.reads: data / options.reads, **transfer}


def _open(data: Path, options: StyleGAN3Options, devices: Devices, reporter: Reporter, *, stage: str) -> Training:
    images = read_images(data / options.reads, resolution=options.resolution, with_labels=options.cond, stage=stage, reporter=reporter)
    training = StyleGAN3Training(images, options, devices, reporter, stage=stage)
    config = training.generator.config
    fields = [Field("z", "float32", (-1, config.z_dim)), *([Field("c", "float32", (-1, config.label_dim))] if config.label_dim else [])]
    pictures = Field("pictures", "float32", (-1, config.channels, config.resolution, config.resolution))
    return Training(
        training.trainer, training.begin, size=f"{config.resolution} px", outcome="swd_x1000", signature=Signature(tuple(fields), (pictures,))
    )


def job_of(stage: str) -> Job[StyleGAN3Options]:
    """The training `stage`. What the pictures of `stylegan3_toc` are called is known; any other stage names them in its section."""
    options = StyleGAN3Options if stage == STAGE else NamedSetOptions
    return Job(stage, "training.stylegan3.train", options, _inputs, functools.partial(_open, stage=stage), budget="kimg")


def _add_flags(parser: ArgumentParser) -> None:
    parser.add_argument("stage", nargs="?", default=STAGE, metavar="STAGE", help="whose section, output and run it is (default: %(default)s)")
    add_one_off_flags(parser)


def _adapt(job: Job[StyleGAN3Options], arguments: Namespace) -> Job[StyleGAN3Options]:
    del job
    if arguments.stage == STAGE:
        return one_off(job_of(STAGE), arguments, dataset="toc_dataset")
    if arguments.images is not None:
        arguments.overrides = [*arguments.overrides, f"dataset={_OWN_PICTURES}"]
    return one_off(job_of(arguments.stage), arguments, dataset=_OWN_PICTURES)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `stylegan3_toc` or the one named; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    expected = (StyleGAN3Error, ImageSetError, FeatureExtractorError)
    return run_job(job_of(STAGE), __doc__, argv, expected=expected, add_flags=_add_flags, adapt=_adapt)


if __name__ == "__main__":
    sys.exit(main())
