"""Does DVC's cache hold what an output needs? Asked of the file system, as `dvc status` asks it, without starting DVC."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from .identity import Content, file_md5
from .project import Project


def is_in_cache(project: Project, path: str, content: Content, *, of_dvc_2: str | None = None) -> bool:
    """Whether DVC could restore the output `path`, which holds `content` now, from its cache.

    of_dvc_2: the id that DVC 2 recorded, where it did; its objects lie elsewhere.
    As DVC does, an object that lost its write protection is not believed but hashed. When every file is a hard link into the cache, the
    answer is remembered: damage to an object is then damage to the output too, and a removed object moves its folder's time.
    """
    if of_dvc_2:
        return _is_in_cache_of_dvc_2(project.cache_dir, of_dvc_2)
    root = object_path(project.cache_dir, content.id)
    if not _is_good(root, content.id):
        return False
    if not content.id.endswith(".dir"):
        return True
    key = _memory_key(project, content) if content.is_linked else ""
    if key and project.store.connection().execute("SELECT 1 FROM cached WHERE path = ? AND key = ?", (path, key)).fetchone():
        return True
    # The listing in the cache is what DVC would restore; it is read only when its bytes are right, and costs less than a look at every file.
    listing = root.read_bytes()
    if hashlib.md5(listing, usedforsecurity=False).hexdigest() == content.id.removesuffix(".dir"):
        md5s = {row["md5"] for row in json.loads(listing)}
    else:
        md5s = set(project.store.md5_by_relpath(project.root / path).values())
    if not _are_good(project.cache_dir, md5s):
        return False
    if key:
        with project.store.connection() as connection:
            connection.execute("INSERT OR REPLACE INTO cached VALUES (?, ?)", (path, key))
    return True


def _is_in_cache_of_dvc_2(cache: Path, id: str) -> bool:
    root = cache / id[:2] / id[2:]
    if not root.is_file() or not id.endswith(".dir"):
        return root.is_file()
    return all((cache / row["md5"][:2] / row["md5"][2:]).is_file() for row in json.loads(root.read_bytes()))


def damaged_objects(cache: Path, id: str) -> list[Path]:
    """The objects of the output `id` that are in the cache and are not what their names say. Every byte is read."""
    root = object_path(cache, id)
    if not root.is_file():
        return []
    if not _has_bytes_of(root, id):
        return [root]
    md5s = {row["md5"] for row in json.loads(root.read_bytes())} if id.endswith(".dir") else set()
    stored = (object_path(cache, md5) for md5 in sorted(md5s))
    return [path for path in stored if path.is_file() and not _has_bytes_of(path, path.parent.name + path.name)]


def damaged_copies(project: Project, path: str) -> list[Path]:
    """The objects in the cache that should equal files of the output `path` and do not. Files linked to their object are not read again."""
    content, workspace = project.content(path), project.root / path
    if content is None:
        return []
    is_folder = content.id.endswith(".dir")
    pairs = [(workspace / name, md5) for name, md5 in project.store.md5_by_relpath(workspace).items()] if is_folder else [(workspace, content.id)]
    found = {object_path(project.cache_dir, md5): md5 for file, md5 in pairs if not _is_same_file(file, object_path(project.cache_dir, md5))}
    if is_folder:
        found[object_path(project.cache_dir, content.id)] = content.id
    return [stored for stored, id in found.items() if stored.is_file() and not _has_bytes_of(stored, id)]


def object_path(cache: Path, id: str) -> Path:
    """Where DVC 3 keeps the object with this id."""
    return cache / "files" / "md5" / id[:2] / id[2:]


def cached_members(cache: Path, id: str) -> dict[str, Path] | None:
    """The objects of the output `id` by relative path, `{"": object}` for a file; None where the cache cannot say. They may be absent."""
    root = object_path(cache, id)
    if not id.endswith(".dir"):
        return {"": root}
    if not root.is_file() or not _has_bytes_of(root, id):
        return None
    return {row["relpath"]: object_path(cache, row["md5"]) for row in json.loads(root.read_bytes())}


def _memory_key(project: Project, content: Content) -> str:
    folder = project.cache_dir / "files" / "md5"
    with os.scandir(folder) as entries:
        times = sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries)
    return f"{content.id}:{hash_of(repr(times))}"


def hash_of(text: str) -> str:
    """A short hash for comparisons, never an identity."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _is_same_file(first: Path, second: Path) -> bool:
    """Whether both are one protected inode: then what was read from the first is what the second holds."""
    try:
        one, two = os.stat(first), os.stat(second)
    except FileNotFoundError:
        return False
    return (one.st_ino, one.st_dev) == (two.st_ino, two.st_dev) and not one.st_mode & 0o222


def _are_good(cache: Path, md5s: Iterable[str]) -> bool:
    """`_is_good` of many objects. Tens of thousands are asked for at once: no Path is made, and the kernel looks up two names for each."""
    try:
        folder = os.open(cache / "files" / "md5", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        for md5 in md5s:
            if os.stat(f"{md5[:2]}/{md5[2:]}", dir_fd=folder).st_mode & 0o222 and file_md5(object_path(cache, md5)) != md5:
                return False
    except FileNotFoundError:
        return False
    finally:
        os.close(folder)
    return True


def _is_good(path: Path, id: str) -> bool:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return False
    return not info.st_mode & 0o222 or _has_bytes_of(path, id)


def _has_bytes_of(path: Path, id: str) -> bool:
    try:
        return file_md5(path) == id.removesuffix(".dir")
    except FileNotFoundError:
        raise
    except OSError:
        # What cannot be read, DVC cannot restore.
        return False
