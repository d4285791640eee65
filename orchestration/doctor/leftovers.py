"""What killed processes left behind: half-written files and folders, and locks whose holder is dead."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.project import Project
from orchestration.bridge.survivors import is_running
from orchestration.doctor.evidence import OutputEvidence
from orchestration.doctor.findings import CannotMendError, Finding
from orchestration.doctor.outputs import set_aside

_LOCK_ADVICE = "`figment doctor --repair` removes it"


def examine_leftovers(project: Project, evidence: list[OutputEvidence], *, busy: set[str]) -> Iterator[Finding]:
    """One finding for each temporary file or folder that nobody is writing any more; none while stages run, whose they may be."""
    # While a stage runs, ours or DVC's, its half-written files are no leftovers.
    if not busy and not any(_is_alive(info) for info in _infos(_read_rwlock(project))):
        for path in sorted({*_beside_outputs(project), *_inside_outputs(project, evidence), *_in_tool_folders(project)}):
            if not _is_locked(path):
                where = path.relative_to(project.root).as_posix() if path.is_relative_to(project.root) else str(path)
                home = _home_of_retired(path)
                if home is not None and not home.exists():
                    detail = f"is the old {home.name}: a run died between moving it away and putting the new one in its place"
                    yield Finding("leftover", where, detail, "`figment doctor --repair` puts it back", _put_back(path, home, where))
                else:
                    detail = "has the name of a temporary file or folder of a process that ended before its work was done"
                    # Who wrote it, its name cannot prove: only in our own folder is it removed.
                    is_ours = path.is_relative_to(project.paths.state)
                    remedy = f"`figment doctor --repair` {'removes it' if is_ours else 'moves it to .figment/set-aside'}"
                    yield Finding("leftover", where, detail, remedy, _remove(path, where) if is_ours else _set_aside(project, path, where))
    yield from _stale_locks(project)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that the project's writers, or DVC, rename when it is complete."""
    return name.startswith(".tmp-") or name.endswith((".tmp", ".part")) or (name.startswith(".") and name.endswith((".writing", ".replaced")))


def _beside_outputs(project: Project) -> Iterator[Path]:
    # Writers put their temporary beside the output they are going to replace.
    declared = {project.root / out.path for stage in project.graph.stages.values() for out in stage.outs}
    for folder in {path.parent for path in declared}:
        # What is not named after an output is somebody else's.
        names = "|".join(re.escape(path.name) for path in declared if path.parent == folder)
        ours = re.compile(rf"\.tmp-(\d+-)?({names})(-old)?|\.({names})\.(writing|replaced)|\.?({names})(\.\d+)?\.(tmp|part)")
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if ours.fullmatch(path.name) and path not in declared)
    # What a prelude writes lies among people's own files: only what is named after it can be its.
    written = [project.root / path for prelude in project.graph.preludes.values() for path in prelude.writes]
    yield from (path for place in written for path in place.parent.glob(f"{place.name}.*.tmp"))


def _inside_outputs(project: Project, evidence: list[OutputEvidence]) -> Iterator[Path]:
    """Temporary files in outputs, but for those that belong to the recorded artifact."""
    for one in evidence:
        if one.agrees or one.expected is None:
            continue
        for relative, word in one.differing().items():
            if word == "added" and any(is_temporary(part) for part in relative.split("/")):
                yield project.root / one.out.path / relative


def _in_tool_folders(project: Project) -> Iterator[Path]:
    state = project.paths.state
    # In the folders of Dagster and MLflow lies what stages have printed and logged, by any name.
    ours = [folder for folder in state.iterdir() if folder.name not in ("set-aside", "dagster", "mlflow")] if state.is_dir() else []
    yield from (path for path in ours if path.name.endswith(".tmp") or path.name.startswith(".tmp-"))
    yield from (path for folder in ours if folder.is_dir() for pattern in ("*.tmp", ".tmp-*") for path in folder.rglob(pattern))
    if project.cache_dir.is_relative_to(project.root):
        # A cache elsewhere may be shared with projects that are at work in it.
        yield from (project.cache_dir / "files" / "md5").glob("*/*.tmp")
    yield from (project.root / ".dvc/tmp").glob("*.tmp")


def _home_of_retired(path: Path) -> Path | None:
    """Where a moved-away old output belongs (`.tmp-NAME-old`, `.NAME.replaced`); None for anything else."""
    name = path.name
    if name.startswith(".tmp-") and name.endswith("-old"):
        return path.with_name(name.removeprefix(".tmp-").removesuffix("-old"))
    if name.startswith(".") and name.endswith(".replaced"):
        return path.with_name(name[1:].removesuffix(".replaced"))
    return None


def _put_back(path: Path, home: Path, where: str) -> Callable[[], str]:
    def mend() -> str:
        path.rename(home)
        return f"put {where} back as {home.name}"

    return mend


def _set_aside(project: Project, path: Path, where: str) -> Callable[[], str]:
    return lambda: f"moved {where} to {set_aside(project, path, 'leftovers').relative_to(project.root)}"


def _remove(path: Path, where: str) -> Callable[[], str]:
    def mend() -> str:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return f"removed {where}"

    return mend


def _is_locked(path: Path) -> bool:
    """Whether a living process holds a lock on it, as the writers of output folders do while they write."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


# ---- DVC's locks ---------------------------------------------------------------------------------------------------------------------


def _stale_locks(project: Project) -> Iterator[Finding]:
    # A killed DVC command leaves its claims behind; DVC drops them only when they are in its way, and only while the process number is free.
    path = project.root / ".dvc/tmp/rwlock"
    content = _read_rwlock(project)
    if content is None:
        yield Finding(
            "stale_lock",
            ".dvc/tmp/rwlock",
            "is not the JSON that DVC writes; DVC commands fail on it",
            _LOCK_ADVICE,
            lambda: _edit_rwlock(path),
        )
    else:
        dead = [info for info in _infos(content) if not _is_alive(info)]
        for info in _infos(content):
            if _is_alive(info) and (program := _program(info, path)):
                detail = f"keeps {info['cmd']} locked for process {info['pid']}, which is now {program}: a foreign process has the number"
                yield Finding("foreign_lock", ".dvc/tmp/rwlock", detail, "if no DVC command is at work, remove that file")
        if dead:
            holders = ", ".join(sorted({f"{info['pid']} ({info['cmd']})" for info in dead}))
            yield Finding("stale_lock", ".dvc/tmp/rwlock", f"holds locks of ended processes: {holders}", _LOCK_ADVICE, lambda: _edit_rwlock(path))
    yield from _stale_hardlink_lock(project.root / ".dvc/tmp/lock")


def _read_rwlock(project: Project) -> Mapping[str, Any] | None:
    """DVC's table of readers and writers; empty when there is none, None when it cannot be read."""
    path = project.root / ".dvc/tmp/rwlock"
    if not os.path.lexists(path):
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    try:
        is_usable = all(str(info["cmd"]) and int(info["pid"]) >= 0 for info in _infos(content))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return content if is_usable else None


def _infos(content: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    content = content or {}
    return [*content.get("write", {}).values(), *(info for infos in content.get("read", {}).values() for info in infos)]


def _program(info: Mapping[str, Any], path: Path) -> str:
    """The program that has the number of the lock's holder, where it began after the lock was written; empty where it can be the holder."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(int(info["pid"]))
        if process.create_time() > path.stat().st_mtime + 1.0:
            return process.name()
    return ""


def _is_alive(info: Mapping[str, Any]) -> bool:
    return is_running(int(info["pid"]))


def _edit_rwlock(path: Path) -> str:
    """Take out what dead processes hold, under DVC's own guard of the file."""
    if not path.is_file():
        aside = path.with_name(f"rwlock.{os.getpid()}.broken")
        path.rename(aside)
        return f"moved what was no file from .dvc/tmp/rwlock to {aside.name}"
    with (path.with_name("rwlock.lock")).open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotMendError(f"{path}: a DVC command is changing it right now; try again") from error
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            kept: dict[str, Any] = {
                "write": {name: info for name, info in content.get("write", {}).items() if _is_alive(info)},
                "read": {name: alive for name, infos in content.get("read", {}).items() if (alive := [info for info in infos if _is_alive(info)])},
            }
        except (ValueError, AttributeError, KeyError, TypeError):
            kept = {"write": {}, "read": {}}
        if any(kept.values()):
            path.write_text(json.dumps(kept), encoding="utf-8")
        else:
            path.unlink()
    return "removed the locks of ended processes from .dvc/tmp/rwlock"


def _stale_hardlink_lock(path: Path) -> Iterator[Finding]:
    """With `core.hardlink_lock`, DVC's lock is a file that names its holder (`…|host|pid|number`) and outlives a killed one."""
    if not path.is_file():
        return
    parts = path.read_text(encoding="utf-8", errors="replace").strip().split("|")
    if len(parts) < 4 or not parts[-2].isdigit():
        return
    if parts[-3] != socket.gethostname():
        detail = f"is held by process {parts[-2]} on {parts[-3]}, another machine; whether that lives, nobody here can see"
        yield Finding("foreign_lock", ".dvc/tmp/lock", detail, "look there; if no DVC command is at work, remove that file")
        return
    if _is_alive({"pid": parts[-2]}):
        return
    detail = f"is held by process {parts[-2]}, which has ended"
    yield Finding("stale_lock", ".dvc/tmp/lock", detail, _LOCK_ADVICE, _remove(path, ".dvc/tmp/lock"))
