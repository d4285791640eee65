"""Nights in which nothing that a page object reads has changed, and registries that are asked for what is new."""

import itertools
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import pytest

from assets.demo_sites.exchange import Request, Response
from assets.demo_sites.oai import OaiRecord, OaiRepository
from assets.papers.raw_pages import RawPages

from .tiny_site import Crawler, TinySite, fingerprint, journal, page, running

OAI = "http://records.example/oai?verb=ListRecords&metadataPrefix=oai_dc"


def last_night(crawler) -> dict:
    return json.loads((crawler.folder / ".figment/crawls/journal_pages/nights.jsonl").read_text().splitlines()[-1])


def restless(answer: Response):
    """The same page with another counter, token and entity tag at every request."""
    count = itertools.count()

    def respond(_request: Request) -> Response:
        said = json.loads(answer.body) | {"visitors": next(count), "token": f"nonce-{next(count)}"}
        return Response(json.dumps(said).encode(), "application/json")

    return respond


@pytest.fixture
def restless_journal(tmp_path):
    """A site after its first night, whose articles are due every day."""
    site = TinySite(answers=journal(papers=2))
    site.answers |= {path: restless(answer) for path, answer in site.answers.items() if not path.endswith((".png", ".txt"))}
    with running(site) as server:
        crawler = Crawler(tmp_path, server, [{}], {"revisit_after_days": 1})
        crawler.run()
        yield site, crawler


def test_a_page_that_differs_only_in_what_nobody_reads_is_not_stored_again(restless_journal):
    site, crawler = restless_journal
    before, bytes_before = fingerprint(crawler.store), last_night(crawler)["stored_bytes"]
    crawler.asked()
    # Lists and, being due, both articles come with other bytes: nothing is stored, and no picture is asked for.
    site.day = datetime(2026, 3, 6, 5, tzinfo=UTC)
    crawler.run()
    assert fingerprint(crawler.store) == before and bytes_before > 0
    assert (last_night(crawler)["unchanged"], last_night(crawler)["stored"]) == (6, 0)
    assert sorted(url.rpartition("/")[2] for url in crawler.asked()) == ["", "0", "1", "2", "robots.txt", "tdmrep.json"]


@pytest.mark.slow
def test_what_a_page_object_reads_is_stored_as_ever_beside_what_it_does_not(restless_journal):
    site, crawler = restless_journal
    site.answers["tiny.example/"] = page(articles=[{"path": "/paper/0", "fingerprint": "v1 of 0"}], lists=["/list/2"], visitors=99)
    site.answers["tiny.example/paper/0"] = page(key="paper-0", title="Corrected", images=["/image/0.png"])
    crawler.params["revisit_after_days"] = 30
    crawler.run()
    site.answers["tiny.example/"] = page(articles=[{"path": "/paper/0", "fingerprint": "v2"}], lists=["/list/2"], visitors=99)
    crawler.asked()
    crawler.run()
    statuses = {entry.url.rpartition("/")[2]: entry.status for entry in crawler.running.log}
    assert statuses["0"] == 200 and last_night(crawler)["papers_changed"] == 1
    assert last_night(crawler)["stored"] == 2, "the list that says it, and the paper"


@dataclass
class Registry(TinySite):
    """An OAI-PMH repository on records.example."""

    repository: OaiRepository = field(default_factory=lambda: OaiRepository("Records", "http://records.example/oai", [], page_size=4))

    def respond(self, request: Request) -> Response:
        return self.repository.answer(request.query, self.day) if request.path == "/oai" else Response(b"", status=404)


def record(number: int, day: date, title: str | None = "") -> OaiRecord:
    said = None if title is None else (("title", title or f"On the number {number}"), ("description", f"What is said of {number}."))
    return OaiRecord(f"oai:records.example:{number}", day, said)


@pytest.fixture
def registry(tmp_path):
    site = Registry(hosts=("records.example",))
    site.repository = replace(site.repository, records=[record(number, date(2026, 2, 1)) for number in range(10)])
    source = {"name": "records", "page": "oai", "start": [OAI], "start_kind": "api"}
    with running(site) as server:
        yield site, Crawler(tmp_path, server, [source], {"full_sweep_nights": 3})


def queries(crawler) -> list[str]:
    return [url.partition("?")[2] for url in crawler.asked() if "?" in url]


@pytest.mark.slow
def test_a_repository_is_asked_for_what_is_new_and_for_everything_now_and_then(registry):
    site, crawler = registry
    crawler.run()
    assert [query.partition("&")[0] for query in queries(crawler)] == ["verb=Identify"] + ["verb=ListRecords"] * 3
    assert last_night(crawler)["papers_new"] == 10
    before = fingerprint(crawler.store)
    # Nothing new: one question, and no byte moves.
    site.day = datetime(2026, 3, 5, 5, tzinfo=UTC)
    crawler.run()
    assert queries(crawler) == ["verb=ListRecords&metadataPrefix=oai_dc&from=2026-03-04"]
    assert fingerprint(crawler.store) == before
    # One comes, one changes, one is deleted.
    records = list(site.repository.records)
    records[2], records[3] = record(2, date(2026, 3, 5), "Corrected"), record(3, date(2026, 3, 5), None)
    site.repository = replace(site.repository, records=[*records, record(10, date(2026, 3, 6))])
    site.day = datetime(2026, 3, 6, 5, tzinfo=UTC)
    crawler.run()
    assert queries(crawler) == ["verb=ListRecords&metadataPrefix=oai_dc&from=2026-03-05"]
    night = last_night(crawler)
    assert (night["papers_new"], night["papers_withdrawn"], night["stored"]) == (1, 1, 1)
    # The third night after a sweep is one: everything is asked for, and nothing of it is news.
    before = fingerprint(crawler.store)
    crawler.run()
    assert len(queries(crawler)) == 3 and fingerprint(crawler.store) == before
    # The answer of the changes alone says what a harvest from nothing would.
    with RawPages(crawler.store) as raw:
        assert [record.crawl for record in raw.records() if record.kind == "api"] == [1, 1, 1, 2], "a night without news has no number"
