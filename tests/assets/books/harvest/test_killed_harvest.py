"""A harvest that is killed goes on where it was; what it had fetched is not asked for again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.assets.books.harvest.tiny_archive import Book, TinyArchive, open_items, pdf

ROOT = Path(__file__).resolve().parents[4]


def start(archive: TinyArchive, tmp_path: Path, **values) -> subprocess.Popen:
    source = {"name": "tiny", "licence": "CC0-1.0", "host": archive.url, "collection": "books"}
    known = {"contact": "me@uni.edu", "allow_private_addresses": True, "delay_s": 0, "retries": 0, "at_once": 2, "sources": [source]}
    (tmp_path / "params.yaml").write_text(json.dumps({"archive_items": known | values}))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "assets.books.harvest"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)


def ended(running: subprocess.Popen) -> tuple[int, str]:
    """Its exit status and what it said."""
    words = running.communicate(timeout=30)[1]
    return running.returncode, words


def test_killed_in_the_middle_it_goes_on_and_fetches_nothing_twice(archive, tmp_path):
    archive.add(*"abcdef")
    large = pdf("x" * 5_000)
    archive.books["d"] = Book({"d.pdf": ("Text PDF", large)})

    def stall_at_d(handler, path):
        if path != "/download/d/d.pdf":
            return None
        archive.send(handler, large[:90_000], length=len(large))
        time.sleep(5)
        return True

    archive.answer = stall_at_d
    killed = start(archive, tmp_path)
    began = time.monotonic()
    parts = tmp_path / ".figment" / "harvests" / "archive_items"

    def written() -> list[int]:
        """Sizes of what has come, and not only been asked for."""
        return sorted(size for path in parts.glob("*/downloads/*") if (size := path.stat().st_size))

    while time.monotonic() - began < 20 and not (len(written()) == 6 and written()[-1] == 90_000):
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "data" / "archive_items" / "items.parquet").exists()
    archive.answer = None
    archive.forget()
    assert ended(start(archive, tmp_path))[0] == 0
    assert (archive.asked("metadata"), archive.asked("download"), archive.ranges) == ([], ["d"], ["bytes=90000-"])
    assert [item.identifier for item in open_items(tmp_path / "data" / "archive_items")] == list("abcdef")


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(archive, tmp_path):
    archive.add(*"abcdefgh")
    archive.books["e"].stated["e.pdf"] = {"md5": "0" * 32}
    assert ended(start(archive, tmp_path))[0] == 0
    whole = {path.name: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    for number in range(12):
        place = tmp_path / f"try{number}"
        place.mkdir()
        running = start(archive, place)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=0.25 + 0.06 * number)
        running.kill()
        running.communicate()
        assert ended(start(archive, place))[0] == 0
        assert {path.name: path.read_bytes() for path in (place / "data").rglob("*") if path.is_file()} == whole
