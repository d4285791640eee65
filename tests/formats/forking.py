"""Fork in an interpreter of its own: the one that runs the tests has threads, whose locks a fork would copy as they happen to be held."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# `opened` is made before the fork; every process then asks `is_right` of it, all at the same time.
_PROGRAM = """
import os, sys
{opening}
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        right = False
        try:
            right = is_right(opened)
        finally:
            os._exit(0 if right else 1)
    children.append(pid)
mine = is_right(opened)
theirs = [os.waitpid(pid, 0)[1] for pid in children]
sys.exit(0 if mine and not any(theirs) else 1)
"""


def right_in_all_forks(opening: str, *arguments: object) -> bool:
    """Whether `is_right(opened)` holds in a process and in four that were forked from it. opening: code that defines both, from sys.argv[1:]."""
    words = [sys.executable, "-c", _PROGRAM.format(opening=opening), *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, timeout=120).returncode == 0
