"""Train a CycleGAN on two sets of pictures.

    python -m training.cyclegan.train
    python -m training.cyclegan.train --set resolution=32 --set load_size=36 --set ngf=8 --set ndf=16 --set kimg=1    # a minute on a CPU
    torchrun --nproc-per-node 4 -m training.cyclegan.train --set batch=4

Reads data/paintings; writes data/cyclegan_paintings. The same command again continues where the last one was interrupted, to the same bits.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from formats.image_shards import ImageSetError
from formats.weights import write_weights
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.cyclegan.discriminator import make_discriminators
from training.cyclegan.domains import Domains, read_domains
from training.cyclegan.generator import FILES, CycleGANError, make_generators, save_generators
from training.cyclegan.losses import CycleGANLosses
from training.cyclegan.options import CycleGANOptions
from training.cyclegan.pool import ImagePool
from training.cyclegan.snapshots import CYCLE, CycleSnapshots
from training.gans.graphs import open_graphs
from training.gans.players import AdversarialTrainer, adam
from training.loop.devices import Devices
from training.loop.job import Companions, Job, Training, Workplace, run_job
from training.loop.loop import Hook, Outcome
from training.loop.seeding import seed_everything
from training.metrics.images import FeatureExtractorError
from training.tracking.tracker import Field, Signature

STAGE = "cyclegan_paintings"
DATASET = "paintings"
# What one model need not have in common with another to start from it, and what matters only where its discriminators come along.
_FREE = ("domain_a", "domain_b", "resolution")
_OF_DISCRIMINATORS = ("ndf", "n_layers_d", "d_last_stride", "d_padding", "d_sigmoid")


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
            graphs=open_graphs(options.cuda_graphs, devices.device, devices.world_size, reporter),
        )
        if devices.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        counts = self._parameters()
        reporter.log(
            f"{STAGE}: {options.variant}, {config.net_g} of {counts['G_A']:,} and discriminators of {counts['D_A']:,} parameters, which see "
            f"{config.receptive_field} px; {len(domains.train['A']):,} and {len(domains.train['B']):,} pictures of {config.resolution} px, batch "
            f"{options.batch}, {options.kimg:g} kimg on {devices.device}"
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
        free = _FREE if judges else _FREE + _OF_DISCRIMINATORS
        for name, wanted in asdict(ours).items():
            if name not in free and getattr(theirs, name) != wanted:
                raise CycleGANError(
                    f"{folder / 'config.json'}: {name} is {getattr(theirs, name)}, this training has {wanted}; train with theirs, or start from "
                    "another model"
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


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `cyclegan_paintings`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    expected = (CycleGANError, ImageSetError, FeatureExtractorError)
    return run_job(JOB, __doc__, argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
