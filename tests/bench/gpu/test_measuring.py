import time

import pytest
import torch

from bench.gpu.device import Meter, Nvml, facts, peaks, seconds_of
from bench.gpu.profiles import summarised
from bench.gpu.words import flops_per_token

CPU = torch.device("cpu")


def test_what_nobody_tells_is_none():
    known = facts(CPU)
    assert known["kind"] == "cpu" and known["torch"] == torch.__version__ and known["peaks"] == {"bytes_per_s": None, "bf16_flops": None}
    assert Nvml(CPU).joules() is None
    with Meter(CPU) as meter:
        time.sleep(0.02)
    assert 0.02 <= meter.seconds < 5 and meter.watts is None and meter.memory_gib is None


def test_a_device_is_known_by_the_longest_name_that_fits(monkeypatch):
    names = {"NVIDIA H100 PCIe": 756e12, "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA GH200 480GB": 989e12, "NVIDIA L40S": 362e12, "NVIDIA L4": 121e12}
    for name, flops in {**names, "NVIDIA GeForce GTX 1080": None}.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert peaks(torch.device("cuda"))["bf16_flops"] == flops


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


def test_flops_of_a_token_are_those_of_its_matrices():
    # Two layers of 12 width² each and a head: by hand, without biases and norms.
    width, vocabulary, positions = 8, 10, 16
    weights = 2 * 12 * width**2 + vocabulary * width + positions * width
    assert flops_per_token(weights, {"n_embd": width, "n_layer": 2}, positions, 6) == pytest.approx(
        6 * (2 * 12 * width**2 + vocabulary * width) + 12 * 2 * width * 3
    )
