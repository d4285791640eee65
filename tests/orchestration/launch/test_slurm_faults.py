"""A real Slurm whose daemons and nodes are killed while a job runs: one result, and never a second job beside a living one."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.orchestration.bridge.test_process import wait_until
from tests.orchestration.launch.slurm_cluster import Cluster, running_cluster, why_not
from tests.orchestration.launch.test_slurm import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of the test's own, asked by it and by what it starts."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, running_cluster(Path(folder)) as cluster:
        for name in ("PATH", "LD_LIBRARY_PATH", "SLURM_CONF"):
            monkeypatch.setenv(name, cluster.env[name])
        yield cluster


@pytest.mark.parametrize("killed", ["n1 and n2", "controller", "controller and nodes"])
def test_killed_daemons_lose_nothing_and_start_nothing_twice(tmp_path, cluster, killed, tried):
    stage = Stage(tmp_path)
    thread = stage.start()
    stage.says("begun")
    if killed != "controller":
        for node in ("n1", "n2"):
            cluster.kill(node)
    if "controller" in killed:
        cluster.kill("controller")
        stage.says("does not answer", timeout_s=90)
        cluster.start_controller()
    if killed != "controller":
        for node in ("n1", "n2"):
            cluster.start_node(node)

    outcome = stage.finish(thread)

    tried("Slurm daemons killed while a job runs", 1, lost=int(not outcome.succeeded), got_through=int((tmp_path / "two at once").exists()))
    assert outcome.succeeded
    assert not (tmp_path / "two at once").exists()


def test_a_lost_node_moves_the_job_and_the_same_asker_follows(tmp_path, cluster, tried):
    stage = Stage(tmp_path)
    thread = stage.start()
    stage.says("begun")
    node, pid = stage.lives[0].split()
    # The node dies: its daemon, the keeper of the step, and the command.
    cluster.kill(node)
    _kill_tree_of(int(pid))
    cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=tried")
    wait_until(lambda: len(stage.lives) == 2, timeout_s=200)

    outcome = stage.finish(thread)

    tried("Slurm nodes lost while a job runs", 1, lost=int(not outcome.succeeded), got_through=int((tmp_path / "two at once").exists()))
    assert outcome.succeeded
    assert [line.split()[0] for line in stage.lives] == [node, {"n1": "n2", "n2": "n1"}[node]]
    assert any("runs for the 2. time" in line for line in stage.lines)


def _kill_tree_of(pid: int) -> None:
    """The command, what watches it, and the daemon that keeps its step."""
    pids = [pid]
    while "slurmstepd" not in Path(f"/proc/{pids[-1]}/cmdline").read_text():
        pids.append(psutil.Process(pids[-1]).ppid())
    for number in reversed(pids):
        os.kill(number, signal.SIGKILL)
    time.sleep(0.1)
