"""Networks small enough for any test."""

from dataclasses import replace

import torch

from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator

# The published tiny net: 63,581 parameters.
TINY = StyleGAN3Config(resolution=32, cbase=512, cmax=32, z_dim=64, w_dim=64, num_layers=6, num_critical=2, margin=4)
# Smaller still, for gradients in float64.
TINIEST = StyleGAN3Config(resolution=16, cbase=64, cmax=8, z_dim=8, w_dim=8, num_layers=4, num_critical=2, margin=4)
TINIEST_R = replace(TINIEST, cfg="stylegan3-r")


def make_generator(config: StyleGAN3Config = TINIEST, *, seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(config)


def make_discriminator(config: StyleGAN3Config = TINIEST, *, seed: int = 0) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(config)
