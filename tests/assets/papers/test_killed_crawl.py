"""A crawl killed twice on the way leads to the same papers, pictures and datasets as one that nobody disturbed, byte for byte."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.artifact_id import content_id

pytest.importorskip("scrapy", reason="scrapy is not installed (extra: scrape)")

ROOT = Path(__file__).resolve().parents[3]
STAGES = (["assets.papers.build"], ["assets.papers.toc_images"], ["assets.papers.toc_dataset", "128"])


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", *words], cwd=folder, env=environment, stderr=subprocess.DEVNULL)


def project(folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    return folder


def stored_bytes(folder: Path) -> int:
    """Of the crawl in progress."""
    return sum(path.stat().st_size for path in (folder / ".figment/crawls").rglob("*.warc.gz"))


def crawl_until(folder: Path, size: float) -> bool:
    """Kill the crawl once it has stored that many bytes. Returns whether it was still going on."""
    crawling = start(folder, "assets.papers.crawl")
    while crawling.poll() is None and stored_bytes(folder) < size:
        time.sleep(0.002)
    was_running = crawling.poll() is None
    crawling.send_signal(signal.SIGKILL)
    crawling.wait()
    return was_running


@pytest.mark.slow
def test_what_is_made_from_a_killed_crawl_is_what_is_made_from_a_whole_one(tmp_path: Path) -> None:
    whole, killed = project(tmp_path / "whole"), project(tmp_path / "killed")
    assert start(whole, "assets.papers.crawl").wait() == 0
    size = (whole / "data/journal_pages/crawl-00001.warc.gz").stat().st_size

    assert crawl_until(killed, 0.3 * size)
    assert not (killed / "data/journal_pages").exists(), "nothing half-made is shown"
    assert crawl_until(killed, 0.7 * size)
    assert start(killed, "assets.papers.crawl").wait() == 0

    for folder in (whole, killed):
        for words in STAGES:
            assert start(folder, *words).wait() == 0, words
    for name in ("papers", "toc_images", "toc_dataset@128"):
        assert content_id(whole / "data" / name) == content_id(killed / "data" / name), name
