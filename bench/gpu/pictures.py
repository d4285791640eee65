"""The parts about the other GANs: a progressive GAN of pages, and a CycleGAN between photographs and paintings."""

import time
from typing import Any

import numpy
import torch

from bench.gpu.device import Meter
from bench.gpu.recording import Work
from stages.reporting import SilentReporter
from training.gans.grids import to_uint8
from training.gans.image_stream import TrainingImages
from training.gans.snapshots import latent_painter
from training.loop.devices import Devices
from training.metrics.frechet import frechet_distance
from training.metrics.images.features import frechet_key, open_extractor
from training.metrics.images.sources import ArrayImages
from training.metrics.images.swd import PatchDistance


def pggan(work: Work) -> None:
    """Grows to its full side in the first two thirds of the time, by a trial of how fast the last side learns."""
    from training.progressive.options import ProgressiveOptions
    from training.progressive.train import ProgressiveTraining

    px = 16 if work.tiny else 64
    images = work.inputs.pictures("page", px)
    tiny: dict[str, Any] = {"fmap_base": 64, "fmap_max": 8, "z_dim": 8, "batch": 4}
    sizes = tiny if work.tiny else {"fmap_base": 2048, "fmap_max": 256, "batch": 64}
    batch = sizes["batch"]

    def make(phase_images: float) -> ProgressiveTraining:
        phase = {"stable_kimg": phase_images / 1000, "fade_kimg": phase_images / 1000}
        options = ProgressiveOptions(**sizes, batch_by_px={}, lr_by_px={}, **phase, precision="auto", ema_kimg=max(0.05, phase_images / 10_000))
        return ProgressiveTraining(images, options, Devices(work.device), SilentReporter())

    # A phase of one iteration each: the trial grows at once and then stays at the last side.
    trial, phases = make(batch), 2 * (px.bit_length() - 3)
    for place in range(phases + (2 if work.tiny else 12)):
        if place == phases + (1 if work.tiny else 6):
            with Meter(work.device):
                began, seen = time.monotonic(), trial.trainer.samples_seen
        trial.trainer.step()
    with Meter(work.device):
        rate = (trial.trainer.samples_seen - seen) / (time.monotonic() - began)
    reserve = 0.15 * work.left()
    # Smaller sides are faster, which shortens the growth and lengthens what follows it.
    training = make(batch if work.tiny else max(batch, rate * (work.left() - reserve) * 0.66 / phases // batch * batch))
    skipped = 0
    with Meter(work.device) as meter:
        while (work.left() > reserve and not work.tiny) or training.trainer.iteration <= phases:
            skipped += training.trainer.step().skipped
    painter = latent_painter(training.averaged(), training.options.z_dim, images, training.options, side_by_side=batch)
    count = min(16 if work.tiny else 1000, len(images))
    fakes, reals = painter(count, "fakes", psi=1.0), images.images[:count].numpy()
    grown = training.where()
    found: dict[str, Any] = {
        "kimg": training.trainer.samples_seen / 1000,
        "seconds": meter.seconds,
        "images_per_s": training.trainer.samples_seen / meter.seconds,
    }
    found |= {"last_side_images_per_s": rate, "watts": meter.watts, "memory_gib": meter.memory_gib, "px": grown["px"], "alpha": grown["alpha"]}
    work.picture(f"pggan_{px}px", fakes[:48])
    work.row("learnt", model="PGGAN", **found, skipped=skipped, **_distances(fakes, reals, images.images.numpy(), work.device))


def _distances(fakes: numpy.ndarray, reals: numpy.ndarray, others: numpy.ndarray, device: torch.device) -> dict[str, Any]:
    """Of as many fakes and reals, beside what two halves of the reals are from one another. others: the whole set."""
    extractor, count = open_extractor("random", device=device), len(others) // 2
    features = [extractor(torch.from_numpy(part)).cpu().numpy() for part in (fakes, reals)]
    swd = PatchDistance(ArrayImages(reals))(ArrayImages(fakes)).mean
    floor = PatchDistance(ArrayImages(others[:count]))(ArrayImages(others[count : 2 * count])).mean
    return {frechet_key(extractor): frechet_distance(*features), "swd_x1000": swd, "swd_x1000_between_halves": floor, "compared": len(fakes)}


def cyclegan(work: Work) -> None:
    """Learns both ways until its time is up; distances of pictures held out, before and after they are translated."""
    from training.cyclegan.domains import Domains
    from training.cyclegan.options import CycleGANOptions
    from training.cyclegan.train import CycleGANTraining

    px, held_out = (32, 8) if work.tiny else (128, 64)
    sets = {name: work.inputs.pictures(kind, px).images for name, kind in (("A", "photograph"), ("B", "painting"))}
    held_out = min(held_out, len(sets["A"]) // 2)
    train, test = (
        {name: TrainingImages(images[part].contiguous()) for name, images in sets.items()} for part in (slice(held_out, None), slice(held_out))
    )
    tiny = {"ngf": 4, "ndf": 4, "net_g": "resnet_1blocks", "n_layers_d": 1, "load_size": None, "pool": 2}
    settings: dict[str, Any] = tiny if work.tiny else {"net_g": "resnet_9blocks", "batch": 4, "load_size": 142}
    settings |= {"resolution": px, "kimg": 1000.0, "constant_kimg": 1000.0, "decay_kimg": 0.0}
    domains = Domains(train, test, {"A": "testA", "B": "testB"})
    training = CycleGANTraining(domains, CycleGANOptions(**settings), Devices(work.device), SilentReporter())
    reserve, outcome = 0.2 * work.left(), training.trainer.step()
    first = {name: float(value) for name, value in outcome.values.items()}
    with Meter(work.device) as meter:
        while work.left() > reserve and not (work.tiny and training.trainer.iteration >= 2):
            outcome = training.trainer.step()
    values = {name: float(value) for name, value in outcome.values.items()}
    costs = {"seconds": meter.seconds, "watts": meter.watts, "memory_gib": meter.memory_gib}
    pairs = training.trainer.samples_seen
    work.row("learnt", model="CycleGAN", px=px, pairs=pairs, pairs_per_s=pairs / meter.seconds, **costs, first=first, values=values)

    generators, rows = {"A": training.generators.a_to_b, "B": training.generators.b_to_a}, []
    for name, other in (("A", "B"), ("B", "A")):
        given = test[name].images
        with torch.no_grad():
            parts = [part.to(work.device).float() / 127.5 - 1 for part in given.split(16)]
            made = [generators[name].eval()(part) for part in parts]
            back = [generators[other].eval()(part) for part in made]
        cycle = torch.cat([(one - two).abs().mean(dim=(1, 2, 3)) for one, two in zip(parts, back, strict=True)]).mean().item()
        fakes = torch.cat([to_uint8(part) for part in made]).cpu().numpy()
        target = test[other].images.numpy()
        distance = PatchDistance(ArrayImages(target)) if px >= 16 else None
        swd = {"before": distance(ArrayImages(given.numpy())).mean, "after": distance(ArrayImages(fakes)).mean} if distance is not None else {}
        work.row("translated", model="CycleGAN", way=f"{name} to {other}", cycle_l1=cycle, swd_x1000=swd, compared=len(fakes))
        rows += [given.numpy()[:8], fakes[:8], torch.cat([to_uint8(part) for part in back]).cpu().numpy()[:8]]
    work.picture(f"cyclegan_{px}px", numpy.concatenate(rows), columns=len(rows[0]))
