"""What a stage's code is: the project files its command reaches by imports, and what in them has meaning.

DVC follows no imports. `update_deps` writes each stage's import closure into its `deps` in dvc.yaml, and the libraries that decide its bytes
into its `params`; a test fails when dvc.yaml is not what it would write. Code is read as text, never imported.

A source stage (a crawl, a download) depends on its parameters only: mark it with `meta: {source: true}` and it gets no code dependencies, so
that `dvc repro` never touches the network because a helper was edited.
"""

import ast
import hashlib
import itertools
import posixpath
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestration.dvc_yaml_edit import StageText, replace_items, stages_in
from orchestration.libraries import FILE_NAME, Change, distributions_of

PROJECT_PACKAGES = ("assets", "formats", "orchestration", "stages", "training")


class ClosureError(Exception):
    """A stage's code dependencies cannot be told; the message names the stage or file, what was found, and what to write instead."""


# ---- the import closure --------------------------------------------------------------------------------------------------------------


def import_closure(root: Path, module: str) -> list[Path]:
    """The project files that `python -m module` loads or may load: absolute, sorted, `__init__.py` files of every package on the way included.

    Imports inside functions count; those under `if TYPE_CHECKING:` do not. Only files of the project's packages are followed.
    Raises ClosureError when the module, or a file on the way, cannot be found or parsed.
    """
    start = _files_of(root, module, run=True)
    if not start:
        raise ClosureError(f"no module {module} below {root}; expected {module.replace('.', '/')}.py, or a package with a __main__.py")
    reached: set[Path] = set()
    pending = list(start)
    while pending:
        path = pending.pop()
        if path in reached:
            continue
        reached.add(path)
        for name in _imports(root, path):
            if name.partition(".")[0] in PROJECT_PACKAGES:
                pending.extend(_files_of(root, name, run=False))
    return sorted(reached)


def imported_libraries(root: Path, files: Iterable[Path]) -> list[str]:
    """The byte-deciding libraries (distribution names, sorted) that `files` of the project import."""
    return distributions_of({name.partition(".")[0] for path in files for name in _imports(root, path)})


def _imports(root: Path, path: Path) -> tuple[str, ...]:
    """Every dotted name that the file may import; `from a import b` gives `a` and `a.b`, for b may be a module."""
    content = path.read_bytes()
    return _imports_of(content, path.relative_to(root).as_posix())


@lru_cache(maxsize=4096)
def _imports_of(content: bytes, relative: str) -> tuple[str, ...]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        raise ClosureError(f"{relative}: cannot be parsed, so what it imports is unknown: {error}; mend it first") from None
    package = posixpath.dirname(relative).replace("/", ".")
    return tuple(dict.fromkeys(_names_imported(tree, package)))


def _names_imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and _is_import_call(node.func) and node.args:
        name = node.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and not name.value.startswith("."):
            yield name.value
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
        children = node.orelse
    for child in children:
        yield from _names_imported(child, package)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def _is_import_call(function: ast.expr) -> bool:
    return _last_name(function) in ("import_module", "__import__")


def _last_name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _files_of(root: Path, module: str, *, run: bool) -> list[Path]:
    """The files that importing `module` executes, packages first; none when it is not a module (a name inside one).

    run: as `python -m` does, execute a package's `__main__.py` too.
    """
    place = root.joinpath(*module.split("."))
    as_file, as_package = place.with_name(place.name + ".py"), place / "__init__.py"
    if as_package.is_file():
        own = [as_package, place / "__main__.py"] if run else [as_package]
    else:
        own = [as_file]
    if not all(path.is_file() for path in own):
        return []
    packages = (folder / "__init__.py" for folder in place.parents if folder != root and folder.is_relative_to(root))
    return [path for path in packages if path.is_file()] + own


# ---- the meaning of a source file ----------------------------------------------------------------------------------------------------


def normalised_source_hash(source: bytes) -> str:
    """A hash of what the Python file `source` does: the same after an edit of comments, layout or docstrings, another after any other edit.

    It is computed from the syntax tree without positions, and says the same under every supported Python. A docstring counts as code where
    the file may use it: all of them when the file reads some object's `__doc__`, the module's own when `__doc__` goes anywhere but into a
    command line's help. Bytes that are not Python are hashed as they are.
    """
    try:
        tree = ast.parse(source)
        form = "\n".join(_form(tree, _Docstrings(tree)))
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(b"bytes\n" + source).hexdigest()
    return hashlib.sha256(b"tree\n" + form.encode("utf-8", "surrogatepass")).hexdigest()


class _Docstrings:
    """Which docstrings of a module its code may read."""

    def __init__(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        help_only = {id(argument) for node in nodes if isinstance(node, ast.Call) for argument in _help_arguments(node)}
        self.keep_all = any(
            (isinstance(node, ast.Attribute) and node.attr in ("__doc__", "getdoc"))
            or (isinstance(node, ast.Name) and node.id == "getdoc")
            or (isinstance(node, ast.Constant) and node.value == "__doc__")
            for node in nodes
        )
        self.keep_module = any(isinstance(node, ast.Name) and node.id == "__doc__" and id(node) not in help_only for node in nodes)

    def is_kept(self, owner: ast.AST) -> bool:
        """Whether the docstring of `owner` is part of what the file does."""
        return self.keep_all or (self.keep_module and isinstance(owner, ast.Module))


def _help_arguments(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that only ever reach `--help`."""
    if _last_name(call.func) == "program" and call.args:
        yield call.args[0]
    if _last_name(call.func) in ("ArgumentParser", "add_parser"):
        yield from (keyword.value for keyword in call.keywords if keyword.arg in ("description", "epilog", "help"))


# `ctx` follows from where a name stands; `kind` is the u of u"…"; type comments are comments; type_ignores likewise.
_WITHOUT_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}


def _form(node: ast.AST, docstrings: _Docstrings) -> Iterator[str]:
    """The tree as lines. Empty fields are left out, because Python releases differ in which fields a node has."""
    yield f"({type(node).__name__}"
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(value, list) and not docstrings.is_kept(node):
            value = [statement for statement in value if not _is_bare_string(statement)]
        if name == "values" and isinstance(node, ast.JoinedStr):
            value = _joined_constants(value or [])
        if name in _WITHOUT_MEANING or value is None or value == []:
            continue
        yield name
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield from _form(item, docstrings)
            else:
                yield _atom(item)
    yield ")"


def _is_bare_string(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


def _joined_constants(values: Sequence[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring constants joined and empty ones dropped: releases cut them differently."""
    joined: list[ast.expr] = []
    for value in values:
        text = value.value if isinstance(value, ast.Constant) else None
        last = joined[-1] if joined else None
        if text == "":
            continue
        if isinstance(text, str) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + text)
        else:
            joined.append(value)
    return joined


def _atom(value: Any) -> str:
    # Hexadecimal, because a decimal of more than 4,300 digits is refused.
    return f"{type(value).__name__}:{hex(value) if type(value) is int else repr(value)}"


# ---- dvc.yaml ------------------------------------------------------------------------------------------------------------------------


def stage_modules(cmd: str | Sequence[str]) -> list[str]:
    """The modules that a stage's command runs as `python -m MODULE …`, `torchrun -m MODULE …` and the like, in order.

    Raises ClosureError when the command has unbalanced quotes.
    """
    lines = [cmd] if isinstance(cmd, str) else list(cmd)
    found: list[str] = []
    for line in lines:
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise ClosureError(f"the command {line!r} cannot be split into words: {error}; mend its quotes") from None
        found += [after for word, after in itertools.pairwise(words) if word == "-m"]
    return list(dict.fromkeys(found))


def update_deps(root: Path, *, write: bool) -> list[Change]:
    """Make the code deps and the library params in `root`/dvc.yaml what the code says; returns what changed, or (write=False) would change.

    Only *.py deps inside the project's packages and the `libraries.yaml` entry of params are touched; the rest of the file stays as it is.
    Raises ClosureError when dvc.yaml or a stage's code cannot be read.
    """
    root = root.resolve()
    path = root / "dvc.yaml"
    if not path.is_file():
        raise ClosureError(f"{path}: no such file; run from the project root")
    text = path.read_text(encoding="utf-8")
    new, changes = _updated(root, text)
    if changes and _updated(root, new)[1]:
        raise ClosureError(f"{path}: {changes[0].where} cannot be rewritten in place (is it shared through a YAML anchor?); write it out there")
    if write and changes:
        temporary = path.with_suffix(".yaml.tmp")
        temporary.write_text(new, encoding="utf-8")
        temporary.replace(path)
    return changes


def _updated(root: Path, text: str) -> tuple[str, list[Change]]:
    changes = []
    for name in [stage.name for stage in _stages(text)]:
        stage = _stage(text, name)
        deps, libraries = _wanted(root, stage)
        library_items = [f"{_from_wdir(stage, FILE_NAME)}: [{', '.join(libraries)}]"] if libraries else []
        for key, is_ours, words, items in (("deps", _is_code_dep, deps, deps), ("params", _is_library_entry, libraries, library_items)):
            stage = _stage(text, name)
            before = _present(stage, key, is_ours)
            if sorted(before) != sorted(words):
                text = replace_items(text, stage, key, is_ours, items)
                changes.append(Change(f"dvc.yaml: {name}.{key}", tuple(before), tuple(words)))
    return text, changes


@lru_cache(maxsize=8)
def _stages(text: str) -> tuple[StageText, ...]:
    from ruamel.yaml.error import YAMLError

    try:
        return tuple(stages_in(text))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ClosureError(f"dvc.yaml{line}: not valid YAML: {getattr(error, 'problem', None) or error}; mend that line") from None


def _stage(text: str, name: str) -> StageText:
    return next(stage for stage in _stages(text) if stage.name == name)


def _wanted(root: Path, stage: StageText) -> tuple[list[str], list[str]]:
    """The code deps (relative to the stage's working directory) and the libraries that `stage` should list."""
    meta = stage.plain("meta")
    if isinstance(meta, dict) and str(meta.get("source")).lower() == "true":
        return [], []
    try:
        modules = [module for module in stage_modules(stage.plain("cmd") or []) if module.partition(".")[0] in PROJECT_PACKAGES]
        files = sorted({path for module in modules for path in import_closure(root, module)})
    except ClosureError as error:
        raise ClosureError(f"dvc.yaml: {stage.name}: {error}") from None
    return [_from_wdir(stage, path.relative_to(root).as_posix()) for path in files], imported_libraries(root, files)


def _from_wdir(stage: StageText, path: str) -> str:
    """`path`, relative to the root, as dvc.yaml must write it: relative to the stage's working directory."""
    return posixpath.relpath(path, stage.plain("wdir") or ".")


def _present(stage: StageText, key: str, is_ours: Any) -> list[str]:
    items = stage.plain(key) or []
    if not isinstance(items, list):
        raise ClosureError(f"dvc.yaml: {stage.name}.{key} must be a list, found {items!r}")
    ours = [item for item in items if is_ours(item)]
    return ours if key == "deps" else [word for item in ours for words in item.values() for word in words or []]


def _is_code_dep(item: Any) -> bool:
    return isinstance(item, str) and item.endswith(".py") and any(part in PROJECT_PACKAGES for part in item.split("/")[:-1])


def _is_library_entry(item: Any) -> bool:
    return isinstance(item, dict) and all(posixpath.basename(path) == FILE_NAME for path in item)
