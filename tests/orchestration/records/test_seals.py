"""Seals of local state."""

import sqlite3
import subprocess
import sys

import pytest

from orchestration.bridge.identity import ContentStore
from orchestration.records.seals import seal, take_seal

_COUNT = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute('SELECT count(*) FROM events').fetchone()[0]); c.close()"


def test_sealing_takes_no_locks_from_the_connections_of_this_process(tmp_path):
    store = ContentStore(tmp_path / "state.db")

    def enter() -> None:
        with store.connection() as connection:
            store.log(connection, "rows", "id", 1.0, "test", "ran", "{}")

    def seen_by_another() -> int:
        # It opens and closes the database, and would remove the log of changes were it the last one.
        done = subprocess.run([sys.executable, "-c", _COUNT, str(tmp_path / "state.db")], capture_output=True, text=True, check=True)
        return int(done.stdout)

    enter()
    seal(tmp_path)
    assert seen_by_another() == 1
    enter()
    assert seen_by_another() == 2


def test_a_database_that_is_gone_is_told_as_such(tmp_path):
    with pytest.raises(FileNotFoundError):
        take_seal(tmp_path / "state.db")
    sqlite3.connect(tmp_path / "state.db").close()
    assert take_seal(tmp_path / "state.db").size == 0
