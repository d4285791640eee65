"""Averaged weights: half-lives in samples, whatever the batch size."""

import pytest
import torch
from torch import nn

from training.loop.ema import Ema


def constant_model(value: float) -> nn.Module:
    model = nn.BatchNorm1d(2)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(value)
    return model


def test_after_one_half_life_the_average_is_half_way():
    ema = Ema(constant_model(0.0), half_life_samples=100)
    ema.update(constant_model(1.0), samples=100)
    assert ema.average["weight"].tolist() == pytest.approx([0.5, 0.5])


def test_many_small_batches_equal_one_large_batch():
    once, often = Ema(constant_model(0.0), half_life_samples=1000), Ema(constant_model(0.0), half_life_samples=1000)
    once.update(constant_model(1.0), samples=640)
    for _ in range(20):
        often.update(constant_model(1.0), samples=32)
    assert often.average["bias"].tolist() == pytest.approx(once.average["bias"].tolist(), rel=1e-5)


def test_counters_are_copied_not_averaged():
    ema = Ema(constant_model(0), half_life_samples=100)
    ema.update(constant_model(7), samples=1)
    assert int(ema.average["num_batches_tracked"]) == 7


def test_without_a_half_life_the_average_is_the_model():
    ema = Ema(constant_model(0.0), half_life_samples=0)
    ema.update(constant_model(2.0), samples=1)
    assert ema.average["weight"].tolist() == [2.0, 2.0]


def test_a_saved_average_continues():
    ema, other = Ema(constant_model(0.0), half_life_samples=50), Ema(constant_model(9.0), half_life_samples=50)
    ema.update(constant_model(1.0), samples=30)
    other.load_state_dict({name: tensor.clone() for name, tensor in ema.state_dict().items()})
    for average in (ema, other):
        average.update(constant_model(3.0), samples=10)
    assert torch.equal(ema.average["weight"], other.average["weight"])


def test_in_a_ramp_the_half_life_is_a_share_of_the_samples_seen():
    ema, expected, seen = Ema(constant_model(0.0), half_life_samples=1000, rampup=0.05), 0.0, 0
    for _ in range(30):
        ema.update(constant_model(1.0), samples=32, seen=seen)
        half_life = min(1000, 0.05 * seen)
        kept = 0.5 ** (32 / half_life) if half_life else 0.0
        expected = 1 - kept * (1 - expected)
        seen += 32
    assert ema.average["weight"].tolist() == pytest.approx([expected] * 2, rel=1e-6)


def test_buffers_that_are_averages_themselves_are_copied():
    ema = Ema(constant_model(0.0), half_life_samples=100, copied=["running_mean"])
    ema.update(constant_model(1.0), samples=100)
    assert ema.average["running_mean"].tolist() == [1.0, 1.0] and ema.average["running_var"].tolist() == [0.5, 0.5]


def test_the_averaged_model_is_a_copy():
    model = constant_model(1.0)
    ema = Ema(constant_model(3.0), half_life_samples=100)
    averaged = ema.averaged(model)
    ema.update(constant_model(9.0), samples=100)
    assert averaged.weight.tolist() == [3.0, 3.0] and model.weight.tolist() == [1.0, 1.0]
    assert not averaged.training and not averaged.weight.requires_grad
