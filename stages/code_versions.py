"""The stage `code`: write the code version of every other stage into code.yaml.

DVC follows no imports. This does, from the module that a stage's command runs: one line a stage, with a hash of what its program and everything it
imports say (comments, docstrings and layout say nothing), and the versions of the libraries among the imports that decide bytes. A stage lists
its line under `params` (`code.yaml: [its name]`), so an edit or another release of a library makes exactly those stages stale that use it.

Nothing is listed by hand: stages and commands are read from dvc.yaml. A source stage (`meta: {source: true}`: a crawl, a download) has no line,
because editing a helper must never send anyone to the network. A library that is not installed here keeps the version on record: a training box
without rdkit does not make the datasets stale.

    python -m stages.code_versions      after installing or updating a library by hand; `dvc repro -s -f code` does the same and records it
"""

import itertools
import posixpath
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.code_memory import CodeMemory, write_replacing
from stages.libraries import BYTE_DECIDING, installed_version
from stages.source_code import PROJECT_PACKAGES, Source, SourceError, SourceTree, fingerprint

FILE_NAME = "code.yaml"
# The key of a line that holds the hash of the files; the others are libraries.
FILES_KEY = "files"
# Stands for a library that no machine has needed yet; installing it is a change like any other.
ABSENT = "absent"
_OWN_MODULE = "stages.code_versions"
_HEADING = """\
# The version of every stage's code: what its program and all it imports say, and the releases of the libraries that decide its bytes.
# Written by the stage `code` (python -m stages.code_versions); not edited by hand. A stage lists its line under `params`.
"""
_LINE = re.compile(r"^([^\s#:]+): \{(.*)\}", re.MULTILINE)
_ITEM = re.compile(r"([\w.-]+): '([^']*)'")


class CodeVersionsError(Exception):
    """dvc.yaml, or a program that it names, cannot be read; the message says where, what was found and what to write instead."""


@dataclass(frozen=True)
class Written:
    """moved: the stages whose line is new, gone or says something else than before. files_read: source files that had to be read."""

    moved: tuple[str, ...]
    files_read: int


def main() -> int:
    """Write code.yaml of the project in the present folder."""
    try:
        written = write_code_versions(Path.cwd())
    except CodeVersionsError as error:
        print(f"code: {error}", file=sys.stderr)
        return 2
    print(f"{FILE_NAME}: {', '.join(written.moved)} moved" if written.moved else f"{FILE_NAME} says what the code says")
    return 0


def write_code_versions(root: Path) -> Written:
    """Bring `root`/code.yaml up to date with the code and the installed libraries; it is not touched when it is. Raises CodeVersionsError."""
    memory = CodeMemory(root)
    graph = _read_graph(root, memory)
    path = root / FILE_NAME
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    closures = _closures(root, graph["programs"], memory)
    _check_watched(graph["watched"], closures)
    releases = _releases(closures, before)
    text = _HEADING + "".join(_line(name, closure, releases) for name, closure in closures.items())
    if text != before:
        write_replacing(path, text)
    for closure in closures.values():
        manifest = {file: source.meaning for file, source in closure.items()}
        memory.remember_manifest(fingerprint(manifest.items()), manifest)
    memory.save()
    old, new = read_lines(before), read_lines(text)
    return Written(tuple(name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)), memory.files_read)


def read_lines(text: str) -> dict[str, dict[str, str]]:
    """What the text of a code.yaml says: by stage, the hash of its files under `files` and versions by library.

    Read by hand, because a YAML parser takes longer to import than the rest of this program takes to run.
    """
    return {name: dict(_ITEM.findall(items)) for name, items in _LINE.findall(text)}


def _closures(root: Path, programs: Mapping[str, Sequence[str]], memory: CodeMemory) -> dict[str, dict[str, Source]]:
    tree = SourceTree(root, read=memory.source)
    found = {}
    for name, modules in programs.items():
        try:
            found[name] = {file: source for module in modules for file, source in tree.closure(module).items()}
        except SourceError as error:
            raise CodeVersionsError(f"dvc.yaml: {name}: {error}") from None
    return found


def _check_watched(watched: Sequence[str] | None, closures: Mapping[str, Mapping[str, Source]]) -> None:
    """An edit must be an edit of what the stage `code` depends on, or `dvc repro` would not look."""
    if watched is None:
        return
    for name, closure in closures.items():
        unseen = [file for file in closure if not any(file == folder or file.startswith(f"{folder}/") for folder in watched)]
        if unseen:
            folder = unseen[0].partition("/")[0]
            raise CodeVersionsError(f"dvc.yaml: {name} uses {unseen[0]}, but `{folder}` is no dependency of the stage `code`; add it")


def _releases(closures: Mapping[str, Mapping[str, Source]], before: str) -> dict[str, str]:
    """The release of every byte-deciding library in use: the one installed here, else the one on record in any line of the code.yaml `before`."""
    recorded = {library: release for items in read_lines(before).values() for library, release in items.items()}
    used = {library for closure in closures.values() for library in _libraries(closure)}
    return {library: installed_version(library) or recorded.get(library, ABSENT) for library in used}


def _libraries(closure: Mapping[str, Source]) -> list[str]:
    imported = {name for source in closure.values() for name in source.libraries}
    return sorted(BYTE_DECIDING[name] for name in imported if name in BYTE_DECIDING)


def _line(name: str, closure: Mapping[str, Source], releases: Mapping[str, str]) -> str:
    items = {FILES_KEY: fingerprint((file, source.meaning) for file, source in closure.items())}
    items |= {library: releases[library] for library in _libraries(closure)}
    count = "1 file" if len(closure) == 1 else f"{len(closure)} files"
    # Quoted, because a bare 2.10 would be a number.
    values = ", ".join(f"{key}: '{value}'" for key, value in items.items())
    return f"{name}: {{{values}}}  # {count}\n"


# ---- dvc.yaml ------------------------------------------------------------------------------------------------------------------------


def _read_graph(root: Path, memory: CodeMemory) -> dict[str, Any]:
    """`programs`: the modules that each stage runs, by the stage's name, or the name of its group for `foreach` and `matrix`. `watched`: the folders
    that the stage of this program depends on, or None when dvc.yaml has no such stage.
    """
    path = root / "dvc.yaml"
    if not path.is_file():
        raise CodeVersionsError(f"{path}: no such file; run from the project root")
    content = path.read_bytes()
    says = memory.graph(content)
    if says is None:
        graph = parse_graph(content)
        says = {"programs": stage_programs(graph), "watched": _watched_folders(graph)}
        memory.remember_graph(content, says)
    return says


def parse_graph(graph: bytes) -> Any:
    """The plain data of a dvc.yaml of these bytes. Raises CodeVersionsError where it is no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(graph.decode("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise CodeVersionsError(f"dvc.yaml{line}: not valid YAML: {getattr(error, 'problem', None) or error}; mend that line") from None


def stage_programs(graph: Any) -> dict[str, list[str]]:
    """The modules that the stages of the parsed dvc.yaml run, for those that run code of the project and are no sources.

    Raises CodeVersionsError when such a stage does not list its line of code.yaml, or a source lists one.
    """
    found: dict[str, list[str]] = {}
    for name, body in _bodies(graph):
        modules = [module for module in stage_modules(name, body.get("cmd") or []) if module.partition(".")[0] in PROJECT_PACKAGES]
        if _OWN_MODULE in modules:
            continue
        is_source = (body.get("meta") or {}).get("source") is True
        has_line = name in _lines_listed(body.get("params") or [])
        if is_source and has_line:
            raise CodeVersionsError(f"dvc.yaml: {name} is a source and lists its line of {FILE_NAME}; take `source: true` or the line away")
        if modules and not is_source:
            if not has_line:
                raise CodeVersionsError(
                    f"dvc.yaml: {name} runs {modules[0]} and would not be made again after an edit of it; add `- {FILE_NAME}: [{name}]` to its params"
                )
            found[name] = modules
    return found


def _watched_folders(graph: Any) -> list[str] | None:
    own = [stage for name, stage in _bodies(graph) if _OWN_MODULE in stage_modules(name, stage.get("cmd") or [])]
    return [str(dep).rstrip("/") for stage in own for dep in stage.get("deps") or []] if own else None


def _bodies(graph: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The stages with their cmd, params and the like; those of a `foreach` group once."""
    stages = graph.get("stages") if isinstance(graph, Mapping) else None
    return [(name, stage.get("do", stage)) for name, stage in (stages or {}).items() if isinstance(stage, Mapping)]


def stage_modules(name: str, cmd: str | Sequence[str]) -> list[str]:
    """The modules that a stage's command runs as `python -m MODULE …`, `torchrun -m MODULE …` and the like, in order."""
    found: list[str] = []
    for line in [cmd] if isinstance(cmd, str) else cmd:
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise CodeVersionsError(f"dvc.yaml: {name}: the command {line!r} cannot be split into words: {error}; mend its quotes") from None
        found += [after for word, after in itertools.pairwise(words) if word == "-m"]
    return list(dict.fromkeys(found))


def _lines_listed(params: Iterable[Any]) -> set[str]:
    """Keys of code.yaml among a stage's params; a stage with a `wdir` names the file relative to it."""
    files = [item for entry in params if isinstance(entry, Mapping) for item in entry.items()]
    return {key for path, keys in files if posixpath.basename(path) == FILE_NAME for key in keys or []}


if __name__ == "__main__":
    sys.exit(main())
