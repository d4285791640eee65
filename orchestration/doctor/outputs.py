"""Outputs against dvc.lock: damaged, edited by hand, gone."""

import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from orchestration.bridge.dvc_repo import StageStore
from orchestration.bridge.preludes import prepared
from orchestration.bridge.project import Project
from orchestration.bridge.stage_lock import StageBusy, stage_lock
from orchestration.bridge.status import prelude_causes
from orchestration.doctor.evidence import CacheReader, OutputEvidence, Reader
from orchestration.doctor.findings import CannotMendError, Finding, dvc_trouble_told
from orchestration.records.history import makings, past

_MOST_NAMED = 5


def examine_outputs(project: Project, cache: CacheReader, evidence: list[OutputEvidence], remembered: Collection[str]) -> Iterator[Finding]:
    """One finding for each output that is not what dvc.lock says. remembered: ids that something other than the present dvc.lock bears out."""
    made = makings(project, project.lock())
    for one in evidence:
        if one.agrees:
            continue
        if one.present is None:
            detail = f"is not there; dvc.lock says {one.recorded}"
            yield Finding("output_missing", one.out.path, detail, _remedy(project, cache, one), _mend(project, cache, one))
            continue
        if one.present_id in remembered and one.out.cached:
            yield _contradiction(project, one)
            continue
        making = made.get(one.stage)
        damaged = _damaged(project, one, making.at if making else None)
        kind = "output_damaged" if damaged else "output_edited"
        cause = "bytes changed under an unchanged time and size, as a failing disk does" if damaged else "changed by hand"
        detail = f"{cause}: it is {one.present_id}, dvc.lock says {one.recorded}{_names(one)}"
        # From now on `figment status` sees it too.
        project.store.content(project.root / one.out.path, trust_stamps=False)
        yield Finding(kind, one.out.path, detail, _remedy(project, cache, one), _mend(project, cache, one))


def _contradiction(project: Project, one: OutputEvidence) -> Finding:
    """dvc.lock names one version that somebody made, and another one lies there: which of the two is meant, nobody here can know."""
    newest = next((making for making in past(project, one.stage, most=1000) if making.id == one.present_id), None)
    by = f" by {newest.door} at {time.strftime('%Y-%m-%d %H:%M', time.localtime(newest.at))}" if newest and newest.at else ""
    detail = f"is {one.present_id}, a version that was made here{by}, and dvc.lock says {one.recorded}, another one{_names(one)}"
    words = f"say which is right: `dvc commit -f {one.stage}` records what is there, `dvc checkout {one.out.path}` brings back what dvc.lock says"
    return Finding(
        "lock_contradicted", one.out.path, detail, f"{words}, `git checkout {project.graph[one.stage].lock_file}` the entry that was committed"
    )


def _damaged(project: Project, one: OutputEvidence, made_at: float | None) -> bool:
    """Whether a differing file has the very stamp with which its right bytes were remembered, or was last written before it was recorded."""
    # A file whose stamp is the one its right bytes had, or older than the record, was not edited: the disk changed it.
    top = project.root / one.out.path
    expected = one.expected or {}
    for relative, word in one.differing().items():
        path = top / relative if relative else top
        if word != "changed":
            continue
        if project.store.remembered_md5(path) == expected[relative] or (made_at is not None and path.stat().st_mtime < made_at):
            return True
    return False


def _names(one: OutputEvidence) -> str:
    words = [f"{path or Path(one.out.path).name} {word}" for path, word in sorted(one.differing().items())]
    if not words:
        return ""
    more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return f" ({', '.join(words[:_MOST_NAMED])}{more})"


def _remedy(project: Project, cache: CacheReader, one: OutputEvidence) -> str:
    if one.stage in project.graph.preludes:
        return f"`figment doctor --repair`, `figment status` or `dvc repro {one.stage}` writes it anew"
    if not one.out.cached:
        return f"`git checkout {one.out.path}`, or `figment materialize {one.stage} --force`"
    if cache.is_complete(one.recorded):
        return "`figment doctor --repair` restores it from the cache and sets what is there aside; to keep an edit, change what makes it instead"
    return f"the cache does not have its bytes: `dvc pull`, or `figment materialize {one.stage} --force`"


def _mend(project: Project, cache: CacheReader, one: OutputEvidence) -> Callable[[], str] | None:
    if one.stage in project.graph.preludes:
        return lambda: _write_anew(project, one)
    if not one.out.cached or not cache.is_complete(one.recorded):
        return None

    def mend() -> str:
        try:
            # A `dvc repro` that is writing the output at this moment is left alone too.
            store = StageStore(project.root, patience_s=0.0)
            with stage_lock(project.paths.locks, one.stage, door="doctor", wait=False), dvc_trouble_told(), store.claim(project.graph[one.stage]):
                return _restore(project, one)
        except StageBusy as error:
            raise CannotMendError(str(error)) from error

    return mend


def _write_anew(project: Project, one: OutputEvidence) -> str:
    """Run the prelude, as any judgement of its readers would."""
    said: list[str] = []
    if prelude_causes(prepared(project.again(), log=said.append), one.stage):
        raise CannotMendError("; ".join(said))
    return f"wrote {one.out.path} anew"


def _restore(project: Project, one: OutputEvidence) -> str:
    # Nothing is deleted: what is there, wrong or not, may be somebody's work, and moves to .figment/set-aside first.
    path = project.root / one.out.path
    aside = set_aside(project, path, one.stage) if path.exists() or path.is_symlink() else None
    StageStore(project.root).checkout(one.out.path)
    evidence = OutputEvidence(one.stage, one.out, one.recorded, Reader().tree(path), None)
    if not evidence.agrees:
        raise CannotMendError(f"{one.out.path}: restored from the cache as {evidence.present_id}, not as {one.recorded}")
    project.store.content(path, trust_stamps=False)
    kept = f"; what was there is in {aside.relative_to(project.root)}" if aside else ""
    return f"restored {one.out.path} from the cache{kept}"


def set_aside(project: Project, path: Path, name: str) -> Path:
    """Move `path` out of the way, never to be deleted by us; where it is now."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = project.paths.state / "set-aside" / f"{stamp}-{name.replace('/', '_')}"
    number = 1
    while (folder / path.name).exists():
        number += 1
        folder = folder.with_name(f"{stamp}-{name.replace('/', '_')}-{number}")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.move(path, folder / path.name)
    return folder / path.name
