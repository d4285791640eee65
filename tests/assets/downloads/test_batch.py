"""Many files over loopback: side by side, within bounds, and none takes the others with it."""

import hashlib
import time
from dataclasses import replace

import pytest

from assets.downloads import batch
from assets.downloads.batch import download_all
from assets.downloads.one_file import DownloadRules, Wanted
from stages.reporting import Reporter
from tests.assets.downloads.conftest import CONTENT

RULES = DownloadRules(allow_private_addresses=True, first_wait_s=0.01, retries=1, timeout_s=5.0, pause_s=0.0, at_once=6, at_once_per_host=3)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def wanted(server, folder, count: int, **more) -> list[Wanted]:
    return [Wanted(f"{server.url}?{number}", folder / str(number), **more) for number in range(count)]


def test_files_come_side_by_side_within_the_bound_and_in_order(server, tmp_path):
    server.answer = lambda handler: (time.sleep(0.05), server.send(handler, body=handler.path.encode()))
    files = wanted(server, tmp_path, 12)
    outcomes = download_all(files, RULES, what="scans", reporter=Lines())
    assert [outcome.wanted for outcome in outcomes] == files and not any(outcome.problem for outcome in outcomes)
    assert [outcome.sha256 for outcome in outcomes] == [hashlib.sha256(f"/file.csv?{number}".encode()).hexdigest() for number in range(12)]
    assert server.most_at_once == 3


def test_one_bad_file_is_set_aside_and_the_others_come(server, tmp_path):
    def answer(handler) -> None:
        kind = handler.path.rpartition("?")[2]
        if kind == "1":
            server.send(handler, status=404, body=b"")
        elif kind == "2":
            server.send(handler, body=b"<html>not the scan</html>")
        elif kind == "3":
            server.send(handler, body=CONTENT[:9], length=len(CONTENT))
        else:
            server.send(handler)

    server.answer = answer
    reporter = Lines()
    outcomes = download_all(wanted(server, tmp_path, 6, checksums={"sha256": SHA256}), RULES, what="scans", reporter=reporter)
    assert [bool(outcome.problem) for outcome in outcomes] == [False, True, True, True, False, False]
    words = ["status 404", "checksum mismatch: 25 bytes", "the connection ended after 9 of 102,400 bytes, after 2 attempts"]
    for outcome, said in zip(outcomes[1:4], words, strict=True):
        assert said in outcome.problem and f"scans: could not be had: {outcome.problem}" in reporter.lines
    assert [(tmp_path / str(number)).exists() for number in (0, 2, 4, 5)] == [True, False, True, True]


def test_a_second_run_asks_only_for_what_is_missing(server, tmp_path):
    files = wanted(server, tmp_path, 4, checksums={"sha256": SHA256})
    download_all(files, RULES, what="scans", reporter=Lines())
    files[2].target.unlink()
    server.requests.clear()
    download_all(files, RULES, what="scans", reporter=Lines())
    assert server.requests == [("/file.csv?2", None)]


def test_a_host_that_asks_all_to_wait_is_not_asked_by_the_others(server, tmp_path):
    server.answer = lambda handler: server.send(handler, status=429, body=b"", Retry_After="3600")
    outcomes = download_all(wanted(server, tmp_path, 20), replace(RULES, at_once_per_host=1), what="scans", reporter=Lines())
    assert all(outcome.problem for outcome in outcomes) and len(server.requests) == 1
    assert "asks to be left alone for 3," in outcomes[-1].problem


def test_progress_is_told_in_bytes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_LINE_EVERY_S", 0.0)
    reporter = Lines()
    download_all(wanted(server, tmp_path, 3, bytes=len(CONTENT)), RULES, what="scans", reporter=reporter)
    assert reporter.lines[-1].startswith("scans, 3 of 3 files, kB: 307 of 307 (100 %), ")
    download_all(wanted(server, tmp_path / "b", 1), RULES, what="scans", reporter=reporter)
    assert reporter.lines[-1].startswith("scans, kB: 102, ")


def test_a_full_disk_ends_the_batch_and_nobody_goes_on(server, tmp_path):
    def slowly(handler) -> None:
        server.send(handler, body=b"", length=len(CONTENT))
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    server.answer = slowly
    files = wanted(server, tmp_path, 30)
    files[0].target.mkdir()  # Stands in for any fault of this machine.
    began = time.monotonic()
    with pytest.raises(IsADirectoryError):
        download_all(files, RULES, what="scans", reporter=Lines())
    assert time.monotonic() - began < 2
    asked = len(server.requests)
    time.sleep(0.2)
    assert len(server.requests) == asked < 10
