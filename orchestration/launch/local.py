"""Jobs as processes of this machine, each with GPUs of its own; under torchrun where compute.yaml says so."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestration.bridge.process import Outcome, run_command
from orchestration.launch.compute import COMPUTE_FILE, GPU_POOL, Compute, GpuPool, StageCompute
from orchestration.launch.jobs import Job, LaunchError, torchrun_command
from stages.locks import take_lock

_GPU_POLL_S = 0.5
_GPU_LIST_TIMEOUT_S = 20.0


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


class LocalLauncher:
    """Jobs as processes of this machine, each with GPUs of its own."""

    def __init__(self, compute: Compute, lock_folder: Path) -> None:
        self._compute = compute
        self._lock_folder = lock_folder

    def __call__(self, job: Job, *, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Outcome:
        wanted = self._compute.of(job.stage)
        with self._gpus(job, on_output, is_cancelled) as (devices, locks):
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
    def _gpus(self, job: Job, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Iterator[tuple[list[str], list[int]]]:
        """GPUs that no other job has, waiting for them as long as it takes; none on a machine without any."""
        # Waiting happens here, before the command is started: a lock on each GPU, as many as asked for, or none of them.
        count = self._compute.gpus_of(job.stage, job.pool)
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
