"""Zips whose members are stored as they are: written in one pass, and read at any place by any process.

A writer of our own, because `zipfile` spends more on a member of 20 kB than its bytes cost, and stamps times; what it writes, `zipfile` and unzip
read, beyond 4 GiB and 65,535 members too. A reader of our own, because a `ZipFile` shared with a forked process, or by threads, mixes up its place
in the file: this one reads with `pread`, which has no place.
"""

import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# The first day a zip member can have: 1980-01-01, 00:00:00, as MS-DOS wrote it.
_DOS_TIME, _DOS_DATE = 0, (1 << 5) | 1
_VERSION, _VERSION_ZIP64 = 20, 45
_MADE_BY_UNIX = 3 << 8
_ATTRIBUTES = 0o100644 << 16
_IS_UTF8 = 0x800
_LARGEST_32 = 0xFFFFFFFF
_MOST_16 = 0xFFFF
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
# A member of a picture dataset is never this large: a size beyond it is a damaged or hostile directory.
_LARGEST_MEMBER = 1 << 31


class DamagedZipError(Exception):
    """A zip or one of its members is not what its directory says; the message names both."""


class StoredZipWriter:
    """A context manager that writes the new zip `path`: members in the order they come, stored, dated 1980-01-01. Equal members give equal bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._directory: list[bytes] = []
        self._names: set[str] = set()
        self._place = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("xb", buffering=1 << 20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write_directory()
        finally:
            self._file.close()

    def add(self, name: str, content: bytes) -> None:
        """Raises ValueError for a name that is there already, or that unzip would refuse or put elsewhere."""
        if name in self._names:
            raise ValueError(f"{self._path}: two members are called {name}")
        if not name or name.startswith("/") or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise ValueError(f"{self._path}: {name!r} cannot be the name of a member")
        if len(content) > _LARGEST_MEMBER:
            raise ValueError(f"{self._path}: {name} has {len(content):,} bytes, more than {_LARGEST_MEMBER:,}")
        self._names.add(name)
        from isal import isal_zlib

        label = name.encode()
        flags = 0 if name.isascii() else _IS_UTF8
        # APPNOTE.TXT 4.3.7: the local header repeats what the directory says, so that readers that stream understand it too.
        checksum, size = isal_zlib.crc32(content), len(content)
        common = struct.pack("<5H3L", _VERSION, flags, zipfile.ZIP_STORED, _DOS_TIME, _DOS_DATE, checksum, size, size)
        self._directory.append(_directory_entry(common, label, self._place))
        self._file.write(b"PK\x03\x04" + common + struct.pack("<2H", len(label), 0) + label)
        self._file.write(content)
        self._place += _LOCAL_HEADER.size + len(label) + size

    def _write_directory(self) -> None:
        start = self._place
        size = sum(map(len, self._directory))
        count = len(self._directory)
        self._file.writelines(self._directory)
        # APPNOTE.TXT 4.3.14: numbers that do not fit 16 or 32 bits stand in a ZIP64 record, and the classic one holds their maximum.
        if count >= _MOST_16 or start >= _LARGEST_32 or size >= _LARGEST_32:
            record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, _VERSION_ZIP64, _VERSION_ZIP64, 0, 0, count, count, size, start)
            self._file.write(record + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1))
        short_count = min(count, _MOST_16)
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, short_count, short_count, min(size, _LARGEST_32), min(start, _LARGEST_32), 0)
        self._file.write(end)


def _directory_entry(common: bytes, label: bytes, place: int) -> bytes:
    extra = struct.pack("<2HQ", 1, 8, place) if place >= _LARGEST_32 else b""
    tail = struct.pack("<5H2L", len(label), len(extra), 0, 0, 0, _ATTRIBUTES, min(place, _LARGEST_32))
    made_by = _MADE_BY_UNIX | (_VERSION_ZIP64 if extra else _VERSION)
    return b"PK\x01\x02" + struct.pack("<H", made_by) + common + tail + label + extra


@dataclass(frozen=True, slots=True)
class _Member:
    place: int
    stored_size: int
    size: int
    checksum: int
    method: int


class StoredZip:
    """Members of a zip by name, with their checksums verified. Stored or deflated members; pickles and forks at will; memory does not grow.

    The file is opened when first read in a process, and stays open there, so that it is the same file even when another takes its path.
    Raises DamagedZipError on opening what is no zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = path.stat().st_size
        try:
            with zipfile.ZipFile(path) as archive:
                infos = [info for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error, EOFError) as error:
            raise DamagedZipError(f"{path}: not a zip, or cut short ({error}); make it again") from None
        self._members = {
            info.filename: _Member(info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type) for info in infos
        }
        self._handle: _Handle | None = None

    @property
    def names(self) -> list[str]:
        """Of the members, in the order of the zip's directory."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """The bytes of the member `name`. Raises KeyError when there is none, DamagedZipError when it is not as the directory says."""
        member = self._members[name]
        if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or max(member.size, member.stored_size) > _LARGEST_MEMBER:
            raise DamagedZipError(f"{self.path}: member {name} is packed in a way that is not read here; expected stored or deflated, below 2 GiB")
        from isal import isal_zlib

        content = self._content(member, name)
        if content is None or len(content) != member.size or isal_zlib.crc32(content) != member.checksum:
            raise DamagedZipError(f"{self.path}: member {name} is damaged (its bytes do not give the zip's checksum); make the file again")
        return content

    def close(self) -> None:
        """Give the open file back; the next read opens it again."""
        self._handle = None

    def _content(self, member: _Member, name: str) -> bytes | None:
        # One read for header and bytes: the local header may have extra fields of its own, which are rare and short.
        guess = min(_LOCAL_HEADER.size + len(name.encode()) + member.stored_size, self._size)
        block = self._read_at(member.place, guess) if 0 <= member.place < self._size else b""
        if len(block) < _LOCAL_HEADER.size or block[:4] != b"PK\x03\x04":
            return None
        name_size, extra_size = struct.unpack_from("<2H", block, 26)
        start = _LOCAL_HEADER.size + name_size + extra_size
        packed = block[start : start + member.stored_size]
        if len(packed) < member.stored_size:
            packed = self._read_at(member.place + start, min(member.stored_size, self._size))
        if member.method == zipfile.ZIP_STORED:
            return packed
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        except zlib.error:
            return None

    def _read_at(self, place: int, size: int) -> bytes:
        handle = self._handle
        if handle is None or handle.process != os.getpid():
            handle = self._handle = _Handle(self.path)
        return handle.read_at(place, size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


class StoredZips:
    """The zips of a folder, read one after the other: one is open at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: StoredZip | None = None

    def read(self, zip_name: str, member: str) -> bytes:
        """As `StoredZip.read`."""
        path = self._folder / zip_name
        if self._open is None or self._open.path != path:
            self._open = StoredZip(path)
        return self._open.read(member)


class _Handle:
    """An open file of one process; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self._descriptor = os.open(path, os.O_RDONLY)

    def read_at(self, place: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, place)

    def __del__(self) -> None:
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            os.close(descriptor)
