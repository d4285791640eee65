"""What .dvcignore leaves out of the folders that a stage reads, with DVC's own patterns and their meaning in git.

Translating the patterns takes a library that is slower to import than all of a status to answer: the answer is kept, by the bytes of the file.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from .answers import keep, recall
from .identity import IsIgnored

# Raised whenever the shape of the stored answer changes.
_FORMAT = 1
# DVC's own, before those of the project.
_ALWAYS = (".hg/", ".git/", ".git", ".dvc/")

# (regular expression, whether it leaves out or takes back in, whether it is for folders only)
Rule = tuple[str, bool, bool]


def read_ignored(root: Path, memory: Path) -> IsIgnored:
    """Whether a path relative to `root` is left out, by the .dvcignore there. Asked from the top down: what lies in an ignored folder is not asked.

    memory: folder for remembered answers.
    """
    path = root / ".dvcignore"
    content = path.read_bytes() if path.is_file() else b""
    stored, key = memory / "dvcignore.json", hashlib.sha256(content).hexdigest()
    rules = _read_stored(stored, key)
    if rules is None:
        rules = _translate(content.decode("utf-8").splitlines())
        keep(stored, {"format": _FORMAT, "key": key, "rules": rules})
    # Of those that match, the last in the file decides.
    compiled = [(re.compile(pattern).match, is_out, only_folders) for pattern, is_out, only_folders in reversed(rules)]

    def is_ignored(name: str, is_folder: bool) -> bool:
        for match, is_out, only_folders in compiled:
            if (is_folder or not only_folders) and (match(name) or (is_folder and match(f"{name}/"))):
                return is_out
        return False

    return is_ignored


def _read_stored(stored: Path, key: str) -> list[Rule] | None:
    answer = recall(stored)
    if not isinstance(answer, dict) or (answer.get("format"), answer.get("key")) != (_FORMAT, key):
        return None
    return [tuple(rule) for rule in answer["rules"]]


def _translate(lines: Iterable[str]) -> list[Rule]:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    rules: list[Rule] = []
    for line in (*_ALWAYS, *map(str.strip, lines)):
        pattern, is_out = GitIgnoreSpecPattern.pattern_to_regex(line)
        if pattern is not None and is_out is not None:
            rules.append((pattern, is_out, line.endswith("/")))
    return rules
