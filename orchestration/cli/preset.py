"""Take the settings of a preset into params.yaml.

A preset (presets/NAME.yaml) holds some sections of params.yaml, each with some of its keys. Those keys get the preset's values; everything
else in params.yaml, comments included, stays. Sections and keys that params.yaml does not have are added.

Examples:
  figment preset --list
  figment preset shared
  git diff params.yaml

exit codes: 0 done, or nothing to change · 2 wrong usage or configuration
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestration.errors import CommandError, Exit
from stages.files import replacing
from stages.near_misses import did_you_mean


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="the preset")
    parser.add_argument("--list", action="store_true", help="say which presets there are")


def run(root: Path, arguments: argparse.Namespace) -> int:
    presets = {path.stem: path for path in sorted((root / "presets").glob("*.yaml"))}
    if arguments.list or arguments.name is None:
        for name, path in presets.items():
            print(f"{name}: {_first_comment(path)}")
        return Exit.WELL if arguments.list else Exit.USAGE
    if arguments.name not in presets:
        hint = did_you_mean(arguments.name, presets)
        raise CommandError(f"no preset '{arguments.name}'{hint}; presets: {', '.join(presets) or 'none in presets/'}")
    changes = apply_preset(root / "params.yaml", presets[arguments.name])
    for change in changes:
        print(change)
    if not changes:
        print(f"params.yaml has the settings of {arguments.name} already")
    return Exit.WELL


def apply_preset(params: Path, preset: Path) -> list[str]:
    """Write the preset's values into `params`, keeping everything else as it is written; what changed, one line each."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    # Round trip: comments, order and quotes of params.yaml stay as their author wrote them.
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        target = (yaml.load(params.read_text(encoding="utf-8")) if params.is_file() else None) or yaml.map()
        source = yaml.load(preset.read_text(encoding="utf-8")) or {}
    except YAMLError as error:
        raise CommandError(f"{preset.name} or {params.name}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not all(isinstance(tree, dict) for tree in (target, source)):
        raise CommandError(f"{preset.name} and {params.name} must hold sections of parameters (a mapping)")
    changes = list(_merge(target, source, ""))
    if changes:
        with replacing(params) as temporary, temporary.open("w", encoding="utf-8") as stream:
            yaml.dump(target, stream)
    return changes


def _merge(target: Any, source: Any, prefix: str) -> Iterator[str]:
    for key, value in source.items():
        where = f"{prefix}{key}"
        if key not in target:
            target[key] = value
            yield f"{where} is new: {_short(value)}"
        elif isinstance(value, dict) and isinstance(target[key], dict):
            yield from _merge(target[key], value, f"{where}.")
        elif target[key] != value:
            yield f"{where} was {_short(target[key])}, is now {_short(value)}"
            target[key] = value


def _short(value: Any, *, most: int = 80) -> str:
    text = str(_plain(value))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else "(its first line should be a comment that says what it is for)"
