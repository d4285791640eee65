"""Two small domains that a small CycleGAN can learn, and a training of them that takes steps in milliseconds."""

from pathlib import Path
from typing import Any

import numpy
import torch

from formats.image_shards import shard_name, write_shard
from formats.png import encode_png
from stages.reporting import Reporter
from training.cyclegan.domains import Domains
from training.cyclegan.options import CycleGANOptions
from training.cyclegan.train import CycleGANTraining
from training.gans.image_stream import TrainingImages
from training.loop.devices import Devices

# Ground and figure of each domain.
PALETTES = {"A": ((230, 220, 40), (200, 40, 40)), "B": ((40, 60, 200), (40, 200, 90))}
CPU = Devices(torch.device("cpu"))
TINY: dict[str, Any] = {
    "ngf": 2,
    "ndf": 2,
    "n_layers_d": 1,
    "net_g": "resnet_1blocks",
    "load_size": 18,
    "pool": 4,
    "batch": 2,
    "constant_kimg": 0.02,
    "decay_kimg": 0.03,
    "kimg": 0.05,
    "seed": 3,
}


def figures(number: int, domain: str, *, side: int = 16, seed: int = 0) -> numpy.ndarray:
    """uint8 [N, 3, side, side]: a disc or a box in the two colours of the domain. The shapes depend on domain and seed: nothing is paired."""
    random = numpy.random.default_rng([seed, ord(domain)])
    y, x = numpy.mgrid[:side, :side]
    ground, figure = (numpy.array(colour, numpy.uint8) for colour in PALETTES[domain])
    images = numpy.empty((number, 3, side, side), numpy.uint8)
    for image in images:
        (cx, cy), radius = random.uniform(0.3, 0.7, 2) * side, random.uniform(0.15, 0.3) * side
        away = numpy.maximum(abs(x - cx), abs(y - cy)) if random.random() < 0.5 else numpy.hypot(x - cx, y - cy)
        image[:] = numpy.where(away < radius, figure[:, None, None], ground[:, None, None])
    return images


def write_set(folder: Path, images: numpy.ndarray) -> None:
    folder.mkdir(parents=True)
    pixels = images.transpose(0, 2, 3, 1)
    write_shard(folder / shard_name(0), [(serial, encode_png(numpy.ascontiguousarray(image))) for serial, image in enumerate(pixels)])


def write_paintings(data: Path, *, numbers: dict[str, int], side: int = 16, channels: dict[str, int] | None = None) -> Path:
    """data/paintings with the sets that `numbers` names; those of a domain of one channel are grey."""
    for seed, (name, number) in enumerate(numbers.items()):
        images = figures(number, name[-1], side=side, seed=seed)
        write_set(data / "paintings" / name, images if (channels or {}).get(name[-1], 3) == 3 else images[:, :1])
    return data / "paintings"


def toy_domains(*, numbers: dict[str, int] | None = None, side: int = 16) -> Domains:
    numbers = numbers or {"A": 7, "B": 5}
    sets = {name: TrainingImages(torch.from_numpy(figures(number, name, side=side))) for name, number in numbers.items()}
    return Domains(sets, sets, {"A": "trainA", "B": "trainB"})


def toy_training(domains: Domains | None = None, *, devices: Devices = CPU, **changes: Any) -> CycleGANTraining:
    return CycleGANTraining(domains or toy_domains(), CycleGANOptions(**{**TINY, **changes}), devices, Reporter())
