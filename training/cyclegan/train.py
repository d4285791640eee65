"""Train a CycleGAN on two sets of pictures.

    python -m training.cyclegan.train
    python -m training.cyclegan.train --set resolution=32 --set load_size=36 --set ngf=8 --set ndf=16 --set kimg=1    # a minute on a CPU
    torchrun --nproc-per-node 4 -m training.cyclegan.train
    python -m training.cyclegan.train --images-a ~/paintings --images-b ~/photographs --out out/mine --resolution 128    # without the graph

Reads data/paintings; writes data/cyclegan_paintings. The same command again continues where the last one was interrupted, to the same bits.
"""

import dataclasses
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from formats.image_shards import ImageSetError
from formats.pad_resize import Fit
from formats.weights import write_weights
from stages.output_folder import OutputFolder
from stages.params import ParamsError
from stages.reporting import Reporter
from training.cyclegan.discriminator import make_discriminators
from training.cyclegan.domains import Domains, read_domains
from training.cyclegan.generator import FILES, CycleGANError, make_generators, save_generators
from training.cyclegan.losses import CycleGANLosses
from training.cyclegan.options import CycleGANOptions
from training.cyclegan.pool import ImagePool
from training.cyclegan.snapshots import CYCLE, CycleSnapshots
from training.gans.picture_folder import make_picture_set
from training.gans.players import AdversarialTrainer, adam
from training.loop.devices import Devices
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.loop.seeding import seed_everything
from training.metrics.images import FeatureExtractorError
from training.tracking.tracker import Field, Signature

STAGE = "cyclegan_paintings"
DATASET = "paintings"
# What two models must have in common for one to start from the other.
_GENERATORS_SHAPE = ("net_g", "ngf", "upsample", "channels_a", "channels_b")
_DISCRIMINATORS_SHAPE = ("net_d", "ndf", "n_layers_d", "d_last_stride")
# Of the side that pictures are enlarged to, before they are cut; Zhu et al. 2017.
_LOADED_OVER_CUT = 286 / 256


class CycleGANTraining:
    """All four networks, fresh or from `resume_from`, and what goes with them. domains: in the computer's own memory. Raises CycleGANError."""

    def __init__(self, domains: Domains, options: CycleGANOptions, devices: Devices, reporter: Reporter) -> None:
        self.domains, self.options, self.devices = domains, options, devices
        try:
            config = options.network_config(resolution=domains.resolution, channels=domains.channels)
        except ValueError as error:
            raise CycleGANError(f"{STAGE}: {error}") from None
        seed_everything(options.seed)
        self.generators, self.discriminators = make_generators(config), make_discriminators(config)
        self.networks: dict[str, nn.Module] = {"G_A": self.generators.a_to_b, "G_B": self.generators.b_to_a, **self.discriminators}
        if options.resume_from is not None:
            self._start_from(options.resume_from, reporter)
        for network in self.networks.values():
            network.to(devices.device).train()
            if devices.device.type == "cuda":
                # Plain convolutions are faster there when the channels of a pixel lie side by side.
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # One optimizer moves both generators; each discriminator has its own.
        moved = {"G": nn.ModuleDict({name: self.networks[name] for name in ("G_A", "G_B")}), **self.discriminators}
        players = {name: adam(network, options.lr, betas=(options.beta1, 0.999)) for name, network in moved.items()}
        pools = {name: ImagePool(options.pool) for name in self.discriminators}
        near = {name: pictures.near(devices) for name, pictures in domains.train.items()}
        self.losses = CycleGANLosses(self.networks, near, pools, options, devices)
        self.trainer = AdversarialTrainer(
            players,
            self.losses.phases(),
            batch_size=options.batch,
            devices=devices,
            averages={},
            others={f"pool of {name}": pool for name, pool in pools.items()},
            schedule=options.rate_factor,
            after_step=lambda values, samples: {"learning_rate": players["G"].optimizer.param_groups[0]["lr"]},
        )
        if devices.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        counts = self._parameters()
        reporter.log(
            f"{STAGE}: {options.variant}, {config.net_g} of {counts['G_A']:,} and discriminators of {counts['D_A']:,} parameters, which see "
            f"{config.receptive_field} px; {len(domains.train['A']):,} and {len(domains.train['B']):,} pictures of {config.resolution} px, batch "
            f"{options.batch}, {options.gan_loss} loss, {options.kimg:g} kimg on {devices.device}"
        )

    def begin(self, place: Workplace) -> Companions:
        snapshots = CycleSnapshots(self.trainer, self.generators, self.domains, self.options, self.devices, place, place.input_ids[DATASET])

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            save_generators(output.folder, self.generators)
            for name, network in self.discriminators.items():
                write_weights(output.file(f"{name}.safetensors"), network)
            pictures = {name: len(pictures) for name, pictures in self.domains.train.items()}
            facts = {"parameters": self._parameters(), "pictures": pictures, "measured_on": dict(self.domains.tried_on)}
            return {"kimg": outcome.samples_seen / 1000, **snapshots.write(output, outcome, facts)}

        return Companions(save, [Hook(self.options.snap_images, snapshots.take, at_start=True)], snapshots.guard())

    def _parameters(self) -> dict[str, int]:
        return {name: sum(parameter.numel() for parameter in network.parameters()) for name, network in self.networks.items()}

    def _start_from(self, folder: Path, reporter: Reporter) -> None:
        """Fill the networks from another training's output, or converted checkpoints; optimizers and pools start anew."""
        if not folder.is_dir():
            raise CycleGANError(
                f"resume_from: {folder} is no folder; expected one with config.json and G_A.safetensors (of junyanz' checkpoints: "
                "python -m training.cyclegan.junyanz CHECKPOINTS FOLDER)"
            )
        theirs, ours = FILES.read_config(folder), self.generators.config
        judges = [name for name in self.discriminators if (folder / f"{name}.safetensors").is_file()]
        for name in (*_GENERATORS_SHAPE, *(_DISCRIMINATORS_SHAPE if judges else ())):
            if getattr(theirs, name) != getattr(ours, name):
                raise CycleGANError(
                    f"{folder / 'config.json'}: {name} is {getattr(theirs, name)}, this training has {getattr(ours, name)}; set {name} to theirs, or "
                    "start from another model"
                )
        for name in ("G_A", "G_B", *judges):
            FILES.read_weights(folder / f"{name}.safetensors", self.networks[name])
        if missing := sorted(set(self.discriminators) - set(judges)):
            reporter.log(f"WARNING: {folder}: no {' and no '.join(missing)}; what is missing starts from random weights")
        reporter.log(f"{STAGE}: starting from the weights in {folder}")


def _inputs(data: Path, options: CycleGANOptions) -> dict[str, Path]:
    return {DATASET: data / DATASET, **({"resume_from": options.resume_from} if options.resume_from is not None else {})}


def _open(data: Path, options: CycleGANOptions, devices: Devices, reporter: Reporter) -> Training:
    domains = read_domains(data / DATASET, resolution=options.resolution, stage=STAGE, reporter=reporter)
    training = CycleGANTraining(domains, options, devices, reporter)
    shape = (-1, domains.channels, -1, -1)
    given, made = ((Field(f"pictures_{x}", "float32", shape), Field(f"pictures_{y}", "float32", shape)) for x, y in ("ab", ("made_b", "made_a")))
    return Training(training.trainer, training.begin, size=f"{domains.resolution} px", outcome=CYCLE, signature=Signature(given, made))


JOB = Job(STAGE, "training.cyclegan.train", CycleGANOptions, _inputs, _open, budget="kimg")


def _add_one_off_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("any pictures, without the graph")
    for name in "ab":
        group.add_argument(
            f"--images-{name}", type=Path, metavar="PATH", help=f"a folder or zip of pictures of any size and kind, domain {name.upper()}"
        )
    group.add_argument("--out", type=Path, metavar="DIR", help="what data/ is to the graph: sets, model and checkpoints lie there")
    group.add_argument("--resolution", type=int, default=256, metavar="PX", help="side of the squares, a power of two (default: %(default)s)")
    group.add_argument("--fit", choices=get_args(Fit), default="crop", help="pictures that are not square: their middle, or on white (default: crop)")


def _one_off(job: Job[CycleGANOptions], arguments: Namespace) -> Job[CycleGANOptions]:
    """The job as it was without --images-a and --images-b; else one that makes the sets of them first."""
    sources = {"A": arguments.images_a, "B": arguments.images_b}
    given = [*sources.values(), arguments.out]
    if given == [None] * 3:
        return job
    if None in given:
        raise ParamsError("--images-a, --images-b and --out go together; without the three of them, the graph's sets are read from --data")
    arguments.data, arguments.state = arguments.out, arguments.out / ".figment"
    os.environ.setdefault("FIGMENT_TRACK", "none")

    def open_with_pictures(data: Path, options: CycleGANOptions, devices: Devices, reporter: Reporter) -> Training:
        for name, source in sources.items() if devices.is_main else ():
            target, memory = data / DATASET / f"train{name}", arguments.state / f"train{name}.key"
            memory.parent.mkdir(parents=True, exist_ok=True)
            make_picture_set(source.expanduser(), target, size=arguments.resolution, fit=arguments.fit, memory=memory, reporter=reporter)
        devices.wait()
        return job.open(data, options, devices, reporter)

    load_size = round(arguments.resolution * _LOADED_OVER_CUT)
    arguments.overrides = [f"load_size={load_size}", *arguments.overrides, "resolution=null"]
    return dataclasses.replace(job, open=open_with_pictures)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `cyclegan_paintings`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    expected = (CycleGANError, ImageSetError, FeatureExtractorError)
    return run_job(JOB, __doc__, argv, expected=expected, add_flags=_add_one_off_flags, adapt=_one_off)


if __name__ == "__main__":
    sys.exit(main())
