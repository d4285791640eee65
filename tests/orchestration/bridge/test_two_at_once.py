"""Two commands of one stage never run at once: not after `kill -9` of the process that ran the first, and not beside a `dvc repro` in a shell."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from orchestration.bridge.materialize import Materialized, Request, materialize, running_stages
from tests.orchestration.bridge.test_process import wait_until
from tests.orchestration.bridge.toy import Background, Toy, build, copy_of

DVC_YAML = """\
stages:
  slow:
    cmd: python -SB slow.py
    deps: [slow.py]
    params: [slow]
    outs: [data/slow]
  after:
    cmd: mkdir -p data/after && cat data/slow/* > data/after/all
    deps: [data/slow]
    outs: [data/after]
"""

# Two processes write files that hold the name of the run. Told to end, they write on for a while. `.runs/marks` says when each run began and ended,
# and whether it met another: the lock is the kernel's, so that it is true of runs that were killed as well.
COMMAND = """\
import fcntl, os, pathlib, signal, sys, time

me, out, is_child = f"{os.getpid()}-{time.time_ns()}", pathlib.Path("data/slow"), False
settings = dict(line.strip().split(": ") for line in open("params.yaml").read().splitlines()[1:])


def mark(word):
    descriptor = os.open(".runs/marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{word} {me}\\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)


def write(name):
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}-{'child' if is_child else 'main'}").write_text(me)
    time.sleep(0.02)


def clean_up(*_):
    for number in range(int(settings["late"])):
        write(f"late-{number}")
    if not is_child:
        mark("stop")
    os._exit(3)


signal.signal(signal.SIGTERM, clean_up)
alone = open(".runs/alone", "w")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    mark("met")
mark("start")
while settings["waits"] == "True" and not os.path.exists(".runs/go"):
    time.sleep(0.01)
child = os.fork()
is_child = child == 0
for number in range(int(settings["files"])):
    write(number)
if is_child:
    os._exit(0)
os.waitpid(child, 0)
mark("stop")
"""

# One materialization, begun at a word and asked to end when the file argv[2] appears.
MAKE = """
import sys
import dvc.repo
from pathlib import Path
from orchestration.bridge.materialize import Request, Surroundings, materialize
from orchestration.bridge.process import run_command
from orchestration.bridge.project import Project

root, cancelled = Path(sys.argv[1]), Path(sys.argv[2]).exists

def run(stage, environment, hold):
    return run_command(stage.cmd, cwd=root, env=environment, on_output=lambda _, line: None, cancelled=cancelled, grace_s=5.0, hold=hold)

print("ready", flush=True)
sys.stdin.readline()
materialize(Project(root), Request("slow", "first"), Surroundings(run, log=print, is_cancelled=cancelled))
"""

# `dvc` with the arguments that follow, begun at a word: what DVC takes to start would blur who was first.
DVC = """
import sys
import dvc.repo
from dvc.cli import main
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main(sys.argv[1:]))
"""

ROOT = Path(__file__).parents[3]
REPETITIONS = pytest.mark.parametrize("repetitions", [3, pytest.param(25, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def slow_template(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    files = {"dvc.yaml": DVC_YAML, "slow.py": COMMAND, ".gitignore": "/.figment\n/.runs\n", ".dvcignore": "/.figment\n/.runs\n", ".runs/none": ""}
    toy = build(tmp_path_factory.mktemp("template") / "slow", files)
    settings(toy, 0)
    return toy


@pytest.fixture
def slow(slow_template: Toy, tmp_path: Path) -> Toy:
    return copy_of(slow_template, tmp_path / "slow")


class Processes:
    """Programs in the toy's folder; ends what is left of them."""

    def __init__(self, toy: Toy) -> None:
        self._toy = toy
        self._started: list[subprocess.Popen[str]] = []

    def make(self, *, cancel: str = ".runs/cancel") -> "subprocess.Popen[str]":
        return self._ready(MAKE, str(self._toy.root), str(self._toy.root / cancel))

    def dvc(self, *words: str) -> "subprocess.Popen[str]":
        return self._ready(DVC, *words)

    def _ready(self, program: str, *words: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=self._toy.root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        go(self._toy)
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe and not pipe.closed:
                    pipe.close()


@pytest.fixture
def processes(slow: Toy) -> Iterator[Processes]:
    processes = Processes(slow)
    yield processes
    processes.end()


def begin(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def settings(toy: Toy, turn: int, *, waits: bool = False) -> None:
    """Parameters that were never there before. waits: the command goes on once `.runs/go` exists."""
    (toy.root / ".runs/go").unlink(missing_ok=True)
    toy.write("params.yaml", f"slow:\n  turn: {turn}\n  files: 10\n  late: 40\n  waits: {waits}\n")


def go(toy: Toy) -> None:
    (toy.root / ".runs/go").touch()


def make(toy: Toy, *, tell: Callable[[str], None] = print, is_cancelled: Callable[[], bool] = lambda: False, name: str = "slow") -> Materialized:
    return materialize(toy.project(), Request(name, "second"), toy.surroundings(log=tell, is_cancelled=is_cancelled))


def marks(toy: Toy) -> list[tuple[str, str]]:
    path = toy.root / ".runs/marks"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def starts(toy: Toy) -> int:
    return sum(word == "start" for word, _ in marks(toy))


def assert_one_after_the_other_and_recorded(toy: Toy) -> None:
    """No two commands overlapped; the output is that of one alone, whole, and what dvc.lock says."""
    said = marks(toy)
    assert "met" not in {word for word, _ in said}, said
    at_work = None
    for word, run in said:
        assert word == "start" or run == at_work, said
        at_work = run if word == "start" else None
    files = {path.name: path.read_text() for path in (toy.root / "data/slow").iterdir()}
    assert set(files.values()) == {said[-1][1]}, files
    assert sorted(files) == sorted(f"{number}-{who}" for number in range(10) for who in ("main", "child"))
    project = toy.project()
    assert project.lock().entries["slow"].outs["data/slow"] == project.content("data/slow").id
    assert set(yaml.safe_load((toy.root / "dvc.lock").read_text())["stages"]) >= {"slow"}


def rwlock(toy: Toy) -> dict[str, dict[str, Any]]:
    """DVC's register of who reads and writes what, without what is empty."""
    path = toy.root / ".dvc/tmp/rwlock"
    return {mode: entries for mode, entries in json.loads(path.read_text()).items() if entries} if path.exists() else {}


# ---- kill -9 ------------------------------------------------------------------------------------------------------------------------------


@REPETITIONS
def test_after_a_kill_at_any_moment_a_second_run_waits_for_the_command_of_the_first(slow: Toy, processes: Processes, repetitions: int) -> None:
    chance, waited = random.Random(7), 0
    for turn in range(1, repetitions + 1):
        settings(slow, turn)
        before, cancel = starts(slow), f".runs/cancel-{turn}"
        first = processes.make(cancel=cancel)
        begin(first)
        moment = ("early", "at work", "in its grace period")[turn % 3]
        if moment != "early":
            wait_until(lambda before=before: starts(slow) > before, timeout_s=60.0)
        if moment == "in its grace period":
            time.sleep(chance.uniform(0.0, 0.1))
            (slow.root / cancel).touch()
        time.sleep(chance.uniform(0.0, 1.0 if moment == "early" else 0.3))
        first.kill()
        told: list[str] = []

        make(slow, tell=told.append)

        waited += any("which died; its command" in line for line in told)
        assert_one_after_the_other_and_recorded(slow)
    assert waited > 0 and rwlock(slow) == {}
    assert "slow" not in slow.dvc_stale()


# ---- dvc repro ----------------------------------------------------------------------------------------------------------------------------


@REPETITIONS
def test_a_dvc_repro_and_a_materialization_at_once_are_one_run(slow: Toy, processes: Processes, repetitions: int) -> None:
    """DVC first: we wait and find its work done. We first: DVC is refused. At once: one of the two."""
    chance = random.Random(7)
    for turn in range(1, repetitions + 1):
        first = ("nobody", "dvc", "us")[turn % 3]
        settings(slow, turn, waits=first != "nobody")
        repro, told = processes.dvc("repro", "slow"), threading.Event()
        if first == "dvc":
            begin(repro)
            wait_until(lambda turn=turn: starts(slow) == turn, timeout_s=60.0)
        ours = Background(lambda told=told: make(slow, tell=lambda _: told.set()))
        if first == "dvc":
            assert told.wait(60.0)
        elif first == "us":
            wait_until(lambda turn=turn: starts(slow) == turn, timeout_s=60.0)
            begin(repro)
            repro.wait(60.0)
        else:
            time.sleep(chance.uniform(0.0, 0.8))
            begin(repro)
        go(slow)

        done, (words, _) = ours.result(), repro.communicate(timeout=60.0)

        refused = repro.returncode != 0
        assert not refused or ("is busy, it is being blocked by" in words and "materialization of slow" in words), words
        assert first == "nobody" or (done.how, refused) == {"dvc": ("fresh", False), "us": ("ran", True)}[first]
        assert starts(slow) == turn, words
        assert_one_after_the_other_and_recorded(slow)
        assert rwlock(slow) == {}
    assert "slow" not in slow.dvc_stale()


def test_while_a_command_runs_dvc_status_looks_and_what_writes_the_output_is_refused_with_words(slow: Toy, processes: Processes) -> None:
    settings(slow, 1, waits=True)
    ours = Background(lambda: make(slow))
    wait_until(lambda: starts(slow) == 1, timeout_s=60.0)

    looks = [processes.dvc(*words) for words in (["status"], ["repro", "after"], ["remove", "slow"])]
    answers = []
    for process in looks:
        begin(process)
        answers.append(process.communicate(timeout=60.0)[0])

    assert [process.returncode for process in looks] == [0, 255, 1], answers
    assert all(f"(PID {os.getpid()}): materialization of slow\n" in words for words in answers[1:]), answers
    assert all("): command of slow, run by a materialization\n" in words for words in answers[1:]), answers
    go(slow)
    assert ours.result().how == "ran"
    assert_one_after_the_other_and_recorded(slow)


def test_a_dvc_repro_is_refused_as_long_as_the_command_of_a_killed_run_is_still_ending(slow: Toy, processes: Processes) -> None:
    settings(slow, 1, waits=True)
    first, refused, second = processes.make(), processes.dvc("repro", "slow"), processes.dvc("repro", "slow")
    begin(first)
    wait_until(lambda: starts(slow) == 1, timeout_s=60.0)
    first.kill()
    first.wait()
    begin(refused)
    words, _ = refused.communicate(timeout=60.0)
    wait_until(lambda: "slow" not in running_stages(slow.project()), timeout_s=60.0)
    # The lock is free a moment before the process that held it is gone, and DVC asks for the process.
    claimants = [info["pid"] for infos in rwlock(slow)["read"].values() for info in infos]
    wait_until(lambda: not any(map(psutil.pid_exists, claimants)), timeout_s=60.0)

    go(slow)
    begin(second)
    said, _ = second.communicate(timeout=60.0)

    assert refused.returncode == 255 and "command of slow, run by a materialization" in words, words
    assert second.returncode == 0, said
    assert_one_after_the_other_and_recorded(slow)


def test_waiting_for_a_dvc_repro_ends_when_it_is_cancelled(slow: Toy, processes: Processes) -> None:
    settings(slow, 1, waits=True)
    repro, told = processes.dvc("repro", "slow"), []
    begin(repro)
    wait_until(lambda: starts(slow) == 1, timeout_s=60.0)

    with pytest.raises(InterruptedError, match=rf"cancelled while waiting for another DVC command: .*\(PID {repro.pid}\)"):
        make(slow, tell=told.append, is_cancelled=lambda: bool(told))

    assert len(told) == 1 and "data/slow" in told[0]
    go(slow)
    words, _ = repro.communicate(timeout=60.0)
    assert repro.returncode == 0, words
    assert_one_after_the_other_and_recorded(slow)
