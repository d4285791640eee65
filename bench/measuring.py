"""What the benchmarks have in common: their flags, the CPU seconds of whole programs, and how ratios and reports are written."""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the flags that every benchmark has: `python -m bench` passes them on."""
    flags = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", choices=("smoke", "std"), default="smoke", help="smoke: a look in seconds or a minute; std: the figures to quote")
    flags.add_argument("--json", type=Path, metavar="PATH", help="also write the figures here")
    return flags


def cpu_and_wall_s(words: Sequence[str], *, cwd: Path, variables: Mapping[str, str]) -> tuple[float, float]:
    """CPU seconds (user and system) of a program with its start and all it waited for, and wall seconds. One that fails ends the benchmark."""
    usage, wall_s = usage_of(words, cwd=cwd, variables=variables)
    return usage.ru_utime + usage.ru_stime, wall_s


def usage_of(words: Sequence[str], *, cwd: Path, variables: Mapping[str, str]) -> tuple[resource.struct_rusage, float]:
    """What a program and all it waited for used (ru_maxrss: KiB), and wall seconds. One that fails ends the benchmark."""
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        # wait4 tells of this child and its own alone; RUSAGE_CHILDREN would add up all that ever ran.
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)}: exit {process.returncode}\n{said.read().decode(errors='replace')[-2_000:]}")
    return usage, wall_s


def processor() -> str:
    """The name of this machine's processor, as its system gives it."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def spread(values: Sequence[float], digits: int | None = None) -> dict[str, float]:
    """Median with the least and the greatest: of ratios, round by round."""
    found = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return found if digits is None else {name: round(value, digits) for name, value in found.items()}


def write_report(path: Path | None, report: Mapping[str, Any]) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
