"""The parts about the other GANs: a progressive GAN of pages, and a CycleGAN between photographs and paintings."""

from typing import Any

import numpy
import torch

from bench.gpu.learning import take_steps
from bench.gpu.recording import REPORTER, Sizes, Work
from training.gans.grids import to_uint8
from training.gans.image_stream import TrainingImages
from training.gans.snapshots import latent_painter
from training.metrics.frechet import frechet_distance
from training.metrics.images.features import frechet_key, open_extractor
from training.metrics.images.sources import ArrayImages
from training.metrics.images.swd import PatchDistance


def features_of(pictures: numpy.ndarray, device: torch.device) -> tuple[str, numpy.ndarray]:
    """What Fréchet distances by three random convolutions are called, and what these see in pictures [N, C, H, W] in uint8."""
    extractor = open_extractor("random", device=device)
    return frechet_key(extractor), torch.cat([extractor(part.to(device)) for part in torch.from_numpy(pictures).split(256)]).cpu().numpy()


def _swd(real: numpy.ndarray, other: numpy.ndarray) -> float:
    """Times a thousand."""
    return float(PatchDistance(ArrayImages(real))(ArrayImages(other)).mean)


def pggan(work: Work) -> None:
    """Grows to its full side in the first two thirds of the time, by a trial of how fast the last side learns."""
    from training.progressive.options import ProgressiveOptions
    from training.progressive.train import ProgressiveTraining

    px = 16 if work.tiny else 64
    images, phases = work.inputs.pictures("page", px), 2 * (px.bit_length() - 3)
    tiny: Sizes = {"fmap_base": 64, "fmap_max": 8, "z_dim": 8, "batch": 4}
    sizes = work.sizes(tiny, {"fmap_base": 2048, "fmap_max": 256, "batch": 64})
    batch = sizes["batch"]

    def make(phase_images: float) -> ProgressiveTraining:
        phase: Sizes = {"stable_kimg": phase_images / 1000, "fade_kimg": phase_images / 1000}
        options = ProgressiveOptions(**sizes, batch_by_px={}, lr_by_px={}, **phase, precision="auto", ema_kimg=max(0.05, phase_images / 10_000))
        return ProgressiveTraining(images, options, work.devices, REPORTER)

    # A phase of one iteration each: the trial grows at once and then stays at the last side, where turns are recorded at the fourth.
    trial, reserve = make(batch).trainer, 0.15 * work.left()
    take_steps(work, trial, until=reserve, steps=phases + (1 if work.tiny else 6))
    rate = take_steps(work, trial, until=reserve, steps=1 if work.tiny else 6)["samples_per_s"]
    # Smaller sides are faster, which shortens the growth and lengthens what follows it.
    training = make(batch if work.tiny else max(batch, rate * (work.left() - reserve) * 0.66 / phases // batch * batch))
    told = take_steps(work, training.trainer, until=reserve, steps=phases + 1 if work.tiny else float("inf"))
    painter = latent_painter(training.averaged(), training.options.z_dim, images, training.options, side_by_side=batch)
    count, everything = min(16 if work.tiny else 1000, len(images)), images.images.numpy()
    fakes, reals, half = painter(count, "fakes", psi=1.0), everything[:count], len(everything) // 2
    work.picture(f"pggan_{px}px", fakes[:48])
    (key, made), (_, real) = features_of(fakes, work.device), features_of(reals, work.device)
    distances = {key: frechet_distance(made, real), "swd_x1000": _swd(reals, fakes), "compared": count}
    # Beside what two halves of the reals are from one another.
    distances["swd_x1000_between_halves"] = _swd(everything[:half], everything[half : 2 * half])
    grown, kimg = training.where(), training.trainer.samples_seen / 1000
    work.row("learnt", model="PGGAN", kimg=kimg, **told, last_side_images_per_s=rate, px=grown["px"], alpha=grown["alpha"], **distances)


def cyclegan(work: Work) -> None:
    """Learns both ways until its time is up; distances of pictures held out, before and after they are translated."""
    from training.cyclegan.domains import Domains
    from training.cyclegan.options import CycleGANOptions
    from training.cyclegan.train import CycleGANTraining

    px = 32 if work.tiny else 128
    sets = {name: work.inputs.pictures(kind, px).images for name, kind in (("A", "photograph"), ("B", "painting"))}
    held_out = min(8 if work.tiny else 64, len(sets["A"]) // 2)
    parts = slice(held_out, None), slice(held_out)
    train, test = ({name: TrainingImages(images[part].contiguous()) for name, images in sets.items()} for part in parts)
    tiny: Sizes = {"ngf": 4, "ndf": 4, "net_g": "resnet_1blocks", "n_layers_d": 1, "load_size": None, "pool": 2}
    sizes = work.sizes(tiny, {"net_g": "resnet_9blocks", "batch": 4, "load_size": 142})
    options = CycleGANOptions(**sizes, resolution=px, kimg=1000.0, constant_kimg=1000.0, decay_kimg=0.0)
    training = CycleGANTraining(Domains(train, test, {"A": "testA", "B": "testB"}), options, work.devices, REPORTER)
    reserve = 0.2 * work.left()
    first = take_steps(work, training.trainer, until=reserve, steps=1)["values"]
    told = take_steps(work, training.trainer, until=reserve, steps=1 if work.tiny else float("inf"))
    work.row("learnt", model="CycleGAN", px=px, pairs=training.trainer.samples_seen, first=first, **told)

    generators: dict[str, Any] = {"A": training.generators.a_to_b.eval(), "B": training.generators.b_to_a.eval()}
    rows: list[numpy.ndarray] = []
    for name, other in (("A", "B"), ("B", "A")):
        given, target = test[name].images, test[other].images.numpy()
        with torch.no_grad():
            shown = [part.to(work.device).float() / 127.5 - 1 for part in given.split(16)]
            made = [generators[name](part) for part in shown]
            back = [generators[other](part) for part in made]
        cycle = torch.cat([(one - two).abs().mean(dim=(1, 2, 3)) for one, two in zip(shown, back, strict=True)]).mean().item()
        fakes, again = (torch.cat([to_uint8(part) for part in some]).cpu().numpy() for some in (made, back))
        swd = {"before": _swd(target, given.numpy()), "after": _swd(target, fakes)}
        work.row("translated", model="CycleGAN", way=f"{name} to {other}", cycle_l1=cycle, swd_x1000=swd, compared=len(fakes))
        rows += [given.numpy()[:8], fakes[:8], again[:8]]
    work.picture(f"cyclegan_{px}px", numpy.concatenate(rows), columns=len(rows[0]))
