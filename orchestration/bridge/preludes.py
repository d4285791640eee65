"""Preludes: stages that write nothing but parameters of other stages, from plain inputs (`Graph.preludes`).

Before a stage that reads such parameters is judged or made, its preludes are brought up to date: their command runs, under the stage's lock, and DVC
records them. They take a moment (a look at some files), are no assets, and nobody asks for them by name.

A prelude is due when DVC would call it changed, or when its surroundings moved (surroundings.py). What it writes is never restored from DVC's run
cache: two runs with equal dependencies may differ where the surroundings do.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.dvc_repo import DvcBusy, DvcRefused, StageStore, dvcs_words
from orchestration.bridge.graph import Stage
from orchestration.bridge.inputs import command_environment, inputs_of
from orchestration.bridge.process import run_command
from orchestration.bridge.project import Project
from orchestration.bridge.stage_lock import stage_lock
from orchestration.bridge.status import prelude_causes
from orchestration.bridge.surroundings import remember, surroundings

DOOR = "prelude"
# How often a prelude is run again because somebody edited its inputs meanwhile.
_TRIES = 3
_PAUSE_S = 0.5

Log = Callable[[str], None]


def prepared(
    project: Project,
    names: Iterable[str] | None = None,
    *,
    log: Log = lambda message: None,
    patience_s: float = 2.0,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Project:
    """The project with the preludes of all artifacts (or of `names`) up to date: this very one where they are, else as it is after their runs.

    A prelude that cannot be brought up to date, because its command fails or a DVC command is reading what it would write, stays due, and is a cause
    in the status of its readers. patience_s: how long to wait for such a DVC command; `dvc status` is one, for a moment.
    """
    wanted = project.graph.preludes if names is None else {name for reader in names for name in project.graph.preludes_of(reader)}
    for name in [name for name in project.graph.preludes if name in wanted]:
        if prelude_causes(project, name):
            _bring_up_to_date(project, name, log, _Patience(patience_s, is_cancelled))
            project = project.again()
    return project


class _Patience:
    """Waiting for a DVC command, and no longer than is worth it."""

    def __init__(self, seconds: float, is_cancelled: Callable[[], bool]) -> None:
        self._deadline = time.monotonic() + seconds
        self.is_cancelled = is_cancelled

    @property
    def left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def waits(self) -> bool:
        """Wait a moment; False when patience is at its end."""
        if not self.left_s or self.is_cancelled():
            return False
        time.sleep(_PAUSE_S)
        return True


def _bring_up_to_date(project: Project, name: str, log: Log, patience: _Patience) -> None:
    with stage_lock(project.paths.locks, name, door=DOOR, is_cancelled=patience.is_cancelled):
        # Whoever held the lock before may have run it.
        project = project.again()
        causes = prelude_causes(project, name)
        if not causes:
            return
        before = surroundings(project)
        stage = project.graph[name]
        trouble = _blocked(project.root, stage, log, patience) or _run(project, stage, patience)
        remember(project.again(), stage, before=before, trouble=trouble)
        log(f"{name}: {trouble}" if trouble else f"{name}: wrote {', '.join(stage.writes)} because {causes[0].text}")


def _run(project: Project, stage: Stage, patience: _Patience) -> str:
    """Run the command and have DVC record it; why that did not succeed, or nothing."""
    store = StageStore(project.root, patience_s=patience.left_s)
    for _ in range(_TRIES):
        if absent := [path for path in stage.deps if not (project.root / path).exists()]:
            return f"its input {', '.join(absent)} does not exist"
        inputs = inputs_of(project, stage)
        _prepare_outputs(project, stage, store)
        outcome = run_command(
            stage.cmd,
            cwd=project.root / stage.wdir,
            env=command_environment(project, stage),
            on_output=lambda stream, line: None,
            cancelled=patience.is_cancelled,
        )
        if not outcome.succeeded:
            last = (outcome.stderr_tail or outcome.stdout_tail).strip().splitlines()
            return f"its command ended with status {outcome.returncode}: {last[-1].strip() if last else 'it printed nothing'}"
        if missing := [path for path in stage.writes if not (project.root / path).exists()]:
            return f"its command ended well but did not write {', '.join(missing)}"
        try:
            if not _has_to_be_recorded(project, stage) or not _commit(store, stage, inputs):
                return ""
        except (DvcBusy, DvcRefused) as error:
            return str(error)
        # An input was edited meanwhile: what was written may be of the time before.
        project = project.again()
    return f"its inputs changed during each of {_TRIES} runs"


def _commit(store: StageStore, stage: Stage, inputs: Mapping[str, object]) -> list[str]:
    with dvcs_words():
        return store.commit(stage.name, made_from=inputs)


def _has_to_be_recorded(project: Project, stage: Stage) -> bool:
    """Whether DVC's record says something else than what is there; not after a run for the surroundings' sake that changed nothing."""
    return any(cause.kind not in ("prelude", "always") for cause in prelude_causes(project.again(), stage.name))


def _prepare_outputs(project: Project, stage: Stage, store: StageStore) -> None:
    """What `dvc repro` does before a run. Files that git keeps are no links into DVC's cache: for those it needs no DVC."""
    if any(out.cached for out in stage.outs):
        store.prepare_outputs(stage.name, keep_links=False)
        return
    for out in stage.outs:
        path = project.root / out.path
        if not out.persist and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not out.persist:
            path.unlink(missing_ok=True)


# ---- commands of DVC's own that are at work on what a prelude writes ------------------------------------------------------------------


def _blocked(root: Path, stage: Stage, log: Log, patience: _Patience) -> str:
    """Words for the living DVC command that reads or writes what the prelude writes, once there is no patience left; nothing when there is none.

    At its end `dvc repro` records the parameters that it finds then: new ones would be recorded as what made an output of the old ones.
    """
    paths = {str(root / path) for path in stage.writes}
    told = False
    while True:
        others = [f"process {info['pid']} ({info['cmd']})" for path, info in _at_work(root) if path in paths and _is_alive(int(info["pid"]))]
        if not others:
            return ""
        words = f"another DVC command is at work with it: {', '.join(dict.fromkeys(others))}"
        if not told:
            log(f"{stage.name}: waiting to write {', '.join(stage.writes)}; {words}")
            told = True
        if not patience.waits():
            return words


def _at_work(root: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, process) of everything that DVC's register says is being read or written."""
    try:
        register = json.loads((root / ".dvc/tmp/rwlock").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    for path, infos in register.get("read", {}).items():
        yield from ((path, info) for info in infos)
    yield from register.get("write", {}).items()


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
