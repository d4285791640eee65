"""Which path is taken, and how many bytes either moves. Needs no triton."""

import logging
import math
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.stylegan3 import filtered_lrelu as choice
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.filtered_lrelu import filtered_lrelu, refusal
from training.stylegan3.filtered_lrelu_traffic import main, traffic
from training.stylegan3.resampling import resampling

from .tiny import TINIEST, TINIEST_R, make_generator

CUDA = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def _undecided():
    refusal.cache_clear()
    yield
    refusal.cache_clear()


@pytest.fixture
def capable(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "hip", None)


def of_version(version):
    module = ModuleType("triton")
    module.__version__ = version
    return module


def test_a_processor_and_other_makers_get_the_plain_path(monkeypatch):
    assert "NVIDIA" in refusal(torch.device("cpu"), torch.float32)
    assert "NVIDIA" in refusal(torch.device("mps"), torch.float32)
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert "NVIDIA" in refusal(CUDA, torch.float32)


def test_without_triton_the_log_says_once_what_to_install(capable, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)
    with caplog.at_level(logging.INFO):
        assert "figment[gpu]" in refusal(CUDA, torch.float16)
        refusal(CUDA, torch.float16)
    assert [record.message for record in caplog.records if "plain matrix products (triton cannot be imported" in record.message] == caplog.messages
    assert len(caplog.messages) == 1


def test_old_triton_old_devices_and_float64_are_refused(capable, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", of_version("2.1.0"))
    assert refusal(CUDA, torch.float16) == "triton 2.1.0 is older than 3.3; install figment[gpu] anew"
    assert "float64" in refusal(CUDA, torch.float64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    refusal.cache_clear()
    assert "7.5, the kernel needs 8.0" in refusal(CUDA, torch.float16)


@pytest.mark.parametrize("trial", [None, "its trial failed: OSError: no C compiler"])
def test_the_trial_decides(trial, capable, monkeypatch, caplog):
    kernel = ModuleType("filtered_lrelu_triton")
    kernel.failed_trial = lambda device, dtype: trial
    monkeypatch.setitem(sys.modules, "triton", of_version("3.9.0"))
    monkeypatch.setitem(sys.modules, "training.stylegan3.filtered_lrelu_triton", kernel)
    with caplog.at_level(logging.INFO):
        assert refusal(CUDA, torch.float16) == trial
    assert caplog.messages[-1].endswith("fused kernel" if trial is None else f"plain matrix products ({trial})")


def test_asking_for_the_kernel_where_there_is_none_says_why():
    layer = next(iter(make_generator().synthesis.layers()))
    layer.filtered_by = "kernel"
    with pytest.raises(
        RuntimeError, match="no kernel for filtered_lrelu on cpu in torch.float32: the kernel is written for NVIDIA's GPUs; take path"
    ):
        layer(torch.zeros(1, layer.spec.in_channels, *[layer.spec.in_size] * 2), torch.zeros(1, TINIEST.w_dim))


def test_filters_longer_than_the_picture_are_refused():
    with pytest.raises(ValueError, match="nothing is left of 4 x 4 pixels, 2 times up and 2 times down"):
        resampling(np.ones(12), np.ones(12), in_size=(4, 4), up=2, down=2, padding=(0, 0))


def test_the_transposed_of_the_transposed_is_the_plan_itself():
    plan = resampling(np.ones(12), np.ones(8), in_size=(9, 9), up=2, down=2, padding=(9, 8))
    assert plan.transposed.transposed is plan
    assert plan.transposed.out_size == (9, 9) and plan.transposed.up is plan.down


def distinct(tensor):
    """Elements in memory: a matrix that is repeated for every row of a picture is there once."""
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)


class Counted(TorchDispatchMode):
    """Bytes that operations on activations read and write; what views and what filters or factors weigh is left out."""

    def __init__(self, at_least):
        super().__init__()
        self.at_least, self.bytes = at_least, 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        is_view = any(returned.alias_info is not None and not returned.alias_info.is_write for returned in function._schema.returns)
        if not is_view and not any(word in function.name() for word in ("empty", "detach", "_unsafe_view")):
            inputs = {key: one for key, one in (keywords or {}).items() if key not in ("out", "grad_input")}
            read = [one for one in tree_leaves((arguments, inputs)) if isinstance(one, torch.Tensor)]
            written = [one for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
            self.bytes += sum(size * 4 for size in map(distinct, (*read, *written)) if size >= self.at_least)
        return result


@pytest.mark.parametrize("config", [TINIEST, TINIEST_R])
def test_the_plain_path_moves_the_counted_bytes(config):
    forward = backward = 0
    for layer in make_generator(replace(config, cbase=4096, cmax=64)).synthesis.layers():
        if layer.spec.is_torgb:
            continue
        side, channels = layer.plan.in_size[0], layer.spec.out_channels
        x = torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
        factor = torch.rand(1, channels).requires_grad_()
        # The largest matrix of filters is smaller than the smallest activation.
        smallest = channels * min(side, layer.spec.out_size) ** 2
        assert smallest > max(layer.up.numel(), layer.down_vertical.numel())
        with Counted(smallest) as ahead:
            y = filtered_lrelu(x, factor, layer.bias, filters=layer.filters, plan=layer.plan, clamp=256.0)
        upstream = torch.randn_like(y)
        with Counted(smallest) as back:
            torch.autograd.grad(y, (x, factor, layer.bias), upstream)
        forward, backward = forward + ahead.bytes, backward + back.bytes
    plain, _ = traffic(replace(config, cbase=4096, cmax=64, precision="float32"))
    assert plain.forward == pytest.approx(forward, rel=0.05)
    assert plain.backward == pytest.approx(backward, rel=0.05)


def test_the_kernel_moves_a_small_part_of_the_bytes_and_keeps_an_eighth_of_the_memory():
    plain, kernel = traffic(StyleGAN3Config(resolution=128))
    assert plain.tb_a_kimg() / kernel.tb_a_kimg() > 15
    # Two bits instead of sixteen, and no alignment.
    assert 8 <= plain.kept / kernel.kept < 9


def test_the_table_has_both_configurations(capsys):
    main(["--resolutions", "128"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" |")[0] for line in lines[2:]] == ["| T 128", "| T 128", "| R 128", "| R 128"]


def test_a_module_that_is_never_asked_for_the_kernel_never_imports_triton():
    before = "triton" in sys.modules
    layer = next(iter(make_generator().synthesis.layers()))
    layer(torch.zeros(1, layer.spec.in_channels, *[layer.spec.in_size] * 2), torch.zeros(1, TINIEST.w_dim))
    assert ("triton" in sys.modules) == before
    assert choice.refusal.cache_info().currsize == 1
