"""Keep MLflow up with the journals: a background thread while a training runs, and `replay` for whatever was missed before."""

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.tracking import process as tracking_process
from training.tracking.journal import FolderLock, Journal, has_unsent, is_open, journal_folders, last_event
from training.tracking.replica import Replica
from training.tracking.store import is_installed, open_client, sqlite_path, tracking_uri

# How long the end of a training may be held up by a store that does not answer.
TROUBLED_CLOSE_S = 8.0
_SEND_EVERY_S = 2.0
_LONGEST_PAUSE_S = 60.0
_RETRY_AT_CLOSE_S = 0.5


class Sender:
    """A daemon thread that copies one journal to MLflow while it grows. Trouble with MLflow makes it wait longer, nothing else."""

    def __init__(self, journal: Journal, state_dir: Path) -> None:
        self.trouble: str | None = None
        self.run_id: str | None = None
        self.link: str | None = None
        self._journal = journal
        self._state_dir = state_dir
        self._uri = tracking_uri(state_dir)
        self._client: Any = None
        self._replica: Replica | None = None
        self._replayed = False
        self._pause_s = _SEND_EVERY_S
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="figment-mlflow", daemon=True)

    def start(self) -> None:
        """Begin copying."""
        self._thread.start()

    def close(self, *, timeout_s: float) -> bool:
        """Send the rest, for at most `timeout_s` seconds. Returns whether MLflow has everything now."""
        self._closing.set()
        self._thread.join(timeout=timeout_s)
        return not has_unsent(self._journal.folder)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._send()
            self._send_what_others_could_not(self._closing.is_set)
            self._closing.wait(self._pause_s)
        # The end of the training: all of it is sent as long as that works, and for a bounded time where it does not.
        give_up_at = time.monotonic() + TROUBLED_CLOSE_S
        self._send()
        while has_unsent(self._journal.folder) and (self.trouble is None or time.monotonic() < give_up_at):
            time.sleep(_RETRY_AT_CLOSE_S)
            self._send()
        self._send_what_others_could_not(lambda: time.monotonic() > give_up_at)

    def _send(self) -> None:
        try:
            # First what was written must survive this machine, then it may be told elsewhere.
            self._journal.sync()
            if self._replica is None:
                self._client = open_client(self._uri)
                self._replica = Replica(self._journal.folder, self._client, self._uri)
            self._replica.send_pending()
            self.run_id, self.link = self._replica.run_id, self._replica.link()
            self.trouble, self._pause_s = None, _SEND_EVERY_S
        except Exception as error:  # noqa: BLE001 - the end of a thread; whatever ails MLflow, the training goes on and the journal keeps it all
            self.trouble = first_line(error)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _send_what_others_could_not(self, should_stop: Callable[[], bool]) -> None:
        """Once, as soon as a success has shown that MLflow is there: earlier trainings that it missed take their turn, and dead runs are marked."""
        if self._replayed or self.trouble or should_stop():
            return
        try:
            self._replayed = not replay(self._state_dir, should_stop=should_stop).troubles and not should_stop()
            reap(self._client, whose(self._uri, self._state_dir.parent))
        except Exception as error:  # noqa: BLE001 - as in `_send`
            self.trouble = first_line(error)


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What a replay did: journals brought up to date, runs marked killed, and troubles in words by journal."""

    journals: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = {"sent": self.journals, "marked as killed": self.killed, "still to be sent": self.troubles}
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names) or "nothing to send"


def replay(state_dir: Path, *, should_stop: Callable[[], bool] = lambda: False) -> Replayed:
    """Send MLflow what the journals under `state_dir` still hold, and mark runs whose process died as KILLED.

    Journals of living trainings are left to them. Costs a look at the folders when there is nothing to do. Raises nothing for MLflow trouble.
    """
    if not is_installed():
        return Replayed()
    sent: list[str] = []
    killed: list[str] = []
    troubles: list[str] = []
    client: Any = None
    uri = tracking_uri(state_dir)
    for folder in journal_folders(state_dir):
        if should_stop():
            break
        name = f"{folder.parent.name}/{folder.name}"
        lock = FolderLock(folder)
        if not lock.acquire():
            continue
        try:
            # The lock is free, so nobody trains here: a journal without an end is that of a process which was killed.
            if mark_if_dead(folder):
                killed.append(name)
            if not is_wanted(folder):
                continue
            client = client or open_client(uri)
            Replica(folder, client, uri).send_pending(should_stop)
            drop_sent_copies(folder)
            sent.append(name)
        except Exception as error:  # noqa: BLE001 - one sick journal or a store that is down must not keep the others from their turn
            troubles.append(f"{name}: {first_line(error)}")
        finally:
            lock.release()
    return Replayed(tuple(sent), tuple(killed), tuple(troubles))


def mark_if_dead(folder: Path) -> bool:
    """Write KILLED into a journal whose process died without a word. The caller holds the folder's lock. Returns whether it did."""
    if not is_open(folder) or not ended_without_a_word(folder):
        return False
    # It died when it last wrote, not when this was noticed.
    journal = Journal(folder)
    died_ms = journal.path.stat().st_mtime_ns // 1_000_000
    journal.append("status", status="KILLED", time_ms=died_ms)
    journal.close()
    return True


def ended_without_a_word(folder: Path) -> bool:
    """Whether the process of the journal's newest training is dead, as far as this host can tell."""
    opening = last_event(folder, "open")
    return opening is not None and tracking_process.is_dead(opening["process"])


def whose(uri: str, root: Path) -> str | None:
    """Whose runs in the store at `uri` the project at `root` may judge: all of a SQLite file, those with its label on a server."""
    return None if sqlite_path(uri) else tracking_process.project_label(root.resolve())


def reap(client: Any, project: str | None) -> list[str]:
    """Mark MLflow's RUNNING runs of `project` (see `whose`) whose process on this host is dead as KILLED, journal or not."""
    reaped = []
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'", max_results=1000):
            tags = run.data.tags
            if project not in (None, tags.get("figment.project")) or "figment.pid" not in tags:
                continue
            if tracking_process.is_dead(tracking_process.process_of(tags)):
                client.set_terminated(run.info.run_id, "KILLED")
                reaped.append(run.info.run_id)
    return reaped


def drop_sent_copies(folder: Path) -> None:
    """Remove the copies of artifacts once MLflow has everything."""
    if not has_unsent(folder):
        shutil.rmtree(folder / "artifacts", ignore_errors=True)


def first_line(error: BaseException) -> str:
    """An exception in one line for humans."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def describe_store(state_dir: Path) -> str:
    """The store in words, for messages."""
    uri = tracking_uri(state_dir)
    path = sqlite_path(uri)
    return str(path) if path else uri


def is_wanted(folder: Path) -> bool:
    """Whether the journal has lines to send; those of trainings that were told to keep to the journal stay there."""
    if not has_unsent(folder):
        return False
    newest = last_event(folder, "open", "report")
    return newest is not None and newest["mlflow"]
