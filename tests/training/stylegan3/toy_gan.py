"""A StyleGAN3 of 16 px that takes steps in milliseconds."""

from typing import Any

import torch

from stages.reporting import Reporter
from tests.training.stylegan3.toy_images import disc_images
from training.gans.image_stream import TrainingImages
from training.loop.devices import Devices
from training.stylegan3.options import StyleGAN3Options
from training.stylegan3.train import StyleGAN3Training

TINY: dict[str, Any] = {
    "cbase": 64,
    "cmax": 8,
    "z_dim": 8,
    "w_dim": 8,
    "num_layers": 4,
    "num_critical": 1,
    "margin": 2,
    "batch": 4,
    "mbstd_group": 1,
    "aug": "noaug",
    "seed": 3,
}


def toy_training(*, number: int = 24, labels: torch.Tensor | None = None, devices: Devices | None = None, **changes: Any) -> StyleGAN3Training:
    data = TrainingImages(torch.from_numpy(disc_images(number, 16)), labels)
    return StyleGAN3Training(data, StyleGAN3Options(**{**TINY, **changes}), devices or Devices(torch.device("cpu")), Reporter())
