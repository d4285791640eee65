"""The same numbers on an accelerator as on the CPU, and bfloat16 that stays close to them."""

import io

import pytest
import torch

from stages.reporting import Reporter
from tests.training.progressive.tiny import images
from training.loop.devices import Devices
from training.progressive.options import ProgressiveOptions
from training.progressive.train import ProgressiveTraining

pytestmark = pytest.mark.gpu


def on(device: str, precision: str, channels: int = 1) -> ProgressiveTraining:
    options = ProgressiveOptions(batch=8, batch_by_px={}, z_dim=16, fmap_max=16, stable_kimg=0.008, fade_kimg=0.016, precision=precision)
    return ProgressiveTraining(images(channels=channels), options, Devices(torch.device(device)), Reporter())


def values_after(device: str, precision: str, steps: int = 3) -> list[dict[str, float]]:
    training = on(device, precision)
    return [training.trainer.step().numbers() for _ in range(steps)]


def test_losses_through_a_fade_are_those_of_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    for here, there in zip(values_after("cpu", "float32"), values_after("cuda", "float32"), strict=True):
        assert there == pytest.approx(here, rel=2e-2, abs=2e-3)


def test_bfloat16_stays_close():
    for here, there in zip(values_after("cuda", "float32"), values_after("cuda", "bfloat16"), strict=True):
        assert there["d_loss"] == pytest.approx(here["d_loss"], rel=0.2, abs=0.2) and there["g_gradient_norm"] > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_through_every_phase_in_bfloat16_and_on_from_a_state_inside_the_last_fade(channels):
    training, other = on("cuda", "auto", channels), on("cuda", "auto", channels)
    while training.trainer.samples_seen < 40:
        assert not training.trainer.step().skipped
    assert 0 < training.where()["alpha"] < 1 and training.generator.config.grown_px == 16
    buffer = io.BytesIO()
    torch.save(training.trainer.state_dict(), buffer)
    buffer.seek(0)
    other.trainer.load_state_dict(torch.load(buffer, map_location="cpu", weights_only=True))
    values = [[one.trainer.step().numbers()["d_loss"] for _ in range(4)] for one in (training, other)]
    assert values[1] == pytest.approx(values[0], rel=1e-2, abs=1e-2)
    assert training.averaged()(torch.randn(2, 16, device="cuda")).isfinite().all()
