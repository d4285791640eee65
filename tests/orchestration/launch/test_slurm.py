"""Stages on a real Slurm of two nodes: one result whoever is killed, and never a second job."""

import contextlib
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.bridge.process import Hold, Outcome
from orchestration.launch import slurm_commands
from orchestration.launch.compute import Compute, Slurm, StageCompute
from orchestration.launch.dispatch import LauncherByStage
from orchestration.launch.jobs import Job, LaunchError
from orchestration.launch.slurm import SlurmLauncher, job_folder, job_name
from tests.orchestration.bridge.test_process import wait_until
from tests.orchestration.launch.slurm_cluster import Cluster, running_cluster, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(why_not()), reason=why_not())]

# Counts its lives, waits for a word, and answers SIGTERM as a training does: by remembering how far it came.
WORK = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
lives = (folder / "lives").read_text().split() if (folder / "lives").exists() else []
if any(pathlib.Path("/proc", pid).exists() for pid in lives[1::2]):
    (folder / "two at once").touch()
with open(folder / "lives", "a") as stream:
    stream.write(f"{os.environ['SLURMD_NODENAME']} {os.getpid()}\\n")
def end(*_):
    (folder / "checkpoint").touch()
    print("checkpoint written", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while not (folder / "go").exists():
    time.sleep(0.05)
(folder / "result").write_text("made")
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Sockets have short paths.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, running_cluster(Path(folder)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def asked_in_tests(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "LD_LIBRARY_PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, cluster.env[name])


ON_SLURM = StageCompute(launcher="slurm", gpus=0, grace_s=5)


class Stage:
    """One stage's job, launched from a thread of its own."""

    def __init__(self, folder: Path, compute: StageCompute = ON_SLURM, cmd: str | None = None) -> None:
        self.folder = folder
        (folder / "work.py").write_text(WORK)
        self.cmd = cmd or f"{sys.executable} work.py {folder}"
        self.launcher = LauncherByStage(Compute(stages={"train@a b": compute}), folder, folder / ".figment")
        self.lines: list[str] = []
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self._cancelled = threading.Event()

    def start(self, made_from: str = "a" * 32) -> threading.Thread:
        def run() -> None:
            job = Job("train@a b", [self.cmd], self.folder, dict(os.environ), None, Hold(made_from=made_from))
            try:
                self.outcome = self.launcher(job, on_output=lambda _, line: self.lines.append(line), is_cancelled=self._cancelled.is_set)
            except LaunchError as error:
                self.error = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def cancel(self) -> None:
        self._cancelled.set()

    def says(self, words: str, *, timeout_s: float = 40.0) -> None:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: any(words in line for line in self.lines) or self.error is not None, timeout_s=timeout_s)
        if self.error is not None:
            raise self.error
        assert any(words in line for line in self.lines), (words, self.lines)

    @property
    def lives(self) -> list[str]:
        path = self.folder / "lives"
        return path.read_text().splitlines() if path.exists() else []

    def finish(self, thread: threading.Thread) -> Outcome:
        (self.folder / "go").touch()
        thread.join(timeout=60)
        assert self.outcome is not None, (self.error, self.lines)
        return self.outcome


def test_a_stage_is_queued_followed_and_its_output_comes_back_as_it_is_written(tmp_path):
    stage = Stage(tmp_path)
    thread = stage.start()
    stage.says("begun")
    stage.says("is running on n")

    assert slurm_commands.living_jobs(job_name(tmp_path, "train@a b"))[0].state == "RUNNING"
    outcome = stage.finish(thread)

    assert outcome.succeeded
    assert outcome.cpu_seconds is not None and outcome.peak_rss_bytes is not None
    assert (tmp_path / "result").read_text() == "made"
    said = "\n".join(stage.lines)
    assert "queued as job" in said
    assert said.index("begun") < said.index("done")


def test_a_restarted_asker_follows_the_job_that_runs_and_starts_none(tmp_path):
    # The first asker is a process that is killed while it follows.
    asker = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from pathlib import Path
        from tests.orchestration.launch.test_slurm import Stage
        stage = Stage(Path({str(tmp_path)!r}))
        stage.start().join()
        """
    )
    first = subprocess.Popen([sys.executable, "-c", asker])
    wait_until((tmp_path / "lives").exists, timeout_s=60)
    first.kill()
    first.wait()
    stage = Stage(tmp_path)
    assert stage.launcher.is_under_way("train@a b", "a" * 32)
    assert not stage.launcher.is_under_way("train@a b", "b" * 32)

    outcome = stage.finish(stage.start())

    assert outcome.succeeded
    assert len(stage.lives) == 1
    assert any("following job" in line for line in stage.lines)
    # All it has ever said, not only what came after.
    assert [line for line in stage.lines if line in ("begun", "done")] == ["begun", "done"]


def test_what_ended_while_nobody_looked_is_taken_once(tmp_path):
    stage = Stage(tmp_path)
    launcher = stage.launcher._slurm
    assert isinstance(launcher, SlurmLauncher)
    folder = job_folder(tmp_path / ".figment", "train@a b")
    (tmp_path / "go").touch()
    job = Job("train@a b", [stage.cmd], tmp_path, dict(os.environ), None, Hold(made_from="a" * 32))
    launcher._submit(job, folder, "a" * 32)
    wait_until((folder / "outcome.json").exists, timeout_s=60)
    wait_until(lambda: not slurm_commands.living_jobs(job_name(tmp_path, "train@a b")), timeout_s=60)

    assert stage.finish(stage.start()).succeeded
    assert len(stage.lives) == 1
    # Asked again, as by --force, it runs again.
    assert stage.finish(stage.start()).succeeded
    assert len(stage.lives) == 2


def test_other_inputs_end_the_job_of_the_old_ones_first(tmp_path):
    old, new = Stage(tmp_path), Stage(tmp_path)
    first = old.start("a" * 32)
    old.says("begun")
    second = new.start("b" * 32)
    new.says("begun")

    assert any("ending job" in line for line in new.lines)
    assert new.finish(second).succeeded
    first.join(timeout=60)
    assert old.outcome is not None and not old.outcome.succeeded
    assert len(old.lives) == 2


def test_cancel_reaches_the_command_and_lets_it_write_a_checkpoint(tmp_path):
    stage = Stage(tmp_path)
    thread = stage.start()
    stage.says("begun")
    pid = int(stage.lives[0].split()[1])

    stage.cancel()
    thread.join(timeout=60)

    assert stage.outcome is not None and stage.outcome.cancelled
    assert (tmp_path / "checkpoint").exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not slurm_commands.living_jobs(job_name(tmp_path, "train@a b"))


def test_a_job_that_waits_says_its_place_and_can_be_cancelled(tmp_path, cluster):
    (tmp_path / "filler").mkdir()
    fillers = [cluster.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60").strip() for _ in range(3)]
    try:
        stage = Stage(tmp_path)
        thread = stage.start()
        stage.says("number 2 in the queue")
        stage.cancel()
        thread.join(timeout=60)
        assert stage.outcome is not None and stage.outcome.cancelled
        assert stage.lives == []
    finally:
        for filler in fillers:
            cluster.ask("scancel", filler)


def test_the_time_limit_ends_in_a_checkpoint_and_a_second_life(tmp_path):
    stage = Stage(tmp_path, StageCompute(launcher="slurm", gpus=0, grace_s=5, slurm=Slurm(time="2:00")))
    thread = stage.start()
    # The signal comes 65 seconds before the end of two minutes.
    stage.says("ended in order and queued again", timeout_s=110)
    assert (tmp_path / "checkpoint").exists()
    wait_until(lambda: len(stage.lives) == 2, timeout_s=180)

    assert stage.finish(thread).succeeded


def test_two_nodes_run_one_training_under_torchrun(tmp_path):
    (tmp_path / "ranks.py").write_text(
        "import os, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "print('rank', dist.get_rank(), 'of', dist.get_world_size(), os.environ['SLURMD_NODENAME'], flush=True)\n"
    )
    compute = StageCompute(launcher="slurm", gpus=0, processes=1, slurm=Slurm(nodes=2), env={"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(tmp_path)})
    stage = Stage(tmp_path, compute, f"{sys.executable} -m ranks")

    outcome = stage.finish(stage.start())

    assert outcome.succeeded, stage.lines
    # Which of the nodes becomes the first is for their meeting to decide.
    said = sorted(line.split() for line in stage.lines if line.startswith("rank"))
    assert [words[:4] for words in said] == [["rank", "0", "of", "2"], ["rank", "1", "of", "2"]]
    assert {words[4] for words in said} == {"n1", "n2"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Slurm(partition="nihgt"), r"did you mean 'night'\?\); partitions here: main, night; set `slurm: {partition"),
        (Slurm(time="tomorrow"), "Invalid --time"),
        (Slurm(options=["--constraint=gold"]), "nvalid feature"),
        (Slurm(nodes=5), "(would wait for ever|not available)"),
    ],
)
def test_what_the_cluster_does_not_have_is_refused_before_anything_starts(tmp_path, asked, words):
    stage = Stage(tmp_path, StageCompute(launcher="slurm", gpus=0, slurm=asked))
    stage.start().join(timeout=60)

    with pytest.raises(LaunchError, match=words):
        raise stage.error or AssertionError(stage.lines)
    assert stage.lives == []


def test_a_job_killed_by_an_administrator_and_one_that_finds_no_project_are_told_in_words(tmp_path, cluster):
    stage = Stage(tmp_path)
    thread = stage.start()
    stage.says("begun")
    cluster.ask("scancel", slurm_commands.living_jobs(job_name(tmp_path, "train@a b"))[0].id)
    thread.join(timeout=60)
    assert stage.outcome is not None and not stage.outcome.succeeded and not stage.outcome.cancelled
    assert "was cancelled with scancel" in stage.outcome.stderr_tail

    other = Stage(tmp_path, StageCompute(launcher="slurm", gpus=0, slurm=Slurm(options=["--begin=now+4"])))
    thread = other.start("c" * 32)
    other.says("queued as job")
    # As on a node that sees another disk under this path.
    (job_folder(tmp_path / ".figment", "train@a b") / "job.json").write_text("{}")
    thread.join(timeout=90)
    assert other.outcome is not None, other.lines
    assert len(other.lives) == 1
    assert "must lie on a file system that all nodes see" in other.outcome.stderr_tail
