import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestration.bridge.stage_lock import StageBusy, holder_of, stage_lock
from orchestration.bridge.survivors import is_running

_HOLD = """
import sys, time
from pathlib import Path
from orchestration.bridge.stage_lock import stage_lock
with stage_lock(Path(sys.argv[1]), sys.argv[2], door="elsewhere"):
    print("held", flush=True)
    time.sleep(60)
"""


# Takes the lock as for a command, starts one (argv[4:]) and says its number.
_RUN = """
import os, subprocess, sys
from pathlib import Path
from orchestration.bridge.stage_lock import stage_lock
from orchestration.bridge.survivors import MARK
with stage_lock(Path(sys.argv[1]), sys.argv[2], door="elsewhere") as lock:
    hold = lock.hold(lambda supervisor: None)
    kept = hold.descriptors if sys.argv[3] == "keep" else ()
    command = subprocess.Popen(sys.argv[4:], pass_fds=kept, env={**os.environ, MARK: hold.mark}, stdout=subprocess.DEVNULL)
    hold.begin(command.pid)
    print(command.pid, flush=True)
    command.wait()
"""


def run_and_kill(locks: Path, project_root: Path, *words: str) -> tuple[int, int]:
    """The numbers of a process that was killed while it held the lock, and of the command it had started, which lives."""
    with subprocess.Popen([sys.executable, "-c", _RUN, str(locks), *words], cwd=project_root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        command = int(process.stdout.readline())
        process.kill()
    assert is_running(command)
    return process.pid, command


def hold_in_another_process(locks: Path, name: str, project_root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(locks), name], cwd=project_root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_held_lock_says_who_holds_it_and_a_free_one_nothing(tmp_path: Path, project_root: Path) -> None:
    assert holder_of(tmp_path, "a") is None
    with hold_in_another_process(tmp_path, "a", project_root) as process:
        holder = holder_of(tmp_path, "a")
        assert holder is not None and (holder.pid, holder.door) == (process.pid, "elsewhere") and time.time() - holder.since < 60
        assert holder_of(tmp_path, "b") is None
        process.kill()
    # The kernel has freed it, whatever text its holder left behind.
    assert holder_of(tmp_path, "a") is None


def test_who_does_not_want_to_wait_is_told_who_works(tmp_path: Path, project_root: Path) -> None:
    with hold_in_another_process(tmp_path, "a", project_root) as process:
        with (
            pytest.raises(StageBusy, match=rf"a is being materialized by process {process.pid} \(elsewhere\)"),
            stage_lock(tmp_path, "a", door="x", wait=False),
        ):
            pass
        process.kill()


def test_who_waits_is_told_once_and_gets_the_lock_when_its_holder_dies(tmp_path: Path, project_root: Path) -> None:
    told: list[str] = []
    with hold_in_another_process(tmp_path, "a", project_root) as process:
        threading.Timer(0.5, process.kill).start()
        with stage_lock(tmp_path, "a", door="next", tell=told.append):
            assert told == [f"a is being materialized by process {process.pid} (elsewhere); waiting for it"]
            assert holder_of(tmp_path, "a").door == "next"


def test_the_lock_is_that_of_the_command_when_its_taker_is_killed(tmp_path: Path, project_root: Path) -> None:
    taker, command = run_and_kill(tmp_path, project_root, "a", "keep", "sleep", "60")
    words = f"a was being materialized by process {taker} (elsewhere), which died; its command (process {command}) is still ending"

    holder = holder_of(tmp_path, "a")
    assert holder is not None and holder.is_gone and f"a {holder}" == words
    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        os.kill(command, signal.SIGKILL)

    with stage_lock(tmp_path, "a", door="next", tell=tell):
        assert told == [f"{words}; waiting for it"] and not is_running(command)


def test_what_a_killed_taker_and_a_killed_supervisor_have_left_is_ended_by_the_next_taker(tmp_path: Path, project_root: Path) -> None:
    _, command = run_and_kill(tmp_path, project_root, "a", "drop", "sleep", "60")
    assert holder_of(tmp_path, "a") is None

    told: list[str] = []
    with stage_lock(tmp_path, "a", door="next", tell=told.append):
        assert told == ["a: ended what a killed run had left behind (processes: 1)"] and not is_running(command)


def test_a_cancelled_wait_ends(tmp_path: Path, project_root: Path) -> None:
    with hold_in_another_process(tmp_path, "a", project_root) as process:
        with pytest.raises(InterruptedError, match="cancelled while waiting"), stage_lock(tmp_path, "a", door="x", is_cancelled=lambda: True):
            pass
        process.kill()


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with stage_lock(tmp_path, "a", door="x"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("name", ["train@small-0", "a/b", "ünïcode", "with space"])
def test_any_name_of_a_stage_makes_a_lock(tmp_path: Path, name: str) -> None:
    with stage_lock(tmp_path, name, door="x"):
        assert holder_of(tmp_path, name) is not None
        assert holder_of(tmp_path, name + "-other") is None
    assert len(list(tmp_path.iterdir())) == 1


def test_asking_who_holds_a_lock_never_makes_a_taker_wait(tmp_path: Path) -> None:
    """A question takes the lock for a moment; whoever wants it meanwhile tries again and is not told that somebody works."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            holder_of(tmp_path, "a")

    thread = threading.Thread(target=ask)
    thread.start()
    told: list[str] = []
    try:
        for _ in range(50):
            with stage_lock(tmp_path, "a", door="x", tell=told.append):
                pass
    finally:
        stop.set()
        thread.join()
    assert told == []
