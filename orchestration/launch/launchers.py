"""How a stage's command reaches processors: compute.yaml says whether by itself or under torchrun, with how many threads and which GPUs.

Nothing here is part of an artifact's identity: the same stage may run on one machine today and on another tomorrow. A launcher takes a `Job` and
gives back an `Outcome`; one for a cluster (submit, follow the log, cancel) fits behind the same two names as the local one.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestration.bridge.process import Hold, Outcome, run_command
from stages.locks import take_lock
from stages.near_misses import did_you_mean
from stages.params import ParamsError, build_config, read_yaml

COMPUTE_FILE = "compute.yaml"
GPU_POOL = "gpu"
_GPU_POLL_S = 0.5
_GPU_LIST_TIMEOUT_S = 20.0
_PYTHON_MODULE = re.compile(r"^(?P<python>(?:\S*/)?python[\d.]*(?:\s+-[A-Za-z]+)*?)\s+-m\s+(?P<rest>\S.*)$")


class LaunchError(Exception):
    """A command cannot be started as compute.yaml asks."""


@dataclass(frozen=True)
class StageCompute:
    """Where and with what one stage runs.

    gpus: how many to hand out; null is one for stages of the pool `gpu` and none for others. processes: torchrun's workers; null is one a GPU.
    threads: for OMP_NUM_THREADS and FIGMENT_THREADS; null leaves both alone, or divides the processors
    among trainings that run side by side without a GPU. env: further variables. grace_s: seconds between SIGTERM and SIGKILL.
    """

    launcher: Literal["local", "torchrun"] = "local"
    gpus: int | None = None
    processes: int | None = None
    threads: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    grace_s: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("gpus", 0), ("processes", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, found {value}")
        if self.grace_s < 0:
            raise ValueError(f"grace_s must not be negative, found {self.grace_s}")


@dataclass(frozen=True)
class GpuPool:
    """The GPUs to hand out.

    devices: "auto" asks nvidia-smi (within CUDA_VISIBLE_DEVICES, where that is set), or a list of what CUDA_VISIBLE_DEVICES takes.
    limit: how many stages of the pool run at once; null is one a GPU, and `limit_without` on a machine that has none. hide: stages that get no GPU
    see none (CUDA_VISIBLE_DEVICES set to nothing) instead of what the surroundings show.
    """

    devices: Literal["auto"] | list[str] = "auto"
    limit: int | None = None
    limit_without: int = 1
    hide: bool = False

    def __post_init__(self) -> None:
        for name in ("limit", "limit_without"):
            if (places := getattr(self, name)) is not None and places < 1:
                raise ValueError(f"{name} must be at least 1, found {places}")


@dataclass(frozen=True)
class Compute:
    """The whole of compute.yaml, each stage's settings laid over the defaults."""

    gpu: GpuPool = GpuPool()
    default: StageCompute = StageCompute()
    stages: dict[str, StageCompute] = field(default_factory=dict)

    def of(self, stage: str) -> StageCompute:
        return self.stages.get(stage, self.default)


@dataclass(frozen=True)
class Job:
    """A stage's command, where and in what environment it runs. `pool` is its Dagster pool; `hold` must not be let go before its last process."""

    stage: str
    cmd: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    pool: str | None = None
    hold: Hold = field(default_factory=Hold)


class Launcher(Protocol):
    """Runs a job to its end, wherever that is. Ends it when `is_cancelled` says so."""

    def __call__(self, job: Job, *, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Outcome: ...


def load_compute(path: Path, stages: Sequence[str] | None = None) -> Compute:
    """compute.yaml, or the defaults where there is none. Raises ParamsError for what it does not know; `stages`: the names that exist."""
    if not path.exists():
        return Compute()
    tree = read_yaml(path)
    tree = {} if tree is None else tree
    where = path.name
    # Each part is judged by itself first, so that an error names the part it stands in.
    outline = build_config(_Outline, tree, where=where)
    gpu = build_config(GpuPool, _devices_as_text(outline.gpu, where=f"{where}: gpu"), where=f"{where}: gpu")
    default = build_config(StageCompute, outline.default, where=f"{where}: default")
    found = {}
    for name, values in outline.stages.items():
        if stages is not None and name not in stages:
            hint = did_you_mean(name, stages)
            raise ParamsError(f"{where}: stages.{name} is no stage of dvc.yaml{hint}; stages there: {', '.join(sorted(stages))}")
        build_config(StageCompute, values or {}, where=f"{where}: stages.{name}")
        found[name] = build_config(StageCompute, {**outline.default, **(values or {})}, where=f"{where}: stages.{name}")
    return Compute(gpu, default, found)


@dataclass(frozen=True)
class _Outline:
    gpu: dict[str, Any] = field(default_factory=dict)
    default: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)


def _devices_as_text(gpu: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """`devices: [0, 1]` reads as numbers; CUDA_VISIBLE_DEVICES is text."""
    devices = gpu.get("devices", "auto")
    if devices == "auto":
        return dict(gpu)
    if not isinstance(devices, list) or any(isinstance(device, bool) or not isinstance(device, int | str) for device in devices):
        raise ParamsError(f"{where}.devices must be auto or a list of GPU numbers or UUIDs, such as [0, 1]; found {devices!r}")
    return {**gpu, "devices": [str(device) for device in devices]}


def gpu_devices(pool: GpuPool, env: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that may be handed out, as CUDA_VISIBLE_DEVICES takes them; none on a machine without any.

    Named by UUID (GPU-… or, where a GPU is divided, MIG-…), which unlike a number means the same whatever the order.
    """
    if pool.devices != "auto":
        return list(pool.devices)
    # What the surroundings allow bounds what is handed out; only without a word from them is the machine asked.
    if "CUDA_VISIBLE_DEVICES" in env:
        return [device.strip() for device in env["CUDA_VISIBLE_DEVICES"].split(",") if device.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi", path=env.get("PATH"))
    if program is None:
        return []
    try:
        listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_GPU_LIST_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _listed_devices(listing.stdout) if listing.returncode == 0 else []


def _listed_devices(listing: str) -> list[str]:
    """UUIDs in what `nvidia-smi -L` prints; the parts of a divided GPU instead of the whole."""
    devices: list[str] = []
    whole: str | None = None
    for line in listing.splitlines():
        # A divided GPU is listed before its parts, and cannot be used beside them.
        match = re.search(r"UUID:\s*((GPU|MIG)-[^)\s]+)", line)
        if not match:
            continue
        uuid, kind = match.group(1), match.group(2)
        if kind == "MIG" and whole in devices:
            devices.remove(whole)
        whole = uuid if kind == "GPU" else whole
        devices.append(uuid)
    return devices


def gpu_limit(compute: Compute) -> int:
    """How many stages of the pool `gpu` may run at once."""
    return compute.gpu.limit or len(gpu_devices(compute.gpu)) or compute.gpu.limit_without


def torchrun_command(cmd: str, processes: int) -> str:
    """`python -m X …` as `python -m torch.distributed.run --standalone --nproc-per-node N -m X …`. Raises LaunchError for any other command."""
    match = _PYTHON_MODULE.match(cmd.strip())
    if match is None:
        raise LaunchError(f"torchrun starts commands of the form `python -m module …`, found `{cmd}`; set `launcher: local` in {COMPUTE_FILE}")
    return f"{match['python']} -m torch.distributed.run --standalone --nproc-per-node {processes} -m {match['rest']}"


class LocalLauncher:
    """Jobs as processes of this machine, each with GPUs of its own."""

    def __init__(self, compute: Compute, lock_folder: Path) -> None:
        self._compute = compute
        self._lock_folder = lock_folder

    def __call__(self, job: Job, *, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Outcome:
        wanted = self._compute.of(job.stage)
        with self._gpus(job, wanted, on_output, is_cancelled) as (devices, locks):
            cmd = list(job.cmd)
            if wanted.launcher == "torchrun":
                cmd = [torchrun_command(line, wanted.processes or max(1, len(devices))) for line in cmd if line.strip()]
                on_output("stderr", f"launching: {shlex.join(['sh', '-c', cmd[0]]) if len(cmd) > 1 else cmd[0]}")
            # The supervisor holds the locks as well: a GPU is free only when the last process on it has ended, whoever was killed.
            hold = replace(job.hold, descriptors=(*job.hold.descriptors, *locks))
            return run_command(
                cmd,
                cwd=job.cwd,
                env={**job.env, **self._variables(job, wanted, devices)},
                on_output=on_output,
                cancelled=is_cancelled,
                grace_s=wanted.grace_s,
                hold=hold,
            )

    def _variables(self, job: Job, wanted: StageCompute, devices: Sequence[str]) -> dict[str, str]:
        variables: dict[str, str] = {}
        if devices or self._compute.gpu.hide:
            # CUDA numbers GPUs by speed unless told to go by slot, as nvidia-smi and people do.
            variables |= {"CUDA_VISIBLE_DEVICES": ",".join(devices), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        threads = wanted.threads
        places = self._compute.gpu.limit or self._compute.gpu.limit_without
        if threads is None and job.pool == GPU_POOL and not devices and places > 1 and "OMP_NUM_THREADS" not in {**os.environ, **job.env}:
            # Trainings side by side that each take all processors wait for each other's threads: fifty times as long has been seen.
            threads = max(1, (os.cpu_count() or 1) // places)
        if threads is not None:
            variables |= {"OMP_NUM_THREADS": str(threads), "FIGMENT_THREADS": str(threads)}
        return variables | wanted.env

    @contextlib.contextmanager
    def _gpus(
        self, job: Job, wanted: StageCompute, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]
    ) -> Iterator[tuple[list[str], list[int]]]:
        """GPUs that no other job has, waiting for them as long as it takes; none on a machine without any."""
        # Waiting happens here, before the command is started: a lock on each GPU, as many as asked for, or none of them.
        count = wanted.gpus if wanted.gpus is not None else int(job.pool == GPU_POOL)
        present = gpu_devices(self._compute.gpu, job.env) if count else []
        if not present:
            yield [], []
            return
        if count > len(present):
            raise LaunchError(
                f"{job.stage} asks for {count} GPUs and {len(present)} are present ({', '.join(present)}); lower `gpus` in {COMPUTE_FILE}"
            )
        self._lock_folder.mkdir(parents=True, exist_ok=True)
        told = False
        while (taken := take_locks(self._lock_folder, present, count)) is None and not is_cancelled():
            if not told:
                on_output("stderr", f"waiting for {count} of {len(present)} GPUs to be free")
                told = True
            time.sleep(_GPU_POLL_S)
        taken = taken or {}
        try:
            yield list(taken), list(taken.values())
        finally:
            for descriptor in taken.values():
                os.close(descriptor)


def take_locks(folder: Path, names: Sequence[str], count: int) -> dict[str, int] | None:
    """Exclusive locks on `count` of `names`, as open file descriptors by name; None, and none taken, when so many are not free."""
    taken: dict[str, int] = {}
    for name in names:
        # Locks of the kernel, by open file: whoever dies gives its GPUs back.
        descriptor = take_lock(folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.lock")
        if descriptor is None:
            continue
        taken[name] = descriptor
        if len(taken) == count:
            return taken
    for descriptor in taken.values():
        os.close(descriptor)
    return None
