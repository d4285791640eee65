"""The same stage through every door, here and on a real Slurm: one id, one job."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.bridge.project import Project
from orchestration.launch.slurm import job_folder
from tests.orchestration.bridge.test_process import wait_until
from tests.orchestration.launch.slurm_cluster import Cluster, running_cluster, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(why_not()), reason=why_not())]

ROOT = Path(__file__).resolve().parents[3]
FIGMENT = [sys.executable, "-m", "orchestration.cli.main"]
STAGE = """
import sys, time
from pathlib import Path
from stages.program import program

def body(arguments, reporter):
    with Path("lives").open("a") as stream:
        stream.write("lived\\n")
    reporter.metadata(words=3)
    print("squaring", flush=True)
    while Path("wait").exists():
        time.sleep(0.05)
    Path("data/squares").mkdir(parents=True, exist_ok=True)
    Path("data/squares/numbers.txt").write_text("".join(f"{int(line) ** 2}\\n" for line in Path("numbers.txt").read_text().split()))

if __name__ == "__main__":
    sys.exit(program("Squares of numbers.", body, expected=()))
"""
DVC_YAML = """
stages:
  squares:
    cmd: python -m squares
    deps: [numbers.txt]
    outs:
      - data/squares:
          persist: PERSIST
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, running_cluster(Path(folder)) as cluster:
        yield cluster


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PATH", "LD_LIBRARY_PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, cluster.env[name])
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    for name, text in {
        "squares.py": STAGE,
        "dvc.yaml": DVC_YAML.replace("PERSIST", "false"),
        "numbers.txt": "1 2 3",
        "params.yaml": "squares: {}\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".gitignore").write_text("/data/squares\n.figment\nlives\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def on_slurm(project: Path) -> None:
    (project / "compute.yaml").write_text("stages: {squares: {launcher: slurm, gpus: 0, grace_s: 5}}\n")


def run(project: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def made(project: Path) -> str | None:
    opened = Project(project)
    entry = opened.lock().entries.get("squares")
    return entry.output_id(opened.graph.artifact("squares")) if entry else None


def lives(project: Path) -> int:
    return len((project / "lives").read_text().splitlines())


def test_dvc_repro_and_figment_materialize_queue_it_and_the_id_is_that_of_this_machine(project):
    run(project, "dvc", "repro")
    here = made(project)
    assert here is not None
    on_slurm(project)

    said = run(project, "dvc", "repro", "--force", "--no-run-cache")
    assert "queued as job" in said and "squaring" in said
    assert made(project) == here
    said = run(project, "orchestration.cli.main", "materialize", "squares", "--force", "--verbose")
    assert "queued as job" in said
    assert made(project) == here
    assert lives(project) == 3
    assert "up to date" in run(project, "dvc", "status")
    assert run(project, "orchestration.cli.main", "jobs") == "no jobs\n"


@pytest.mark.parametrize("persist", ["true", "false"])
def test_a_materialization_killed_with_its_terminal_is_found_again_through_the_other_door(project, persist):
    on_slurm(project)
    (project / "dvc.yaml").write_text(DVC_YAML.replace("PERSIST", persist))
    (project / "wait").touch()
    folder = job_folder(project / ".figment", "squares")
    first = subprocess.Popen([*FIGMENT, "materialize", "squares"], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: (folder / "stdout").exists() and b"squaring" in (folder / "stdout").read_bytes(), timeout_s=90)
    first.kill()
    first.wait()

    listed = run(project, "orchestration.cli.main", "jobs")
    assert re.search(r"squares +running +n[12]", listed), listed
    second = subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # DVC has removed an output that is not kept, so that the job which may have written there is ended and begins anew.
    wait_until(lambda: persist == "true" or lives(project) == 2, timeout_s=90)
    (project / "wait").unlink()
    said, _ = second.communicate(timeout=120)

    assert second.returncode == 0, said
    assert lives(project) == (1 if persist == "true" else 2)
    assert ("ending job" in said) == (persist == "false")
    assert made(project) is not None


def test_jobs_follow_and_cancel(project):
    on_slurm(project)
    (project / "wait").touch()
    with subprocess.Popen(
        [*FIGMENT, "materialize", "squares"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as asked:
        wait_until((project / "lives").exists, timeout_s=90)
        follower = subprocess.Popen([*FIGMENT, "jobs", "follow", "squares"], cwd=project, stdout=subprocess.PIPE, text=True)
        assert follower.stdout is not None and any(line == "squaring\n" for line in follower.stdout)
        assert "was told to end" in run(project, "orchestration.cli.main", "jobs", "cancel", "squares")
        said, _ = asked.communicate(timeout=120)
    follower.communicate(timeout=60)
    assert (asked.returncode, follower.returncode) == (1, 0), said
    assert made(project) is None
    refused = subprocess.run([*FIGMENT, "jobs", "follow", "squares"], cwd=project, capture_output=True, text=True, check=False)
    assert (refused.returncode, "has no job" in refused.stderr) == (1, True)
