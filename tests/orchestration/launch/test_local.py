import os
import stat
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.bridge.process import Hold, Outcome
from orchestration.launch import jobs, local
from orchestration.launch.compute import Compute, GpuPool, StageCompute, load_compute
from orchestration.launch.jobs import Job, LaunchError
from orchestration.launch.local import LocalLauncher, gpu_devices, gpu_limit, take_locks
from stages.params import ParamsError

LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb2222-0000-0000-0000-000000000000)
  MIG 1g.18gb     Device  0: (UUID: MIG-cccc3333-0000-0000-0000-000000000000)
  MIG 1g.18gb     Device  1: (UUID: MIG-dddd4444-0000-0000-0000-000000000000)
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "compute.yaml"
    path.write_text(text)
    return path


def launch(
    compute: Compute, tmp_path: Path, cmd: str = "env", *, stage: str = "polygpt", pool: str | None = "gpu", **env: str
) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    job = Job(stage, [cmd], tmp_path, {"PATH": os.environ["PATH"], **env}, pool)
    outcome = LocalLauncher(compute, tmp_path / "locks")(job, on_output=lambda _, line: lines.append(line), is_cancelled=lambda: False)
    return outcome, lines


def variables(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_without_a_file_everything_has_its_default(tmp_path):
    assert load_compute(tmp_path / "compute.yaml") == Compute()


def test_an_empty_file_is_the_default(tmp_path):
    assert load_compute(write(tmp_path, "# nothing\n")) == Compute()


def test_the_file_of_the_project_differs_from_the_default_in_what_a_machine_without_gpus_does():
    compute = load_compute(Path(__file__).parents[3] / "compute.yaml")

    assert (replace(compute.gpu, limit_without=1), compute.default) == (Compute().gpu, Compute().default)
    assert [replace(stage, threads=None) for stage in compute.stages.values()] == [StageCompute()] * len(compute.stages)


def test_a_stage_is_laid_over_the_default(tmp_path):
    compute = load_compute(write(tmp_path, "default: {threads: 4, grace_s: 5}\nstages: {polygpt: {launcher: torchrun, threads: 8}}\n"))

    assert compute.of("polygpt") == StageCompute(launcher="torchrun", threads=8, grace_s=5.0)
    assert compute.of("molecules") == StageCompute(threads=4, grace_s=5.0)


def test_devices_may_be_numbers(tmp_path):
    assert load_compute(write(tmp_path, "gpu: {devices: [0, 1]}")).gpu.devices == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defualt: {}", r"compute.yaml.defualt is not a known key \(did you mean 'default'\?\)"),
        ("default: {thread: 2}", r"compute.yaml: default.thread is not a known key \(did you mean 'threads'\?\)"),
        ("stages: {polygpt: {launcher: torchrnu}}", r"compute.yaml: stages.polygpt.launcher must be one of .* \(did you mean 'torchrun'\?\)"),
        ("stages: {poligpt: {}}", r"compute.yaml: stages.poligpt is no stage of dvc.yaml \(did you mean 'polygpt'\?\)"),
        ("gpu: {limit: 0}", "compute.yaml: gpu: limit must be at least 1, found 0"),
        ("gpu: {limit_without: 0}", "compute.yaml: gpu: limit_without must be at least 1, found 0"),
        ("default: {gpus: -1}", "compute.yaml: default: gpus must be at least 0, found -1"),
        ("default: {threads: two}", "compute.yaml: default.threads must be an integer, found a string: 'two'"),
        ("gpu: [0]", "compute.yaml.gpu must be a mapping, found a list"),
        ("gpu: {devices: [true]}", r"compute.yaml: gpu.devices must be auto or a list of GPU numbers or UUIDs, .*; found \[True\]"),
        ("stages: {polygpt: 3}", "compute.yaml: stages.polygpt must be a mapping, found an integer: 3"),
        ("- a", "compute.yaml must be a mapping, found a list"),
        ("default: {", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(ParamsError, match=message):
        load_compute(write(tmp_path, text), ["polygpt", "molecules"])


def test_a_machine_without_gpus_just_works(tmp_path, monkeypatch):
    monkeypatch.setattr(local.shutil, "which", lambda *_, **__: None)
    outcome, lines = launch(Compute(), tmp_path)

    assert outcome.succeeded
    assert "CUDA_VISIBLE_DEVICES" not in variables(lines)
    assert gpu_limit(Compute()) == 1
    assert gpu_limit(Compute(gpu=GpuPool(limit_without=2))) == 2
    assert gpu_limit(Compute(gpu=GpuPool(limit_without=2, devices=["0"]))) == 1


def test_gpus_are_hidden_from_stages_without_one_only_when_asked(tmp_path):
    hiding = Compute(gpu=GpuPool(devices=["0"], hide=True))

    assert variables(launch(hiding, tmp_path, pool=None)[1])["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in variables(launch(Compute(gpu=GpuPool(devices=["0"])), tmp_path, pool=None)[1])


def test_stages_of_the_gpu_pool_get_one_each_and_wait_for_it(tmp_path):
    compute = Compute(gpu=GpuPool(devices=["0", "1"]))
    seen: list[tuple[float, str, str]] = []
    waited: list[str] = []
    launcher = LocalLauncher(compute, tmp_path / "locks")

    def work() -> None:
        def hear(stream: str, line: str) -> None:
            if stream == "stderr":
                waited.append(line)
            else:
                seen.append((time.monotonic(), *line.split()))

        job = Job("polygpt", ["echo start $CUDA_VISIBLE_DEVICES; sleep 0.4; echo end $CUDA_VISIBLE_DEVICES"], tmp_path, dict(os.environ), "gpu")
        assert launcher(job, on_output=hear, is_cancelled=lambda: False).succeeded

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    busy: set[str] = set()
    for _, what, device in sorted(seen):
        assert (device in busy) == (what == "end")
        busy ^= {device}
    assert {device for _, _, device in seen} == {"0", "1"}
    assert waited == ["waiting for 1 of 2 GPUs to be free"]


def test_the_supervisor_holds_the_locks_of_the_stage_and_of_its_gpus(tmp_path):
    stage = os.open(tmp_path / "stage.lock", os.O_RDWR | os.O_CREAT)
    begun: list[int] = []
    held: set[Path] = set()

    def hear(_: str, line: str) -> None:
        held.update(link.readlink() for link in Path(f"/proc/{begun[0]}/fd").iterdir())

    job = Job("polygpt", ["echo begun"], tmp_path, dict(os.environ), "gpu", Hold((stage,), begun.append))
    assert LocalLauncher(Compute(gpu=GpuPool(devices=["0"])), tmp_path / "locks")(job, on_output=hear, is_cancelled=lambda: False).succeeded

    os.close(stage)
    assert held >= {tmp_path / "stage.lock", tmp_path / "locks/0.lock"}


def test_waiting_for_a_gpu_ends_when_the_run_is_cancelled(tmp_path):
    (tmp_path / "locks").mkdir()
    held = take_locks(tmp_path / "locks", ["0"], 1)
    job = Job("polygpt", ["sleep 30"], tmp_path, dict(os.environ), "gpu")

    outcome = LocalLauncher(Compute(gpu=GpuPool(devices=["0"])), tmp_path / "locks")(job, on_output=lambda *_: None, is_cancelled=lambda: True)

    assert outcome.cancelled
    for descriptor in held.values():
        os.close(descriptor)


def test_locks_are_taken_all_or_none(tmp_path):
    first = take_locks(tmp_path, ["a", "b", "c"], 2)

    assert list(first) == ["a", "b"]
    assert take_locks(tmp_path, ["a", "b", "c"], 2) is None
    second = take_locks(tmp_path, ["a", "b", "c"], 1)
    assert list(second) == ["c"]
    for descriptor in [*first.values(), *second.values()]:
        os.close(descriptor)
    third = take_locks(tmp_path, ["a", "b", "c"], 3)
    assert list(third) == ["a", "b", "c"]
    for descriptor in third.values():
        os.close(descriptor)


def test_more_gpus_than_there_are_is_an_error(tmp_path):
    compute = Compute(gpu=GpuPool(devices=["0"]), default=StageCompute(gpus=2))

    with pytest.raises(LaunchError, match=r"polygpt asks for 2 GPUs and 1 are present \(0\)"):
        launch(compute, tmp_path)


def test_nvidia_smi_is_asked_and_divided_gpus_count_by_their_parts(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    devices = gpu_devices(GpuPool(), {"PATH": f"{tmp_path}:{os.environ['PATH']}"})

    assert [device[:8] for device in devices] == ["GPU-aaaa", "MIG-cccc", "MIG-dddd"]


def test_a_failing_nvidia_smi_means_no_gpus(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'UUID: GPU-1' ; exit 9\n")
    program.chmod(0o755)

    assert gpu_devices(GpuPool(), {"PATH": str(tmp_path)}) == []


def test_the_surroundings_decide_which_gpus_there_are():
    assert gpu_devices(GpuPool(), {"CUDA_VISIBLE_DEVICES": "2, 3"}) == ["2", "3"]
    assert gpu_devices(GpuPool(), {"CUDA_VISIBLE_DEVICES": ""}) == []
    assert gpu_devices(GpuPool(), {"CUDA_VISIBLE_DEVICES": "-1"}) == []


@pytest.mark.parametrize(
    ("cmd", "expected"),
    [
        ("python -m a.b x --set y=1", "python -m torch.distributed.run --standalone --nproc-per-node 2 -m a.b x --set y=1"),
        ("/usr/bin/python3.11 -u -m a", "/usr/bin/python3.11 -u -m torch.distributed.run --standalone --nproc-per-node 2 -m a"),
    ],
)
def test_torchrun_takes_the_module_and_its_arguments(cmd, expected):
    assert jobs.torchrun_command(cmd, 2) == expected


@pytest.mark.parametrize("cmd", ["python script.py", "bash -c 'python -m a'", "echo python -m a", "python -m"])
def test_torchrun_refuses_what_is_no_module(cmd):
    with pytest.raises(LaunchError, match="torchrun starts commands of the form"):
        jobs.torchrun_command(cmd, 2)


def test_threads_and_variables_reach_the_command(tmp_path):
    compute = Compute(default=StageCompute(threads=3, env={"NCCL_DEBUG": "WARN"}))
    seen = variables(launch(compute, tmp_path, pool=None, OMP_NUM_THREADS="1")[1])

    assert (seen["OMP_NUM_THREADS"], seen["FIGMENT_THREADS"], seen["NCCL_DEBUG"]) == ("3", "3", "WARN")


@pytest.mark.slow
def test_torchrun_really_starts_that_many_processes(tmp_path):
    (tmp_path / "ranks.py").write_text("import os\nprint('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], flush=True)\n")
    compute = Compute(gpu=GpuPool(devices=[]), default=StageCompute(launcher="torchrun", processes=2))

    outcome, lines = launch(compute, tmp_path, f"{sys.executable} -m ranks")

    assert outcome.succeeded
    assert sorted(line for line in lines if line.startswith("rank")) == ["rank 0 of 2", "rank 1 of 2"]


def test_trainings_side_by_side_without_a_gpu_share_the_processors(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local.os, "cpu_count", lambda: 9)
    two = GpuPool(limit_without=2, devices=[])

    assert variables(launch(Compute(gpu=two), tmp_path)[1])["FIGMENT_THREADS"] == "4"
    assert "FIGMENT_THREADS" not in variables(launch(Compute(gpu=two), tmp_path, pool=None)[1])
    assert "FIGMENT_THREADS" not in variables(launch(Compute(gpu=GpuPool(devices=[])), tmp_path)[1])
    one = StageCompute(threads=1)
    assert variables(launch(Compute(gpu=two, default=one), tmp_path)[1])["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "FIGMENT_THREADS" not in variables(launch(Compute(gpu=two), tmp_path)[1])
