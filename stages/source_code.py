"""Python source as text: what a file of the project means, what it imports, and which files a program reaches by imports.

The one place that reads code without running it; nothing is imported, and only the standard library is used. DVC follows no imports, so a stage's
code version (`stages.code_versions`), the key of a training and the names of remembered results are made here.
"""

import ast
import functools
import gc
import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

PROJECT_PACKAGES = ("app", "assets", "formats", "orchestration", "stages", "training")
_ROOT = Path(__file__).resolve().parent.parent


class SourceError(Exception):
    """A program's code cannot be told; the message names the module, where it was looked for and what was expected."""


@dataclass(frozen=True)
class Source:
    """What one file says: a hash of its meaning, the project's modules it may import, and the other top-level packages it imports.

    `from a import b` gives the modules `a` and `a.b`, for b may be a module.
    """

    meaning: str
    modules: tuple[str, ...]
    libraries: tuple[str, ...]


def read_source(content: bytes, path: str) -> Source:
    """The source file `path` (relative to the root, POSIX), whose bytes are `content`. Of bytes that are not Python no imports are known."""
    tree = _parse(content)
    if tree is None:
        return Source(_hash_of_bytes(content), (), ())
    names = set(_names_imported(tree, content, posixpath.dirname(path).replace("/", ".")))
    modules = sorted(name for name in names if name.partition(".")[0] in PROJECT_PACKAGES)
    libraries = sorted({name.partition(".")[0] for name in names}.difference(PROJECT_PACKAGES))
    return Source(_hash_of_tree(tree, content), tuple(modules), tuple(libraries))


# ---- programs: a module and what it reaches by imports -------------------------------------------------------------------------------


class SourceTree:
    """The source files below one root, each read once for as long as this object lives.

    read: how a file (its path, its path relative to the root) becomes a Source; the seam for a memory of files read earlier.
    """

    def __init__(self, root: Path, *, read: Callable[[Path, str], Source] | None = None) -> None:
        self.root = root
        self._read = read or (lambda path, relative: _remembered_source(path.read_bytes(), relative))
        self._sources: dict[str, Source] = {}
        self._files: dict[str, tuple[str, ...]] = {}

    def closure(self, module: str, *, but: tuple[str, ...] = ()) -> dict[str, Source]:
        """The project files that `python -m module` loads or may load, by relative path in order, with the `__init__.py` of packages on the way.

        Imports inside functions count; those under `if TYPE_CHECKING:` do not.
        but: prefixes of module names that are neither included nor followed.
        Raises SourceError when there is no such module.
        """
        pending = list(self._program(module))
        reached: dict[str, Source] = {}
        while pending:
            path = pending.pop()
            if path not in reached:
                reached[path] = self.source(path)
                pending += [file for name in reached[path].modules if not name.startswith(but) for file in self._files_of(name)]
        return dict(sorted(reached.items()))

    def source(self, path: str) -> Source:
        """What the file at the relative `path` says."""
        if path not in self._sources:
            self._sources[path] = self._read(self.root / path, path)
        return self._sources[path]

    def _program(self, module: str) -> tuple[str, ...]:
        """The files that `python -m module` executes before any import: packages, then the module, or a package's `__main__.py`."""
        files = self._files_of(module)
        if files and posixpath.basename(files[-1]) == "__init__.py":
            main = f"{posixpath.dirname(files[-1])}/__main__.py"
            files = (*files, main) if self._is_file(main) else ()
        if not files:
            place = module.replace(".", "/")
            raise SourceError(f"no module {module} below {self.root}; expected {place}.py, or a package with {place}/__main__.py")
        return files

    def _files_of(self, module: str) -> tuple[str, ...]:
        """The files that importing `module` executes, packages first; none when it is not a module (a name inside one)."""
        if module not in self._files:
            parent, _, _ = module.rpartition(".")
            place = module.replace(".", "/")
            own = next((path for path in (f"{place}/__init__.py", f"{place}.py") if self._is_file(path)), None)
            # A folder without __init__.py is a package too.
            packages = [path for path in _packages_above(parent) if self._is_file(path)]
            self._files[module] = (*packages, own) if own else ()
        return self._files[module]

    def _is_file(self, path: str) -> bool:
        return os.path.isfile(f"{self.root}/{path}")  # noqa: PTH113 (asked thousands of times; pathlib is five times slower)


def _packages_above(module: str) -> Iterator[str]:
    parts = module.split(".") if module else []
    return (f"{'/'.join(parts[:count])}/__init__.py" for count in range(1, len(parts) + 1))


def fingerprint(files: Iterable[tuple[str, str]]) -> str:
    """16 hex digits that stand for (relative path, hash of meaning) pairs, whatever their order."""
    lines = "".join(f"{path}\0{meaning}\n" for path, meaning in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def program_fingerprint(module: str, *, but: tuple[str, ...] = (), root: Path = _ROOT) -> str:
    """16 hex digits for what the code of `module` and of all it imports from the project says. `but` as in `SourceTree.closure`."""
    closure = SourceTree(root).closure(module, but=but)
    return fingerprint((path, source.meaning) for path, source in closure.items())


def code_of(module: ModuleType) -> str:
    """A hash of what the code of one loaded module says, without what it imports."""
    assert module.__file__ is not None, module
    return _remembered_source(Path(module.__file__).read_bytes(), "").meaning


@functools.lru_cache(maxsize=4096)
def _remembered_source(content: bytes, path: str) -> Source:
    return read_source(content, path)


# ---- what a file imports -------------------------------------------------------------------------------------------------------------

_IMPORT_CALLS = ("import_module", "__import__", "find_spec")


def _names_imported(tree: ast.Module, content: bytes, package: str) -> Iterator[str]:
    # Import statements stand among statements; only calls hide in expressions, and most files have none.
    children = ast.iter_child_nodes if any(name.encode() in content for name in _IMPORT_CALLS) else _statements_of
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and _last_name(node.func) in _IMPORT_CALLS and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str) and not name.value.startswith("."):
                yield name.value
        is_for_checkers = isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING"
        pending += node.orelse if is_for_checkers else children(node)  # type: ignore[attr-defined]


def _statements_of(node: ast.AST) -> Iterator[ast.AST]:
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        found = getattr(node, field, None)
        if isinstance(found, list):
            yield from found


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def _last_name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


# ---- what a file means ---------------------------------------------------------------------------------------------------------------


def hash_of_meaning(content: bytes) -> str:
    """64 hex digits for what the Python source `content` does: the same after an edit of comments, layout or docstrings, others after any other.

    It is computed from the syntax tree without positions, and says the same under every supported Python. A docstring counts as code where
    the file may use it: all of them when the file reads some object's `__doc__`, the module's own when `__doc__` goes anywhere but into a
    command line's help. Bytes that are not Python are hashed as they are.
    """
    tree = _parse(content)
    return _hash_of_bytes(content) if tree is None else _hash_of_tree(tree, content)


def _parse(content: bytes) -> ast.Module | None:
    # A tree is thousands of objects without a cycle: looking for cycles among them takes a third of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return None
    finally:
        if was_enabled:
            gc.enable()


def _hash_of_bytes(content: bytes) -> str:
    return hashlib.sha256(b"bytes\n" + content).hexdigest()


def _hash_of_tree(tree: ast.Module, content: bytes) -> str:
    form: list[str] = []
    try:
        _describe(tree, form, _Docstrings(tree, content))
    except RecursionError:
        return _hash_of_bytes(content)
    return hashlib.sha256(b"tree\n" + "\n".join(form).encode("utf-8", "surrogatepass")).hexdigest()


class _Docstrings:
    """Which docstrings of a module its code may read."""

    def __init__(self, tree: ast.Module, content: bytes) -> None:
        self.keep_all = self.keep_module = False
        if b"__doc__" not in content and b"getdoc" not in content:
            return
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


@functools.cache
def _meaningful_fields(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(name for name in kind._fields if name not in _WITHOUT_MEANING)


def _describe(node: ast.AST, form: list[str], docstrings: _Docstrings) -> None:
    """Append the tree as lines. Empty fields are left out, because Python releases differ in which fields a node has."""
    kind = node.__class__
    form.append(f"({kind.__name__}")
    for name in _meaningful_fields(kind):  # type: ignore[arg-type]  # a class is hashable, whatever its stub says
        value = getattr(node, name, None)
        if value is None:
            continue
        if value.__class__ is list:
            _describe_list(node, name, value, form, docstrings)
            continue
        form.append(name)
        if isinstance(value, ast.AST):
            _describe(value, form, docstrings)
        else:
            form.append(_atom(value))
    form.append(")")


def _describe_list(owner: ast.AST, name: str, items: list, form: list[str], docstrings: _Docstrings) -> None:
    if name == "body" and not docstrings.is_kept(owner):
        items = [statement for statement in items if not _is_bare_string(statement)]
    elif name == "values" and isinstance(owner, ast.JoinedStr):
        items = _joined_constants(items)
    if items:
        form.append(name)
    for item in items:
        if isinstance(item, ast.AST):
            _describe(item, form, docstrings)
        else:
            form.append(_atom(item))


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
    kind = value.__class__
    # Hexadecimal, because a decimal of more than 4,300 digits is refused.
    return f"{kind.__name__}:{hex(value) if kind is int else repr(value)}"
