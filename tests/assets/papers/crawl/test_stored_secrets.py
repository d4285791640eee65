"""A proxy's password reaches the proxy and nothing else, and what earlier versions have stored is told."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.papers import warc_store
from assets.papers.crawl.stored_secrets import stored_secrets
from assets.papers.warc_store import Exchange, WarcWriter

from .tiny_site import Crawler, TinySite, journal, running

SECRET = (("Proxy-Authorization", "Basic bWU6aHVzaC1odXNo"),)


def write_as_earlier_versions_did(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier, WarcWriter(path, about={}) as writer:
        earlier.setattr(warc_store, "_SECRETS", frozenset())
        writer.write(Exchange("http://a.example/", datetime.now(UTC), 200, (), b"", SECRET))


def test_each_file_is_looked_through_once(tmp_path, monkeypatch):
    write_as_earlier_versions_did(tmp_path / "crawl-00001.warc.gz", monkeypatch)
    with WarcWriter(tmp_path / "crawl-00002.warc.gz", about={}) as writer:
        writer.write(Exchange("http://a.example/", datetime.now(UTC), 200, (), b"", SECRET))
    remembered = tmp_path / "looked_at.json"
    assert stored_secrets(tmp_path, remembered) == {"crawl-00001.warc.gz": 1}
    monkeypatch.setattr("assets.papers.crawl.stored_secrets.requests_with_secrets", lambda path: pytest.fail(f"{path} was read again"))
    assert stored_secrets(tmp_path, remembered) == {"crawl-00001.warc.gz": 1}
    remembered.write_bytes(b"[1")
    monkeypatch.undo()
    assert stored_secrets(tmp_path, remembered) == {"crawl-00001.warc.gz": 1}


@pytest.mark.hostile
def test_the_password_of_a_proxy_is_sent_and_stored_nowhere(tmp_path, monkeypatch, tried):
    pytest.importorskip("scrapy", reason="scrapy is not installed (the `scrape` extra)")
    with running(TinySite(answers=journal())) as server:
        crawler = Crawler(tmp_path, server)
        crawler.sources = [{"via": server.proxy.replace("http://", "http://me:$HUSH@")}]
        assert "is to be in the environment variable HUSH, which is not set" in crawler.run(code=1)
        monkeypatch.setenv("HUSH", "hush-hush")
        assert "no_secrets_stored failed" not in crawler.run()
        assert server.log
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    texts = [
        b"".join(bytes(read.content_stream().read()) + str(read.http_headers).encode() for read in records(path)) for path in files if is_warc(path)
    ]
    told = sum(secret in text for text in [*texts, *(path.read_bytes() for path in files)] for secret in (b"hush-hush", b"bWU6aHVzaC1odXNo"))
    tried("files of a crawl through a proxy with a password", len(files), got_through=told)
    assert texts and not told
    write_as_earlier_versions_did(crawler.store / "crawl-00009.warc.gz", monkeypatch)
    with running(TinySite(answers=journal())) as server:
        crawler.running, crawler.sources = server, [{}]
        words = crawler.run()
    assert "no_secrets_stored failed (WARN): requests=1, files=['crawl-00009.warc.gz']" in words
    assert "Change that password" in words


def is_warc(path: Path) -> bool:
    return path.name.endswith(".warc.gz")


def records(path: Path):
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as file:
        yield from ArchiveIterator(file)
