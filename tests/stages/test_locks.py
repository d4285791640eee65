"""A lock is one process's at a time, says whose, and is free again however that process ends."""

import os
import signal
import subprocess
import sys

from stages.locks import leave_note, read_note, take_lock

_HOLDER = """
import os, signal, sys
from pathlib import Path
from stages.locks import leave_note, take_lock
lock = take_lock(Path(sys.argv[1]))
if Path(sys.argv[1]).is_file():
    leave_note(lock, "process 1, with a longer note")
    leave_note(lock, "process 2")
print("held", flush=True)
input()
"""


def test_a_lock_ends_with_its_holder_and_its_note_says_who_that_was(tmp_path, project_root):
    path = tmp_path / "a.lock"
    for target in (path, tmp_path):
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(target)], cwd=project_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with holder:
            assert holder.stdout.readline() == "held\n"
            assert take_lock(target) is None
            holder.send_signal(signal.SIGKILL)
        lock = take_lock(target)
        assert lock is not None
        os.close(lock)
    assert read_note(path) == "process 2"


def test_a_lock_given_back_can_be_taken_again(tmp_path):
    for _ in range(2):
        lock = take_lock(tmp_path / "a.lock")
        leave_note(lock, "ours")
        assert take_lock(tmp_path / "a.lock") is None
        os.close(lock)
