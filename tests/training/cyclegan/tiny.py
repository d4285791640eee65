"""CycleGANs that are small enough to be trained, or at least run, in no time."""

import json

import numpy
import torch
from torch import nn

from formats.image_shards import shard_name, write_shard
from formats.png import encode_png
from training.cyclegan.config import CycleGANConfig
from training.cyclegan.generator import Generator, Generators, make_generators, save_generators
from training.gans.grids import save_picture
from training.loop.devices import Devices

CPU = Devices(torch.device("cpu"))


def tiny(seed=0, **changes) -> Generators:
    """Fresh ones whose colours are far from grey."""
    torch.manual_seed(seed)
    config = CycleGANConfig(**{"domain_a": "painting", "domain_b": "photo", "resolution": 32, "net_g": "resnet_1blocks", "ngf": 4, **changes})
    made = make_generators(config)
    for network in (made.a_to_b, made.b_to_a):
        for parameter in network.parameters():
            parameter.requires_grad_(False).mul_(10)
    return made


def plain(network: nn.Module, channels_in=3, channels_out=3) -> Generator:
    """A generator that is `network` and nothing else; it still wants multiples of 4."""
    generator = tiny(channels_a=channels_in, channels_b=channels_out).a_to_b
    generator.model = network
    return generator


def write_model(folder, generators, *, snapshots=2):
    folder.mkdir(parents=True, exist_ok=True)
    save_generators(folder, generators)
    rows = []
    for number in range(snapshots):
        save_picture(folder / "snapshots" / f"fakes{number:06d}.png", numpy.full((64, 96, 3), 60 * number, numpy.uint8))
        rows.append({"images": 1000 * number, "file": f"fakes{number:06d}.png", "metrics": {}})
    index = {"columns": 3, "rows": 2, "psi": 1.0, "resolution": 32, "seed": 0, "snapshots": rows}
    (folder / "snapshots").mkdir(exist_ok=True)
    (folder / "snapshots/index.json").write_text(json.dumps(index))
    return folder


def write_set(folder, images, *, serials=None, per_shard=5):
    """uint8 [N, C, H, W] as a set of shards; serial numbers with gaps."""
    folder.mkdir(parents=True, exist_ok=True)
    serials = serials or [3 * index + 1 for index in range(len(images))]
    members = [(serial, encode_png(numpy.ascontiguousarray(image.transpose(1, 2, 0)))) for serial, image in zip(serials, images, strict=True)]
    for number in range(0, len(members), per_shard):
        write_shard(folder / shard_name(number // per_shard), members[number : number + per_shard])
    return folder
