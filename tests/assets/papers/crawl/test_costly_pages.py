"""Pages that no bound of their own stops: they are stored, set aside and never read again, and neither crawl nor build waits for them."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.papers.guarded_reading import BEYOND
from assets.papers.raw_pages import RawPages
from tests.hostility import Tried

from .tiny_site import ROOT, Crawler, Response, TinySite, journal, page, running

pytest.importorskip("scrapy", reason="scrapy is not installed (the `scrape` extra)")
pytestmark = pytest.mark.hostile

# A page object of the user's own, which writes down what it reads and where. Its bounds are those of the project, in small.
READER = """
import ctypes, os, re, time
from assets.papers import guarded_reading
from tests.assets.papers.crawl.tiny_site import parse as parse_tiny

guarded_reading._SECONDS, guarded_reading._WAITING, guarded_reading._MEMORY = {seconds}, 3, 2**28

def parse(page):
    name = page.url.rpartition("/")[2]
    with open("read.txt", "a") as file:
        print(name, os.getpid(), file=file)
    if name == "pattern":
        re.match("(a+)+$", "a" * 60 + "b")
    elif name == "memory":
        [bytes(2**20) for _ in range(2**16)]
    elif name == "crash":
        ctypes.string_at(0)
    elif name == "sleep":
        time.sleep(600)
    elif name == "loop":
        while True:
            pass
    return parse_tiny(page)
"""
COSTLY = ("pattern", "memory", "crash", "sleep", "loop")


def crawler_of(folder: Path, seconds: float) -> Crawler:
    crawler = Crawler(folder, None)
    folder.mkdir(exist_ok=True)
    (folder / "reader.py").write_text(READER.replace("{seconds}", str(seconds)))
    own = {"name": "costly", "page": "reader:parse", "start": ["http://costly.example/"]}
    crawler.sources = [own, {"page": "reader:parse"}]
    return crawler


def site() -> TinySite:
    answers = journal() | {"costly.example/": page(articles=[{"path": f"/{name}"} for name in COSTLY])}
    answers |= {f"costly.example/{name}": page(key=name, title=name) for name in COSTLY}
    return TinySite(hosts=("tiny.example", "costly.example"), answers=answers)


def readings(crawler: Crawler) -> list[str]:
    lines = (crawler.folder / "read.txt").read_text().split("\n")
    return [line.split()[0] for line in lines if line.split() and line.split()[0] in COSTLY]


def build(crawler: Crawler) -> subprocess.Popen:
    (crawler.folder / "params.yaml").write_text('{"papers": {"rows_per_shard": 100}}')
    command = [sys.executable, "-m", "assets.papers.build"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=crawler.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_costly_page_is_stored_and_read_once_by_crawl_and_build(tmp_path: Path, tried: Tried) -> None:
    crawler, tiny = crawler_of(tmp_path / "here", 0.5), site()
    with running(tiny) as crawler.running:
        crawler.run()
        first = readings(crawler)
        with RawPages(crawler.store) as raw:
            problems = {problem.kind for problem in raw.problems()}
            stored = {record.url.rpartition("/")[2] for record in raw.records() if record.status == 200}
        # Three of a source, and what is stored by then, which on a busy machine may be all of it; then it is left alone until the next night.
        assert 3 <= len(first) == len(set(first)) and set(first) <= stored
        assert problems <= {"too_costly"} and {f"{n}" for n in range(6)} <= stored
        tiny.day += timedelta(days=1)
        crawler.run()
        tiny.day += timedelta(days=1)
        crawler.run()
        by_crawl = readings(crawler)
        words = build_to_its_end(crawler)
        by_build = readings(crawler)[len(by_crawl) :]
        (crawler.folder / "data/papers").rename(crawler.folder / "first")
        build_to_its_end(crawler)
        again = len(readings(crawler)) - len(by_crawl) - len(by_build)
    rejected = pq.read_table(crawler.folder / "data/papers/rejected.parquet").to_pylist()
    set_aside = {row["where"].rpartition("/")[2] for row in rejected if row["words"].startswith(BEYOND)}
    papers = sum(pq.read_metadata(path).num_rows for path in (crawler.folder / "data/papers").glob("papers-*.parquet"))
    tried(
        "pages that cost more than any page may",
        2 * len(COSTLY),
        got_through=again + len(by_crawl) + len(by_build) - 2 * len(COSTLY),
        lost=6 - papers,
    )
    assert sorted(by_crawl) == sorted(by_build) == sorted(COSTLY)
    assert again == 0 and papers == 6 and set_aside == set(COSTLY), words
    # Another page object reads them once more, and the one that it can read has a paper now.
    (crawler.folder / "reader.py").write_text((crawler.folder / "reader.py").read_text().replace('if name == "pattern"', 'if name == "nothing"'))
    build_to_its_end(crawler)
    assert sum(pq.read_metadata(path).num_rows for path in (crawler.folder / "data/papers").glob("papers-*.parquet")) == 7


def build_to_its_end(crawler: Crawler) -> str:
    process = build(crawler)
    words, _ = process.communicate(timeout=120)
    assert process.returncode == 0, words
    return words


@pytest.mark.parametrize("where", ["a page that the crawl reads", "an answer without end", "a page that the build reads"])
def test_a_program_ends_within_two_seconds_of_sigterm(where: str, tmp_path: Path, tried: Tried) -> None:
    crawler, tiny = crawler_of(tmp_path / "here", 0.3), site()
    started = tmp_path / "asked"

    def drip(request: object) -> Response:
        started.touch()
        time.sleep(30)
        return page()

    if where == "an answer without end":
        tiny.answers["costly.example/"] = drip
    with running(tiny) as crawler.running:
        if where == "a page that the build reads":
            crawler.run()
        (crawler.folder / "reader.py").write_text(READER.replace("{seconds}", "600"))
        before = readings(crawler) if (crawler.folder / "read.txt").exists() else []
        process = build(crawler) if "build" in where else crawler.start()
        deadline = time.monotonic() + 60
        while not started.exists() and len(readings(crawler) if (crawler.folder / "read.txt").exists() else []) == len(before):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.01)
        time.sleep(0.2)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        words, _ = process.communicate(timeout=60)
        seconds = time.monotonic() - asked
    tried("programs told to end while they read", 1, got_through=seconds > 2)
    assert seconds <= 2, f"{seconds:.1f} s: {words}"
    assert process.returncode in {-signal.SIGTERM, 1}
    # And nobody goes on in its place.
    last = (crawler.folder / "read.txt").read_text().split()[-1:] if (crawler.folder / "read.txt").exists() else []
    for pid in map(int, last):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
