"""Open a source file as a plain byte stream: as it is, gzip, or one member of a zip, with caps that stop a decompression bomb."""

import contextlib
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

_ARCHIVE_SUFFIXES = (".zip", ".gz", ".bz2", ".xz", ".7z", ".tar", ".tgz")


class ArchiveError(Exception):
    """A compressed source is not what it should be: a bomb, nested, encrypted, damaged, or without the member asked for."""


@dataclass(frozen=True)
class ArchiveLimits:
    """What a compressed file may cost. The ratio counts once `ratio_from_bytes` have come out, because tiny files compress absurdly well."""

    max_members: int = 1_000
    max_bytes: int = 4 * 2**30
    max_ratio: float = 200.0
    ratio_from_bytes: int = 8 * 2**20


@contextlib.contextmanager
def open_bytes(path: Path, *, member: str = "", limits: ArchiveLimits | None = None) -> Iterator[BinaryIO]:
    """The content of `path`, decompressed by what its first bytes say, not by its name.

    member: name of the zip member, or the last part of it; empty picks the only data file (`__MACOSX/` and hidden files are ignored).
    Raises ArchiveError, also while reading.
    """
    limits = limits or ArchiveLimits()
    with path.open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        if magic.startswith(b"PK\x03\x04"):
            with _open_member(path, stream, member, limits) as content:
                yield content
        elif magic.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=stream) as content:
                yield _guarded(content, path, path.stat().st_size, limits)
        else:
            yield stream


@contextlib.contextmanager
def _open_member(path: Path, stream: BinaryIO, member: str, limits: ArchiveLimits) -> Iterator[BinaryIO]:
    try:
        with zipfile.ZipFile(stream) as archive:
            info = _choose_member(path, archive, member, limits)
            with archive.open(info) as content:
                yield _guarded(content, path, max(info.compress_size, 1), limits)
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"{path.name}: damaged zip file ({error}); fetch it again") from None


def _choose_member(path: Path, archive: zipfile.ZipFile, member: str, limits: ArchiveLimits) -> zipfile.ZipInfo:
    # Everything that the directory tells is judged before a byte is unpacked.
    infos = archive.infolist()
    if len(infos) > limits.max_members:
        raise ArchiveError(f"{path.name}: the zip has {len(infos):,} members, at most {limits.max_members:,} are accepted; repack what is needed")
    data = [info for info in infos if _is_data(info)]
    names = ", ".join(info.filename for info in data[:10]) or "none"
    chosen = [info for info in data if member in {info.filename, PurePosixPath(info.filename).name}] if member else data
    if len(chosen) != 1:
        wanted = f"no single member '{member}'" if member else f"{len(data)} data files, so which one is meant is unclear"
        raise ArchiveError(f"{path.name}: {wanted}; data files in the zip: {names}; set `member` of the source to one of them")
    info = chosen[0]
    if info.flag_bits & 0x1:
        raise ArchiveError(f"{path.name}: member {info.filename} is encrypted; unpack it and use the plain file")
    if info.filename.lower().endswith(_ARCHIVE_SUFFIXES):
        raise ArchiveError(f"{path.name}: member {info.filename} is an archive itself; nested archives are not opened, unpack the outer one")
    if info.file_size > limits.max_bytes:
        raise ArchiveError(f"{path.name}: member {info.filename} unpacks to {info.file_size:,} bytes, the limit is {limits.max_bytes:,}")
    return info


def _is_data(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    return not info.is_dir() and "__MACOSX" not in parts and not parts[-1].startswith(".")


class _Guarded(io.RawIOBase):
    """Counts what really comes out: the sizes in the headers are claims."""

    def __init__(self, content: IO[bytes] | gzip.GzipFile, path: Path, compressed_bytes: int, limits: ArchiveLimits) -> None:
        self._content, self._path, self._compressed_bytes, self._limits = content, path, compressed_bytes, limits
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            chunk = self._content.read(len(buffer))
        except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
            raise ArchiveError(f"{self._path.name}: damaged after {self._seen:,} unpacked bytes ({error}); fetch it again") from None
        # The name may hide what it is: a zip or gzip stream inside is told by its first bytes.
        if self._seen == 0 and chunk.startswith((b"PK\x03\x04", b"\x1f\x8b")):
            raise ArchiveError(f"{self._path.name}: holds another compressed file; nested archives are not opened, unpack the outer one")
        self._seen += len(chunk)
        self._check()
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _check(self) -> None:
        ratio = self._seen / self._compressed_bytes
        if self._seen > self._limits.max_bytes:
            raise ArchiveError(f"{self._path.name}: unpacks to more than {self._limits.max_bytes:,} bytes; stopped reading")
        if self._seen > self._limits.ratio_from_bytes and ratio > self._limits.max_ratio:
            raise ArchiveError(
                f"{self._path.name}: unpacks to over {ratio:.0f} times its size (limit {self._limits.max_ratio:.0f}), as a decompression bomb does; "
                "stopped reading; unpack it by hand if it is meant"
            )


def _guarded(content: IO[bytes] | gzip.GzipFile, path: Path, compressed_bytes: int, limits: ArchiveLimits) -> BinaryIO:
    return io.BufferedReader(_Guarded(content, path, compressed_bytes, limits), buffer_size=2**16)
