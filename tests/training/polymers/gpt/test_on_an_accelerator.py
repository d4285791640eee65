"""PolyGPT on a GPU: compiled steps, and molecules by a CUDA graph that are those of the plain loop."""

import logging

import pytest
import torch

from tests.training.polymers.gpt.test_compiled import CONFIG, data  # noqa: F401
from tests.training.polymers.test_captured import requests, writers
from training.loop import captured
from training.loop.devices import Devices
from training.loop.recording import CudaRecorder
from training.polymers.decoding import SamplingSettings, sample_tokens
from training.polymers.gpt.trainer import PolyGPTTrainer

pytestmark = pytest.mark.gpu
GPU = Devices(torch.device("cuda", 0))


def test_compiled_steps_are_those_of_the_plain_path(data):  # noqa: F811
    from dataclasses import replace

    compiled, plain = (PolyGPTTrainer(data, replace(CONFIG, precision="float32", compile=setting), GPU) for setting in ("auto", "off"))
    for _ in range(10):
        values = [float(trainer.step().values["loss"]) for trainer in (compiled, plain)]
        assert values[0] == pytest.approx(values[1], rel=1e-2)
    assert compiled.losses.is_on


@pytest.mark.parametrize("number", [0, 1], ids=["PolyGPT", "PolyVAE"])
def test_a_cuda_graph_writes_what_the_plain_loop_writes(number, caplog, monkeypatch):
    writer, wanted = writers()[number], requests(64)
    writer.model.cuda()
    with caplog.at_level(logging.WARNING):
        recorded = sample_tokens(writer, *wanted, SamplingSettings(seed=3))
    assert not caplog.messages
    monkeypatch.setattr("training.polymers.decoding.recorder_for", lambda device: None)
    plain = sample_tokens(writer, *wanted, SamplingSettings(seed=3))
    steps = min(recorded.shape[1], plain.shape[1])
    # A number on the border between two tokens may fall on the other side.
    assert (recorded[:, :steps] == plain[:, :steps]).all(dim=1).float().mean() >= 0.95


def test_a_recording_that_fails_leaves_the_plain_steps(caplog, monkeypatch):
    monkeypatch.setattr(captured, "_said", set())
    writer = writers()[0]
    writer.model.cuda()

    class Reading(CudaRecorder):
        def record(self, call, generators=()):
            return super().record(lambda: (call(), torch.zeros(1, device="cuda").item()), generators)

    sample_tokens(writer, *requests(4), SamplingSettings(), recorder=Reading(GPU.device))
    assert any("without a CUDA graph" in line for line in caplog.messages)
