"""Whose turn a stage is among the machines of a lab: one at a time makes it from the same inputs, the others wait for what it made.

A turn is PostgreSQL's session-level advisory lock, in the database that stores.yaml names for Dagster: the server frees it with the connection,
whatever became of the machine. The table `figment.turns` says who holds it, and counts the holders: a number that has moved on tells a holder whose
connection was lost that another took over, so that it publishes nothing. psycopg2 is loaded for a stage that has to run, and for nothing else.
"""

import contextlib
import getpass
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.bridge.dvc_remote import DvcRemote
from orchestration.bridge.turns import Turn, TurnRefused
from orchestration.records.lab import LabError, reach_database
from stages.stores import chosen_profile

_POLL_S = 0.5
# A holder looks after its connection this often, and has this long to take its turn back when the database comes back.
_BEAT_S, GRACE_S = 1.0, 10.0
# How long a holder that has finished waits for a database that is away.
PATIENCE_S = 600.0
# A network that is gone ends a session within half a minute, on both sides; an idle one is nobody's to end.
_KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30000, "connect_timeout": 5}
_OPTIONS = "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=30000 -c idle_session_timeout=0"
_TABLE = """
CREATE SCHEMA IF NOT EXISTS figment;
CREATE TABLE IF NOT EXISTS figment.turns (
    key bigint PRIMARY KEY, remote text NOT NULL, stage text NOT NULL, made_from text NOT NULL,
    fence bigint NOT NULL DEFAULT 0, holder text, since timestamptz, ended timestamptz, made jsonb, made_at_fence bigint NOT NULL DEFAULT 0
)"""


@dataclass(frozen=True)
class LeftTurn:
    """A turn whose holder is gone without a word."""

    key: int
    stage: str
    holder: str
    since: str


@contextlib.contextmanager
def take_turn(root: Path, stage: str, made_from: str, tell: Callable[[str], None], is_cancelled: Callable[[], bool]) -> Iterator[Turn | None]:
    """The turn of the stage with inputs of that name, once no other machine has it; None where stores.yaml or .dvc/config share nothing.

    Raises TurnRefused when the database is away or lets nobody in, DvcRefused when the remote does, InterruptedError when cancelled.
    """
    profile = chosen_profile(root)
    remote = DvcRemote(root)
    if profile is None or (url := remote.url()) is None:
        yield None
        return
    remote.reach()
    with _trouble_told():
        reach_database(profile.dagster, "dagster")
        turn = _PostgresTurn(profile.dagster, (url, stage, made_from), tell)
        turn.wait(is_cancelled)
    try:
        yield turn
    finally:
        turn.end()


def left_turns(root: Path) -> list[LeftTurn]:
    """The turns at this project's remote that were left by holders whose session has ended and who did not come back. Raises TurnRefused."""
    profile = chosen_profile(root)
    url = DvcRemote(root).url() if profile else None
    if profile is None or url is None:
        return []
    with _trouble_told():
        reach_database(profile.dagster, "dagster")
        with contextlib.closing(_connect(profile.dagster)) as connection:
            unended = """
                SELECT key, stage, holder, since::text FROM figment.turns
                WHERE remote = %s AND ended IS NULL AND since < now() - %s * interval '1 s'"""
            rows = _ask(connection, unended, url, GRACE_S) if _has_table(connection) else []
            return [LeftTurn(*row) for row in rows if _is_free(connection, row[0])]


def forget_turn(root: Path, left: LeftTurn) -> None:
    """Note that the turn is over, unless somebody has taken it meanwhile."""
    profile = chosen_profile(root)
    assert profile is not None
    with _trouble_told(), contextlib.closing(_connect(profile.dagster)) as connection:
        _ask(connection, "UPDATE figment.turns SET ended = now() WHERE key = %s AND since::text = %s RETURNING key", left.key, left.since)


class _PostgresTurn:
    """A turn that is waited for, then held by a connection; a thread takes it back after a loss, if nobody else has taken it."""

    def __init__(self, url: str, names: tuple[str, str, str], tell: Callable[[str], None]) -> None:
        self.made: Mapping[str, Any] | None = None
        self.is_made_meanwhile = False
        self._url, self._names, self._tell = url, names, tell
        self._key = int.from_bytes(hashlib.sha256(json.dumps(names).encode()).digest()[:8], "big", signed=True)
        self._connection: Any = None
        self._fence, self._lost = 0, ""
        self._mutex, self._over = threading.Lock(), threading.Event()

    def wait(self, is_cancelled: Callable[[], bool]) -> None:
        """Until the turn is ours."""
        import psycopg2

        asked_at: int | None = None
        told, free_since, was_busy = "", None, False
        while True:
            try:
                if self._connection is None:
                    self._connection = _connect(self._url)
                    _make_table(self._connection)
                fence, holder, since, has_ended = self._row()
                asked_at = fence if asked_at is None else asked_at
                if _try_lock(self._connection, self._key):
                    # Asked again: the last one may have published between the two questions.
                    fence, holder, since, has_ended = self._row()
                    free_since = free_since or time.monotonic()
                    if has_ended or time.monotonic() - free_since > GRACE_S:
                        self._begin(asked_at, was_busy=was_busy)
                        return
                    _ask(self._connection, "SELECT pg_advisory_unlock(%s)", self._key)
                    words = f"was being made by {holder} since {since}, whose connection is gone; taking over in {GRACE_S:.0f} s unless it comes back"
                else:
                    free_since, was_busy = None, True
                    words = f"is being made by {holder} since {since}; waiting to take what it makes"
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self._connection = free_since = None
                words = f"waits for its turn, and the database of turns is away: {_first_line(error)}"
            if words != told:
                self._tell(f"{self._names[1]} {words}")
                told = words
            if is_cancelled():
                if self._connection is not None:
                    self._connection.close()
                raise InterruptedError(f"cancelled while waiting: {self._names[1]} {words}")
            time.sleep(_POLL_S)

    def confirm(self) -> None:
        self._patiently(lambda: None)

    def publish(self, made: Mapping[str, Any]) -> None:
        values = json.dumps(made), self._key, self._fence

        def write() -> None:
            written = "UPDATE figment.turns SET made = %s, made_at_fence = fence, ended = now() WHERE key = %s AND fence = %s RETURNING key"
            if not _ask(self._connection, written, *values):
                self._look()

        self._patiently(write)

    def end(self) -> None:
        """Give the turn back. A database that is away frees it by itself."""
        import psycopg2

        self._over.set()
        with self._mutex, contextlib.suppress(psycopg2.Error, AttributeError):
            _ask(self._connection, "UPDATE figment.turns SET ended = now() WHERE key = %s AND fence = %s RETURNING key", self._key, self._fence)
            self._connection.close()

    def _row(self) -> tuple[int, str, str, bool]:
        """The number of the last holder, who that is, since when, and whether it has said that it ended."""
        rows = _ask(
            self._connection, "SELECT fence, holder, since::timestamptz(0)::text, ended IS NOT NULL FROM figment.turns WHERE key = %s", self._key
        )
        return rows[0] if rows else (0, "another machine", "just now", True)

    def _begin(self, asked_at: int, *, was_busy: bool) -> None:
        begun = """
            INSERT INTO figment.turns AS turns (key, remote, stage, made_from, fence, holder, since) VALUES (%s, %s, %s, %s, 1, %s, now())
            ON CONFLICT (key) DO UPDATE SET fence = turns.fence + 1, holder = excluded.holder, since = now(), ended = NULL
            RETURNING fence, made, made_at_fence"""
        holder = f"{getpass.getuser()} on {socket.gethostname()} (process {os.getpid()})"
        [(self._fence, self.made, made_at)] = _ask(self._connection, begun, self._key, *self._names, holder)
        # Who had to wait asked while the holder of that number, or a later one, was at work.
        self.is_made_meanwhile = was_busy and self.made is not None and made_at >= max(asked_at, 1)
        threading.Thread(target=self._keep, name=f"turn of {self._names[1]}", daemon=True).start()

    def _keep(self) -> None:
        """Look after the connection; take the turn back where it was lost."""
        import psycopg2

        told = False
        while not self._over.wait(_BEAT_S) and not self._lost:
            with self._mutex:
                if self._over.is_set():
                    return
                try:
                    self._hold()
                except TurnRefused as error:
                    self._tell(f"{self._names[1]}: {error}")
                except psycopg2.Error as error:
                    if not told:
                        self._tell(f"{self._names[1]} goes on, and the database of turns is away: {_first_line(error)}")
                        told = True

    def _hold(self) -> None:
        """Once: make sure that the turn is ours, over a new connection where the old one is gone. Raises TurnRefused when it is another's."""
        import psycopg2

        if self._lost:
            raise TurnRefused(self._lost)
        if self._connection is not None:
            try:
                _ask(self._connection, "SELECT 1")
                return
            except psycopg2.Error:
                self._connection = None
        connection = _connect(self._url)
        try:
            if not _try_lock(connection, self._key):
                # Somebody has it for an instant to see that it is free, or for good: the number tells.
                self._look(connection)
                raise psycopg2.OperationalError("somebody else looks whether the turn is free")  # noqa: TRY301 - closed below as any other trouble
            self._look(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _look(self, connection: Any = None) -> None:
        """Raises TurnRefused when the number has moved on."""
        found = _ask(connection or self._connection, "SELECT fence, holder, since::timestamptz(0)::text FROM figment.turns WHERE key = %s", self._key)
        if not found or found[0][0] != self._fence:
            _, holder, since = found[0] if found else (0, "somebody who emptied the table", "then")
            self._lost = (
                f"the connection to the database of turns was lost and {holder} took over at {since}; "
                f"what it makes counts: materialize {self._names[1]} again to have it"
            )
            raise TurnRefused(self._lost)

    def _patiently(self, action: Callable[[], None]) -> None:
        """Act while the turn is ours; waits for a database that is away."""
        import psycopg2

        deadline, told = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                with self._mutex:
                    self._hold()
                    return action()
            except psycopg2.Error as error:
                if time.monotonic() > deadline:
                    words = f"the database of turns has been away for {PATIENCE_S:.0f} s ({_first_line(error)}), so nobody knows whose turn it is"
                    raise TurnRefused(f"{words}; start it, then materialize {self._names[1]} again") from error
                if not told:
                    self._tell(f"{self._names[1]} is made, and waits for the database of turns: {_first_line(error)}")
                    told = True
            time.sleep(_POLL_S)


def _connect(url: str) -> Any:
    import psycopg2

    connection = psycopg2.connect(url, options=_OPTIONS, application_name="figment turn", **_KEEPALIVE)
    connection.autocommit = True
    return connection


def _ask(connection: Any, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _try_lock(connection: Any, key: int) -> bool:
    return bool(_ask(connection, "SELECT pg_try_advisory_lock(%s)", key)[0][0])


def _is_free(connection: Any, key: int) -> bool:
    return _try_lock(connection, key) and bool(_ask(connection, "SELECT pg_advisory_unlock(%s)", key))


def _has_table(connection: Any) -> bool:
    return bool(_ask(connection, "SELECT to_regclass('figment.turns') IS NOT NULL")[0][0])


def _make_table(connection: Any) -> None:
    """Two who make it at once would stumble over each other in spite of IF NOT EXISTS."""
    if not _has_table(connection):
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock(hashtext('figment.turns')); {_TABLE}; COMMIT")


@contextlib.contextmanager
def _trouble_told() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        raise TurnRefused(str(error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg2":
            raise
        remedy = "the user of the URL must be allowed to create a schema there, and the URL must lead to PostgreSQL itself, not to a pool"
        raise TurnRefused(f"stores.yaml: dagster: the turns of stages cannot be kept there: {_first_line(error)}; {remedy}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
