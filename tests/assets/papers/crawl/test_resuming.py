"""A crawl that is killed, or meets another, or a full disk."""

import json
import re
import resource
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest

from assets.demo_sites.exchange import Response
from assets.papers.raw_pages import RawPages
from assets.papers.warc_store import whole_records

from .tiny_site import Crawler, TinySite, fingerprint, journal, page, picture, running

PAPERS = 30
REQUESTS = 2 + 2 + 2 * PAPERS


@pytest.fixture
def site():
    return TinySite(answers=journal(PAPERS))


def rows(crawler) -> set[tuple]:
    with RawPages(crawler.store) as raw:
        return {(r.url, r.status, r.content_sha256, r.kind, r.crawl, r.day, r.etag) for r in raw.records() if raw.body(r) is not None}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with running(TinySite(answers=journal(PAPERS))) as server:
        crawler = Crawler(tmp_path_factory.mktemp("uninterrupted"), server)
        crawler.run()
        assert len(crawler.asked()) == REQUESTS
        return rows(crawler)


def test_killed_at_30_and_70_per_cent_it_asks_for_nothing_twice(site, tmp_path, uninterrupted):
    with running(site) as server:
        crawler = Crawler(tmp_path, server)
        for share in (0.3, 0.7):
            crawler.run_and_kill(after=round(share * REQUESTS))
        words = crawler.run()
    asked = Counter(crawler.asked())
    assert "going on with crawl 1" in words
    assert len(asked) == REQUESTS
    # One request is in flight at each kill, and robots.txt is served from the store like the rest.
    assert sum(asked.values()) - len(asked) <= 2
    assert rows(crawler) == uninterrupted
    assert not list(tmp_path.glob(".figment/crawls/journal_pages/*/unfinished"))


def edited() -> dict:
    """The journal after a day: every third paper is corrected and has another picture, every fifth is gone."""
    answers, listed = journal(PAPERS), [n for n in range(PAPERS) if n % 5]
    half = len(listed) // 2
    entries = [{"path": f"/paper/{n}", "fingerprint": f"v{2 if n % 3 == 0 else 1} of {n}"} for n in listed]
    answers["tiny.example/"] = page(articles=entries[:half], lists=["/list/2"])
    answers["tiny.example/list/2"] = page(articles=entries[half:])
    for n in range(PAPERS):
        if n % 5 == 0:
            del answers[f"tiny.example/paper/{n}"]
        elif n % 3 == 0:
            answers[f"tiny.example/paper/{n}"] = page(key=f"paper-{n}", title="Corrected", images=[f"/image/{n}.png"])
            answers[f"tiny.example/image/{n}.png"] = picture(f"another {n}")
    return answers


@pytest.mark.slow
def test_a_night_of_changes_is_resumed_like_the_first(tmp_path):
    stores = {}
    for name, kills in (("uninterrupted", ()), ("killed", (0.3, 0.7))):
        site = TinySite(answers=journal(PAPERS))
        with running(site) as server:
            crawler = Crawler(tmp_path / name, server)
            crawler.run()
            crawler.asked()
            site.answers = edited()
            for share in kills:
                crawler.run_and_kill(after=round(share * stores["uninterrupted"][1]))
            crawler.run()
            asked = Counter(crawler.asked())
            stores[name] = rows(crawler), asked.total(), set(asked)
    expected, found = stores["uninterrupted"], stores["killed"]
    assert expected[1] == len(expected[2]) == 2 + 2 + 6 + 8 + 8, "lists, missing papers, corrected papers and their pictures"
    assert found[0] == expected[0] and found[2] == expected[2]
    assert found[1] - expected[1] <= 2


@pytest.mark.slow
def test_a_torn_tail_is_cut_and_the_rest_is_kept(site, tmp_path, uninterrupted):
    with running(site) as server:
        crawler = Crawler(tmp_path, server)
        crawler.run_and_kill(after=REQUESTS // 2)
        (warc,) = tmp_path.glob(".figment/crawls/journal_pages/*/unfinished/*.warc.gz")
        had = Counter(crawler.asked())
        # As after a power cut: the log has lost its last lines and half of another, the WARC file half of its last record.
        log = warc.with_name("log.jsonl")
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:-4]) + lines[-4][:30])
        responses = [record for record in whole_records(warc) if record.kind == "response"]
        with warc.open("r+b") as file:
            file.truncate(responses[-1].place.offset + 5)
        crawler.run()
        asked = Counter(crawler.asked())
    lost = {url for url in asked if url in had}
    assert lost <= {responses[-1].url, *list(had)[-1:]}, "what the WARC file still held was taken from it"
    assert rows(crawler) == uninterrupted


@pytest.mark.slow
def test_stopped_by_a_signal_it_says_how_to_go_on(site, tmp_path):
    with running(site) as server:
        crawler = Crawler(tmp_path, server)
        process = crawler.start()
        while len(server.log) < 10:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        words, _ = process.communicate(timeout=60)
        # On a busy machine what is in flight does not come within the time that a program has to end.
        is_cut_short = process.returncode == -signal.SIGTERM
        assert is_cut_short or process.returncode == 1
        assert ("stopped; the same command continues" if is_cut_short else "run the same command again to continue") in words
        assert not crawler.store.exists(), "nothing is published before the end"
        crawler.run()
        again = max(Counter(crawler.asked()).values())
        assert again == 1 or (is_cut_short and again == 2), "a crawl that is told to stop finishes what is in flight, where that is soon"


def test_a_second_crawl_at_once_says_so(site, tmp_path):
    answered = threading.Event()

    def answer(request):
        answered.wait(60)
        return Response(b"{}", "application/json")

    site.answers["tiny.example/paper/0"] = answer
    with running(site) as server:
        crawler = Crawler(tmp_path, server)
        first = crawler.start()
        while not server.log:
            time.sleep(0.01)
        words = crawler.run(code=1)
        assert re.search(r"another crawl is running now \(process \d+\)", words)
        assert first.poll() is None, "the first goes on"
        first.kill()
        first.communicate()
        answered.set()


@pytest.mark.slow
def test_a_full_disk_stops_the_crawl_and_loses_nothing(site, tmp_path, uninterrupted):
    with running(site) as server:
        crawler = Crawler(tmp_path, server)
        process = crawler.start()
        # The largest file the program may write: the WARC file reaches it half-way.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
        words, _ = process.communicate(timeout=60)
        assert process.returncode == 1, words
        assert "File too large" in words
        had = len(set(crawler.asked()))
        assert 5 < had < REQUESTS
        crawler.run()
        assert len(crawler.asked()) <= REQUESTS - had + 2
    assert rows(crawler) == uninterrupted


@pytest.mark.slow
def test_killed_while_it_publishes_it_ends_well(site, tmp_path, uninterrupted):
    """The store is published and the remains are not removed yet: the next run is a night without changes."""
    with running(site) as server:
        crawler = Crawler(tmp_path, server)
        crawler.run_and_kill(after=REQUESTS // 2)
        (left,) = tmp_path.glob(".figment/crawls/journal_pages/*/unfinished")
        copy = tmp_path / "copy"
        subprocess.run(["cp", "-r", left, copy], check=True)
        crawler.run()
        before = fingerprint(crawler.store)
        crawler.asked()
        subprocess.run(["cp", "-r", copy, left], check=True)
        assert "is part of the store already" in crawler.run()
        assert len(crawler.asked()) == 4
    assert fingerprint(crawler.store) == before
    assert rows(crawler) == uninterrupted


def test_params_that_make_no_sense_name_the_remedy(tmp_path, site):
    with running(site) as server:
        crawler = Crawler(tmp_path, server, [{"page": "programing_historian"}])
        words = crawler.run(code=2)
    assert "did you mean 'programming_historian'?" in words
    assert json.loads((tmp_path / "params.yaml").read_text())["journal_pages"]["contact"]
