"""The id of an artifact: the hash DVC gives its output, in ten lines without DVC.

The bridge keeps its own copy of this recipe so that it stays a package of its own; a test holds both against DVC.
"""

import hashlib
import json
import os
from pathlib import Path


def content_id(path: Path) -> str:
    """DVC 3's id of a file (`md5` hex) or folder (`md5` of the sorted JSON list of md5 and relpath, plus `.dir`).

    Raises FileNotFoundError when `path` does not exist.
    """
    if not path.is_dir():
        return _file_md5(path)
    entries = []
    for folder, _, names in os.walk(path, followlinks=True):
        for name in names:
            file = Path(folder) / name
            entries.append({"md5": _file_md5(file), "relpath": file.relative_to(path).as_posix()})
    entries.sort(key=lambda entry: entry["relpath"])  # As text, so `a-b` comes before `a/b`.
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _file_md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
