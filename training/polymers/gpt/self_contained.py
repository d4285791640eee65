"""modeling_polygpt.py: the network and its `transformers` interface as one file that needs torch and transformers alone.

It is the source of the modules below, one after the other, without their docstrings and comments and without imports of this project: an edit of
words changes no byte of a model, as it changes no code version.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TypeGuard

# Found and not imported: the last one runs in the written file alone.
_SPECS = (
    find_spec("stages.near_misses"),
    find_spec("training.polymers.conditions"),
    find_spec("training.polymers.transformer"),
    find_spec("training.polymers.gpt.networks"),
    find_spec("training.polymers.gpt.transformers_model"),
)
_OURS = ("stages", "training")
_HEADING = "# PolyGPT for transformers: load this folder with trust_remote_code=True. Written by Figment from its own source.\n"


def modeling_source() -> str:
    """The text of the file; the same for the same code, under any Python."""
    sources = [Path(spec.origin).read_text(encoding="utf-8") for spec in _SPECS if spec is not None and spec.origin is not None]
    # `import x` before `from x import y`, each line once, in the order of the alphabet: that of the modules says nothing.
    imports = sorted({line for source in sources for line in _imports(ast.parse(source))}, key=lambda line: (line.startswith("from"), line))
    return "\n".join([_HEADING, *imports, *(f"\n\n{_body(source)}" for source in sources)]) + "\n"


def _imports(tree: ast.Module) -> Iterator[str]:
    """What the file's head imports from elsewhere, type checkers' imports too, one name a line."""
    for node in _head(tree):
        if isinstance(node, ast.Import):
            yield from (ast.unparse(ast.Import([alias])) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in _OURS:
            yield from (f"from {node.module} import {alias.name}" for alias in node.names if alias.name != "TYPE_CHECKING")


def _head(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        yield from (node.body if _is_for_checkers(node) else [node])


def _is_for_checkers(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _body(source: str) -> str:
    """All of the file but its head's imports, docstrings and comments."""
    tree, lines = ast.parse(source), source.splitlines()
    left_out = {row for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) or _is_for_checkers(node) for row in _rows(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            left_out.update(_rows(node.body[0]))
            if len(node.body) == 1:
                # A body of words alone needs a statement in their place.
                left_out.discard(node.body[0].lineno)
                lines[node.body[0].lineno - 1] = " " * node.body[0].col_offset + "pass"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            code = lines[row - 1][:column].rstrip()
            lines[row - 1] = code
            if not code:
                left_out.add(row)
    return "\n".join(line for row, line in enumerate(lines, 1) if row not in left_out).strip("\n")


def _rows(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
