"""What a module's code says, for naming results that depend on it: comments, formatting and docstrings left out."""

import ast
import inspect
from functools import cache
from types import ModuleType


@cache
def code_of(module: ModuleType) -> str:
    """The syntax tree of a module as text; the same on every supported Python."""
    return _describe(ast.parse(inspect.getsource(module)))


def _describe(node: object) -> str:
    if isinstance(node, list):
        return "[" + ",".join(_describe(item) for item in node if not _is_docstring(item)) + "]"
    if isinstance(node, ast.AST):
        # Empty fields are left out: newer Pythons add some, such as `type_params`.
        fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return f"{type(node).__name__}({','.join(f'{name}={_describe(value)}' for name, value in fields)})"
    return repr(node)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
