import time
from types import SimpleNamespace

import pytest
import torch

from bench.gpu import stylegan3
from bench.gpu.device import Meter, Nvml, facts, peaks, seconds_of
from bench.gpu.profiles import summarised
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.generator import Generator

CPU = torch.device("cpu")


def test_what_nobody_tells_is_none():
    known = facts()
    assert known["kind"] == "cpu" and known["torch"] == torch.__version__ and known["peaks"] == {"bytes_per_s": None, "bf16_flops": None}
    assert Nvml(CPU).joules() is None
    with Meter(CPU) as meter:
        time.sleep(0.02)
    assert 0.02 <= meter.seconds < 5 and meter.watts is None and meter.memory_gib is None


def test_peaks_are_those_of_the_device(monkeypatch):
    properties = SimpleNamespace(name="NVIDIA H100 80GB HBM3", memory_clock_rate=2_619_000, memory_bus_width=5120)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    assert peaks(torch.device("cuda")) == {"bytes_per_s": pytest.approx(3.35e12, rel=0.01), "bf16_flops": 989.4e12}
    properties.name, properties.memory_clock_rate = "NVIDIA GeForce GTX 1080", 0
    assert peaks(torch.device("cuda")) == {"bytes_per_s": None, "bf16_flops": None}


def test_the_median_is_of_runs_after_the_warm_up():
    calls = []

    def work():
        calls.append(1)
        time.sleep(0.05 if len(calls) <= 2 else 0.001)

    assert seconds_of(work, CPU, most_s=0.01) < 0.04 and len(calls) >= 5


def test_a_trace_is_summed_by_kernel_and_gaps_are_what_no_kernel_covers():
    def kernel(ts, dur, name="k"):
        return {"cat": "kernel", "ts": ts, "dur": dur, "name": name}

    launch = {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 0, "dur": 1}
    events = [kernel(0, 1000), kernel(500, 1000, "other"), kernel(3000, 1000), launch, launch, {"name": "cudaStreamSynchronize", "ts": 1, "dur": 1}]
    found = summarised(events, is_gpu=True)
    assert (found["busy_ms"], found["window_ms"], found["gap_ms"]) == (2.5, 4.0, 1.5)
    assert found["top"][0] == {"name": "k", "milliseconds": 2.0, "calls": 2}
    assert (found["kernels"], found["launches"], found["host_waits"]) == (3, 2, 1)
    assert summarised([], is_gpu=True)["window_ms"] == 0


def test_a_wrong_answer_is_found_out(monkeypatch):
    layer = next(iter(Generator(StyleGAN3Config(resolution=16, **{**stylegan3.TINIEST, "cbase": 16})).synthesis.layers()))
    assert [found["ok"] for _, found in stylegan3.answers(layer, CPU)] == [True] * 3
    right = stylegan3.filtered_lrelu
    monkeypatch.setattr(stylegan3, "filtered_lrelu", lambda *arguments, **named: 1.2 * right(*arguments, **named))
    assert [found["ok"] for _, found in stylegan3.answers(layer, CPU)] == [False] * 3
