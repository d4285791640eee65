"""Did a command write where it said it would not? Files outside a stage's declared outputs are told, never silently accepted.

A folder looks the same before and after a run unless someone wrote there: the command, or a person at the keyboard. So this is a notice
with names, not a failure.
"""

import os
from collections.abc import Iterable
from pathlib import Path

# What tools keep for themselves beside the work: hidden folders (.git, .dvc, .venv …), compiled code, and the files DVC itself rewrites.
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
_SKIPPED_FILES = frozenset({".gitignore", "dvc.lock", "dvc.yaml"})

Stamps = dict[str, tuple[int, int, int]]


def look_around(root: Path, *, but: Iterable[str]) -> Stamps:
    """Stamp (modification time in ns, size, inode) of every file below `root` by relative path, without the paths in `but`."""
    skipped = {path.rstrip("/") for path in but}
    stamps: Stamps = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if path in skipped:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(".") and entry.name not in _SKIPPED_FOLDERS and not entry.name.endswith(".egg-info"):
                            pending.append(f"{path}/")
                    elif entry.name not in _SKIPPED_FILES:
                        info = entry.stat(follow_symlinks=False)
                        stamps[path] = (info.st_mtime_ns, info.st_size, info.st_ino)
        except FileNotFoundError:
            # A folder that vanished between listing and reading belongs to someone who is still working.
            continue
    return stamps


def differences(before: Stamps, after: Stamps, *, but: Iterable[str] = ()) -> list[str]:
    """`path (new)`, `path (changed)`, `path (removed)` for everything that differs outside the paths in `but`, in order."""
    words = dict.fromkeys(after.keys() - before.keys(), "new") | dict.fromkeys(before.keys() - after.keys(), "removed")
    words |= {path: "changed" for path in before.keys() & after.keys() if before[path] != after[path]}
    spared = tuple(f"{path.rstrip('/')}/" for path in but)
    return [f"{path} ({words[path]})" for path in sorted(words) if not f"{path}/".startswith(spared)]
