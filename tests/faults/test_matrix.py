"""What changes state (a crawl, a build, a training, a commit) meets what goes wrong with machines, again and again at other moments, and is then run
once in peace: it ends as if nothing had been, and nothing is left behind.

Signals and errors come from strace, at system calls that change files, evenly spread over the run.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scrapy", reason="scrapy is not installed (extra: scrape)")
pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from ruamel.yaml import YAML

from assets.papers.raw_pages import RawPages
from stages.artifact_id import content_id
from tests import warm
from tests.assets.papers.crawl.tiny_site import Crawler, TinySite, journal, running
from tests.orchestration.bridge import toy
from tests.orchestration.cli.figment import figment

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]

FAULTS = ("SIGKILL", "SIGTERM", "ENOSPC", "EIO", "bit flip", "clock jump")
PLACES = (0.2, 0.6, 0.95)
YEAR = 31_536_000
_MODULES = {
    "build": ["tests.assets.molecules.building", "stages.program"],
    "training": ["tests.training.loop.toy_job", "torch.utils.tensorboard"],
    "commit": ["tests.orchestration.bridge.toy", "dvc.repo", "dvc.stage", "dvc.output"],
}


class Activity:
    """One of the four, in a folder of its own. outcome: what a run that nothing happened to leaves; equal means equal."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.name == "build":
            lines = (f"{'C' * (i % 9 + 1)}{'O' if i % 2 else 'N'}{'C' * (i // 9)} m{i}\n" for i in range(60))
            (self.folder / "letters.smi").write_text("".join(lines))
        elif self.name == "training":
            (self.folder / "data/numbers").mkdir(parents=True)
            (self.folder / "data/numbers/n.txt").write_text("1 2 3")
            (self.folder / "params.yaml").write_text("toy: {samples: 320}\n")
        elif self.name == "commit":
            toy.build(self.folder)

    def run(self, fault: str = "none") -> tuple[int, str]:
        """(exit code, what it said)."""
        env = {**os.environ, "FIGMENT_TRACK": "jsonl"}
        done = warm.run("-m", "tests.faults.under", fault, self.name, str(self.folder), imports=_MODULES[self.name], env=env)
        return done.returncode, done.stdout + done.stderr

    def state(self) -> list[Path]:
        """The files that hold what a killed run had got to, other than its inputs."""
        inputs = {"letters.smi", "params.yaml", "n.txt"}
        kept = {"build": ["scratch", ".tmp-molecules"], "training": [".figment"], "commit": [".figment", ".dvc/tmp"], "crawl": [".figment"]}
        folders = [self.folder / name for name in kept[self.name]]
        files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*"))]
        return [path for path in files if path.is_file() and path.stat().st_size and path.name not in inputs]

    def forget(self) -> None:
        """What the documentation lets anybody do: state may be deleted at any time."""
        for path in self.state():
            path.unlink()

    def outcome(self) -> Any:
        if self.name == "commit":
            return YAML(typ="safe").load((self.folder / "dvc.lock").read_text())
        return content_id(self.folder / ("molecules" if self.name == "build" else "data/toy"))

    def leftovers(self) -> list[str]:
        """What the next look finds that should not be there."""
        if self.name == "commit":
            document = figment(self.folder, "doctor", "--json").json
            return [finding["kind"] for finding in document["findings"] if finding["subject"] in ("rows", "evens") or "tmp" in finding["kind"]]
        return [path.name for path in self.folder.rglob(".tmp-*") if "scratch" not in path.parts]


class Crawl(Activity):
    """The one that needs a server beside it, and an interpreter of its own: a reactor does not fork."""

    def __init__(self, folder: Path, crawler: Crawler) -> None:
        super().__init__("crawl", folder)
        self.crawler = crawler

    def run(self, fault: str = "none") -> tuple[int, str]:
        process = self.crawler.start("tests.faults.under", fault, "crawl", str(self.folder))
        words, _ = process.communicate(timeout=120)
        return process.returncode, words

    def outcome(self) -> Any:
        with RawPages(self.crawler.store) as raw:
            return {(r.url, r.status, r.content_sha256, r.kind, r.crawl, r.day, r.etag) for r in raw.records() if raw.body(r) is not None}


@pytest.fixture
def activity(tmp_path: Path) -> Any:
    with contextlib.ExitStack() as stack:

        def make(name: str, folder: str) -> Activity:
            if name != "crawl":
                made = Activity(name, tmp_path / folder)
            else:
                server = stack.enter_context(running(TinySite(answers=journal(6))))
                made = Crawl(tmp_path / folder, Crawler(tmp_path / folder, server))
            made.prepare()
            return made

        yield make


@pytest.fixture(scope="module")
def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", os.devnull, "-e", "inject=write:error=EIO:when=99", "true"], capture_output=True).returncode == 0


@pytest.fixture
def calm(activity: Callable, tmp_path: Path, once: dict[str, Any]) -> Callable[[str], tuple[list[str], Any]]:
    """(the system calls, in order, of the thread that makes most of them, in a run that nothing happens to; its outcome)."""

    def run(name: str) -> tuple[list[str], Any]:
        if name not in once:
            calm = activity(name, "calm")
            code, words = calm.run(f"count {tmp_path / 'calls'}")
            assert code == 0, words
            time.sleep(0.2)  # strace writes its last lines when the process is gone
            lines = [line.split(maxsplit=1) for line in (tmp_path / "calls").read_text().splitlines()]
            # A crawl's or build's first thread is its supervisor's, which only waits.
            (busiest, _), *_ = Counter(thread for thread, _ in lines).most_common(1)
            once[name] = [call.partition("(")[0] for thread, call in lines if thread == busiest and call[0].isalpha()], calm.outcome()
        return once[name]

    return run


@pytest.fixture(scope="module")
def once() -> dict[str, Any]:
    return {}


def nth(calls: list[str], place: float) -> str:
    """The call `place` of the way into the run, as strace counts: by its name."""
    at = int(place * len(calls))
    return f"{calls[at]} {calls[: at + 1].count(calls[at])}"


def flip(path: Path, place: float) -> None:
    """One bit of the file, `place` of its way in; the file looks as if nobody had touched it."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def harm(activity: Activity, fault: str, calls: list[str], number: int) -> tuple[bool, str]:
    """Do the fault at the place of this number. (whether it came through, what was said)."""
    kinds = {"SIGKILL": "signal=KILL", "SIGTERM": "signal=TERM", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
    told = activity.folder.with_suffix(".strace")
    at = f"{nth(calls, PLACES[number])} {told}"
    if fault in kinds:
        code, words = activity.run(f"{kinds[fault]} {at}")
        # An error may be of no account, as that of a folder which is there already is.
        return code != 0 or any(mark in told.read_text() for mark in ("(INJECTED)", "SIGTERM")), words
    code, _ = activity.run(f"signal=KILL {at}")
    for path in activity.state():
        if fault == "clock jump":
            moved = time.time() + YEAR * (-1) ** number
            os.utime(path, (moved, moved))
        elif hash_of(path) % len(PLACES) == number:
            flip(path, PLACES[number])
    return code != 0, activity.run(f"clock {YEAR * (-1) ** number}")[1] if fault == "clock jump" else ""


def hash_of(path: Path) -> int:
    return sum(path.name.encode())


@pytest.mark.parametrize("name", ["build", "training", "commit", "crawl"])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_any_fault_the_same_command_ends_as_if_nothing_had_been(activity, calm, tried, can_trace, name, fault):
    if not can_trace:
        pytest.skip("strace is not here, or may not trace (needs ptrace)")
    calls, expected = calm(name)
    came = 0
    for number, place in enumerate(PLACES):
        harmed = activity(name, f"harmed_{number}")
        is_through, said = harm(harmed, fault, calls, number)
        code, words = harmed.run()
        if code and fault == "bit flip" and "Traceback" not in words:
            # Named damage, with a remedy; the general one is that state may be forgotten.
            harmed.forget()
            code, words = harmed.run()
        came += is_through
        is_lost = code != 0 or harmed.outcome() != expected
        left = harmed.leftovers() if not code else []
        # A commit is asked for here by a call, whose exceptions are for its caller; the others are programs, whose failures are a line.
        is_rude = "Traceback" in said and name != "commit"
        if is_through:
            tried(f"faults: {fault} in a {name}", 1, got_through=is_rude + len(left), lost=int(is_lost))
        assert not is_lost, (place, code, words)
        assert not left, (place, left)
        assert not is_rude, (place, said)
    assert came >= 2, "the faults did not come through"


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A real file system of 600 KiB, where one may be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "figment-test", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("name", ["build", "training"])
def test_a_disk_that_is_really_full_is_named_with_what_is_needed_and_what_is_free(activity, calm, tried, can_trace, small_disk, name):
    if not can_trace:
        pytest.skip("strace is not here, or may not trace (needs ptrace)")
    _, expected = calm(name)
    full = activity(name, "small/full")
    ballast = small_disk / "ballast"
    told = 0
    for free_kib in (4, 12, 24):
        ballast.unlink(missing_ok=True)
        room = shutil.disk_usage(small_disk).free - free_kib * 1024
        ballast.write_bytes(bytes(max(0, room)))
        code, words = full.run()
        told += code == 1 and "is full: " in words and " are free; make room" in words and "Traceback" not in words
        assert code == 0 or "is full: " in words, words
    ballast.unlink()
    code, words = full.run()
    is_lost = code != 0 or full.outcome() != expected
    tried(f"faults: a disk that is full under a {name}", 3, lost=int(is_lost))
    assert told and not is_lost, (told, words)
