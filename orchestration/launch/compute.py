"""compute.yaml: where and with what stages run. Nothing in it is part of an artifact's identity.

The same stage may run on one machine today and on another tomorrow; change the file freely, nothing becomes stale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stages.near_misses import did_you_mean
from stages.params import ParamsError, build_config, read_yaml

COMPUTE_FILE = "compute.yaml"
GPU_POOL = "gpu"


@dataclass(frozen=True)
class Slurm:
    """What `sbatch` is asked for; null leaves the cluster's own default.

    partition, account, qos, gres, memory: as sbatch takes them. time: the job's limit, such as "4:00:00"; `grace_s` before it the command is told to
    end (a training then writes a checkpoint) and the job is queued again, at most `requeues` times. nodes: more than one runs the command under
    torchrun on each. options: further words for sbatch.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    gres: str | None = None
    memory: str | None = None
    nodes: int = 1
    cpus: int | None = None
    requeues: int = 50
    options: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("cpus", 1), ("requeues", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, found {value}")
        for option in self.options:
            if option.startswith(("--array", "-a", "--wrap", "--output", "-o", "--error", "-e", "--job-name", "-J", "--comment", "--parsable")):
                raise ValueError(f"options must not hold {option}: a stage is one job whose name and logs are kept by Figment")


@dataclass(frozen=True)
class StageCompute:
    """Where and with what one stage runs.

    gpus: how many to hand out; null is one for stages of the pool `gpu` and none for others. processes: torchrun's workers; null is one a GPU.
    threads: for OMP_NUM_THREADS and FIGMENT_THREADS; null leaves both alone, or divides the processors
    among trainings that run side by side without a GPU. env: further variables. grace_s: seconds between SIGTERM and SIGKILL.
    """

    launcher: Literal["local", "torchrun", "slurm"] = "local"
    gpus: int | None = None
    processes: int | None = None
    threads: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    grace_s: float = 30.0
    slurm: Slurm = Slurm()

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

    def gpus_of(self, stage: str, pool: str | None) -> int:
        """How many GPUs the stage asks for."""
        wanted = self.of(stage).gpus
        return wanted if wanted is not None else int(pool == GPU_POOL)


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
        over = {**outline.default, **(values or {})}
        if "slurm" in over:
            over["slurm"] = {**outline.default.get("slurm", {}), **(values or {}).get("slurm", {})}
        found[name] = build_config(StageCompute, over, where=f"{where}: stages.{name}")
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
