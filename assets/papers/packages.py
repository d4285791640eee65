"""Packages: archives (tar, tar.gz, zip) that hold an article and its pictures, read in memory and never unpacked to disk.

A picture inside one has an address of its own, the package's followed by `!/` and the member's name. Articles name their pictures loosely (`fig1`,
while the package holds fig1.jpg and fig1.gif), which `find_picture` settles. Nothing here asks for anything; assets/papers/crawl/packages.py does.
"""

import contextlib
import gzip
import io
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any
from urllib.parse import quote, unquote

MEMBER = "!/"
# The better one first: of a picture in several formats, PMC's gif is a thumbnail, and the tiff the same as the jpg in more bytes.
FORMATS = ("jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "gif")
# Against bombs: what one member may hold, all that is inflated to look for it, and how many members there may be.
_LARGEST_MEMBER_BYTES = 32 * 2**20
_MOST_INFLATED_BYTES = 256 * 2**20
_MOST_MEMBERS = 5_000
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


class PackageError(Exception):
    """The archive cannot be used: damaged, hostile or too large; or it has not what is asked for."""


def is_package(body: bytes) -> bool:
    """Whether these bytes are an archive that can be looked into."""
    return body.startswith((b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06")) or body[257:262] == b"ustar"


def member_address(package: str, name: str) -> str:
    """The address of a member of the package at that address."""
    return package + MEMBER + quote(name, safe="/._-~()")


def package_of(address: str) -> tuple[str, str]:
    """(address of the package, name of the member); the latter is empty where the address is of no member."""
    package, _, name = address.partition(MEMBER)
    return package, unquote(name)


def member_names(body: bytes) -> list[str]:
    """The names of all files in the package, in its order. Raises PackageError."""
    return [name for name, _, _ in _members(body)]


def read_members(body: bytes, is_wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The bytes of the wanted files by name. Raises PackageError, also where one of them is too large."""
    found = {}
    for name, size, read in _members(body):
        if is_wanted(name):
            if size > _LARGEST_MEMBER_BYTES:
                raise PackageError(f"{name} holds {size:,} bytes, more than {_LARGEST_MEMBER_BYTES:,}")
            with _damage_told():
                found[name] = read()
    return found


def find_picture(names: Iterable[str], stated: str, *, beside: str = "") -> str:
    """The member that an article means by `stated`; '' where there is none.

    stated: a name with or without extension and folder. beside: the article's own name; of two that fit, the one in its folder counts.
    """
    bare = posixpath.basename(unquote(stated.strip())).lower()
    stem = _stem(bare)
    folder = posixpath.dirname(beside)
    fitting = []
    for name in names:
        own = posixpath.basename(name).lower()
        kind = own.rpartition(".")[2]
        # The very name first, then the same picture in another format; what has no format of pictures is no picture, whatever its name.
        if bare and kind in FORMATS and (own == bare or _stem(own) in (bare, stem)):
            fitting.append((posixpath.dirname(name) != folder, own != bare, FORMATS.index(kind), name))
    return min(fitting)[-1] if fitting else ""


def _stem(name: str) -> str:
    """The name without an extension that is one of a picture: the end of `pone.0012345.g001` is none."""
    stem, _, kind = name.rpartition(".")
    return stem if stem and kind in FORMATS else name


def _members(body: bytes) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """(name, bytes, reader) of every file; a reader works until the next one is asked for."""
    members = _zip_members(body) if body.startswith(b"PK") else _tar_members(body)
    with _damage_told():
        for count, (name, size, read) in enumerate(members):
            if count >= _MOST_MEMBERS:
                raise PackageError(f"it has more than {_MOST_MEMBERS:,} members")
            # Nothing is written by these names. Still, an archive that tries to leave its folder is not one to believe.
            parts = name.replace("\\", "/").split("/")
            if ".." in parts or not parts[0] or ":" in parts[0] or "\x00" in name:
                raise PackageError(f"a member leads out of the package: {name[:100]!r}")
            yield name, size, read


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """What the archive modules raise for damage, as a PackageError."""
    try:
        yield
    except _DAMAGE as error:
        raise PackageError(f"it is damaged or no archive: {type(error).__name__}: {str(error)[:150]}") from None


def _zip_members(body: bytes) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        inflated = 0
        for member in archive.infolist():
            if member.is_dir() or member.flag_bits & 1:  # bit 0: encrypted
                continue
            inflated += min(member.file_size, _LARGEST_MEMBER_BYTES)

            def read(member: zipfile.ZipInfo = member) -> bytes:
                with archive.open(member) as file:
                    return _bounded(file, member.filename)

            if inflated > _MOST_INFLATED_BYTES:
                raise PackageError(f"it holds more than {_MOST_INFLATED_BYTES:,} bytes")
            yield member.filename, member.file_size, read


def _tar_members(body: bytes) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    plain = io.BytesIO(body)
    # As a stream: members are passed by as they are inflated, and a bomb is noticed at the bound.
    stream: Any = _Counted(gzip.GzipFile(fileobj=plain)) if body.startswith(b"\x1f\x8b") else plain
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.isfile():
                continue

            def read(member: tarfile.TarInfo = member) -> bytes:
                file = archive.extractfile(member)
                return _bounded(file, member.name) if file is not None else b""

            yield member.name, member.size, read


def _bounded(file: IO[bytes], name: str) -> bytes:
    data = file.read(_LARGEST_MEMBER_BYTES + 1)
    if len(data) > _LARGEST_MEMBER_BYTES:
        raise PackageError(f"{name} holds more than {_LARGEST_MEMBER_BYTES:,} bytes")
    return data


class _Counted(io.RawIOBase):
    """Reads no more than _MOST_INFLATED_BYTES of another stream."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = _MOST_INFLATED_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise PackageError(f"it holds more than {_MOST_INFLATED_BYTES:,} bytes when inflated")
        return data
