"""Which files of code an artifact was made by, and which of them changed since: as the stage `code` remembers it, else from git."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.bridge.project import Project
from stages.code_memory import CodeMemory
from stages.code_versions import FILE_NAME, FILES_KEY, CodeVersionsError, parse_graph, stage_programs
from stages.source_code import PROJECT_PACKAGES, SourceError, SourceTree, fingerprint

# How many commits are looked at: the hash stands in one, or in a few where it was left and taken up again.
_MOST_COMMITS = 5


@dataclass(frozen=True)
class RecordedCode:
    """version: the hash of the files that made the artifact; libraries: by name, their releases.

    files: hash of meaning by path, None where nobody here knows that version any more. changed: `path (changed)`, `(new)` or `(no longer used)` of
    what differs today; None where it cannot be told.
    """

    version: str
    libraries: Mapping[str, str]
    files: Mapping[str, str] | None
    changed: tuple[str, ...] | None


def recorded_code(project: Project, name: str) -> RecordedCode | None:
    """The code that dvc.lock says made the artifact `name`; None when it lists none (a source), or was never made."""
    entry = project.lock().entries.get(name)
    key = next((key for tracked in project.graph[name].params if tracked.path == FILE_NAME for key in tracked.keys), None)
    values = entry.params.get(FILE_NAME, {}).get(key) if entry and key else None
    if key is None or not isinstance(values, Mapping) or FILES_KEY not in values:
        return None
    memory, version = CodeMemory(project.root), str(values[FILES_KEY])
    files = memory.manifest(version)
    if files is None and (files := _from_git(project.root, key, version)):
        memory.remember_manifest(version, files)
    today = memory.manifest(_current_version(project, key)) or _files_in(project.root, key)
    libraries = {library: str(release) for library, release in values.items() if library != FILES_KEY}
    return RecordedCode(version, libraries, files, tuple(_differences(files, today)) if files is not None and today is not None else None)


def _current_version(project: Project, key: str) -> str:
    params = next(tracked for stage in project.graph.stages.values() for tracked in stage.params if tracked.path == FILE_NAME and key in tracked.keys)
    values = (project.param_values(params) or {}).get(key)
    return str(values.get(FILES_KEY)) if isinstance(values, Mapping) else ""


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    words = dict.fromkeys(after.keys() - before.keys(), "new") | dict.fromkeys(before.keys() - after.keys(), "no longer used")
    words |= {path: "changed" for path in before.keys() & after.keys() if before[path] != after[path]}
    return [f"{path} ({words[path]})" for path in sorted(words)]


# ---- a clone remembers nothing, but git has the files ---------------------------------------------------------------------------------


def _from_git(root: Path, key: str, version: str) -> dict[str, str] | None:
    """The files of the code version, from a commit whose code.yaml holds it; None where no commit's files have that hash."""
    log = _git(root, "log", f"-{_MOST_COMMITS}", "--format=%H", f"-S{version}", "--", FILE_NAME)
    for commit in (log or b"").decode().split():
        files = _files_at(root, commit, key)
        # The commit may have been made with a code.yaml that was not up to date.
        if files is not None and fingerprint(files.items()) == version:
            return files
    return None


def _files_at(root: Path, commit: str, key: str) -> dict[str, str] | None:
    listing = _git(root, "ls-tree", "--name-only", commit)
    wanted = [name for name in (listing or b"").decode().splitlines() if name in PROJECT_PACKAGES or name == "dvc.yaml"]
    archive = _git(root, "archive", "--format=tar", commit, "--", *wanted) if wanted else None
    if archive is None:
        return None
    with tempfile.TemporaryDirectory(prefix="figment-code-") as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if member.isfile() and content is not None:
                path = Path(folder, member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
        return _files_in(Path(folder), key)


def _files_in(root: Path, key: str) -> dict[str, str] | None:
    """The files of the stage as the project at `root` has them; None where it cannot be read, or has no such stage."""
    try:
        modules = stage_programs(parse_graph((root / "dvc.yaml").read_bytes()))[key]
        tree = SourceTree(root)
        return {path: source.meaning for module in modules for path, source in tree.closure(module).items()}
    except (FileNotFoundError, KeyError, CodeVersionsError, SourceError):
        return None


def _git(root: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
