"""How the tests of every training stage run it: in this process, in one that dies in the middle of a step, or in several; and what they compare."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import warm
from training.loop.stats_files import MACHINE
from training.tracking.tracker import tracked_series

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--standalone"]


def places(folder: Path, *settings: str) -> list[str]:
    """Arguments of any stage's program. settings: such as `seed=3`."""
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), *sets]


@dataclass(frozen=True)
class Harness:
    """stage: its name, which is also that of its section and its output. module: its program. inputs: what it reads, paths below a project.

    copies: whether each project has inputs of its own, which a test may change. imports: what the program loads late, for `warm.run`.
    """

    stage: str
    module: str
    inputs: tuple[str, ...]
    copies: bool = False
    imports: tuple[str, ...] = ()

    def project(self, prepared: Path, folder: Path) -> Path:
        """A project of its own at `folder` with the inputs of a prepared one."""
        (folder / "data").mkdir(parents=True)
        for name in self.inputs:
            if self.copies:
                shutil.copytree(prepared / name, folder / name)
            else:
                (folder / name).symlink_to(prepared / name)
        shutil.copy(prepared / "params.yaml", folder)
        return folder

    def arguments(self, folder: Path, *settings: str) -> list[str]:
        return [*places(folder, *settings), "--state", str(folder / ".figment")]

    def run_here(self, folder: Path, *settings: str, more: tuple[str, ...] = (), track: str | None = None) -> int:
        """The stage in this process. track: FIGMENT_TRACK, `jsonl` where `series` is asked for later; by default as it is, or `none`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIGMENT_TRACK", track or os.environ.get("FIGMENT_TRACK", "none"))
            return importlib.import_module(self.module).main([*self.arguments(folder, *settings), *more])

    def start(
        self, folder: Path, *settings: str, die_at_step: int = -1, number: int = signal.SIGKILL, track: str = "jsonl"
    ) -> subprocess.CompletedProcess:
        """The stage in a process of its own, which gets the signal `number` in the middle of that optimizer step."""
        words = ["-m", "tests.training.run_and_die", self.module, str(die_at_step), str(int(number)), *self.arguments(folder, *settings)]
        return warm.run(*words, imports=[self.module, *self.imports], env={**os.environ, "FIGMENT_TRACK": track})

    def kill(self, folder: Path, step: int, *settings: str, track: str = "jsonl") -> None:
        """Start it and see it die by SIGKILL in the middle of that step, before it has any output."""
        killed = self.start(folder, *settings, die_at_step=step, track=track)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (folder / "data" / self.stage).exists()

    def output(self, folder: Path) -> dict[str, bytes]:
        """By path below it, all that the stage left."""
        model = folder / "data" / self.stage
        return {path.relative_to(model).as_posix(): path.read_bytes() for path in sorted(model.rglob("*")) if path.is_file()}

    def series(self, folder: Path) -> dict[str, list[tuple[int, float]]]:
        """What was tracked, but for what the machine decides."""
        (journal,) = (folder / ".figment/tracking" / self.stage).iterdir()
        found = tracked_series(folder / ".figment", self.stage, journal.name)
        return {name: points for name, points in found.items() if name not in MACHINE}

    def check_refused(self, folder: Path, capsys: pytest.CaptureFixture[str], code: int, message: str, *settings: str) -> None:
        """What is wrong is said in one line, and nothing is made."""
        shutil.rmtree(folder / "data" / self.stage, ignore_errors=True)
        assert self.run_here(folder, *settings) == code
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("figment: ") and message in last
        assert not (folder / "data" / self.stage).exists()

    def run_alone_and_together(self, prepared: Path, folder: Path, *settings: str) -> list[Path]:
        """The outputs of one process and of two that learn together."""
        outputs = []
        for name, launcher in (("alone", []), ("together", TORCHRUN)):
            place = self.project(prepared, folder / name)
            command = [sys.executable, *launcher, "-m", self.module, *self.arguments(place, *settings)]
            run = subprocess.run(command, cwd=warm.ROOT, capture_output=True, text=True, env={**os.environ, "FIGMENT_TRACK": "none"})
            assert run.returncode == 0, run.stderr
            outputs.append(place / "data" / self.stage)
        return outputs
