"""The same numbers on an accelerator as on the CPU, and bfloat16 that stays close to them."""

import pytest
import torch

from stages.reporting import Reporter
from tests.training.progressive.tiny import images
from training.loop.devices import Devices
from training.progressive.options import ProgressiveOptions
from training.progressive.train import ProgressiveTraining

pytestmark = pytest.mark.gpu


def values_after(device: str, precision: str, steps: int = 3) -> list[dict[str, float]]:
    options = ProgressiveOptions(batch=8, batch_by_px={}, z_dim=16, fmap_max=16, stable_kimg=0.008, fade_kimg=0.016, precision=precision)
    training = ProgressiveTraining(images(), options, Devices(torch.device(device)), Reporter())
    return [{name: float(value) for name, value in training.trainer.step().values.items()} for _ in range(steps)]


def test_losses_through_a_fade_are_those_of_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    for here, there in zip(values_after("cpu", "float32"), values_after("cuda", "float32"), strict=True):
        assert there == pytest.approx(here, rel=2e-2, abs=2e-3)


def test_bfloat16_stays_close():
    for here, there in zip(values_after("cuda", "float32"), values_after("cuda", "bfloat16"), strict=True):
        assert there["d_loss"] == pytest.approx(here["d_loss"], rel=0.2, abs=0.2) and there["g_gradient_norm"] > 0
