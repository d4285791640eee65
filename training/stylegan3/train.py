"""Train a StyleGAN3 on a set of pictures.

    python -m training.stylegan3.train
    python -m training.stylegan3.train --set resolution=32 --set cbase=512 --set cmax=32 --set kimg=2 --set snap=1     # two minutes on a CPU
    torchrun --nproc-per-node 4 -m training.stylegan3.train

Reads data/toc_dataset@SIZE, SIZE being `dataset_size`; writes data/stylegan3_toc. The same command again continues where the last one was
interrupted, to the same bits; with a larger `kimg` it trains a finished model on.
"""

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy
import torch
from torch import Tensor, nn

from formats.image_shards import ImageSetError, ImageShards
from formats.weights import write_weights
from stages.artifact_id import content_id
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter, SilentReporter
from stages.run_key import run_key
from training.gans.augment import Augment, augment_preset
from training.gans.image_stream import TrainingImages
from training.loop.checkpoint import CheckpointError, Checkpoints
from training.loop.devices import Devices, open_devices
from training.loop.loop import Hook, Outcome, Plan, TrainingError, train
from training.loop.seeding import seed_everything
from training.loop.stats_files import EventFiles, Sinks, StatsFile
from training.metrics.images import FeatureExtractorError
from training.stylegan3.config import StyleGAN3Config, magnitude_ema_beta
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.gan import GanTrainer
from training.stylegan3.generator import Generator, StyleGAN3Error, read_config, read_weights, save_generator
from training.stylegan3.options import StyleGAN3Options
from training.stylegan3.snapshots import Snapshots
from training.tracking.tracker import InputArtifact, Tracker, TrackingError, open_tracker

STAGE = "stylegan3_toc"
# More of a GPU's memory than this is left to the networks; larger sets stay in the computer's own.
_SHARE_OF_GPU_MEMORY = 0.3


def read_images(folder: Path, options: StyleGAN3Options, reporter: Reporter) -> tuple[numpy.ndarray, Tensor | None]:
    """Every picture uint8 [N, C, R, R], and labels float32 [N, L] with `cond`. Raises ImageSetError and StyleGAN3Error."""
    shards = ImageShards(folder, resolution=options.resolution)
    if options.cond and shards.labels is None:
        raise StyleGAN3Error(f"{folder}: cond is true, but the set has no labels; make it with labels, or set cond: false")
    labels = torch.from_numpy(shards.labels) if options.cond and shards.labels is not None else None
    parts = reporter.progress(shards, total=len(shards), what=f"{STAGE}: pictures read")
    pixels = numpy.stack(list(parts))
    reporter.log(f"{STAGE}: {len(pixels):,} pictures of {shards.resolution} px from {folder}")
    return pixels, labels


def network_config(options: StyleGAN3Options, *, resolution: int, channels: int, label_dim: int) -> StyleGAN3Config:
    """The constructor arguments of both networks. Raises StyleGAN3Error for shapes that cannot be."""
    try:
        return StyleGAN3Config(
            cfg=options.cfg,
            resolution=resolution,
            channels=channels,
            label_dim=label_dim,
            z_dim=options.z_dim,
            w_dim=options.w_dim,
            map_depth=options.map_depth,
            cbase=options.cbase,
            cmax=options.cmax,
            num_layers=options.num_layers,
            num_critical=options.num_critical,
            margin=options.margin,
            magnitude_ema_beta=magnitude_ema_beta(options.batch),
            mbstd_group=options.mbstd_group,
            precision=options.precision,
        )
    except ValueError as error:
        raise StyleGAN3Error(f"{STAGE}: {error}") from None


def open_trainer(options: StyleGAN3Options, pixels: numpy.ndarray, labels: Tensor | None, devices: Devices, reporter: Reporter) -> GanTrainer:
    """Both networks, fresh or from `resume_from`, and their trainer. Raises StyleGAN3Error."""
    config = network_config(options, resolution=pixels.shape[2], channels=pixels.shape[1], label_dim=0 if labels is None else labels.shape[1])
    seed_everything(options.seed)
    generator, discriminator = Generator(config), Discriminator(config)
    average = _start_from(options.resume_from, generator, discriminator, reporter) if options.resume_from is not None else None
    augment = Augment(augment_preset(options.aug_preset)) if options.aug != "noaug" else None
    if devices.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    data = TrainingImages(_near(torch.from_numpy(pixels), devices), labels)
    return GanTrainer(generator, discriminator, augment, data, options, devices, generator_ema=average)


def train_stylegan3(arguments: Namespace, options: StyleGAN3Options, reporter: Reporter, devices: Devices) -> None:
    """Everything between the parameters and the output folder."""
    dataset = arguments.data / f"toc_dataset@{options.dataset_size}"
    pixels, labels = read_images(dataset, options, reporter)
    inputs = [InputArtifact(name=dataset.name, path=dataset, id=content_id(dataset))]
    if options.resume_from is not None:
        inputs.append(InputArtifact(name="resume_from", path=options.resume_from, id=_folder_id(options.resume_from)))
    key = run_key(STAGE, "training.stylegan3.train", config=options.decisive(), inputs={item.name: item.id for item in inputs})
    checkpoints = Checkpoints(arguments.state / "checkpoints" / STAGE, key, options.keep_checkpoints, reporter)
    if arguments.from_scratch and devices.is_main:
        checkpoints.remove()
    devices.wait()
    resume_from = checkpoints.latest()
    resume_images = resume_from["samples"] if resume_from else None
    if resume_images is not None and resume_images >= options.total_images + options.batch:
        raise StyleGAN3Error(
            f"{checkpoints.own_folder}: this training has gone on for {resume_images / 1000:g} kimg, and kimg is {options.kimg:g}; raise kimg, "
            "or train anew with --from-scratch"
        )
    trainer = open_trainer(options, pixels, labels, devices, reporter)
    _say_what_is_trained(trainer, reporter)
    plan = Plan(
        options.total_images,
        report_every_samples=round(options.tick * 1000),
        checkpoint_every_samples=round(options.checkpoint_kimg * 1000),
        max_seconds=options.max_seconds,
        what="images",
        good_states=3,
    )
    tracker = open_tracker(
        STAGE, run_key=key, config=asdict(options), inputs=inputs, state_dir=arguments.state, resume_step=resume_images, reporter=reporter
    )
    work = arguments.state / "snapshots" / STAGE / key
    if resume_from is None and devices.is_main:
        # Of a training that was forgotten.
        shutil.rmtree(work, ignore_errors=True)
    event_folder = arguments.state / "tensorboard" / STAGE / key if devices.is_main else None
    with tracker, EventFiles(event_folder, resume_images=resume_images) as events:
        snapshots = Snapshots(
            work,
            trainer,
            pixels,
            reals_id=f"{inputs[0].id} at {trainer.data.resolution} px",
            cache_dir=arguments.state / "image_features",
            keep=lambda path: tracker.artifact(path, "snapshots"),
            note=reporter.log,
        )
        stats = StatsFile(work / "stats.jsonl", resume_images=resume_images) if devices.is_main else None
        sinks = Sinks(tracker, events, stats) if stats is not None else Sinks(tracker)

        def on_rollback(number: int, why: str) -> None:
            tracker.tags({f"figment.rollback_{number}": why})
            if stats is not None:
                stats.append(trainer.samples_seen, {"rollback": number, "why": why})

        outcome = train(
            trainer,
            plan,
            checkpoints=checkpoints,
            resume_from=resume_from,
            sink=sinks,
            reporter=reporter,
            devices=devices,
            hooks=[Hook(options.snap_images, snapshots.take, at_start=True)],
            guard=snapshots.guard(),
            on_rollback=on_rollback,
        )
        if not devices.is_main:
            return
        output = arguments.data / STAGE
        metrics = _write_output(output, trainer, snapshots, work / "stats.jsonl", outcome, len(pixels))
        checkpoints.keep_last_only()
        tracker.register_model(STAGE, output, output_id=content_id(output))
        _tell(reporter, tracker, outcome, plan, metrics)


def _start_from(folder: Path, generator: Generator, discriminator: Discriminator, reporter: Reporter) -> dict[str, Tensor]:
    """Fill both networks from another training's output and give the averaged generator's state. Raises StyleGAN3Error."""
    theirs = read_config(folder)
    ours = generator.config
    shape = ("cfg", "resolution", "channels", "label_dim", "z_dim", "w_dim", "map_depth", "cbase", "cmax", "num_layers", "num_critical", "margin")
    for name in shape:
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
    return {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def _folder_id(folder: Path) -> str:
    if not folder.is_dir():
        raise StyleGAN3Error(f"resume_from: {folder} is no folder; expected one with config.json and generator.safetensors")
    return content_id(folder)


def _near(images: Tensor, devices: Devices) -> Tensor:
    """The images on the GPU, when they leave it room."""
    if devices.device.type != "cuda":
        return images
    room = torch.cuda.get_device_properties(devices.device).total_memory * _SHARE_OF_GPU_MEMORY
    return images.to(devices.device) if images.nbytes <= room else images


def _write_output(target: Path, trainer: GanTrainer, snapshots: Snapshots, stats: Path, outcome: Outcome, pictures: int) -> dict[str, float]:
    averaged = trainer.averaged_generator()
    training = {
        **{name: str(value) if isinstance(value, Path) else value for name, value in asdict(trainer.options).items()},
        "gamma": trainer.gamma,
        "resolution": trainer.data.resolution,
        "pictures": pictures,
        "images_seen": outcome.samples_seen,
        "finished": outcome.finished,
        "augment_p": trainer.controller.p,
        "skipped_steps": outcome.skipped_steps,
        "rollbacks": outcome.rollbacks,
        "rollback_reasons": list(outcome.reasons),
        "parameters": {"generator": _parameters(averaged), "discriminator": _parameters(trainer.discriminator)},
    }
    with OutputFolder(target) as output:
        save_generator(output.folder, averaged)
        write_weights(output.file("discriminator.safetensors"), trainer.discriminator)
        index = snapshots.write(output, outcome.samples_seen)
        metrics: dict[str, float] = index[-1]["metrics"] if index else {}
        output.write_json("metrics.json", {name: round(value, 6) for name, value in metrics.items()} | {"kimg": outcome.samples_seen / 1000})
        output.write_json("training_options.json", training)
        output.file("stats.jsonl").write_bytes(stats.read_bytes())
    return metrics


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _say_what_is_trained(trainer: GanTrainer, reporter: Reporter) -> None:
    options = trainer.options
    reporter.log(
        f"{STAGE}: {options.cfg}, {_parameters(trainer.generator):,} and {_parameters(trainer.discriminator):,} parameters, batch {options.batch}, "
        f"gamma {trainer.gamma:g}, {options.loss} loss, {options.aug} ({options.aug_preset}), {options.kimg:g} kimg on {trainer.devices.device}"
    )


def _tell(reporter: Reporter, tracker: Tracker, outcome: Outcome, plan: Plan, metrics: dict[str, float]) -> None:
    if not outcome.finished:
        reporter.log(
            f"{STAGE}: max_seconds reached after {outcome.samples_seen:,} of {plan.total_samples:,} images; the output holds the model so far, "
            "and the same command again continues (max_seconds may be changed)"
        )
    if outcome.rollbacks:
        tracker.tags({"figment.rollbacks": str(outcome.rollbacks)})
    reporter.metadata(kimg=outcome.samples_seen / 1000, finished=outcome.finished, rollbacks=outcome.rollbacks, **metrics)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))
    reporter.log(f"{STAGE}: {outcome.samples_seen:,} images seen; {shown}")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    overrides = arguments.overrides + ([f"max_seconds={arguments.max_seconds}"] if arguments.max_seconds is not None else [])
    options = load_params(arguments.params, STAGE, StyleGAN3Options, overrides=overrides)
    with open_devices() as devices:
        if options.batch % (devices.world_size * min(options.side_by_side, options.batch // devices.world_size or 1)):
            raise StyleGAN3Error(
                f"batch {options.batch} does not divide among {devices.world_size} processes with batch_gpu {options.side_by_side}; choose a multiple"
            )
        train_stylegan3(arguments, options, reporter if devices.is_main else SilentReporter(), devices)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, default=Path(".figment"), metavar="DIR", help="folder of checkpoints, snapshots and tracking (default: %(default)s)"
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="stop at a checkpoint after this long; short for --set max_seconds=S")
    parser.add_argument("--from-scratch", action="store_true", help="forget the checkpoints of this very training and begin anew")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `stylegan3_toc`; see stages/program.py for flags and exit codes."""
    expected: tuple[type[Exception], ...] = (StyleGAN3Error, ImageSetError, FeatureExtractorError, CheckpointError, TrainingError, TrackingError)
    return program(__doc__, _run, argv, expected=expected, configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
