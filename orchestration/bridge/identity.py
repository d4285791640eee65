"""Content ids, fast: DVC's hash of a file or folder, remembered by what the file system says of it.

An id is a function of bytes alone. The memory (SQLite) only spares reading files whose size, inode and modification time have not moved;
a file touched within the last moments is never trusted, because a file system's clock is coarser than a program's.
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .graph import GraphError

# Whether a path below a folder, relative to it, is to be left out; asked with True for a folder.
IsIgnored = Callable[[str, bool], bool]
# No file or folder has it.
UNREADABLE = "unreadable"
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder"}
# A write this recent could be followed by another one with the same time stamp.
_RACY_NS = 50_000_000
_TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, md5 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trees (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, id TEXT NOT NULL, files INTEGER, bytes INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cached (path TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS preludes (stage TEXT PRIMARY KEY, surroundings TEXT, written TEXT, trouble TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, stage TEXT, id TEXT, at REAL, door TEXT, outcome TEXT, detail TEXT, sum TEXT);
CREATE INDEX IF NOT EXISTS events_by_stage ON events (stage, number);
CREATE TABLE IF NOT EXISTS withheld (stage TEXT PRIMARY KEY, reason TEXT NOT NULL, entry TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Content:
    """What a path holds: its id, its number of files and bytes, and whether every file is a protected hard link (as DVC links from its cache).

    problem: why there is no id, which is then UNREADABLE: what is there is no file, cannot be read, or has a name that DVC cannot write down.
    """

    id: str
    files: int
    bytes: int
    is_linked: bool = False
    problem: str = ""


def is_damaged(error: Exception) -> bool:
    """Whether SQLite says that the file is no database, that its pages contradict each other, or something that is no text."""
    return isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def set_database_aside(database: Path) -> Path:
    """Move a damaged database, with what SQLite keeps beside it, out of the way; where it is now."""
    aside = database.with_name(f"{database.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000}")
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            database.with_name(database.name + end).rename(aside.with_name(aside.name + end))
    return aside


def file_md5(path: Path) -> str:
    """md5 of the bytes of `path`, as DVC 3 records it. Raises OSError for what is no file."""
    with open(path, "rb", opener=_open_file) as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _open_file(path: str, flags: int) -> int:
    # A FIFO would have us wait for somebody who writes into it.
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a file", path)


def tree_id(md5_by_relpath: Mapping[str, str]) -> str:
    """DVC's id of a folder from the md5 of each file in it."""
    return hashlib.md5(tree_listing(md5_by_relpath), usedforsecurity=False).hexdigest() + ".dir"


def tree_listing(md5_by_relpath: Mapping[str, str]) -> bytes:
    """The bytes that DVC's cache keeps for a folder, and of which the folder's id is the md5."""
    rows = [{"md5": md5_by_relpath[name], "relpath": name} for name in sorted(md5_by_relpath)]
    return json.dumps(rows, sort_keys=True).encode()


def event_sum(event: Iterable[object]) -> str:
    """The checksum of an entry of the log: of (stage, id, at, door, outcome, detail)."""
    return hashlib.blake2b(repr(tuple(event)).encode(errors="surrogateescape"), digest_size=8).hexdigest()


class _Connection(sqlite3.Connection):
    """Moves the database away once it is found to be damaged, so that whatever comes next starts with a new one."""

    def execute(self, *words: Any) -> sqlite3.Cursor:
        with self._damage_set_aside():
            return super().execute(*words)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        with self._damage_set_aside():
            return super().executescript(script)

    @contextlib.contextmanager
    def _damage_set_aside(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # Where the name of a table was damaged, SQLite's words are no text.
            if not is_damaged(error):
                raise
            path = Path(super().execute("PRAGMA database_list").fetchone()[2])
            self.close()
            raise GraphError(f"{path} is damaged ({error}); it is now {set_database_aside(path)}, and a new one is made: do it again") from error


class ContentStore:
    """The memory of one project. Safe to use from several threads and processes; every call is a short transaction.

    files_hashed counts the files whose bytes were read since this object was made: zero on a project where nothing changed.
    """

    def __init__(self, database: Path) -> None:
        database.parent.mkdir(parents=True, exist_ok=True)
        self._database = database
        self._local = threading.local()
        self.files_hashed = 0
        if database.exists() and not database.is_file():
            set_database_aside(database)
        try:
            self._make_tables()
        except GraphError:
            # What it remembers of files is found out again; the log of what was made when starts anew, and the doctor tells of the old one.
            self._make_tables()

    def _make_tables(self) -> None:
        with self.connection() as connection:
            connection.executescript(_TABLES)
            with contextlib.suppress(sqlite3.OperationalError):
                # A log that was begun before its entries had checksums.
                connection.execute("ALTER TABLE events ADD COLUMN sum TEXT")

    def log(self, connection: sqlite3.Connection, *event: object) -> None:
        """Enter (stage, id, at, door, outcome, detail) in the log of what was made, with its checksum."""
        connection.execute("INSERT INTO events (stage, id, at, door, outcome, detail, sum) VALUES (?, ?, ?, ?, ?, ?, ?)", (*event, event_sum(event)))

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, as a context manager that commits."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._database, timeout=60, factory=_Connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
        return connection

    def content(self, path: Path, *, trust_stamps: bool = True, is_ignored: IsIgnored | None = None) -> Content | None:
        """What `path` holds now, or None when it does not exist. With trust_stamps=False every byte is read again."""
        while True:
            try:
                info = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                return self._content(path, info, trust_stamps, is_ignored)
            except (FileNotFoundError, NotADirectoryError):
                # Somebody removes files while we read them: look again at what is left.
                continue
            except OSError as error:
                return Content(UNREADABLE, 0, 0, problem=f"{error.filename or path} cannot be read: {error.strerror}")

    def _content(self, path: Path, info: os.stat_result, trust_stamps: bool, is_ignored: IsIgnored | None) -> Content:
        if stat.S_ISDIR(info.st_mode):
            return self._tree(path, trust_stamps, is_ignored)
        if problem := unfit(str(path), info):
            return Content(UNREADABLE, 1, 0, problem=problem)
        md5 = self._file(path, info, trust_stamps=trust_stamps)
        return Content(md5, 1, info.st_size, _is_linked(info))

    def md5_by_relpath(self, path: Path, *, trust_stamps: bool = True) -> dict[str, str]:
        """The md5 of every file below the folder `path`, by its path relative to it."""
        listing = list(walk_files(path))
        return self._hash_all(path, listing, trust_stamps=trust_stamps)

    def remembered_md5(self, path: Path) -> str | None:
        """What the memory holds of the file, if its stamp has not moved; its bytes are not read."""
        try:
            stamp = _stamp(os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        row = self.connection().execute("SELECT md5 FROM files WHERE path = ? AND stamp = ?", (str(path), stamp)).fetchone()
        return row[0] if row else None

    def _file(self, path: Path, info: os.stat_result, *, trust_stamps: bool) -> str:
        stamp = _stamp(info)
        if trust_stamps:
            row = self.connection().execute("SELECT md5 FROM files WHERE path = ? AND stamp = ?", (str(path), stamp)).fetchone()
            if row:
                return row[0]
        md5 = file_md5(path)
        self.files_hashed += 1
        if not _is_racy(info):
            with self.connection() as connection:
                connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (str(path), stamp, md5))
        return md5

    def _tree(self, path: Path, trust_stamps: bool, is_ignored: IsIgnored | None) -> Content:
        listing = list(walk_files(path, is_ignored))
        stamp = _tree_stamp(listing)
        linked = all(_is_linked(info) for _, info in listing)
        if trust_stamps:
            row = self.connection().execute("SELECT id, files, bytes FROM trees WHERE path = ? AND stamp = ?", (str(path), stamp)).fetchone()
            if row:
                return Content(row[0], row[1], row[2], linked)
        # What is remembered was fit.
        if problem := next((words for name, info in listing if (words := unfit(f"{path}/{name}", info))), ""):
            return Content(UNREADABLE, len(listing), 0, problem=problem)
        md5s = self._hash_all(path, listing, trust_stamps=trust_stamps)
        content = Content(tree_id(md5s), len(listing), sum(info.st_size for _, info in listing), linked)
        if not any(_is_racy(info) for _, info in listing):
            with self.connection() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO trees VALUES (?, ?, ?, ?, ?)", (str(path), stamp, content.id, content.files, content.bytes)
                )
        return content

    def _hash_all(self, path: Path, listing: list[tuple[str, os.stat_result]], *, trust_stamps: bool) -> dict[str, str]:
        prefix = f"{path}/"
        known: dict[str, tuple[str, str]] = {}
        if trust_stamps:
            # "0" is the character after "/": the range is exactly the paths below the folder.
            rows = self.connection().execute("SELECT path, stamp, md5 FROM files WHERE path > ? AND path < ?", (prefix, f"{path}0"))
            known = {name[len(prefix) :]: (stamp, md5) for name, stamp, md5 in rows}
        stamps = {name: _stamp(info) for name, info in listing}
        unread = [(name, info) for name, info in listing if known.get(name, ("",))[0] != stamps[name]]
        fresh = dict(zip((name for name, _ in unread), _md5_many([path / name for name, _ in unread]), strict=True))
        self.files_hashed += len(fresh)
        with self.connection() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
                [(prefix + name, stamps[name], fresh[name]) for name, info in unread if not _is_racy(info)],
            )
            gone = known.keys() - stamps.keys()
            connection.executemany("DELETE FROM files WHERE path = ?", [(prefix + name,) for name in gone])
        return {name: fresh.get(name) or known[name][1] for name, _ in listing}


def _md5_many(paths: list[Path]) -> Iterator[str]:
    if len(paths) < 32:
        return map(file_md5, paths)
    # hashlib lets other threads run while it hashes, so the cores share the work.
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return iter(list(pool.map(file_md5, paths, chunksize=64)))


def unfit(path: str, info: os.stat_result) -> str:
    """Why what lies at `path` cannot be part of an artifact, in words; empty for a file. To open a FIFO would wait for its writer for ever."""
    if not stat.S_ISREG(info.st_mode):
        return f"{_printable(path)} is {_KINDS.get(stat.S_IFMT(info.st_mode), 'no file')}, and an artifact holds files only"
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            return f"{_printable(path)} has a name that is not UTF-8, which DVC cannot write down"
    return ""


def _printable(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def walk_files(top: Path, is_ignored: IsIgnored | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """(relative POSIX path, stat) of every file below `top`; as DVC counts: a link to a file is that file, a link to a folder is nothing."""
    pending = [""]
    while pending:
        relative = pending.pop()
        # Entries of an open folder are looked up by their bare names: a third of the time on deep paths.
        descriptor = os.open(f"{top}/{relative}", os.O_RDONLY)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if is_ignored is not None and is_ignored(relative + entry.name, is_folder):
                        continue
                    if is_folder:
                        pending.append(f"{relative}{entry.name}/")
                        continue
                    try:
                        info = entry.stat()
                    except FileNotFoundError:
                        # A link to nothing, or a file that was there a moment ago.
                        continue
                    except OSError as error:
                        if error.errno != errno.ELOOP:
                            raise
                        # A link to itself is one to nothing.
                        continue
                    if not stat.S_ISDIR(info.st_mode):
                        yield relative + entry.name, info
        finally:
            os.close(descriptor)


def _stamp(info: os.stat_result) -> str:
    return f"{info.st_mtime_ns}.{info.st_size}.{info.st_ino}"


def _tree_stamp(listing: list[tuple[str, os.stat_result]]) -> str:
    lines = [f"{name}\0{info.st_mtime_ns}.{info.st_size}.{info.st_ino}\n" for name, info in sorted(listing, key=lambda item: item[0])]
    return hashlib.blake2b("".join(lines).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _is_linked(info: os.stat_result) -> bool:
    return info.st_nlink > 1 and not info.st_mode & 0o222


def _is_racy(info: os.stat_result) -> bool:
    return time.time_ns() - info.st_mtime_ns < _RACY_NS
