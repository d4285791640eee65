"""Which process is ours, whether it still lives, and how much of the machine it uses."""

import contextlib
import hashlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training.tracking.journal import TrackingError

# Clock corrections move the start time that the system computes for a living process; a reused pid is off by far more.
_START_TOLERANCE_S = 30.0


def this_process() -> dict[str, Any]:
    """`host`, `pid` and `started` (Unix seconds) of the running process, enough to know it again."""
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "started": round(psutil.Process().create_time(), 2)}


def project_label(root: Path) -> str:
    """What tells runs of the project at `root` from those of others in a shared store, without saying where on this machine it lies."""
    place = root.resolve()
    return f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def process_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """The process that the tags of an MLflow run name, as `is_dead` takes it."""
    return {"host": tags.get("figment.host"), "pid": tags.get("figment.pid", "0"), "started": tags.get("figment.process_started", "0")}


def is_dead(process: Mapping[str, Any]) -> bool:
    """Whether the process that `this_process` described is surely gone. Processes of other hosts cannot be judged: False."""
    if process.get("host") != socket.gethostname():
        return False
    import psutil

    try:
        # Numbers of processes are used again: only number and start time together name one. A zombie has ended, and waits for its parent.
        found = psutil.Process(int(process["pid"]))
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(found.create_time() - float(process["started"])) > _START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return True
    except (psutil.AccessDenied, KeyError, ValueError):
        return False


class SystemSampler:
    """A background thread that hands the machine's load to `record` every `every_s` seconds, under the names MLflow's own monitor uses."""

    def __init__(self, record: Callable[[dict[str, float]], None], *, every_s: float) -> None:
        self._record = record
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="figment-system-metrics", daemon=True)

    def start(self) -> None:
        """Begin sampling."""
        self._thread.start()

    def stop(self) -> None:
        """End sampling; returns within a moment."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        import psutil

        process = psutil.Process()
        psutil.cpu_percent()  # the first call only sets the beginning of the interval
        while not self._stop.wait(self._every_s):
            # A reading that fails (a mount that went away, a GPU that fell off the bus) is one reading less, never the end of a training.
            with contextlib.suppress(psutil.Error, OSError, RuntimeError, TrackingError):
                self._record(_machine_load(process) | _gpu_load())


def _machine_load(process: Any) -> dict[str, float]:
    import psutil

    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(Path.cwd())
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_usage_megabytes": process.memory_info().rss / 1e6,
        "system/disk_usage_percentage": disk.percent,
        "system/disk_available_megabytes": disk.free / 1e6,
    }


def _gpu_load() -> dict[str, float]:
    """Memory of each GPU this process uses, from torch when the training has loaded it; nothing on a machine without a GPU."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return {}
    load = {}
    for index in range(cuda.device_count()):
        free, total = cuda.mem_get_info(index)
        load[f"system/gpu_{index}_memory_usage_megabytes"] = (total - free) / 1e6
        load[f"system/gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
    return load
