"""Read YAML as DVC reads it, and remember the answer by the bytes of the file: DVC's parser is pure Python and slow on a long dvc.lock."""

import hashlib
import json
from pathlib import Path
from typing import Any

from .answers import keep, recall
from .graph import GraphError


def read_yaml(path: Path, memory: Path | None, *, remedy: str) -> Any:
    """The plain data of `path`.

    memory: folder for remembered answers, or None.
    remedy: what the user should do when the file cannot be read; ends the GraphError's message.
    """
    content = path.read_bytes()
    stored = memory / f"{hashlib.sha256(content).hexdigest()}.json" if memory else None
    if stored is not None and (answer := recall(stored)) is not None:
        return answer["data"]
    data = _parse(path, content, remedy)
    if stored is not None:
        _remember(stored, data)
    return data


def _parse(path: Path, content: bytes, remedy: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(content.decode("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise GraphError(f"{path}{where}: not readable as YAML: {problem}; {remedy}") from None


def _remember(stored: Path, data: Any) -> None:
    try:
        text = json.dumps(data)
    except TypeError:
        return
    # Dates and keys that are not strings do not survive JSON: such a file is read afresh each time.
    if json.loads(text) != data:
        return
    keep(stored, {"data": data})
    _forget_old(stored.parent)


def _forget_old(memory: Path, *, most: int = 40) -> None:
    answers = sorted(filter(Path.is_file, memory.glob("*.json")), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in answers[most:]:
        path.unlink(missing_ok=True)
