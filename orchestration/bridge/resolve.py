"""Read dvc.yaml into a Graph. DVC's own parser resolves templates, `foreach` and `matrix`, so the graph is what DVC would run.

The answer is kept beside the project, keyed by the bytes of every file it was made from: a second reading needs neither DVC nor its import.
"""

import difflib
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.answers import keep, recall
from orchestration.bridge.graph import Graph, GraphError, Out, ParamsFile, Stage, build_graph

# Raised whenever the shape of the stored answer changes.
_FORMAT = 3
DEFAULT_PARAMS = "params.yaml"


def load_graph(root: Path, *, state_dir: Path | None = None) -> Graph:
    """The graph of `root`/dvc.yaml.

    state_dir: where resolved answers are kept; None reads afresh.
    Raises GraphError when dvc.yaml is absent, malformed, or uses a key DVC does not know.
    """
    root = root.resolve()
    source = root / "dvc.yaml"
    if not source.is_file():
        raise GraphError(f"{source}: no such file; run from a project with a dvc.yaml, or pass its folder with --root")
    stored = state_dir / "graph.json" if state_dir else None
    if stored is not None:
        known = _read_stored(root, stored)
        if known is not None:
            return known
    resolved, variable_files = _resolve_with_dvc(root)
    plain = _plain_graph(resolved)
    if stored is not None:
        watched = sorted({"dvc.yaml", DEFAULT_PARAMS, *variable_files})
        keep(stored, {"format": _FORMAT, "key": _key(root, watched), "watched": watched, "graph": plain})
    return _graph_from_plain(root, plain)


def _read_stored(root: Path, stored: Path) -> Graph | None:
    answer = recall(stored)
    if not isinstance(answer, dict) or answer.get("format") != _FORMAT or answer.get("key") != _key(root, answer.get("watched", [])):
        return None
    return _graph_from_plain(root, answer["graph"])


def _key(root: Path, watched: list[str]) -> str:
    digest = hashlib.sha256()
    for name in watched:
        path = root / name
        digest.update(name.encode() + b"\0" + (hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"absent"))
    return digest.hexdigest()


def _resolve_with_dvc(root: Path) -> tuple[dict[str, Any], list[str]]:
    """Everything of dvc.yaml as plain resolved data, and the files its templates drew from."""
    from dvc.dvcfile import load_file
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            file = load_file(repo, str(root / "dvc.yaml"))
            # load_file's schema check names unknown keys; the resolver then fills in templates.
            raw, _ = file._load()
            resolver = file.resolver
            stages = {name: resolver.resolve_one(name)[name] for name in resolver.get_keys()}
            resolved = {"stages": stages, "metrics": resolver.resolve_metrics(), "plots": resolver.resolve_plots()}
    except DvcException as error:
        raise GraphError(f"{root / 'dvc.yaml'}: {_near_miss(_first_words(error))}") from error
    return json.loads(json.dumps(resolved, default=str)), _variable_files(raw)


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


def _variable_files(raw: Mapping[str, Any]) -> list[str]:
    declared = list(raw.get("vars") or [])
    for stage in (raw.get("stages") or {}).values():
        body = stage.get("do", stage) if isinstance(stage, Mapping) else {}
        declared += list(body.get("vars") or [])
    return [entry.partition(":")[0] for entry in declared if isinstance(entry, str)]


def _plain_graph(resolved: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stages": [_plain_stage(name, data) for name, data in resolved["stages"].items()],
        "metrics": [_path_of(entry)[0] for entry in resolved.get("metrics") or []],
        "plots": [path for entry in resolved.get("plots") or [] for path in _plot_paths(entry)],
    }


def _plain_stage(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    wdir = data.get("wdir") or "."
    cmd = data.get("cmd") or []

    def place(path: str) -> str:
        return posixpath.normpath(posixpath.join(wdir, path))

    outs = [
        {"path": place(path), "kind": kind, "cached": options.get("cache", True), "persist": options.get("persist", False)}
        for key, kind in (("outs", "out"), ("metrics", "metric"), ("plots", "plot"))
        for path, options in map(_path_of, data.get(key) or [])
    ]
    return {
        "name": name,
        "cmd": [cmd] if isinstance(cmd, str) else list(cmd),
        "deps": [place(_path_of(dep)[0]) for dep in data.get("deps") or []],
        "params": _plain_params(data.get("params") or [], place),
        "outs": outs,
        "wdir": posixpath.normpath(wdir),
        "desc": data.get("desc") or "",
        "meta": data.get("meta") or {},
        "frozen": bool(data.get("frozen", False)),
        "always_changed": bool(data.get("always_changed", False)),
    }


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


def _plain_params(entries: list[Any], place: Any) -> list[dict[str, Any]]:
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
    return build_graph(root, stages, metric_files=plain["metrics"], plot_files=plain["plots"])
