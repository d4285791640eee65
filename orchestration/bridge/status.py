"""Is an artifact what its inputs would make? The same answer as `dvc status`, in words, without starting DVC.

Like DVC, a stage is judged by its own record only: it is stale when its command, parameters, dependencies or outputs differ from what
dvc.lock says, never because something further upstream is stale (that stage may yet be remade with equal bytes).

Preludes are the exception: they are no artifacts, and parameters that one of them would write anew now are no basis for a judgement. `preludes.py`
brings them up to date first; a stage whose prelude could not be is stale for that.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from .cache import is_in_cache
from .dvc_repo import dvc_2_id
from .graph import Stage, is_remote, shown_command
from .identity import Content
from .lockfile import Lock, LockEntry
from .project import Project
from .surroundings import have_moved, trouble_of

State = Literal["fresh", "stale", "missing"]
CauseKind = Literal["never_made", "command", "param", "prelude", "input", "output", "always", "withheld"]


@dataclasses.dataclass(frozen=True)
class Cause:
    """One reason why a stage is not fresh."""

    kind: CauseKind
    subject: str
    text: str


@dataclasses.dataclass(frozen=True)
class StageStatus:
    """What is known of one stage now. `id` is the id of the recorded artifact; `waits_for` names stale or missing stages upstream."""

    name: str
    state: State
    causes: tuple[Cause, ...]
    id: str | None
    waits_for: tuple[str, ...] = ()


def project_status(project: Project, names: Iterable[str] | None = None) -> dict[str, StageStatus]:
    """The status of every artifact (or of `names` only), in topological order, of a project that `preludes.prepared` has seen."""
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
            before for before in project.graph.parents(name) if before in found and (found[before].state != "fresh" or found[before].waits_for)
        )
        state: State = "fresh" if not causes else "missing" if entry is None else "stale"
        found[name] = StageStatus(name, state, causes, entry.output_id(stage) if entry else None, waits)
    return found


def prelude_causes(project: Project, name: str) -> list[Cause]:
    """Why the prelude `name` has to run; empty when what it wrote holds."""
    return _Reader(project, project.lock()).prelude_causes(name)


def causes_of_preludes(project: Project, name: str) -> list[Cause]:
    """One cause for each file of parameters of the stage `name` that a prelude would write anew now; none of a stage that dvc.yaml lost meanwhile."""
    stage = project.graph.stages.get(name)
    return list(_Reader(project, project.lock()).causes_of_preludes(stage)) if stage else []


def unreachable(address: str) -> str:
    """What is said of an input on a server that did not answer: DVC calls it deleted, offline too."""
    return f"{address} cannot be reached, or is gone: offline, or its server is"


def is_as_recorded(project: Project, path: str, content: Content | None, recorded: str | None, entry: LockEntry) -> bool:
    """Whether what `path` holds is what the entry says, in DVC 2's way of saying it, too."""
    if content is None or content.problem:
        return False
    return content.id == recorded or (path in entry.of_dvc_2 and dvc_2_id(project.root / path) == recorded)


class _Reader:
    """Compares stages with their lock entries; each file and params file is looked at once, however many stages name it."""

    def __init__(self, project: Project, lock: Lock) -> None:
        self._project = project
        self._graph = project.graph
        self._lock = lock
        self._contents: dict[str, Content | None] = {}
        self._preludes: dict[str, list[Cause]] = {}

    def causes(self, stage: Stage) -> list[Cause]:
        of_preludes = self.causes_of_preludes(stage) if stage.name in self._lock.entries else ()
        causes = [*of_preludes, *self._own_causes(stage)]
        # A withheld output says why, never that: where DVC finds nothing to do, what lies there is what was recorded.
        return [*causes, *self._withheld(stage)] if causes else []

    def prelude_causes(self, name: str) -> list[Cause]:
        """Why the prelude `name` has to run."""
        if name not in self._preludes:
            causes = list(self._own_causes(self._graph[name]))
            if have_moved(self._project, self._graph[name]):
                causes.append(Cause("prelude", name, "dvc.yaml, the installed libraries or what it wrote changed since it last ran here"))
            self._preludes[name] = causes
        return self._preludes[name]

    def causes_of_preludes(self, stage: Stage) -> Iterable[Cause]:
        """One cause for each prelude that could not be brought up to date."""
        for name in self._graph.preludes_of(stage.name) if not stage.frozen else ():
            # One that is declared to run every time has run, and what it wrote holds.
            if causes := [cause for cause in self.prelude_causes(name) if cause.kind != "always"]:
                written = ", ".join(self._graph[name].writes)
                why = trouble_of(self._project, name) or causes[0].text
                yield Cause("prelude", written, f"{written}, which {name} writes, is not up to date: {why}")

    def _own_causes(self, stage: Stage) -> Iterable[Cause]:
        entry = self._lock.entries.get(stage.name)
        if entry is None:
            unreadable = self._lock.problems.get(stage.name)
            yield Cause("never_made", stage.name, unreadable or "never made: dvc.lock has no entry for it")
            return
        if stage.cmd != entry.cmd:
            yield Cause("command", stage.name, f"the command changed from `{shown_command(entry.cmd)}` to `{shown_command(stage.cmd)}`")
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
            content, recorded = self._content(path), entry.deps.get(path)
            if is_as_recorded(self._project, path, content, recorded, entry):
                continue
            source = f" (written by {artifacts[path]})" if path in artifacts else ""
            if content is None:
                yield Cause("input", path, unreachable(path) if is_remote(path) else f"{path}{source} is missing")
            elif content.problem:
                yield Cause("input", path, f"{path}{source} cannot be judged: {content.problem}")
            elif recorded is None:
                yield Cause("input", path, f"{path}{source} is a new dependency")
            else:
                yield Cause("input", path, f"{path}{source} changed from {recorded[:8]} to {content.id[:8]}")

    def _out_causes(self, stage: Stage, entry: LockEntry) -> Iterable[Cause]:
        for out in stage.outs:
            if is_remote(out.path):
                yield Cause("output", out.path, f"{out.path} lies on a server, where only DVC looks: ask `dvc status`, make it with `dvc repro`")
                continue
            content, recorded = self._content(out.path), entry.outs.get(out.path)
            if recorded is None:
                yield Cause("output", out.path, f"{out.path} is not in dvc.lock yet")
            elif content is None:
                yield Cause("output", out.path, f"{out.path} was deleted; `dvc checkout {out.path}` brings it back")
            elif content.problem:
                yield Cause("output", out.path, f"{out.path} cannot be judged: {content.problem}")
            elif not is_as_recorded(self._project, out.path, content, recorded, entry):
                yield Cause("output", out.path, f"{out.path} was changed by hand: it is {content.id[:8]}, dvc.lock says {recorded[:8]}")
            elif out.cached and not is_in_cache(self._project, out.path, content, of_dvc_2=recorded if out.path in entry.of_dvc_2 else None):
                yield Cause("output", out.path, f"{out.path} is not in the DVC cache; materializing {stage.name}, or `dvc commit`, adds it")

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
