"""The verdict on the kernel, with the kernel itself: interpreted on a CPU, compiled where there is a GPU."""

import os

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    # Read when triton is imported.
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="triton is not installed (extra gpu); the campaign then says that it has no kernel")

from bench.gpu import stylegan3
from bench.gpu.stylegan3 import TINIEST, TOLERANCES, answers
from training.stylegan3 import filtered_lrelu
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.generator import Generator


@pytest.fixture
def layers(monkeypatch):
    """By configuration, a tiny layer, which the kernel is to have nothing against."""
    for module in (stylegan3, filtered_lrelu):
        monkeypatch.setattr(module, "refusal", lambda device, dtype: None)

    def make(cfg):
        layers = Generator(StyleGAN3Config(cfg=cfg, resolution=16, **{**TINIEST, "cbase": 16})).synthesis.layers()
        return min((layer for layer in layers if not layer.spec.is_torgb), key=lambda layer: layer.plan.middle_size)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("cfg", ["stylegan3-t", "stylegan3-r"])
def test_the_kernel_is_right_by_norms_in_all_three_precisions(layers, cfg):
    verdicts = {str(dtype).removeprefix("torch."): found for dtype, found in answers(layers(cfg).to(DEVICE), DEVICE)}
    assert set(verdicts) == set(TOLERANCES)
    for name, found in verdicts.items():
        assert found["ok"] and found["fused"], (name, found)
        assert set(found["errors"]) == {"output", "gradient", "second derivative"} and max(found["errors"].values()) < TOLERANCES[name]
