"""List the pictures in a folder or a zip, and read them where they lie: nothing is unpacked, so no name or link can lead anywhere."""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from formats.stored_zip import DamagedZipError, StoredZip

_JUNK = {"__macosx", "thumbs.db", "desktop.ini"}
_RATIO_FROM_BYTES = 8 * 2**20
_IS_ENCRYPTED = 1


class SourceError(Exception):
    """A source of pictures cannot be used; the message names it, what was found, and what to do."""


class UnusableError(Exception):
    """One file cannot be used. reason: a fixed word, for counting; words: what was found and expected."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(f"{reason}: {words}")
        self.reason, self.words = reason, words


@dataclass(frozen=True)
class Limits:
    """max_bytes: of one picture. Of a zip: max_members, max_unpacked_bytes, and max_ratio, how many times its size it may unpack to."""

    max_bytes: int
    max_members: int
    max_unpacked_bytes: int
    max_ratio: float


@dataclass(frozen=True)
class Found:
    """A file of a source. where: its path in there, with `/`. read: gives its bytes, or raises UnusableError; nothing beyond the limits is read."""

    where: str
    read: Callable[[], bytes]

    @property
    def folders(self) -> list[str]:
        return self.where.split("/")[:-1]


def pictures_in(path: Path, limits: Limits, *, name: str = "") -> list[Found]:
    """The files in the folder or zip `path` by `where`, or the one picture that it is, as `name`. Raises SourceError for a zip that is a trap."""
    if path.is_dir():
        return sorted(_in_folder(path, limits), key=lambda found: found.where)
    with path.open("rb") as stream:
        is_zip = stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    if is_zip:
        return sorted(_in_zip(path, limits), key=lambda found: found.where)
    return [Found(name or path.name, partial(_read_file, path, path.parent, limits))]


def _in_folder(root: Path, limits: Limits) -> Iterator[Found]:
    def refuse(error: OSError) -> None:
        raise error

    # Links to folders are not followed, so there are no circles.
    for folder, _, names in os.walk(root, onerror=refuse):
        for file in (Path(folder) / name for name in names):
            # A name that is no text is told byte by byte, so that no two become one.
            where = file.relative_to(root).as_posix().encode(errors="backslashreplace").decode()
            if not _is_junk(where):
                yield Found(where, partial(_read_file, file, root, limits))


def _read_file(path: Path, root: Path, limits: Limits) -> bytes:
    try:
        status = path.stat()
        if not path.resolve().is_relative_to(root.resolve()):
            raise UnusableError("link", "a link out of the folder of its source; copy the file, or name its folder as a source")
        if not stat.S_ISREG(status.st_mode):
            raise UnusableError("not_a_file", "neither a file nor a folder")
        _check_size(status.st_size, limits)
        return path.read_bytes()
    except OSError as error:
        raise UnusableError("unreadable", f"{error.strerror or error}") from None


def _in_zip(path: Path, limits: Limits) -> Iterator[Found]:
    try:
        archive = StoredZip(path)
        with zipfile.ZipFile(path) as listing:
            members = [info for info in listing.infolist() if not info.is_dir()]
    except (DamagedZipError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path.name}: damaged zip ({error}); fetch it again") from None
    # What the directory claims bounds what is read: a member gives no more than it says, or is damaged.
    claimed, size = sum(info.file_size for info in members), path.stat().st_size
    if len(members) > limits.max_members:
        raise SourceError(f"{path.name}: {len(members):,} members, at most {limits.max_members:,} are accepted; raise max_members if this is meant")
    if claimed > limits.max_unpacked_bytes:
        raise SourceError(f"{path.name}: unpacks to {claimed:,} bytes, the limit is {limits.max_unpacked_bytes:,}; raise max_unpacked_mib")
    if claimed > max(_RATIO_FROM_BYTES, limits.max_ratio * size):
        raise SourceError(
            f"{path.name}: unpacks to {claimed / size:,.0f} times its size, as a decompression bomb does, at most {limits.max_ratio:g} is accepted; "
            "unpack it by hand and use kind: folder if it is meant"
        )
    for where, info in {info.filename.replace("\\", "/"): info for info in members}.items():
        if not _is_junk(where):
            yield Found(where, partial(_read_member, archive, info, limits))


def _read_member(archive: StoredZip, info: zipfile.ZipInfo, limits: Limits) -> bytes:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UnusableError("link", "a link inside a zip, which leads nowhere here")
    if info.flag_bits & _IS_ENCRYPTED:
        raise UnusableError("encrypted", "an encrypted member; unpack the zip, and use kind: folder")
    _check_size(max(info.file_size, info.compress_size), limits)
    try:
        return archive.read(info.filename)
    except DamagedZipError as error:
        raise UnusableError("damaged", str(error).partition(": ")[2]) from None


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        raise UnusableError("too_many_bytes", f"{size:,} bytes, at most {limits.max_bytes:,} are allowed")


def _is_junk(where: str) -> bool:
    """Whether it is what systems leave behind: hidden files, and what macOS and Windows add."""
    return any((part.startswith(".") and part != "..") or part.lower() in _JUNK for part in where.split("/"))
