"""The key of a training: a hash of everything that decides its weights, and so of what may be continued."""

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Modules that watch, report or start a training and cannot change what it learns: mending them must not throw away a checkpoint.
_NOT_DECISIVE = ("training.tracking", "training.metrics")
_PACKAGE = Path(__file__).resolve().parent.parent / "training"


def run_key(stage: str, module: str, *, config: Mapping[str, Any], inputs: Mapping[str, str], libraries: Sequence[str] = ("torch",)) -> str:
    """16 hex digits. module: the training program, e.g. "training.polymers.gpt.train"; its code and that of all it imports counts.

    config: the decisive parameters. inputs: content id by name. libraries: distributions whose version counts.
    Comments and docstrings do not count.
    """
    versions = {name: importlib.metadata.version(name) for name in libraries}
    decisive = {"stage": stage, "config": config, "inputs": dict(sorted(inputs.items())), "libraries": versions, "code": code_fingerprint(module)}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def code_fingerprint(module: str, *, package: Path = _PACKAGE) -> str:
    """Hash of the syntax trees of `module` and of what it imports, directly or not, from the package folder `package`."""
    digest, waiting, seen = hashlib.sha256(), [module], {module}
    trees = {}
    while waiting:
        name = waiting.pop()
        tree = ast.parse(_file(name, package).read_text(encoding="utf-8"))
        trees[name] = tree
        found = {imported for imported in _imports(tree, package) if not imported.startswith(_NOT_DECISIVE)} - seen
        seen |= found
        waiting += sorted(found)
    for name, tree in sorted(trees.items()):
        digest.update(f"{name}\n{ast.dump(_without_docstrings(tree))}\n".encode())
    return digest.hexdigest()


def _imports(tree: ast.Module, package: Path) -> Iterator[str]:
    """The package's own modules that `tree` imports anywhere, and the packages around them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                module = ".".join(parts[:end])
                if parts[0] == package.name and _file(module, package).is_file():
                    yield module


def _file(module: str, package: Path) -> Path:
    path = package.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
