"""Do one of the four things that change state, in a folder, under a fault.

python -m tests.faults.under FAULT ACTIVITY FOLDER

FAULT is `none`; `count FILE`, which writes the system calls of ACTIVITY that change files into FILE; `error=ENOSPC write 9 FILE` or
`signal=KILL write 9 FILE`, what strace does to the ninth `write` of a thread, and tells in FILE; or `clock SECONDS`, by which the clock jumps.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

CALLS = "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,ftruncate"
_CALLS_BEFORE_JUMP = 20


def build(folder: Path) -> int:
    """Molecules, in shards, and the memo of what was parsed."""
    from stages.program import program
    from tests.assets.molecules.building import build as build_molecules
    from tests.assets.molecules.building import source

    def body(*_: object) -> None:
        build_molecules(folder, [source(folder / "letters.smi")])

    return program("build", body, ["--data", str(folder)], expected=())


def training(folder: Path) -> int:
    """A whole training stage with checkpoints, journal, curves and output."""
    from tests.training.loop.toy_job import main

    flags = ["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), "--state", str(folder / ".figment")]
    return main(flags)


def commit(folder: Path) -> int:
    """Materialize two stages through the bridge: commands, DVC's cache and lock, the bridge's own state."""
    from tests.orchestration.bridge.toy import Toy, python_first

    python_first()
    toy = Toy(folder)
    for name in ("rows", "evens"):
        toy.make(name)
    return 0


def crawl(folder: Path) -> int:
    """One night of the tiny site; the parameters say where it is served."""
    from assets.papers.crawl.__main__ import main

    os.chdir(folder)
    return main([])


def _trace(pid: int, out: str, *more: str) -> None:
    """Have strace follow this process, and wait until it does."""
    subprocess.Popen(
        ["strace", "-f", "-qq", "-o", out, "-e", f"trace={CALLS}", *more, "-p", str(pid)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        if time.monotonic() > deadline:
            raise SystemExit("strace does not follow")
        time.sleep(0.005)


def _jump(seconds: float) -> None:
    """After some looks at it the clock is another one."""
    looks, now, now_ns = 0, time.time, time.time_ns

    def shift() -> float:
        nonlocal looks
        looks += 1
        return seconds if looks > _CALLS_BEFORE_JUMP else 0.0

    time.time = lambda: now() + shift()
    time.time_ns = lambda: now_ns() + int(shift() * 1e9)


def main(fault: str, activity: str, folder: str) -> int:
    kind, _, rest = fault.partition(" ")
    run = {"build": build, "training": training, "commit": commit, "crawl": crawl}[activity]
    if kind == "count":
        _trace(os.getpid(), rest)
    elif kind.startswith(("error=", "signal=")):
        call, number, told = rest.split(maxsplit=2)
        _trace(os.getpid(), told, "-e", f"inject={call}:{kind}:when={number}")
    elif kind == "clock":
        _jump(float(rest))
    return run(Path(folder))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
