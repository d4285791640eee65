"""dvc.lock itself: unreadable, in the middle of a merge, or naming ids that nobody has."""

import time
from collections.abc import Callable, Iterator

from orchestration.bridge.answers import recall
from orchestration.bridge.dvc_repo import StageStore, as_text
from orchestration.bridge.graph import GraphError
from orchestration.bridge.lockfile import Lock, lock_copy, read_entries
from orchestration.bridge.project import Project
from orchestration.doctor.evidence import CacheReader, OutputEvidence
from orchestration.doctor.findings import CannotMendError, Finding, dvc_trouble_told
from orchestration.doctor.outputs import set_aside
from stages.files import write_file_atomically

_CONFLICT = ("<<<<<<< ", "=======", ">>>>>>> ")


def examine_lock_text(project: Project) -> Iterator[Finding]:
    """The finding on each dvc.lock that no tool can read: in the middle of a merge, half written, no YAML of DVC's."""
    for file in project.graph.lock_files:
        path = project.root / file
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        marks = [number for number, line in enumerate(lines, start=1) if line.startswith(_CONFLICT[0]) or line.rstrip() == _CONFLICT[1]]
        if marks:
            detail = f"has a merge conflict (lines {', '.join(map(str, marks))})"
            remedy = f"take one side (`git checkout --ours {file}`, or --theirs), then `figment status` says what is stale under it"
            yield Finding("lock_conflict", file, detail, remedy)
            continue
        try:
            read_entries(project.root, file, project.paths.memory)
        except GraphError as error:
            remedy = f"`git checkout {file}` brings back the committed one"
            kept = lock_copy(project.paths.memory, file)
            if (copy := recall(kept)) is None:
                yield Finding("lock_unreadable", file, str(error), remedy)
            else:
                read_at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(kept.stat().st_mtime))
                remedy = f"`figment doctor --repair` brings back what was last read, at {read_at}; {remedy}"
                yield Finding("lock_unreadable", file, str(error), remedy, _bring_back(project, file, copy["text"], read_at))


def _bring_back(project: Project, file: str, text: str, read_at: str) -> Callable[[], str]:
    """Entries of a while ago are as true as they were: what has been made since is found to differ, and made again."""

    def mend() -> str:
        where = set_aside(project, project.root / file, "lock").relative_to(project.root)
        write_file_atomically(project.root / file, text.encode())
        return f"brought back {file} as it was read at {read_at}; what was there is in {where}"

    return mend


def examine_lock(project: Project, lock: Lock, cache: CacheReader, evidence: list[OutputEvidence], remembered: set[str]) -> Iterator[Finding]:
    """One finding for each id in dvc.lock that neither the workspace, the cache, git, Dagster nor the log bears out."""
    for name, problem in lock.problems.items():
        yield Finding("lock_malformed", name, problem, f"{_checkout(project, name)} brings back the committed one")
    for name in lock.orphans:
        detail = "has an entry in dvc.lock and no stage in dvc.yaml; DVC and figment pass over it"
        yield Finding("lock_orphan", name, detail, f"bring the stage back in dvc.yaml, or take the entry `{name}:` out of dvc.lock")
    # An id that the workspace, the cache, git, Dagster or the log knows was once real; one that nobody knows was typed or merged.
    present = {one.present_id for one in evidence}

    def is_borne_out(id: str) -> bool:
        return id in present or id in remembered or cache.path(id).exists()

    for one in evidence:
        if one.out.cached and not is_borne_out(one.recorded):
            detail = f"says {one.out.path} is {one.recorded}, an id that neither the workspace, the cache, git, Dagster nor the log knows"
            mend = _mend(project, one, remembered) if one.present_id else None
            repairs = "`figment doctor --repair` records what is there, which was made by a known run; or " if mend else ""
            yield Finding("lock_unknown_id", one.stage, detail, f"{repairs}{_checkout(project, one.stage)}", mend)
    # The same for what a stage says it read: its writer may have moved on since, but the id it read must have been somebody's.
    for name, entry in lock.entries.items():
        for path, writer in project.graph.artifact_deps(name).items():
            recorded = entry.deps.get(path)
            written = lock.entries[writer].outs.get(path) if writer in lock.entries else None
            if recorded and written is not None and recorded != written and not is_borne_out(recorded):
                detail = f"says {name} read {path} as {recorded}, an id that neither the workspace, the cache, git, Dagster nor the log knows"
                remedy = f"{_checkout(project, name)}, or `figment materialize {name}`: it is made again from the present {path}"
                yield Finding("lock_unknown_id", name, detail, remedy)


def _checkout(project: Project, name: str) -> str:
    return f"`git checkout {project.graph[name].lock_file}`"


def _mend(project: Project, one: OutputEvidence, remembered: set[str]) -> Callable[[], str] | None:
    """Recording what is there is right when those very bytes were made by a known run and nothing else about the stage differs."""
    if one.present_id not in remembered:
        return None

    def mend() -> str:
        entry = project.lock().entries[one.stage]
        params = {path: as_text(values) for path, values in entry.params.items()}
        with dvc_trouble_told():
            moved = StageStore(project.root).commit(one.stage, made_from={"dvc.yaml": entry.cmd, **entry.deps, **params})
        if moved:
            others = ", ".join(moved)
            raise CannotMendError(
                f"{one.stage}: {others} changed, so what is there may be made from something else; use {_checkout(project, one.stage)}"
            )
        return f"recorded {one.out.path} as {one.present_id} in dvc.lock"

    return mend
