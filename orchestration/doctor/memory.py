"""The bridge's memory of what files hold, against their bytes: where it is wrong, `figment status` would be."""

import functools
from collections.abc import Iterator

from orchestration.bridge.project import Project
from orchestration.doctor.evidence import OutputEvidence
from orchestration.doctor.findings import Finding


def examine_memory(project: Project, evidence: list[OutputEvidence]) -> Iterator[Finding]:
    """One finding for each output of the recorded id that is remembered by another, and for each plain input that is."""
    for one in evidence:
        known = project.store.content(project.root / one.out.path)
        if one.agrees and known is not None and known.id != one.recorded:
            yield _finding(project, one.out.path, known.id, one.recorded)
    inputs = {path for stage in project.graph.stages.values() for path in stage.deps if not project.graph.producers_of(path)}
    for path in sorted(inputs):
        known, now = project.content(path), project.content(path, trust_stamps=False)
        if known is not None and now is not None and known.id != now.id and project.content(path) == now:
            yield _finding(project, path, known.id, now.id)


def _finding(project: Project, path: str, known: str, right: str) -> Finding:
    detail = f"remembers {path} as {known}; its bytes are {right}, under the same time and size"
    mend = functools.partial(_read_again, project, path)
    return Finding("state_memory_wrong", ".figment/state.db", detail, "`figment doctor --repair` has it read again", mend)


def _read_again(project: Project, path: str) -> str:
    project.content(path, trust_stamps=False)
    return f"read {path} again"
