"""What a device is, how long it takes for something, what that costs in memory and power, and what it could do at most."""

import ctypes
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata, util
from typing import Any, Self

import torch

from bench.measuring import processor

# By a part of the name: bytes a second of memory, and dense bfloat16 FLOP a second, as the data sheets have them. The first that fits counts.
_PEAKS = (
    ("B200", 8.0e12, 2250e12), ("H200", 4.8e12, 989e12), ("GH200", 4.0e12, 989e12), ("H100 PCIe", 2.0e12, 756e12), ("H100", 3.35e12, 989e12),
    ("A100-SXM4-80GB", 2.04e12, 312e12), ("A100 80GB", 1.94e12, 312e12), ("A100", 1.56e12, 312e12), ("L40S", 0.864e12, 362e12),
    ("L4", 0.3e12, 121e12), ("A10", 0.6e12, 125e12), ("RTX 4090", 1.01e12, 165e12), ("RTX 3090", 0.936e12, 71e12),
)  # fmt: skip


class Nvml:
    """The driver's own library, for what torch does not tell; every answer is None where it is not there, or does not know."""

    def __init__(self, device: torch.device) -> None:
        self._handle, self._library = ctypes.c_void_p(), None
        if device.type != "cuda" or torch.version.hip is not None:
            return
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
            # By its id: CUDA_VISIBLE_DEVICES counts otherwise than the driver does.
            name = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
            if library.nvmlInit_v2() == 0 and library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(self._handle)) == 0:
                self._library = library
        except (OSError, AttributeError):
            return

    def driver(self) -> str | None:
        text = ctypes.create_string_buffer(96)
        if self._library is not None and self._library.nvmlSystemGetDriverVersion(text, 96) == 0:
            return text.value.decode()
        try:
            words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            return subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")[0].strip() or None
        except (OSError, subprocess.SubprocessError):
            return None

    def joules(self) -> float | None:
        """Spent since the driver was loaded."""
        found = ctypes.c_ulonglong()
        is_told = self._library is not None and self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(found)) == 0
        return found.value / 1000 if is_told else None


class Meter:
    """A context manager: seconds, mean watts and the most memory of a stretch of work. watts, memory_gib: None where nobody tells."""

    def __init__(self, device: torch.device, nvml: Nvml | None = None) -> None:
        self.device, self.nvml = device, nvml or Nvml(device)
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
        self.seconds = time.perf_counter() - self._started
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
    """The median of a few runs after two that warm up, within about `most_s`."""
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
    """`bytes_per_s` and `bf16_flops` by the data sheet, None for a device that is not in the table."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    found = next((rest for part, *rest in _PEAKS if part in name), [None, None])
    return dict(zip(("bytes_per_s", "bf16_flops"), found, strict=True))


def reached(device: torch.device, *, tiny: bool = False) -> dict[str, float]:
    """What plain copies and matrix products reach here: what a data sheet promises is nobody's to have."""
    elements, side = (2**16, 64) if tiny else (2**28, 8192)
    source, target = (torch.empty(elements, dtype=torch.int32, device=device) for _ in range(2))
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    copying = seconds_of(lambda: target.copy_(source), device)
    return {"copy_bytes_per_s": 8 * elements / copying, "bf16_matmul_flops": 2 * side**3 / seconds_of(lambda: a @ b, device)}


def facts(device: torch.device) -> dict[str, Any]:
    """Who measured: name, memory, driver, releases, date."""
    released = {name: metadata.version(name) for name in ("triton", "transformers", "numpy") if util.find_spec(name) is not None}
    known: dict[str, Any] = {
        "device": processor(),
        "kind": device.type,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "platform": sys.platform,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": Nvml(device).driver(),
        **{name: released.get(name) for name in ("triton", "transformers", "numpy")},
        "processor": processor(),
        "peaks": peaks(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        known |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
        }
    return known
