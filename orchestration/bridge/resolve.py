"""Read every dvc.yaml and .dvc file of a project into one Graph. DVC's own parser resolves templates, `foreach` and `matrix`: it is what DVC runs.

The answer is kept beside the project, keyed by the bytes of every file it was made from: a second reading needs neither DVC nor its import.
"""

import contextlib
import difflib
import hashlib
import json
import os
import posixpath
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from .answers import keep, recall
from .graph import Graph, GraphError, Out, ParamsFile, Source, Stage, build_graph, command_of, placed

# Raised whenever the shape of the stored answer changes.
_FORMAT = 4
DEFAULT_PARAMS = "params.yaml"
# Of a change this recent, the next one may have the same time.
_RACY_NS = 50_000_000
Stamps = dict[str, int]
# What tools keep for themselves.
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


def load_graph(root: Path, *, state_dir: Path | None = None) -> Graph:
    """The graph of all dvc.yaml and .dvc files at and below `root`.

    state_dir: where resolved answers are kept; None reads afresh.
    Raises GraphError when there is none, when one is malformed or uses a key DVC does not know, and when `root` is not the root of its DVC project.
    """
    root = root.resolve()
    stored = state_dir / "graph.json" if state_dir else None
    if stored is not None:
        known = _read_stored(root, stored)
        if known is not None:
            return known
    answer = resolve_graph(root)
    if stored is not None:
        keep(stored, answer)
    return graph_of(root, answer)


def resolve_graph(root: Path) -> dict[str, Any]:
    """What `graph_of` makes a Graph of, as plain data for JSON: asked of DVC. Raises GraphError as `load_graph` does."""
    plain: dict[str, Any] = {"stages": [], "sources": [], "metrics": [], "plots": []}
    watched: set[str] = set()
    outs: set[str] = set()
    files = []
    stamps: Stamps = {}
    if not any(_dvc_files(root, (), {})):
        raise GraphError(f"{root / 'dvc.yaml'}: no such file; run from a project with a dvc.yaml, or pass its folder with --root")
    with _open_repo(root) as repo:
        for path in _dvc_files(root, outs, stamps):
            files.append(path)
            for key, entries in _read_with_dvc(repo, root, path, watched).items():
                plain[key] += entries
            outs.update(out["path"] for stage in plain["stages"] for out in stage["outs"])
            outs.update(out for source in plain["sources"] for out in source["ids"])
    watched.update(files)
    key = _key(root, sorted(watched))
    return {"format": _FORMAT, "files": files, "folders": stamps, "outs": sorted(outs), "watched": sorted(watched), "key": key, "graph": plain}


def graph_of(root: Path, answer: Mapping[str, Any]) -> Graph:
    """The graph that `resolve_graph` found. Raises GraphError where it is of another release of this package."""
    if answer.get("format") != _FORMAT:
        raise GraphError(f"the resolved graph has the format {answer.get('format')}, expected {_FORMAT}; resolve it anew")
    return _graph_from_plain(root, answer["graph"])


def _read_stored(root: Path, stored: Path) -> Graph | None:
    answer = recall(stored)
    if not isinstance(answer, dict) or answer.get("format") != _FORMAT or answer.get("key") != _key(root, answer.get("watched", [])):
        return None
    if any(not stamp or _stamp(f"{root}/{folder}") != stamp for folder, stamp in answer["folders"].items()):
        # Something came or went: a file of DVC's, too?
        stamps: Stamps = {}
        if list(_dvc_files(root, set(answer["outs"]), stamps)) != answer["files"]:
            return None
        keep(stored, {**answer, "folders": stamps})
    return graph_of(root, answer)


def _stamp(folder: str) -> int:
    """When something was added to the folder or taken away; 0 where that is so recent that the clock may not tell the next time from it."""
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        return -1
    return changed if time.time_ns() - changed > _RACY_NS else 0


def _dvc_files(root: Path, outs: Container[str], stamps: Stamps) -> Iterator[str]:
    """The path of every dvc.yaml and .dvc file, from the top down, as DVC looks for them: not in `outs` (asked late), nor in other DVC projects.

    Hidden folders, where DVC would look as well, are left out, and so are Python environments. stamps: gets that of each folder that was looked into.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        stamps[folder] = _stamp(f"{root}/{folder}")
        try:
            with os.scandir(root / folder) as entries:
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        if folder and (".dvc" in found or "pyvenv.cfg" in found):
            continue
        files = sorted(name for name, is_folder in found.items() if not is_folder and (name == "dvc.yaml" or name.endswith(".dvc")))
        yield from (f"{folder}{name}" for name in files if name != ".dvc")
        folders = (f"{folder}{name}" for name in sorted(found, reverse=True) if found[name] and name[0] != "." and name not in _SKIPPED_FOLDERS)
        pending += [f"{path}/" for path in folders if path not in outs]


def _key(root: Path, watched: list[str]) -> str:
    digest = hashlib.sha256()
    for name in watched:
        path = root / name
        digest.update(name.encode() + b"\0" + (hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"absent"))
    return digest.hexdigest()


@contextlib.contextmanager
def _open_repo(root: Path) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        repo = Repo(str(root))
    except DvcException as error:
        raise GraphError(f"{root / 'dvc.yaml'}: {_first_words(error)}") from error
    with repo:
        if Path(repo.root_dir).resolve() != root:
            raise GraphError(f"{root}: is not the root of its DVC project; pass {repo.root_dir}, or make it one with `dvc init --subdir`")
        yield repo


def _read_with_dvc(repo: Any, root: Path, path: str, watched: set[str]) -> dict[str, list[Any]]:
    """The stages, sources, metrics and plots of one file; empty where git or DVC ignores it. `watched` gets the files its templates drew from."""
    from dvc.dvcfile import load_file
    from dvc.exceptions import DvcException

    full, folder = str(root / path), posixpath.dirname(path)
    try:
        if folder and (repo.dvcignore.is_ignored_file(full) or repo.scm.is_ignored(full)):
            return {}
        file = load_file(repo, full)
        # load_file's schema check names unknown keys; the resolver then fills in templates.
        raw, _ = file._load()
        if path.endswith(".dvc"):
            return {"sources": [_plain_source(path, _as_plain(raw))]}
        resolver = file.resolver
        stages = {name: resolver.resolve_one(name)[name] for name in resolver.get_keys()}
        resolved = _as_plain({"stages": stages, "metrics": resolver.resolve_metrics(), "plots": resolver.resolve_plots()})
    except DvcException as error:
        raise GraphError(f"{full}: {_near_miss(_first_words(error))}") from error
    watched.update({placed(DEFAULT_PARAMS, folder), *_variable_files(raw, resolved["stages"], folder)})
    return _plain_file(path, resolved)


def _as_plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _first_words(error: BaseException) -> str:
    """DVC wraps causes; its users need all of the sentences, on one line."""
    words: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = " ".join(str(current).split())
        if text and text not in words:
            words.append(text)
        current = current.__cause__
    return ": ".join(words)


# The keys dvc.yaml may have: at the top, in a stage, and as options of an output, metric or plot.
_TOP_KEYS = ("stages", "vars", "params", "metrics", "plots", "artifacts", "datasets")
_STAGE_KEYS = (
    "cmd",
    "deps",
    "params",
    "outs",
    "metrics",
    "plots",
    "wdir",
    "desc",
    "meta",
    "vars",
    "frozen",
    "always_changed",
    "foreach",
    "do",
    "matrix",
)
_OUT_KEYS = ("cache", "persist", "push", "remote", "desc", "type", "labels", "meta", "x", "y", "x_label", "y_label", "title", "header", "template")
_UNKNOWN_KEY = re.compile(r".*extra keys not allowed @ data((?:\[[^\]]+\])+)")


def _near_miss(words: str) -> str:
    """DVC says of an unknown key only that it is "not allowed": name it as one reads it, and the key that was probably meant."""
    found = _UNKNOWN_KEY.search(words)
    if not found:
        return words
    *parents, key = (part.strip("'\"") for part in found[1][1:-1].split("]["))
    is_of_stage = len(parents) == 2 or parents[-1:] == ["do"]
    known = _TOP_KEYS if not parents else _STAGE_KEYS if is_of_stage else _OUT_KEYS
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"{'.'.join([*parents, key])} is not a known key{hint}; known keys: {', '.join(known)}"


def _variable_files(raw: Mapping[str, Any], resolved: Mapping[str, Any], folder: str) -> Iterator[str]:
    """The files named by `vars`: those at the top relative to dvc.yaml, those of a stage relative to the stage's working directory."""
    declared = [(folder, entry) for entry in raw.get("vars") or []]
    for name, data in resolved.items():
        stage = (raw.get("stages") or {}).get(name) or (raw.get("stages") or {}).get(name.partition("@")[0]) or {}
        entries = stage.get("do", stage).get("vars") if isinstance(stage, Mapping) else None
        declared += [(posixpath.join(folder, data.get("wdir") or ""), entry) for entry in entries or []]
    return (placed(entry.partition(":")[0], wdir) for wdir, entry in declared if isinstance(entry, str))


def _plain_file(path: str, resolved: Mapping[str, Any]) -> dict[str, list[Any]]:
    folder = posixpath.dirname(path)
    return {
        "stages": [_plain_stage(path, name, data) for name, data in resolved["stages"].items()],
        "metrics": [placed(_path_of(entry)[0], folder) for entry in resolved.get("metrics") or []],
        "plots": [placed(plot, folder) for entry in resolved.get("plots") or [] for plot in _plot_paths(entry)],
    }


def _plain_stage(file: str, name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    folder = posixpath.dirname(file)
    wdir = posixpath.normpath(posixpath.join(folder, data.get("wdir") or "."))

    def place(path: str) -> str:
        return placed(path, wdir)

    outs = [
        {"path": place(path), "kind": kind, "cached": options.get("cache", True), "persist": options.get("persist", False)}
        for key, kind in (("outs", "out"), ("metrics", "metric"), ("plots", "plot"))
        for path, options in map(_path_of, data.get(key) or [])
    ]
    return {
        "name": posixpath.join(folder, name),
        "file": file,
        "cmd": command_of(data.get("cmd")),
        "deps": [place(_path_of(dep)[0]) for dep in data.get("deps") or []],
        "params": _plain_params(data.get("params") or [], place),
        "outs": outs,
        "wdir": wdir,
        "desc": data.get("desc") or "",
        "meta": data.get("meta") or {},
        "frozen": bool(data.get("frozen", False)),
        "always_changed": bool(data.get("always_changed", False)),
    }


def _plain_source(path: str, data: Mapping[str, Any]) -> dict[str, Any]:
    wdir = posixpath.join(posixpath.dirname(path), data.get("wdir") or "")
    outs, deps = data.get("outs") or [], data.get("deps") or []
    # What was imported without a download has no id of its own yet.
    ids = {placed(out["path"], wdir): recorded_id(out) or "".join(map(recorded_id, deps)) for out in outs}
    texts = [out["desc"] for out in (data, *outs) if out.get("desc")]
    return {"name": path, "ids": ids, "origin": ", ".join(map(_origin, deps)), "desc": " ".join(texts), "meta": data.get("meta") or {}}


def recorded_id(item: Mapping[str, Any]) -> str:
    """The id that DVC recorded of a dependency or output: the md5 of bytes, or what a server says of them."""
    return str(item.get("md5") or item.get("etag") or item.get("checksum") or "")


def _origin(dep: Mapping[str, Any]) -> str:
    repository = dep.get("repo")
    if not isinstance(repository, Mapping):
        return str(dep["path"])
    rev = repository.get("rev_lock") or repository.get("rev")
    return f"{dep['path']} of {repository.get('url')}" + (f" at {rev}" if rev else "")


def _path_of(entry: Any) -> tuple[str, Mapping[str, Any]]:
    """DVC writes a path either bare or as a one-key mapping of path to options."""
    if isinstance(entry, Mapping):
        path, options = next(iter(entry.items()))
        return path, options or {}
    return entry, {}


def _plot_paths(entry: Any) -> list[str]:
    path, options = _path_of(entry)
    sources = options.get("y")
    return list(sources) if isinstance(sources, Mapping) else [path]


def _plain_params(entries: list[Any], place: Callable[[str], str]) -> list[dict[str, Any]]:
    by_file: dict[str, list[str]] = {}
    for entry in entries:
        if isinstance(entry, Mapping):
            for path, keys in entry.items():
                by_file.setdefault(place(path), []).extend(keys or [])
        else:
            by_file.setdefault(place(DEFAULT_PARAMS), []).append(entry)
    return [{"path": path, "keys": list(dict.fromkeys(keys))} for path, keys in by_file.items()]


def _graph_from_plain(root: Path, plain: Mapping[str, Any]) -> Graph:
    stages = [
        Stage(
            **{
                **data,
                "cmd": tuple(data["cmd"]),
                "deps": tuple(data["deps"]),
                "params": tuple(ParamsFile(entry["path"], tuple(entry["keys"])) for entry in data["params"]),
                "outs": tuple(Out(**out) for out in data["outs"]),
            }
        )
        for data in plain["stages"]
    ]
    sources = [Source(**data) for data in plain["sources"]]
    return build_graph(root, stages, sources=sources, metric_files=plain["metrics"], plot_files=plain["plots"])
