"""DVC's cache, object by object. DVC believes a write-protected object whatever its bytes, and restores it; the doctor does not."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestration.bridge.identity import tree_id, tree_listing
from orchestration.bridge.project import Project
from orchestration.doctor.evidence import CacheReader, OutputEvidence, Reader
from orchestration.doctor.findings import Finding

_MOST_NAMED = 4


def examine_objects(project: Project, cache: CacheReader, evidence: list[OutputEvidence]) -> Iterator[Finding]:
    """One finding for each damaged or absent object that a recorded output needs, with the outputs that need it."""
    for id, users in _needed(evidence).items():
        state = cache.state(id)
        if state == "good":
            continue
        # One finding an object, however many outputs share it; the first few are named.
        path = cache.path(id)
        where = path.relative_to(project.root) if path.is_relative_to(project.root) else path
        source = _good_copy(project, evidence, id)
        labels = [label for _, label in users]
        names = ", ".join(labels[:_MOST_NAMED]) + (f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else "")
        if state == "damaged":
            detail = f"its bytes are not those of its name; needed by {names}"
        else:
            detail = f"is not there; needed by {names}"
        yield Finding(f"cache_object_{state}", str(where), detail, _remedy(state, source, users[0][0]), _mend(project, cache, id, state, source))


def _needed(evidence: list[OutputEvidence]) -> dict[str, list[tuple[str, str]]]:
    """Object id -> (stage, output or file in it) of all that need it."""
    users: dict[str, list[tuple[str, str]]] = {}
    for one in evidence:
        if not one.out.cached:
            continue
        users.setdefault(one.recorded, []).append((one.stage, one.out.path))
        # Files of a folder from its listing; where that is damaged, from the workspace, if its id is the recorded one.
        listing = one.expected or (one.present if one.agrees else None) or {}
        for relative, md5 in listing.items():
            if relative:
                users.setdefault(md5, []).append((one.stage, f"{one.out.path}/{relative}"))
    return users


def _good_copy(project: Project, evidence: list[OutputEvidence], id: str) -> Callable[[], bytes | Path] | None:
    """Something that yields the right bytes of the object: a workspace file, or the listing of a folder; None where nothing has them."""
    for one in evidence:
        present = one.present or {}
        if id.endswith(".dir"):
            if present and "" not in present and tree_id(present) == id:
                return lambda: tree_listing(present)
            continue
        for relative, md5 in present.items():
            if md5 == id:
                path = project.root / one.out.path / relative if relative else project.root / one.out.path
                return lambda: path
    return None


def _remedy(state: str, source: object, stage: str) -> str:
    if source is not None:
        return "`figment doctor --repair` writes it anew from the workspace, which has its bytes"
    again = f"`dvc pull`, or `figment materialize {stage} --force`"
    return f"`figment doctor --repair` removes it, so that DVC cannot restore it; then {again}" if state == "damaged" else again


def _mend(project: Project, cache: CacheReader, id: str, state: str, source: Callable[[], bytes | Path] | None) -> Callable[[], str] | None:
    if source is None and state == "missing":
        return None

    def mend() -> str:
        path = cache.path(id)
        where = path.relative_to(project.root) if path.is_relative_to(project.root) else path
        if source is None:
            path.unlink(missing_ok=True)
            return f"removed the damaged cache object {where}; nothing here has its bytes"
        _write_object(path, source())
        assert Reader().md5(path) == id.removesuffix(".dir"), (path, id)
        return f"wrote the cache object {where} anew from the workspace"

    return mend


def _write_object(path: Path, source: bytes | Path) -> None:
    """Write beside and rename, read-only, as DVC keeps its objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    temporary.chmod(0o444)
    temporary.replace(path)
