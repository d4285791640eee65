"""Turn one section of params.yaml into a frozen dataclass, or say exactly what is wrong with it."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stages.near_misses import did_you_mean

Config = TypeVar("Config")


class ParamsError(Exception):
    """A parameter file is missing, unreadable, or has a key or value the stage does not know."""


def read_yaml(path: Path) -> Any:
    """The plain data in `path`, read as YAML 1.2, exactly as DVC reads it (`1e-3` is a number, `no` is a string)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; expected a YAML file here (run from the project root, or pass --params PATH)") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    try:
        return YAML(typ="safe").load(text)
    except RecursionError:
        raise ParamsError(f"{path}: nested deeper than any parameter is; write it flatter") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ParamsError(f"{path}{where}: not valid YAML: {problem}; mend that line") from None


def load_params(path: Path, section: str, config: type[Config], *, overrides: Sequence[str] = ()) -> Config:
    """The section `section` of the YAML file `path` as an instance of the dataclass `config`.

    overrides: `key=value` strings (nested keys with dots), the value read as YAML; they win over the file.
    Raises ParamsError naming file, key, what was found, what was expected and the nearest known key.
    """
    tree = read_yaml(path)
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{path}: expected a mapping of sections, found {_kind(tree)}")
    if section not in tree:
        raise ParamsError(f"{path}: no section '{section}'{did_you_mean(section, tree)}; sections here: {', '.join(map(str, tree)) or 'none'}")
    values = tree[section] if tree[section] is not None else {}
    for override in overrides:
        values = _with_override(values, override, where=f"{path}: {section}")
    return build_config(config, values, where=f"{path}: {section}")


def build_config(config: type[Config], values: Any, *, where: str) -> Config:
    """`values` (plain data) as an instance of the dataclass `config`; `where` opens every error message."""
    if not isinstance(values, Mapping):
        raise ParamsError(f"{where} must be a mapping, found {_kind(values)}")
    # Keys first, then values: an unknown key is most often a misspelt known one, which would otherwise be called missing.
    hints = typing.get_type_hints(config)
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ParamsError(f"{where}.{key} is not a known key{did_you_mean(str(key), fields)}; known keys: {', '.join(sorted(fields))}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ParamsError(f"{where}.{missing[0]} is missing; it has no default, add it")
    converted = {key: _convert(value, hints[key], where=f"{where}.{key}") for key, value in values.items()}
    try:
        return config(**converted)
    except ValueError as error:
        raise ParamsError(f"{where}: {error}") from None


def _convert(value: Any, hint: Any, *, where: str) -> Any:
    """`value` as the annotated type, with the one widening users expect: an integer where a float is asked for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    # The first kind of a union that fits is taken; where none does, the first is what was most likely meant.
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        reasons = []
        for arg in (arg for arg in args if arg is not type(None)):
            try:
                return _convert(value, arg, where=where)
            except ParamsError as error:
                reasons.append(str(error))
        raise ParamsError(reasons[0])
    if origin is typing.Literal:
        if value not in args:
            raise ParamsError(f"{where} must be one of {', '.join(map(repr, args))}, found {value!r}{did_you_mean(str(value), args)}")
        return value
    if dataclasses.is_dataclass(hint):
        return build_config(hint, value, where=where)  # type: ignore[arg-type]
    if origin in (list, tuple):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ParamsError(f"{where} must be a list, found {_kind(value)}")
        item_hint = args[0] if args else Any
        return origin(_convert(item, item_hint, where=f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ParamsError(f"{where} must be a mapping, found {_kind(value)}")
        key_hint, item_hint = args
        return {_convert(key, key_hint, where=where): _convert(item, item_hint, where=f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    # bool is an int in Python, but never what a user means by one.
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ParamsError(f"{where} must be {_TYPE_WORDS.get(hint, getattr(hint, '__name__', hint))}, found {_kind(value)}")


def _with_override(values: Mapping, override: str, *, where: str) -> dict:
    key, equals, text = override.partition("=")
    if not equals:
        raise ParamsError(f"{where}: --set takes key=value, found {override!r}")
    from ruamel.yaml import YAML

    head, _, rest = key.partition(".")
    changed = dict(values)
    changed[head] = _with_override(changed.get(head) or {}, f"{rest}={text}", where=f"{where}.{head}") if rest else YAML(typ="safe").load(text)
    return changed


_TYPE_WORDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false", dict: "a mapping", list: "a list"}


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, str | int | float | bool):
        return f"{_TYPE_WORDS.get(type(value), type(value).__name__)}: {value!r}"
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, Sequence) else type(value).__name__
