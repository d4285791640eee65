"""CycleGAN on a GPU: a step as on the CPU, bfloat16 by default, and a state that goes on."""

import io
import math

import pytest
import torch

from tests.training.cyclegan.toy_pictures import toy_domains, toy_training
from training.loop.devices import Devices

pytestmark = pytest.mark.gpu
SIZES = {"ngf": 8, "ndf": 8, "n_layers_d": 2, "net_g": "resnet_2blocks", "load_size": 36, "kimg": 1.0, "constant_kimg": 1.0, "decay_kimg": 0.0}


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def on_a_gpu(**changes):
    return toy_training(toy_domains(side=32), devices=Devices(torch.device("cuda", 0)), **{**SIZES, **changes})


def test_the_first_step_is_that_of_the_cpu():
    here, there = (training.trainer.step().numbers() for training in (toy_training(toy_domains(side=32), **SIZES), on_a_gpu(precision="float32")))
    for name in ("g_loss", "d_a_loss", "d_b_loss", "cycle_a", "identity_b"):
        assert there[name] == pytest.approx(here[name], rel=5e-3)


def test_it_learns_in_bfloat16_and_goes_on_from_its_state():
    training, other = on_a_gpu(), on_a_gpu()
    first = training.trainer.step().numbers()["cycle_a"]
    for _ in range(60):
        outcome = training.trainer.step()
    assert not outcome.skipped and outcome.values["cycle_a"] < first and all(math.isfinite(value) for value in outcome.numbers().values())
    buffer = io.BytesIO()
    torch.save(training.trainer.state_dict(), buffer)
    buffer.seek(0)
    other.trainer.load_state_dict(torch.load(buffer, map_location="cpu", weights_only=True))
    values = [one.trainer.step().numbers() for one in (training, other)]
    assert values[1]["g_loss"] == pytest.approx(values[0]["g_loss"], rel=1e-2)
