import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.bridge import supervise
from orchestration.bridge.process import BEGIN
from orchestration.bridge.survivors import is_running
from tests.orchestration.bridge.test_process import wait_until

# Asks for a command, says the numbers of its processes, and would wait for ever.
ASKING_PROGRAM = """
import os, sys
from pathlib import Path
from orchestration.bridge.process import Hold, run_command
locks = tuple(os.open(name, os.O_RDWR) for name in sys.argv[2:])
for fd in locks:
    import fcntl
    fcntl.flock(fd, fcntl.LOCK_EX)
run_command(sys.argv[1], cwd=Path.cwd(), env=os.environ, on_output=lambda _, line: print(line, flush=True),
            cancelled=lambda: False, grace_s=1.0, hold=Hold(locks))
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture
def asking():
    """Starts the asking program; ends what is left of it."""
    started: list[subprocess.Popen[str]] = []

    def start(command: str, *locks: Path) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", ASKING_PROGRAM, command, *map(str, locks)]
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_tree_ends_when_the_asking_process_is_killed(asking):
    process = asking("setsid sh -c 'echo $$; exec sleep 300' & echo $$; sleep 300")
    pids = [int(process.stdout.readline()) for _ in range(2)]
    assert all(map(is_running, pids))

    process.kill()

    wait_until(lambda: not any(map(is_running, pids)))


def test_a_tree_that_ignores_sigterm_ends_too_when_the_asking_process_is_killed(asking):
    process = asking("trap '' TERM; echo $$; while :; do sleep 0.1; done")
    pid = int(process.stdout.readline())

    process.kill()

    wait_until(lambda: not is_running(pid))


def test_a_held_lock_is_free_only_after_the_last_process_of_the_tree(asking, tmp_path):
    lock = tmp_path / "lock"
    lock.touch()
    process = asking(
        "trap 'sleep 0.5; echo late > written; exit' TERM; echo $$; while :; do sleep 0.05; done".replace("written", str(tmp_path / "written")), lock
    )
    pid = int(process.stdout.readline())

    killed_at = time.monotonic()
    process.kill()
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

    # The half second that cleaning up took was not cut short, though the process of it was new.
    assert not is_running(pid)
    assert time.monotonic() - killed_at >= 0.5
    assert (tmp_path / "written").read_text() == "late\n"


def test_sigterm_to_the_supervisor_ends_the_tree():
    with open_supervisor("echo $$; sleep 300") as process:
        pid = int(process.stdout.readline())

        process.terminate()

        assert process.wait(timeout=5) == 128 + signal.SIGTERM
        assert not is_running(pid)


def test_a_supervisor_within_tells_its_own_tree_once(tmp_path):
    told = tmp_path / "told"
    (tmp_path / "inner.sh").write_text(f"trap 'echo told >> {told}; sleep 0.5; exit' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    (tmp_path / "ask.py").write_text(ASKING_PROGRAM)
    with open_supervisor(f"{sys.executable} {tmp_path}/ask.py 'exec sh {tmp_path}/inner.sh'", PYTHONPATH=str(ROOT)) as process:
        assert process.stdout.readline() == "ready\n"

        process.terminate()

        process.wait(timeout=5)
    assert told.read_text() == "told\n"


def test_no_command_starts_before_the_word_nor_when_it_never_comes(tmp_path):
    with open_supervisor(f"touch {tmp_path}/started", word=b"") as process, pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)

    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "started").exists()


def test_the_exit_status_is_passed_through():
    with open_supervisor("exit 41") as process:
        assert process.wait(timeout=5) == 41


def test_the_command_inherits_no_file_but_the_standard_three():
    with open_supervisor("ls /proc/self/fd") as process:
        # The fourth is the folder that `ls` itself reads.
        assert len(process.stdout.read().split()) == 4


def test_it_starts_in_a_fraction_of_a_dagster_step():
    started = time.process_time(), os.times().children_user + os.times().children_system
    for _ in range(5):
        with open_supervisor("true") as process:
            process.wait()
    used_s = time.process_time() - started[0] + os.times().children_user + os.times().children_system - started[1]

    assert used_s / 5 < 0.06


def test_the_processes_that_ps_lists_are_read_with_their_groups():
    parents, groups = supervise._ps_processes()

    assert parents[os.getpid()] == os.getppid()
    assert groups[os.getpid()] == os.getpgrp()


@contextlib.contextmanager
def open_supervisor(command: str, *, word: bytes = BEGIN, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The supervisor of `command`, whose parent lives until the block ends."""
    read_fd, write_fd = os.pipe()
    arguments = [sys.executable, "-I", "-S", supervise.__file__, str(read_fd), "1.0", command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, pass_fds=[read_fd], env={**os.environ, **environment}) as process:
        os.close(read_fd)
        os.write(write_fd, word)
        try:
            yield process
        finally:
            os.close(write_fd)
