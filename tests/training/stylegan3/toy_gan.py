"""A StyleGAN3 of 16 px that takes steps in milliseconds, and its trainer."""

from typing import Any

import torch

from stages.reporting import Reporter
from tests.training.stylegan3.toy_images import disc_images
from training.loop.devices import Devices
from training.stylegan3.gan import GanTrainer
from training.stylegan3.options import StyleGAN3Options
from training.stylegan3.train import open_trainer

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


def toy_trainer(*, number: int = 24, labels: torch.Tensor | None = None, devices: Devices | None = None, **changes: Any) -> GanTrainer:
    options = StyleGAN3Options(**{**TINY, **changes})
    return open_trainer(options, disc_images(number, 16), labels, devices or Devices(torch.device("cpu")), Reporter())


def flat_state(trainer: GanTrainer) -> dict[str, Any]:
    """The state as one level of names, for comparisons."""
    flat: dict[str, Any] = {}

    def visit(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(item, f"{name}.{key}")
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                visit(item, f"{name}.{index}")
        else:
            flat[name] = value

    visit(trainer.state_dict(), "state")
    return flat


def assert_equal_states(one: GanTrainer, other: GanTrainer) -> None:
    ours, theirs = flat_state(one), flat_state(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name
