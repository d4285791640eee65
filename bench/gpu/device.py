"""What a device is, how long it takes for something, what that costs in memory and power, and what it could do at most."""

import contextlib
import ctypes
import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata, util
from typing import Any, Self

import torch

from bench.measuring import processor
from training.loop.flops import peak_flops


class Nvml:
    """The driver's own library, for what torch does not tell; every answer is None where it is not there, or does not know."""

    def __init__(self, device: torch.device) -> None:
        self._handle, self._library = ctypes.c_void_p(), None
        if device.type != "cuda" or torch.version.hip is not None:
            return
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL("libnvidia-ml.so.1")
            # By its id: CUDA_VISIBLE_DEVICES counts otherwise than the driver does.
            name = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
            if library.nvmlInit_v2() == 0 and library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(self._handle)) == 0:
                self._library = library

    def driver(self) -> str | None:
        text = ctypes.create_string_buffer(96)
        is_told = self._library is not None and self._library.nvmlSystemGetDriverVersion(text, 96) == 0
        return text.value.decode() if is_told else None

    def joules(self) -> float | None:
        """Spent since the driver was loaded."""
        found = ctypes.c_ulonglong()
        is_told = self._library is not None and self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(found)) == 0
        return found.value / 1000 if is_told else None


nvml_of = functools.cache(Nvml)


class Meter:
    """A context manager: seconds, mean watts and the most memory of a stretch of work. watts, memory_gib: None where nobody tells."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.nvml = device, nvml_of(device)
        self.seconds = 0.0
        self.watts: float | None = None
        self.memory_gib: float | None = None

    def __enter__(self) -> Self:
        wait(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._joules, self._started = self.nvml.joules(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wait(self.device)
        self.seconds = max(1e-9, time.perf_counter() - self._started)
        joules = self.nvml.joules()
        if joules is not None and self._joules is not None and self.seconds >= 1:
            self.watts = round((joules - self._joules) / self.seconds, 1)
        if self.device.type == "cuda":
            # Graphs have pools of their own, which count as reserved.
            self.memory_gib = round(torch.cuda.max_memory_reserved(self.device) / 2**30, 3)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, *, most_s: float = 0.5, rounds: int = 20) -> float:
    """The median of a few runs after two that warm up, within about `most_s`; a GPU's by its own clock."""
    for _ in range(2):
        work()
    wait(device)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < most_s and len(times) < rounds):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000)
        else:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def peaks(device: torch.device) -> dict[str, float | None]:
    """`bytes_per_s` of its memory's clock and width, and `bf16_flops` by the data sheet; None where they are not known."""
    if device.type != "cuda":
        return {"bytes_per_s": None, "bf16_flops": None}
    properties = torch.cuda.get_device_properties(device)
    kilohertz, bits = (getattr(properties, name, 0) for name in ("memory_clock_rate", "memory_bus_width"))
    # Two transfers a cycle.
    return {"bytes_per_s": 2 * 1000 * kilohertz * bits / 8 or None, "bf16_flops": peak_flops(properties.name)}


def reached(device: torch.device, *, tiny: bool = False) -> dict[str, float]:
    """What plain copies and matrix products reach here: what a data sheet promises is nobody's to have."""
    elements, side = (2**16, 64) if tiny else (2**28, 8192)
    source, target = (torch.empty(elements, dtype=torch.int32, device=device) for _ in range(2))
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    copying = seconds_of(lambda: target.copy_(source), device)
    return {"copy_bytes_per_s": 8 * elements / copying, "bf16_matmul_flops": 2 * side**3 / seconds_of(lambda: a @ b, device)}


def facts() -> dict[str, Any]:
    """Who measures: the first GPU, or without one the processor; its memory, driver, releases, the date."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    known: dict[str, Any] = {
        "device": processor(),
        "kind": device.type,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "platform": sys.platform,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": nvml_of(device).driver(),
        **{name: metadata.version(name) if util.find_spec(name) else None for name in ("triton", "transformers", "numpy")},
        "processor": processor(),
        "peaks": peaks(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        memory, capability = round(properties.total_memory / 2**30, 1), f"{properties.major}.{properties.minor}"
        known |= {"device": properties.name, "memory_gib": memory, "multiprocessors": properties.multi_processor_count, "capability": capability}
    return known
