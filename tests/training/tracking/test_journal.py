import errno
import json
import math
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tracking.journal import (
    EVENTS_NAME,
    FolderLock,
    Journal,
    TrackingError,
    has_unsent,
    is_open,
    jsonable_number,
    read_events,
    series,
    write_sent,
)


def start(journal: Journal, resume_step: int | None = None, attempt: int = 1) -> None:
    journal.append("open", attempt=attempt, resume_step=resume_step)


def log(journal: Journal, step: int, **values: float) -> None:
    journal.append("metrics", step=step, values={name: jsonable_number(value) for name, value in values.items()})


def test_a_series_reads_back_as_it_was_written_with_values_that_are_not_finite(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start(journal)
    log(journal, 1, loss=0.25, odd=math.inf)
    log(journal, 2, loss=math.nan)
    found = series(tmp_path)
    assert found["odd"] == [(1, math.inf)]
    assert found["loss"][0] == (1, 0.25) and math.isnan(found["loss"][1][1])


def test_steps_beyond_the_checkpoint_that_a_resumed_training_starts_from_are_superseded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start(journal)
    for step in (1, 2, 3):
        log(journal, step, loss=step)
    start(journal, resume_step=1)
    log(journal, 2, loss=20)
    assert series(tmp_path) == {"loss": [(1, 1.0), (2, 20.0)]}


def test_a_training_that_starts_from_nothing_supersedes_everything_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start(journal)
    log(journal, 0, loss=1, gone=1)
    start(journal, resume_step=None)
    log(journal, 0, loss=2)
    assert series(tmp_path) == {"loss": [(0, 2.0)]}


@given(kills=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=5))
def test_whatever_kills_it_the_series_has_no_gap_and_no_duplicate(tmp_path_factory, kills: list[tuple[int, int]]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    checkpoint = None
    for runs_for, since_checkpoint in [*kills, (41, 0)]:
        journal = Journal(folder)
        start(journal, resume_step=checkpoint)
        first = 0 if checkpoint is None else checkpoint + 1
        done = list(range(first, min(first + runs_for, 40)))
        for step in done:
            log(journal, step, loss=step / 7)
        journal.close()
        if done and done[-1] - since_checkpoint >= first:
            checkpoint = done[-1] - since_checkpoint
    assert series(folder) == {"loss": [(step, step / 7) for step in range(40)]}


def test_a_line_cut_short_by_a_kill_is_dropped_and_the_next_one_starts_on_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start(journal)
    log(journal, 1, loss=1)
    journal.close()
    with (tmp_path / EVENTS_NAME).open("ab") as stream:
        stream.write(b'{"kind":"metrics","step":2,"val')
    again = Journal(tmp_path)
    log(again, 2, loss=2)
    assert series(tmp_path) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_reading_leaves_a_line_without_end_for_later(tmp_path: Path) -> None:
    (tmp_path / EVENTS_NAME).write_bytes(b'{"kind":"open","resume_step":null}\n{"kind":"metr')
    assert [event["kind"] for event, _ in read_events(tmp_path)] == ["open"]


def test_a_torn_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    good = json.dumps({"kind": "metrics", "step": 1, "values": {"loss": 1.0}}, separators=(",", ":"))
    (tmp_path / EVENTS_NAME).write_text(f"{good}\n\x00\x00{{\n{good.replace('1', '2')}\n")
    assert series(tmp_path) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_a_full_disk_is_told_and_costs_no_later_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    start(journal)
    write = os.write
    answers = iter([5, OSError(errno.ENOSPC, "No space left on device")])

    def fills_up(descriptor: int, data: bytes) -> int:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return write(descriptor, data[:answer])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fills_up)
        with pytest.raises(TrackingError, match=r"events\.jsonl: the journal cannot be written: No space left on device; free the disk"):
            log(journal, 1, loss=1)
    log(journal, 2, loss=2)
    assert series(tmp_path) == {"loss": [(2, 2.0)]}


def test_a_journal_is_open_until_its_newest_training_has_a_status(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start(journal)
    assert is_open(tmp_path)
    journal.append("status", status="FAILED")
    assert not is_open(tmp_path)
    journal.append("system", step=0, values={})
    assert not is_open(tmp_path)
    start(journal)
    assert is_open(tmp_path)


def test_unsent_is_what_lies_beyond_the_noted_offset(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start(journal)
    assert has_unsent(tmp_path)
    write_sent(tmp_path, {"offset": (tmp_path / EVENTS_NAME).stat().st_size})
    assert not has_unsent(tmp_path)
    (tmp_path / "sent.json").write_text("{")
    assert has_unsent(tmp_path)


def test_a_folder_has_one_holder_also_within_one_process(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def _hold_and_die(folder: Path) -> None:
    assert FolderLock(folder).acquire()
    os._exit(9)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 9
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    lock.release()
