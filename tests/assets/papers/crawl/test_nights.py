"""One night after another, with the real spider in a process of its own against a real server on loopback."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from assets.demo_sites.exchange import Response
from assets.papers.raw_pages import RawPages

from .tiny_site import Crawler, TinySite, fingerprint, journal, page, picture, running


@pytest.fixture
def site():
    return TinySite(answers=journal())


@pytest.fixture
def crawler(site, tmp_path):
    with running(site) as server:
        yield Crawler(tmp_path, server)


def last_night(crawler) -> dict:
    return json.loads((crawler.folder / ".figment/crawls/journal_pages/nights.jsonl").read_text().splitlines()[-1])


def stored(crawler, crawl) -> set[tuple[str, int]]:
    with RawPages(crawler.store) as raw:
        return {(record.url.removeprefix("http://tiny.example"), record.status) for record in raw.records() if record.crawl == crawl}


def test_six_nights_of_a_journal(crawler, site):
    # The first night asks for everything once.
    crawler.run()
    assert {entry.user_agent for entry in crawler.running.log} == {"figment/0.1 (research crawler; mailto:tests@figment.internal)"}
    asked = crawler.asked()
    assert len(asked) == len(set(asked)) == 2 + 2 + 6 + 6
    assert last_night(crawler)["requests"] == {"robots": 2, "index": 2, "api": 0, "article": 6, "image": 6}
    assert (last_night(crawler)["papers_new"], last_night(crawler)["stored"]) == (6, 16)
    with RawPages(crawler.store) as raw:
        assert {record.day for record in raw.records()} == {date(2026, 3, 4)}, "the day is what the site's own clock says"
        assert raw.body(raw.latest("http://tiny.example/image/3.png")) == picture("3").body
        assert raw.sources()["tiny"].licence == "CC0-1.0"

    # One paper is edited and gets another picture, one comes, two leave their list: one for good, one is only not listed any more.
    entries = [{"path": f"/paper/{n}", "fingerprint": "v2" if n == 0 else f"v1 of {n}"} for n in (0, 2, 6)]
    site.answers["tiny.example/"] = page(articles=entries, lists=["/list/2"])
    site.answers["tiny.example/list/2"] = page(
        articles=[{"path": "/paper/4", "fingerprint": "v1 of 4"}, {"path": "/paper/5", "fingerprint": "v1 of 5"}]
    )
    site.answers["tiny.example/paper/0"] = page(key="paper-0", title="Corrected", images=["/image/0.png"])
    site.answers["tiny.example/image/0.png"] = picture("another")
    site.answers["tiny.example/paper/6"] = page(key="paper-6", title="New", images=["/image/6.png"])
    site.answers["tiny.example/image/6.png"] = picture("6")
    del site.answers["tiny.example/paper/1"]
    site.day = datetime(2026, 3, 6, 5, tzinfo=UTC)
    crawler.run()
    asked = [url.removeprefix("http://tiny.example") for url in crawler.asked()]
    assert sorted(asked) == [
        "/",
        "/.well-known/tdmrep.json",
        "/image/0.png",
        "/image/6.png",
        "/list/2",
        "/paper/0",
        "/paper/1",
        "/paper/3",
        "/paper/6",
        "/robots.txt",
    ]
    changes = {("/", 200), ("/list/2", 200), ("/paper/0", 200), ("/image/0.png", 200), ("/paper/6", 200), ("/image/6.png", 200), ("/paper/1", 404)}
    assert stored(crawler, 2) == changes
    night = last_night(crawler)
    assert (night["papers_new"], night["papers_changed"], night["papers_gone"], night["day"]) == (1, 1, 0, "2026-03-06")

    # The missing paper is missing for the second time.
    crawler.run()
    assert crawler.asked()[4:] == ["http://tiny.example/paper/1"]
    assert stored(crawler, 3) == {("/paper/1", 404)}
    assert last_night(crawler)["papers_gone"] == 1

    # Nothing changed: the listings are asked about and nothing else, and no byte of the output changes. The missing paper is never asked for
    # again, and the one that merely lost its link is left alone.
    before = fingerprint(crawler.store)
    site.day = datetime(2026, 3, 7, 5, tzinfo=UTC)
    crawler.run()
    assert crawler.asked() == [f"http://tiny.example{path}" for path in ("/robots.txt", "/.well-known/tdmrep.json", "/", "/list/2")]
    assert fingerprint(crawler.store) == before
    assert (last_night(crawler)["is_new"], last_night(crawler)["papers_gone"]) == (False, 0)
    with RawPages(crawler.store) as raw:
        assert raw.is_gone("http://tiny.example/paper/1")
        assert not raw.is_gone("http://tiny.example/paper/3")

    # It comes back, and its list says of it what it always said.
    listed = [{"path": f"/paper/{n}", "fingerprint": f"v1 of {n}"} for n in (1, 4, 5)]
    site.answers["tiny.example/list/2"] = page(articles=listed)
    site.answers["tiny.example/paper/1"] = page(key="paper-1", title="On the number 1", images=["/image/1.png"])
    crawler.run()
    assert crawler.asked()[4:] == ["http://tiny.example/paper/1"]
    with RawPages(crawler.store) as raw:
        assert not raw.is_gone("http://tiny.example/paper/1")

    # What is remembered outside the output is lost: the stored pages tell it again, and the night costs what it cost before.
    before = fingerprint(crawler.store)
    for path in crawler.folder.rglob("memory.parquet"):
        path.unlink()
    words = crawler.run()
    assert "reading them again" in words
    assert crawler.asked()[4:] == ["http://tiny.example/paper/3"], "that nothing links to it is the one thing that the stored pages do not tell"
    assert fingerprint(crawler.store) == before


@pytest.mark.slow
def test_articles_are_visited_again_after_a_while(crawler, site):
    crawler.params = {"revisit_after_days": 7}
    crawler.run()
    crawler.asked()
    before = fingerprint(crawler.store)
    for days, expected in ((6, 0), (7, 6), (13, 0)):
        site.day = datetime(2026, 3, 4 + days, 5, tzinfo=UTC)
        crawler.run()
        log = [entry for entry in crawler.running.log if "/paper/" in entry.url]
        assert len(log) == expected
        assert all(entry.status == 304 and entry.is_conditional for entry in log)
        crawler.asked()
    assert fingerprint(crawler.store) == before


def test_many_kinds_of_sites_in_one_crawl(tmp_path):
    hosts = (
        "tiny.example",
        "forbidden.example",
        "broken.example",
        "busy.example",
        "empty.example",
        "moved.example",
        "pictures.example",
        "zip.example",
        "hours.example",
    )
    site = TinySite(hosts=hosts, answers=journal())
    tries = {"busy": 0}

    def busy(request):
        tries["busy"] += 1
        return page() if tries["busy"] >= 3 else Response(b"later", status=503 if tries["busy"] == 1 else 429, headers=(("Retry-After", "1"),))

    site.answers |= {
        "forbidden.example/robots.txt": Response(b"User-agent: figment\nDisallow: /secret\n", "text/plain"),
        "forbidden.example/": page(articles=[{"path": "/secret/1"}, {"path": "/open/1"}]),
        "forbidden.example/secret/1": page(key="secret"),
        "forbidden.example/open/1": replace(page(key="open"), headers=(("X-Robots-Tag", "noai"), ("TDM-Reservation", "1"))),
        "broken.example/robots.txt": Response(b"out of order", status=500),
        "broken.example/": page(key="never"),
        "busy.example/": busy,
        "empty.example/": page(articles=[{"path": "/nowhere"}, {"path": "/garbled"}]),
        "empty.example/nowhere": Response(b"no Location", status=302),
        "empty.example/garbled": Response(b"not gzip", status=302, headers=(("Location", "/"), ("Content-Encoding", "gzip"))),
        "hours.example/": page(articles=[{"path": f"/{n}"} for n in range(9)]),
        **{f"hours.example/{n}": Response(b"", status=503, headers=(("Retry-After", "86400"),)) for n in range(9)},
        "moved.example/": Response(b"", status=301, headers=(("Location", "http://moved.example/new/"),)),
        "moved.example/new/": page(articles=[{"path": "/old-name"}]),
        "moved.example/old-name": Response(b"", status=302, headers=(("Location", "/new-name"),)),
        "moved.example/new-name": page(key="moved", images=["http://elsewhere.example/x.png", "/round.png"]),
        "moved.example/round.png": Response(b"", status=302, headers=(("Location", "/round.png"),)),
        "pictures.example/": page(images=["/page.png", "/big.png"]),
        "pictures.example/page.png": Response(b"<!DOCTYPE html><html>please log in</html>"),
        "pictures.example/big.png": Response(b"\x89PNG" + bytes(3 << 20), "image/png"),
        "zip.example/.well-known/tdmrep.json": Response(b'[{"location": "/", "tdm-reservation": 1}]', "application/json"),
        "zip.example/": replace(page(key="zipped", title="z" * 1000), headers=(("Content-Encoding", "gzip"),)),
    }
    site.answers["zip.example/"] = replace(site.answers["zip.example/"], body=gzip.compress(site.answers["zip.example/"].body, mtime=0))
    names = [host.removesuffix(".example") for host in hosts]
    sources = [{"name": name, "start": [f"http://{name}.example/"]} for name in names]
    with running(site) as server:
        crawler = Crawler(tmp_path, server, sources, {"retries": 2, "max_body_mib": 1})
        started = datetime.now(UTC)
        crawler.run()
        asked = crawler.asked()
        before = fingerprint(crawler.store)
        crawler.run()
        asked_again = crawler.asked()

    # robots.txt is obeyed; in trouble it forbids everything; where there is none, all is allowed.
    assert "http://forbidden.example/secret/1" not in asked
    assert [url for url in asked if "broken.example" in url] == ["http://broken.example/robots.txt"] * 3
    assert asked.count("http://busy.example/") == 3
    assert sum("hours.example" in url for url in asked) == 4, "a host that asks for a day of patience gets it"
    with RawPages(crawler.store) as raw:
        assert (datetime.now(UTC) - started).total_seconds() > 2, "two answers asked for a second of patience each"
        problems = {(problem.url, problem.kind) for problem in raw.problems()}
        assert problems == {
            ("http://forbidden.example/secret/1", "robots_disallowed"),
            ("http://broken.example/robots.txt", "http_500"),
            ("http://broken.example/", "robots_unreachable"),
            ("http://elsewhere.example/x.png", "host_not_allowed"),
            ("http://moved.example/round.png", "refused"),
            ("http://pictures.example/page.png", "not_an_image"),
            ("http://empty.example/nowhere", "http_302"),
            ("http://empty.example/garbled", "bad_encoding"),
            ("http://pictures.example/big.png", "too_large"),
            *((f"http://hours.example/{n}", "told_to_wait") for n in range(9)),
        }
        record = raw.latest("http://forbidden.example/open/1")
        assert (record.robots_tag, record.tdm_reserved) == ("noai", True)
        assert raw.latest("http://tiny.example/").tdm_reserved is None
        # A redirect is stored as such, and leads to the page.
        assert raw.latest("http://moved.example/old-name").url == "http://moved.example/new-name"
        assert [record.status for record in raw.history("http://moved.example/")] == [301]
        assert raw.latest("http://zip.example/").tdm_reserved is True, "the host says so for all that it serves"
        # Bodies are kept as they came and read back plain.
        zipped = raw.latest("http://zip.example/")
        assert json.loads(raw.body(zipped))["key"] == "zipped"
        assert raw.exchange(zipped).body[:2] == b"\x1f\x8b"
    # What failed is not asked for every night, and a second night without changes changes nothing.
    assert not [url for url in asked_again if url.endswith(".png") and "round" not in url]
    assert fingerprint(crawler.store) == before


@pytest.mark.slow
def test_a_site_without_anything_gives_an_empty_store_and_a_warning(crawler, site):
    site.answers.clear()
    words = crawler.run()
    assert "check sources_answered failed (WARN): sources=['tiny']" in words
    with RawPages(crawler.store) as raw:
        paths = ("/", "/.well-known/tdmrep.json", "/robots.txt")
        assert [(record.url, record.status) for record in raw.records()] == [(f"http://tiny.example{path}", 404) for path in paths]


def test_a_source_that_answers_and_tells_of_no_paper_fails_its_check(crawler, site):
    site.answers = {"tiny.example/": page(lists=["/list/2"]), "tiny.example/list/2": page()}
    words = crawler.run()
    assert "check sources_answered failed (WARN): sources=[], without_papers=['tiny']" in words
    assert last_night(crawler)["page_problems"] == 1, "a list with neither papers nor links"
    # What was once found is remembered: a night of lists alone is no reason to worry.
    site.answers["tiny.example/list/2"] = page(key="paper-1", title="One")
    assert "sources_answered failed" not in crawler.run()
    site.answers["tiny.example/list/2"] = page()
    assert "sources_answered failed" not in crawler.run()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_a_problem_and_no_failure(crawler):
    crawler.params = {"retries": 0}
    crawler.sources = [{"via": "http://127.0.0.1:9"}]
    crawler.run()
    with RawPages(crawler.store) as raw:
        assert [(problem.url, problem.kind) for problem in raw.problems()] == [
            ("http://tiny.example/", "robots_unreachable"),
            ("http://tiny.example/robots.txt", "unreachable"),
        ]


@pytest.mark.slow
def test_no_more_pages_than_asked_for(crawler):
    crawler.params = {"max_pages": 4}
    for crawl, articles in ((1, 2), (2, 2), (3, 2)):
        crawler.run()
        assert sum("/paper/" in url for url in crawler.asked()) == articles, f"crawl {crawl} takes the next ones"


@pytest.mark.slow
def test_two_nights_of_the_embedded_journal_and_its_registry(tmp_path):
    journal_source = {"name": "letters", "page": "acs", "start": ["http://journal.imaginary-letters.example/loi/imlett"]}
    registry = {
        "name": "registry",
        "page": "crossref",
        "start": ["http://api.imaginary-letters.example/works?rows=100&cursor=*"],
        "start_kind": "api",
    }
    local = {"embedded": "imaginary_letters", "via": ""}
    crawler = Crawler(tmp_path, None, [journal_source | local, registry | local])
    crawler.run()
    first, before = last_night(crawler), fingerprint(crawler.store)
    assert first["papers_new"] == first["requests"]["article"] > 200
    assert first["requests"]["image"] > 200 and first["requests"]["api"] > 1
    crawler.run()
    second = last_night(crawler)
    assert (second["requests"]["article"], second["requests"]["image"], second["is_new"]) == (0, 0, False)
    assert fingerprint(crawler.store) == before
