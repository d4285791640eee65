"""Train a Progressive GAN on a set of pictures.

    python -m training.progressive.train
    python -m training.progressive.train --set resolution=16 --set kimg=4 --set snap=1     # a minute on a CPU
    torchrun --nproc-per-node 4 -m training.progressive.train
    python -m training.progressive.train --images ~/pictures --out out/mine --resolution 64 --kimg 1000      # any pictures, without the graph

Reads data/page_dataset@SIZE, SIZE being `dataset_size`; writes data/pggan_pages. The same command again continues where the last one was
interrupted, in whichever phase, to the same bits; with a larger `kimg` it trains a finished model on.
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
from training.gans.graphs import open_graphs
from training.gans.image_stream import TrainingImages, read_images
from training.gans.one_off import add_one_off_flags, one_off
from training.gans.players import AdversarialTrainer, Moment, adam
from training.gans.snapshots import Painter, Snapshots, latent_painter
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.loop.seeding import seed_everything
from training.metrics.images import FeatureExtractorError
from training.progressive.discriminator import Discriminator
from training.progressive.generator import Generator, ProgressiveError, save_generator
from training.progressive.losses import ProgressiveLosses
from training.progressive.options import ProgressiveOptions
from training.progressive.schedule import Growth, value_at
from training.tracking.tracker import Field, Signature

STAGE = "pggan_pages"


class ProgressiveTraining:
    """Both networks, and what goes with them while they grow. data: in the computer's own memory. Raises ProgressiveError."""

    def __init__(self, data: TrainingImages, options: ProgressiveOptions, devices: Devices, reporter: Reporter) -> None:
        self.options, self.devices, self.data = options, devices, data
        self.schedule = options.schedule(data.resolution)
        try:
            options.check_processes(self.schedule, devices.world_size)
            config = options.network_config(resolution=data.resolution, channels=data.channels)
        except ValueError as error:
            raise ProgressiveError(f"{STAGE}: {error}") from None
        seed_everything(options.seed)
        self.generator, self.discriminator = Generator(config).to(devices.device), Discriminator(config).to(devices.device)
        self.losses = ProgressiveLosses(self.generator, self.discriminator, data, options, devices)
        # The slow copy of G that snapshots and fakes are drawn with.
        self.ema = Ema(self.generator, half_life_samples=options.ema_half_life_images(options.batch_of(config.grown_px)))
        self.trainer = AdversarialTrainer(
            {"G": adam(self.generator, options.lr), "D": adam(self.discriminator, options.lr)},
            self.losses.phases(),
            batch_size=self.losses.batch_at,
            devices=devices,
            averages={"G": self.ema},
            others={},
            schedule=lambda images: value_at(self.schedule.at(images).px, options.lr, options.lr_by_px) / options.lr,
            before_step=self.before_step,
            graphs=open_graphs(options.cuda_graphs, devices.device, devices.world_size, reporter),
        )
        if devices.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            # GPUs compute convolutions fastest with the channels last in memory.
            for network in (self.generator, self.discriminator):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sizes = f"{_parameters(self.generator):,} and {_parameters(self.discriminator):,} parameters"
        reporter.log(
            f"{STAGE}: 4 to {data.resolution} px, {sizes}, {options.loss} loss; {data.resolution} px are stable from "
            f"{self.schedule.begin_of_last / 1000:g} of {options.kimg:g} kimg on; on {devices.device}"
        )

    def before_step(self, now: Moment) -> None:
        """Let the networks be as large as they should be after so many pictures, and forget what optimizers know of smaller ones."""
        growth = self.grow(now.samples_seen)
        self.ema.half_life_samples = self.options.ema_half_life_images(self.options.batch_of(growth.px))
        if growth.is_new:
            self.trainer.forget_gradients()

    def grow(self, images: int) -> Growth:
        growth = self.schedule.at(images)
        for network in (self.generator, self.discriminator):
            network.grow(growth.px, growth.alpha)
        return growth

    def where(self) -> dict[str, float]:
        """How far the networks have grown, to be reported."""
        growth = self.grow(self.trainer.samples_seen)
        return {"phase": growth.phase, "px": growth.px, "alpha": growth.alpha}

    def averaged(self) -> Generator:
        """The slow copy, as far as it has grown by now: after a resume no step may have come before."""
        self.grow(self.trainer.samples_seen)
        return self.ema.averaged(self.generator)

    def begin(self, place: Workplace) -> Companions:
        options = self.options

        def painter() -> Painter:
            generator = self.averaged()
            side_by_side = min(options.batch_of(generator.config.grown_px), options.side_by_side)
            return latent_painter(generator, options.z_dim, self.data, options, side_by_side=side_by_side)

        reals_id = place.input_ids[_dataset(options)]
        snapshots = Snapshots(self.trainer, painter, self.data, options, self.devices, place, reals_id=reals_id)

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            generator = self.averaged()
            save_generator(output.folder, generator)
            write_weights(output.file("discriminator.safetensors"), self.discriminator)
            parameters = {"generator": _parameters(self.generator), "discriminator": _parameters(self.discriminator)}
            facts = {"parameters": parameters, "grown_px": generator.config.grown_px, "alpha": generator.config.alpha}
            return {"kimg": outcome.samples_seen / 1000, "px": generator.config.grown_px, **snapshots.write(output, outcome, facts)}

        hooks = [
            Hook(options.plan.report_every_samples, self.where),
            Hook(options.snap_images, lambda: {**self.where(), **snapshots.take()}, at_start=True),
        ]
        return Companions(save, hooks, snapshots.guard(era="px"))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _dataset(options: ProgressiveOptions) -> str:
    return f"page_dataset@{options.dataset_size}"


def _inputs(data: Path, options: ProgressiveOptions) -> dict[str, Path]:
    return {_dataset(options): data / _dataset(options)}


def _open(data: Path, options: ProgressiveOptions, devices: Devices, reporter: Reporter) -> Training:
    images = read_images(data / _dataset(options), resolution=options.resolution, with_labels=False, stage=STAGE, reporter=reporter)
    training = ProgressiveTraining(images, options, devices, reporter)
    config = training.generator.config
    pictures = Field("pictures", "float32", (-1, config.channels, config.resolution, config.resolution))
    signature = Signature((Field("z", "float32", (-1, config.z_dim)),), (pictures,))
    return Training(training.trainer, training.begin, size=f"{config.resolution} px", outcome="swd_x1000", signature=signature)


JOB = Job(STAGE, "training.progressive.train", ProgressiveOptions, _inputs, _open, budget="kimg")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `pggan_pages`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    expected = (ProgressiveError, ImageSetError, FeatureExtractorError)
    return run_job(JOB, __doc__, argv, expected=expected, add_flags=add_one_off_flags, adapt=functools.partial(one_off, dataset="page_dataset"))


if __name__ == "__main__":
    sys.exit(main())
