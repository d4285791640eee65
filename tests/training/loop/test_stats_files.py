"""Numbers in files: one line a report, nothing twice after a resume, and for outputs nothing that the machine decides."""

import json
import threading

import pytest

from training.loop.checkpoint import CheckpointError
from training.loop.stats_files import MACHINE, EventFiles, StatsFile, machine_free, write_curves


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_report_is_a_line_by_kimg(tmp_path):
    stats = StatsFile(tmp_path / "stats.jsonl", what="images", resume_samples=None)
    stats.metrics(500, {"loss": 1.0})
    stats.metrics(1000, {"loss": float("nan")})
    assert rows(stats.path) == [{"kimg": 0.5, "images": 500, "loss": 1.0}, {"kimg": 1.0, "images": 1000, "loss": "nan"}]


def test_an_output_takes_the_rows_without_what_the_machine_decides(tmp_path):
    stats = StatsFile(tmp_path / "stats.jsonl", what="images", resume_samples=None)
    stats.metrics(500, {"loss": 1.0, **dict.fromkeys(MACHINE, 3.0)})
    stats.append(600, {"rollback": 1, "why": "so"})
    assert set(MACHINE) < set(rows(stats.path)[0])
    free = [{"kimg": 0.5, "images": 500, "loss": 1.0}, {"kimg": 0.6, "images": 600, "rollback": 1, "why": "so"}]
    assert [json.loads(line) for line in machine_free(stats.path).splitlines()] == free


def test_a_resume_drops_what_comes_again_and_half_a_line(tmp_path):
    path = tmp_path / "stats.jsonl"
    stats = StatsFile(path, what="images", resume_samples=None)
    for images in (100, 200, 300):
        stats.metrics(images, {"loss": images})
    with path.open("a") as stream:
        stream.write('{"kimg": 0.4, "ima')
    StatsFile(path, what="images", resume_samples=200).metrics(300, {"loss": 3})
    assert [row["images"] for row in rows(path)] == [100, 200, 300] and rows(path)[-1]["loss"] == 3
    StatsFile(path, what="images", resume_samples=None)
    assert rows(path) == []


def test_each_number_has_a_curve_of_its_own_with_the_points_that_it_was_reported_at(tmp_path):
    stats = StatsFile(tmp_path / "stats.jsonl", what="images", resume_samples=None)
    stats.metrics(0, {"swd_x1000": 348.0})
    stats.metrics(500, {"g_loss": 1.5, "rollbacks": 0.0, "samples_per_second": 33.0})
    stats.append(700, {"rollback": 1, "why": "collapse"})
    stats.metrics(1000, {"g_loss": float("nan"), "swd_x1000": 272.25})
    stats.metrics(1500, {"peak_memory_mib": 5.0, "g_loss": 1.25})
    write_curves(stats.path, tmp_path / "curves", what="images")
    curves = {path.name: path.read_text() for path in (tmp_path / "curves").iterdir()}
    assert curves == {"g_loss.csv": "kimg,g_loss\n0.5,1.5\n1.5,1.25\n", "swd_x1000.csv": "kimg,swd_x1000\n0.0,348.0\n1.0,272.25\n"}


def test_event_files_hold_the_scalars_by_images(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra: gan)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with EventFiles(tmp_path / "events", resume_samples=None) as events:
        events.metrics(1000, {"loss": 2.0})
        events.metrics(2000, {"loss": 1.0})
    read = EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1000, 2.0), (2000, 1.0)]


def test_what_is_no_image_is_counted_by_its_own_name(tmp_path):
    StatsFile(tmp_path / "stats.jsonl", what="molecules", resume_samples=None).metrics(500, {"loss": 1.0})
    assert rows(tmp_path / "stats.jsonl") == [{"molecules": 500, "loss": 1.0}]


def test_without_a_place_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with EventFiles(None, resume_samples=None) as events:
        for sink in (events, StatsFile(None, what="images", resume_samples=None)):
            sink.metrics(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_not_what_was_written_is_named(tmp_path):
    path = tmp_path / "stats.jsonl"
    stats = StatsFile(path, what="images", resume_samples=None)
    for images in (100, 200):
        stats.metrics(images, {"loss": 0.25})
    StatsFile(path, what="images", resume_samples=200)
    path.write_text(path.read_text().replace("0.25", "0.24", 1))
    with pytest.raises(CheckpointError, match=r"stats\.jsonl: line 1 is not what was written.*--from-scratch"):
        StatsFile(path, what="images", resume_samples=200)
    StatsFile(path, what="images", resume_samples=None)


def test_event_files_that_cannot_be_written_end_no_training(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra: gan)")
    said = []
    with EventFiles(tmp_path / "events", resume_samples=None, say=said.append) as events:
        events.metrics(1, {"loss": 1.0})

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(events._writer, "flush", full)
        for step in (2, 3):
            events.metrics(step, {"loss": 1.0})
    assert len(said) == 1 and "No space left" in said[0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_the_thread_of_tensorboard_cannot_write_is_told_once_and_without_a_traceback(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra: gan)")
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    said, uncaught = [], []
    monkeypatch.setattr(threading, "excepthook", uncaught.append)
    with EventFiles(tmp_path / "events", resume_samples=None, say=said.append) as events:
        monkeypatch.setattr(RecordWriter, "write", full)
        for step in (1, 2):
            events.metrics(step, {"loss": 1.0})
    other = threading.Thread(target=full)
    other.start()
    other.join()
    assert len(said) == 1 and "No space left" in said[0]
    assert [args.thread for args in uncaught] == [other]
