"""Make one artifact: ask whether it is stale, restore it if DVC has made it before, else run its command, and record what it was made from.

What an output was made from is what its inputs were when its command started. If an input or a parameter moves while the command runs, be it one
that a prelude writes, nobody can say which version it read: the output is then not recorded, and the stage stays stale with that reason.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from .cache import damaged_copies, damaged_objects
from .dvc_remote import DvcRemote
from .dvc_repo import PATIENCE_S, DvcRefused, StageStore, differing, dvcs_words
from .graph import GraphError, Stage, is_remote
from .identity import Content
from .inputs import command_environment, inputs_of, name_of_inputs
from .meta import stage_meta
from .preludes import prepared
from .process import Hold, Outcome
from .project import Project
from .stage_lock import Holder, StageLock, holder_of, stage_lock
from .status import Cause, StageStatus, causes_of_preludes, project_status, unreachable
from .trespass import differences, look_around
from .turns import TakeTurn, Turn, TurnRefused

How = Literal["fresh", "restored", "ran", "verified"]


class StageFailed(Exception):
    """The command ended badly, or did not write what it promised. Nothing was recorded. `outcome` is None when no command ran."""

    def __init__(self, message: str, outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class InputsMoved(StageFailed):
    """The command ended well, but its inputs changed while it ran: the output is kept on disk and not recorded."""


class StageCancelled(StageFailed):
    """Someone asked for the command to stop, and it did."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What to make and who asks: `door` is remembered with the artifact."""

    name: str
    door: str
    force: bool = False


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """How the engine reaches the world: a runner for the command, and someone to talk to.

    is_under_way: whether the command runs already somewhere, or has ended there unseen, from the inputs of that name: its outputs then stay.
    take_turn: a stage's turn among all machines that share a DVC remote; it yields None where none is shared.
    """

    run: Callable[[Stage, Mapping[str, str], Hold], Outcome]
    log: Callable[[str], None] = lambda message: None
    is_cancelled: Callable[[], bool] = lambda: False
    is_under_way: Callable[[Stage, str], bool] = lambda stage, made_from: False
    take_turn: TakeTurn = lambda name, made_from, tell, is_cancelled: contextlib.nullcontext()


@dataclasses.dataclass(frozen=True)
class Materialized:
    """What happened. `how`: `fresh` nothing to do, `restored` from DVC's run cache, `ran`, `verified` what a frozen stage has, taken as it is."""

    name: str
    how: How
    id: str
    content: Content
    causes: tuple[Cause, ...] = ()
    seconds: float = 0.0
    outcome: Outcome | None = None
    trespasses: tuple[str, ...] = ()


def materialize(project: Project, request: Request, surroundings: Surroundings) -> Materialized:
    """Bring one stage up to date. Its upstream must exist; it may be stale.

    Raises StageFailed (or InputsMoved, StageCancelled) with a message for the user; whatever was recorded before stays recorded.
    """
    # The project is read again once the lock is held: whoever held it before may have made the artifact meanwhile.
    with stage_lock(project.paths.locks, request.name, door=request.door, tell=surroundings.log, is_cancelled=surroundings.is_cancelled) as lock:
        return _materialize_unless_fresh(project.again(), request, surroundings, lock)


def running_stages(project: Project) -> dict[str, Holder]:
    """The stages that are being materialized on this machine now, and by whom."""
    holders = ((name, holder_of(project.paths.locks, name)) for name in project.graph.stages)
    return {name: holder for name, holder in holders if holder}


def _materialize_unless_fresh(project: Project, request: Request, surroundings: Surroundings, lock: StageLock) -> Materialized:
    project = _prepared(project, request.name, surroundings)
    stage = project.graph.artifact(request.name)
    if not request.force and project_status(project, [stage.name])[stage.name].state == "fresh":
        return _result(project, stage, "fresh")
    store = StageStore(project.root, on_wait=surroundings.log, is_cancelled=surroundings.is_cancelled)
    with _refusals_told(stage), store.claim(stage) as extend_claim:
        # Judged once more, now that DVC's own commands keep off: the one that this waited for may have made the artifact.
        return _materialize_locked(project.again(), request, surroundings, store, lock.hold(extend_claim))


@contextlib.contextmanager
def _refusals_told(stage: Stage) -> Iterator[None]:
    """What DVC refuses, a metric that is no text or a dvc.lock that somebody mangled, fails the stage in DVC's words."""
    try:
        with dvcs_words():
            yield
    except (DvcRefused, TurnRefused) as error:
        raise StageFailed(f"{stage.name}: {error}; nothing was recorded") from error


def _materialize_locked(project: Project, request: Request, surroundings: Surroundings, store: StageStore, hold: Hold) -> Materialized:
    project = _prepared(project, request.name, surroundings)
    stage = project.graph.artifact(request.name)
    # Before anything is judged: an edit from here on is either seen by the judgement, or found when the stage is recorded.
    inputs = inputs_of(project, stage)
    status = project_status(project, [stage.name])[stage.name]
    if status.state == "fresh" and not request.force:
        return _result(project, stage, "fresh")
    if away := [out.path for out in stage.outs if is_remote(out.path)]:
        raise StageFailed(f"{stage.name}: its output {', '.join(away)} lies on a server; such a stage is made with `dvc repro {stage.address}` only")
    if stage.frozen:
        return _take_as_it_is(project, request, stage, status, store, inputs)
    _require_preludes(project, stage)
    if not request.force and not _is_withheld(status):
        _require_inputs(project, stage)
        if not stage.always_changed and store.restore(stage.name, is_sound=lambda id: _is_sound(project, id, surroundings)):
            surroundings.log(f"{stage.name}: restored from the run cache, DVC has made it from exactly these inputs before")
            _commit(project, stage, store, inputs)
            return _finish(project, request, stage, "restored", status)
    _require_inputs(project, stage)
    made_from = name_of_inputs(inputs)
    with surroundings.take_turn(stage.name, made_from, surroundings.log, surroundings.is_cancelled) as turn:
        if turn is None:
            return _run(project, request, stage, status, store, surroundings, hold)
        # The wait may have been long.
        if name_of_inputs(inputs_of(project.again(), stage)) == made_from:
            return _take_turn(project, request, stage, status, store, surroundings, hold, inputs, turn)
    return _materialize_locked(project.again(), request, surroundings, store, hold)


def _take_turn(
    project: Project,
    request: Request,
    stage: Stage,
    status: StageStatus,
    store: StageStore,
    surroundings: Surroundings,
    hold: Hold,
    inputs: Mapping[str, object],
    turn: Turn,
) -> Materialized:
    """Take what another machine made from the same inputs; else run the command, and let the others have what it made."""
    remote = DvcRemote(project.root)
    if turn.is_made_meanwhile or not (request.force or stage.always_changed or _is_withheld(status)):
        made = remote.fetch(stage.name, turn.made, inputs)
        if made and store.restore(stage.name, made=made, is_sound=lambda id: _is_sound(project, id, surroundings)):
            surroundings.log(f"{stage.name}: restored from the DVC remote, it was made from exactly these inputs before")
            _commit(project, stage, store, inputs)
            return _finish(project, request, stage, "restored", status)
    done = _run(project, request, stage, status, store, surroundings, hold, turn.confirm)
    try:
        turn.publish(remote.push(stage.name, tell=surroundings.log, is_cancelled=surroundings.is_cancelled))
    except DvcRefused as error:
        surroundings.log(f"{stage.name}: recorded on this machine only: {error}; then `dvc push --run-cache {stage.address}`")
    except TurnRefused as error:
        raise StageFailed(f"{stage.name}: recorded on this machine only: {error}", done.outcome) from error
    return done


def _take_as_it_is(
    project: Project, request: Request, stage: Stage, status: StageStatus, store: StageStore, inputs: Mapping[str, object]
) -> Materialized:
    """What `dvc repro` does with a frozen stage: never run, forced or not; its outputs are what is there."""
    if missing := [out.path for out in stage.outs if not project.has(out.path)]:
        remedy = f"bring it back with `dvc checkout {missing[0]}`, or let {stage.name} run again with `dvc unfreeze {stage.address}`"
        raise StageFailed(f"{stage.name} is frozen, and its output {', '.join(missing)} is missing; {remedy}")
    _commit(project, stage, store, inputs)
    return _finish(project, request, stage, "verified", status)


def _is_withheld(status: StageStatus) -> bool:
    return any(cause.kind == "withheld" for cause in status.causes)


def _is_sound(project: Project, id: str, surroundings: Surroundings) -> bool:
    """Whether the cache holds the output `id` byte for byte. Damaged objects are removed: DVC would hand them out for ever."""
    damaged = damaged_objects(project.cache_dir, id)
    for path in damaged:
        surroundings.log(f"the DVC cache held damaged bytes under {path.parent.name}{path.name}; removed")
        path.unlink()
    return not damaged


def _run(
    project: Project,
    request: Request,
    stage: Stage,
    status: StageStatus,
    store: StageStore,
    surroundings: Surroundings,
    hold: Hold,
    confirm: Callable[[], None] = lambda: None,
) -> Materialized:
    """confirm: raises TurnRefused when what was made is not to be recorded."""
    started, started_at = time.monotonic(), time.time()
    inputs = inputs_of(project, stage)
    made_from = name_of_inputs(inputs)
    if not surroundings.is_under_way(stage, made_from):
        store.prepare_outputs(stage.name, keep_links=stage_meta(stage).replaces_files)
    spared = _spared(project, stage, since=started_at)
    watched = look_around(project.root, but=spared)
    outcome = surroundings.run(stage, command_environment(project, stage), dataclasses.replace(hold, made_from=made_from))
    spared |= _spared(project, stage, since=started_at)
    trespasses = differences(watched, look_around(project.root, but=spared), but=spared)
    if outcome.cancelled:
        raise StageCancelled(f"{stage.name} was cancelled after {outcome.seconds:,.0f} s; nothing was recorded", outcome)
    if outcome.returncode != 0:
        raise StageFailed(_failure_words(stage, outcome), outcome)
    _require_outputs(project, stage, outcome)
    _drop_damaged_objects(project, stage, surroundings)
    moved = _moved(project, stage, inputs, surroundings)
    if moved:
        raise _withheld(project, stage, moved, outcome)
    confirm()
    _commit(project, stage, store, inputs, outcome)
    done = _finish(project, request, stage, "ran", status, seconds=time.monotonic() - started)
    return dataclasses.replace(done, outcome=outcome, trespasses=tuple(trespasses))


def _prepared(project: Project, name: str, surroundings: Surroundings) -> Project:
    """The project with the stage's preludes up to date; DVC commands that are at work with what they write are waited for."""
    names = [name] if name in project.graph.stages else []
    return prepared(project, names, unmade=True, log=surroundings.log, patience_s=PATIENCE_S, is_cancelled=surroundings.is_cancelled)


def _moved(project: Project, stage: Stage, inputs: Mapping[str, object], surroundings: Surroundings) -> list[str]:
    """The inputs that are not what they were. What preludes write is brought up to date once more: an edit of what they read counts, too."""
    now = _prepared(project.again(), stage.name, surroundings)
    return sorted({*differing(inputs, inputs_of(now, stage)), *(cause.subject for cause in causes_of_preludes(now, stage.name))})


def _commit(project: Project, stage: Stage, store: StageStore, inputs: Mapping[str, object], outcome: Outcome | None = None) -> None:
    try:
        with dvcs_words():
            moved = store.commit(stage.name, made_from=inputs)
    except DvcRefused as error:
        raise StageFailed(f"{stage.name}: nothing was recorded: {error}", outcome) from error
    if moved:
        raise _withheld(project, stage, moved, outcome)


def _withheld(project: Project, stage: Stage, moved: list[str], outcome: Outcome | None) -> InputsMoved:
    names = ", ".join(moved)
    _withhold(project, stage, f"made by a run during which {names} changed, so what it was made from is unknown; materialize it again")
    return InputsMoved(f"{stage.name}: {names} changed while its command ran; the output is kept on disk but not recorded", outcome)


def _drop_damaged_objects(project: Project, stage: Stage, surroundings: Surroundings) -> None:
    """DVC keeps an object it already has, and would replace the output just made by the damaged bytes under its name."""
    for out in stage.outs:
        for path in damaged_copies(project, out.path) if out.cached else []:
            surroundings.log(f"the DVC cache held damaged bytes under {path.parent.name}{path.name}; removed, {stage.name} has made them again")
            path.unlink()


def _require_preludes(project: Project, stage: Stage) -> None:
    for cause in causes_of_preludes(project, stage.name):
        raise StageFailed(f"{stage.name}: {cause.text}")


def _require_inputs(project: Project, stage: Stage) -> None:
    for path in stage.deps:
        if is_remote(path) and not project.has(path):
            raise StageFailed(f"{stage.name}: {unreachable(path)}; when it can be reached again, materialize {stage.name}")
        if not project.has(path):
            writer = project.graph.producer_of(path)
            remedy = f"materialize {writer} first" if writer else f"add it, or take it out of the deps of {stage.name} in dvc.yaml"
            raise StageFailed(f"{stage.name}: its input {path} does not exist; {remedy}")
        if (content := project.content(path)) and content.problem:
            raise StageFailed(f"{stage.name}: its input cannot be recorded: {content.problem}; remove it")


def _require_outputs(project: Project, stage: Stage, outcome: Outcome) -> None:
    missing = [out.path for out in stage.outs if not (project.root / out.path).exists()]
    if missing:
        raise StageFailed(f"{stage.name}: the command ended well but did not write {', '.join(missing)}, which dvc.yaml names as its output", outcome)
    for out in stage.outs:
        if (content := project.store.content(project.root / out.path)) and content.problem:
            raise StageFailed(f"{stage.name}: its output cannot be recorded: {content.problem}; nothing was recorded", outcome)


def _failure_words(stage: Stage, outcome: Outcome) -> str:
    """The stage's own last words first: they are what the user has to read."""
    ended = f"ended by signal {outcome.signal}" if outcome.signal else f"ended with status {outcome.returncode}"
    tail = (outcome.stderr_tail or outcome.stdout_tail).strip()
    last = tail.splitlines()[-1].strip() if tail else "it printed nothing"
    return f"{last}\n\n{stage.name} {ended} after {outcome.seconds:,.1f} s; nothing was recorded.\n\n{tail}"


def _spared(project: Project, stage: Stage, *, since: float) -> set[str]:
    """Paths that may change during a run without anybody trespassing: the outputs of this stage and of those made beside it."""
    rows = project.store.connection().execute("SELECT DISTINCT stage FROM events WHERE at >= ?", (since,)).fetchall()
    busy = {stage.name, *running_stages(project), *(name for (name,) in rows if name in project.graph.stages)}
    # Preludes may be run by anybody at any time.
    return {path for name in (*busy, *project.graph.preludes) for path in project.graph[name].writes}


def _finish(project: Project, request: Request, stage: Stage, how: How, status: StageStatus, *, seconds: float = 0.0) -> Materialized:
    done = _result(project.again(), stage, how)
    with project.store.connection() as connection:
        connection.execute("DELETE FROM withheld WHERE stage = ?", (stage.name,))
        detail = json.dumps({"seconds": seconds, "causes": [cause.text for cause in status.causes]})
        project.store.log(connection, stage.name, done.id, time.time(), request.door, how, detail)
    return dataclasses.replace(done, causes=status.causes, seconds=seconds)


def _result(project: Project, stage: Stage, how: How) -> Materialized:
    entry = project.lock().entries.get(stage.name)
    id = entry.output_id(stage) if entry else None
    if id is None:
        raise GraphError(
            f"{stage.lock_file} has no output of {stage.name}; restore it with `git checkout {stage.lock_file}`, or materialize with --force"
        )
    contents = [content for out in stage.data_outs if (content := project.content(out.path))]
    total = Content(id, sum(content.files for content in contents), sum(content.bytes for content in contents))
    return Materialized(stage.name, how, id, total)


def _withhold(project: Project, stage: Stage, reason: str) -> None:
    with project.store.connection() as connection:
        connection.execute("INSERT OR REPLACE INTO withheld VALUES (?, ?, ?)", (stage.name, reason, repr(project.lock().entries.get(stage.name))))
