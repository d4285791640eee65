"""A Progressive GAN of 4 to 16 px that is as small as it can be, and page-like pictures for it."""

from pathlib import Path

import numpy
import torch

from formats.image_shards import shard_name, write_shard
from formats.png import encode_png
from training.gans.image_stream import TrainingImages
from training.progressive import Discriminator, Generator, ProgressiveConfig
from training.progressive.layers import Growing

TINY = ProgressiveConfig(resolution=16, channels=1, z_dim=8, filters=(8, 6, 5), mbstd_group=2)


def networks(config: ProgressiveConfig = TINY, seed: int = 0) -> tuple[Generator, Discriminator]:
    """Both, with biases that are not 0, so that nothing is right by accident."""
    torch.manual_seed(seed)
    both = Generator(config), Discriminator(config)
    with torch.no_grad():
        for network in both:
            for name, parameter in network.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(std=0.3)
    return both


def grown(network: Growing, px: int, alpha: float = 1.0) -> Growing:
    network.grow(px, alpha)
    return network


def page_images(number: int, side: int = 16, channels: int = 1, seed: int = 0) -> numpy.ndarray:
    """uint8 [N, channels, side, side]: white pages with grey lines of text of different lengths, some with a dark plate."""
    random = numpy.random.default_rng(seed)
    images = numpy.full((number, channels, side, side), 255, numpy.uint8)
    for image in images:
        for line in range(side // 8, side - side // 8, 2):
            end = random.integers(side // 2, side - side // 8 + 1)
            image[:, line, side // 8 : end] = random.integers(110, 170)
        if random.random() < 0.3:
            top = random.integers(side // 8, side // 2)
            image[:, top : top + side // 3, side // 4 : side - side // 4] = random.integers(40, 90)
    return images


def images(number: int = 24, side: int = 16, channels: int = 1) -> TrainingImages:
    return TrainingImages(torch.from_numpy(page_images(number, side, channels)))


def write_pages(data: Path, *, number: int = 24, side: int = 16, channels: int = 1) -> Path:
    """data/page_dataset@SIDE, in one shard."""
    folder = data / f"page_dataset@{side}"
    folder.mkdir(parents=True)
    pictures = page_images(number, side, channels).transpose(0, 2, 3, 1)
    members = ((serial, encode_png(numpy.ascontiguousarray(picture))) for serial, picture in enumerate(pictures))
    write_shard(folder / shard_name(0), members)
    return folder
