"""Preludes: stages that write nothing but parameters of other stages, from plain inputs (`Graph.preludes`).

Before a stage that reads such parameters is judged or made, its preludes are brought up to date: their command runs, under the stage's lock, and DVC
records them. They take a moment (a look at some files), are no assets, and nobody asks for them by name.

A prelude is due when DVC would call it changed, or when its surroundings moved (surroundings.py). What it writes is never restored from DVC's run
cache: two runs with equal dependencies may differ where the surroundings do.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping

from .dvc_repo import DvcBusy, DvcRefused, StageStore, dvcs_words
from .graph import Stage
from .inputs import command_environment, inputs_of
from .process import Hold, run_command
from .project import Project
from .stage_lock import stage_lock
from .status import prelude_causes
from .surroundings import remember, surroundings

DOOR = "prelude"
# How often a prelude is run again because somebody edited its inputs meanwhile.
_TRIES = 3

Log = Callable[[str], None]


def prepared(
    project: Project,
    names: Iterable[str] | None = None,
    *,
    unmade: bool = False,
    log: Log = lambda message: None,
    patience_s: float = 2.0,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Project:
    """The project with the preludes of all artifacts (or of `names`) up to date: this very one where they are, else as it is after their runs.

    unmade: see to the preludes of artifacts that were never made, too: one is to be made. There is nothing to judge of them.
    A prelude that cannot be brought up to date, because its command fails or a DVC command is reading what it would write, stays due, and is a cause
    in the status of its readers. patience_s: how long to wait for such a DVC command; `dvc status` is one, for a moment.
    """
    if project.resolved is not None:
        # The graph was resolved elsewhere, and there may be no DVC here to record anything.
        return project
    made = project.lock().entries
    readers = [name for name in (project.graph.stages if names is None else names) if unmade or name in made]
    wanted = {name for reader in readers for name in project.graph.preludes_of(reader)}
    for name in [name for name in project.graph.preludes if name in wanted]:
        if prelude_causes(project, name):
            store = StageStore(project.root, on_wait=log, is_cancelled=is_cancelled, patience_s=patience_s)
            _bring_up_to_date(project, name, store, log, is_cancelled)
            project = project.again()
    return project


def _bring_up_to_date(project: Project, name: str, store: StageStore, log: Log, is_cancelled: Callable[[], bool]) -> None:
    with stage_lock(project.paths.locks, name, door=DOOR, is_cancelled=is_cancelled) as lock:
        # Whoever held the lock before may have run it.
        project = project.again()
        causes = prelude_causes(project, name)
        if not causes:
            return
        stage = project.graph[name]
        before = surroundings(project, stage)
        try:
            # At its end `dvc repro` records the parameters that it finds then, be they what its command read or not: what it is reading stays.
            with store.claim(stage) as extend_claim:
                trouble = _run(project, stage, store, lock.hold(extend_claim), is_cancelled)
        except (DvcBusy, DvcRefused) as error:
            trouble = str(error)
        remember(project.again(), stage, before=before, trouble=trouble)
        log(f"{name}: {trouble}" if trouble else f"{name}: wrote {', '.join(stage.writes)} because {causes[0].text}")


def _run(project: Project, stage: Stage, store: StageStore, hold: Hold, is_cancelled: Callable[[], bool]) -> str:
    """Run the command and have DVC record it; why that did not succeed, or nothing."""
    for _ in range(_TRIES):
        if absent := [path for path in stage.deps if not project.has(path)]:
            return f"its input {', '.join(absent)} does not exist"
        inputs = inputs_of(project, stage)
        _prepare_outputs(project, stage, store)
        outcome = run_command(
            stage.cmd,
            cwd=project.root / stage.wdir,
            env=command_environment(project, stage),
            on_output=lambda stream, line: None,
            cancelled=is_cancelled,
            hold=hold,
        )
        if not outcome.succeeded:
            last = (outcome.stderr_tail or outcome.stdout_tail).strip().splitlines()
            return f"its command ended with status {outcome.returncode}: {last[-1].strip() if last else 'it printed nothing'}"
        if missing := [path for path in stage.writes if not (project.root / path).exists()]:
            return f"its command ended well but did not write {', '.join(missing)}"
        if not _has_to_be_recorded(project, stage) or not _commit(store, stage, inputs):
            return ""
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
