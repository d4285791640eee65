"""Is an artifact what its inputs would make? The same answer as `dvc status`, in words, without starting DVC.

Like DVC, a stage is judged by its own record only: it is stale when its command, parameters, dependencies or outputs differ from what
dvc.lock says, never because something further upstream is stale (that stage may yet be remade with equal bytes).
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from orchestration.bridge.cache import is_in_cache
from orchestration.bridge.graph import Stage
from orchestration.bridge.identity import Content
from orchestration.bridge.lockfile import Lock, LockEntry
from orchestration.bridge.project import Project

State = Literal["fresh", "stale", "missing"]
CauseKind = Literal["never_made", "command", "param", "input", "code", "output", "always", "withheld"]


@dataclasses.dataclass(frozen=True)
class Cause:
    """One reason why a stage is not fresh. `cosmetic` marks a source file whose meaning did not change (comments, docstrings, layout)."""

    kind: CauseKind
    subject: str
    text: str
    cosmetic: bool = False


@dataclasses.dataclass(frozen=True)
class StageStatus:
    """What is known of one stage now. `id` is the id of the recorded artifact; `waits_for` names stale or missing stages upstream."""

    name: str
    state: State
    causes: tuple[Cause, ...]
    id: str | None
    waits_for: tuple[str, ...] = ()

    @property
    def is_cosmetic(self) -> bool:
        """True when nothing but the look of source files changed: the stage can be recorded again without a run."""
        return bool(self.causes) and all(cause.cosmetic for cause in self.causes)


def project_status(project: Project, names: Iterable[str] | None = None) -> dict[str, StageStatus]:
    """The status of every stage (or of `names` only), in topological order."""
    wanted = set(names) if names is not None else None
    lock = project.lock()
    reader = _Reader(project, lock)
    found: dict[str, StageStatus] = {}
    for name, stage in project.graph.stages.items():
        if wanted is not None and name not in wanted:
            continue
        causes = tuple(reader.causes(stage))
        entry = lock.entries.get(name)
        waits = tuple(
            before for before in project.graph.upstream(name) if before in found and (found[before].state != "fresh" or found[before].waits_for)
        )
        state: State = "fresh" if not causes else "missing" if entry is None else "stale"
        found[name] = StageStatus(name, state, causes, entry.output_id(stage) if entry else None, waits)
    return found


class _Reader:
    """Compares stages with their lock entries; each file and params file is looked at once, however many stages name it."""

    def __init__(self, project: Project, lock: Lock) -> None:
        self._project = project
        self._graph = project.graph
        self._lock = lock
        self._contents: dict[str, Content | None] = {}

    def causes(self, stage: Stage) -> list[Cause]:
        causes = list(self._own_causes(stage))
        # A withheld output says why, never that: where DVC finds nothing to do, what lies there is what was recorded.
        return [*causes, *self._withheld(stage)] if causes else []

    def _own_causes(self, stage: Stage) -> Iterable[Cause]:
        entry = self._lock.entries.get(stage.name)
        if entry is None:
            yield Cause("never_made", stage.name, "never made: dvc.lock has no entry for it")
            return
        if stage.cmd != entry.cmd:
            yield Cause("command", stage.name, f"the command changed from `{' && '.join(entry.cmd)}` to `{' && '.join(stage.cmd)}`")
        # DVC does not look at the dependencies of a frozen stage.
        if not stage.frozen:
            if stage.always_changed or stage.is_callback:
                yield Cause("always", stage.name, "declared to run every time (neither dependency nor output, or `always_changed`)")
            yield from self._param_causes(stage, entry)
            yield from self._dep_causes(stage, entry)
        yield from self._out_causes(stage, entry)

    def _withheld(self, stage: Stage) -> Iterable[Cause]:
        row = self._project.store.connection().execute("SELECT reason, entry FROM withheld WHERE stage = ?", (stage.name,)).fetchone()
        # Once DVC has recorded the stage anew, by whichever door, the run that was withheld is history.
        if row and row[1] == repr(self._lock.entries.get(stage.name)):
            yield Cause("withheld", stage.name, row[0])

    def _param_causes(self, stage: Stage, entry: LockEntry) -> Iterable[Cause]:
        for tracked in stage.params:
            recorded = entry.params.get(tracked.path)
            current = self._project.param_values(tracked)
            if current is None:
                yield Cause("param", tracked.path, f"{tracked.path} is gone")
                continue
            if recorded is None:
                yield Cause("param", tracked.path, f"{tracked.path} is a new parameter file of this stage")
                continue
            for key in tracked.keys or tuple(dict.fromkeys([*current, *recorded])):
                if key not in current:
                    yield Cause("param", f"{tracked.path}:{key}", f"{tracked.path}: {key} is gone (was {_short(recorded.get(key))})")
                elif key not in recorded:
                    yield Cause("param", f"{tracked.path}:{key}", f"{tracked.path}: {key} is new: {_short(current[key])}")
                elif current[key] != recorded[key]:
                    for text in _differences(key, recorded[key], current[key]):
                        yield Cause("param", f"{tracked.path}:{key}", f"{tracked.path}: {text}")

    def _dep_causes(self, stage: Stage, entry: LockEntry) -> Iterable[Cause]:
        artifacts = self._graph.artifact_deps(stage.name)
        for path in stage.deps:
            now, recorded = self._id(path), entry.deps.get(path)
            if now == recorded and now is not None:
                continue
            kind: CauseKind = "input" if path in artifacts or not path.endswith(".py") else "code"
            source = f" (written by {artifacts[path]})" if path in artifacts else ""
            if now is None:
                yield Cause(kind, path, f"{path}{source} is missing")
            elif recorded is None:
                yield Cause(kind, path, f"{path}{source} is a new dependency")
            elif kind == "code" and self._project.is_cosmetic_change(path, recorded, now):
                yield Cause(kind, path, f"{path} changed in comments, docstrings or layout only", cosmetic=True)
            else:
                yield Cause(kind, path, f"{path}{source} changed from {recorded[:8]} to {now[:8]}")

    def _out_causes(self, stage: Stage, entry: LockEntry) -> Iterable[Cause]:
        for out in stage.outs:
            content, recorded = self._content(out.path), entry.outs.get(out.path)
            if recorded is None:
                yield Cause("output", out.path, f"{out.path} is not in dvc.lock yet")
            elif content is None:
                yield Cause("output", out.path, f"{out.path} was deleted; `dvc checkout {out.path}` brings it back")
            elif content.id != recorded:
                yield Cause("output", out.path, f"{out.path} was changed by hand: it is {content.id[:8]}, dvc.lock says {recorded[:8]}")
            elif out.cached and not is_in_cache(self._project, out.path, content):
                yield Cause("output", out.path, f"{out.path} is not in the DVC cache; `figment materialize {stage.name}` or `dvc commit` adds it")

    def _id(self, path: str) -> str | None:
        content = self._content(path)
        return content.id if content else None

    def _content(self, path: str) -> Content | None:
        if path not in self._contents:
            self._contents[path] = self._project.content(path)
        return self._contents[path]


def _differences(key: str, was: Any, now: Any) -> Iterable[str]:
    """`key was X, is now Y`, down to the leaf that differs."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for inner in dict.fromkeys([*was, *now]):
            if was.get(inner, _ABSENT) != now.get(inner, _ABSENT):
                yield from _differences(f"{key}.{inner}", was.get(inner, _ABSENT), now.get(inner, _ABSENT))
    elif was is _ABSENT:
        yield f"{key} is new: {_short(now)}"
    elif now is _ABSENT:
        yield f"{key} is gone (was {_short(was)})"
    else:
        yield f"{key} was {_short(was)}, is now {_short(now)}"


_ABSENT = object()


def _short(value: Any, *, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"
