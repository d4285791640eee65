from datetime import date

import pytest

from assets.papers.crawl.harvests import Harvest
from assets.papers.crawl.memory import Known, Memory, Unstored, load_memory, memory_from_store, records_of, save_memory, store_identity
from assets.papers.items import Paper, Parsed, Withdrawal
from assets.papers.raw_pages import RawPages
from tests.assets.papers.raw_pages_writer import RawPagesWriter

from .tiny_site import page, parse

HOST = "http://tiny.example"


def store(folder) -> RawPages:
    with RawPagesWriter(folder) as writer:

        def add(path, said, kind, crawl=1):
            day = date(2026, 1, crawl)
            writer.add(HOST + path, said, kind=kind, source="tiny", crawl=crawl, day=day, content_type="application/json")

        add(
            "/",
            page(articles=[{"path": "/1", "fingerprint": "a"}, {"path": "/2", "fingerprint": "b"}, {"path": "/3", "fingerprint": "c"}]).body,
            "index",
        )
        add("/1", page(key="one", images=["/1.png", "/2.png"]).body, "article")
        add("/2", page(key="two").body, "article")
        add("/1.png", b"\x89PNG", "image")
        # The list changes: one article is stored anew, the other is answered 304, so that nothing of it is stored.
        add("/", page(articles=[{"path": "/1", "fingerprint": "a2"}, {"path": "/2", "fingerprint": "b2"}]).body, "index", crawl=2)
        add("/1", page(key="one", title="new", images=["/1.png", "/2.png"]).body, "article", crawl=2)
    return RawPages(folder)


def test_the_stored_pages_tell_what_was_remembered(tmp_path):
    memory = memory_from_store(store(tmp_path), parse)
    known = {url.removeprefix(HOST): (entry.fingerprints, entry.asked) for url, entry in memory.known.items()}
    assert known == {
        "/1": (("a2",), date(2026, 1, 2)),
        "/2": (("b",), date(2026, 1, 1)),  # one conditional question too many, and none too few
        "/3": ((), None),
        "/1.png": (("",), date(2026, 1, 1)),
        "/2.png": ((), None),
    }
    assert memory.papers == {"tiny": {"one", "two"}}


def test_a_memory_is_kept_for_its_own_store_only(tmp_path):
    raw = store(tmp_path / "store")
    memory = Memory()
    memory.had("http://x.example/1", "x", "article", fingerprints={"b", "a"}, asked=date(2026, 3, 1))
    memory.failed("http://x.example/2", "x", "image", asked=date(2026, 3, 1))
    memory.had("http://x.example/3", "x", "index", fingerprints=(), asked=date(2026, 3, 1), is_gone=True)
    memory.papers["x"] |= {"10.5555/b", "10.5555/a"}
    memory.said["x"] |= {"10.5555/a": "a digest", "of no paper": "another"}
    memory.unstored["http://x.example/1"] = Unstored('"tag"', "", "reader", "said")
    memory.harvests["x", "http://x.example/oai"] = Harvest(since="2026-03-01", nights=2, rest="http://x.example/oai?token", granularity="YYYY-MM-DD")
    path = tmp_path / "memory.parquet"
    save_memory(path, memory, store_identity(raw.folder))
    found = load_memory(path, store_identity(raw.folder))
    assert (found.known, found.papers) == (memory.known, memory.papers)
    assert (found.said, found.unstored, found.harvests) == (memory.said, memory.unstored, memory.harvests)
    assert found.known["http://x.example/3"].absences == 1
    assert load_memory(path, "of another store") is None
    assert load_memory(tmp_path / "missing", "") is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_memory(path, store_identity(raw.folder)) is None


def test_what_a_registry_says_of_a_record_is_news_once_whichever_answer_says_it():
    memory, first, second = Memory(), "http://x.example/oai?from=1", "http://x.example/oai?from=2"

    def said(title: str, url: str) -> Parsed:
        return Parsed(papers=(Paper(key="a", url=url, title=title), Paper(key="b", url="http://x.example/b")))

    assert memory.says_anew("x", said("A", first), first).keys() == {"a", "b"}
    memory.said["x"].update(records_of(said("A", first), first))
    assert memory.says_anew("x", said("A", second), second) == {}, "a record without an address has that of the answer"
    assert memory.says_anew("x", said("B", second), second).keys() == {"a"}
    deleted = Parsed(withdrawals=(Withdrawal("b", "deleted", "gone"),))
    assert memory.says_anew("x", deleted, second).keys() == {"b"} and memory.says_anew("y", said("A", first), first).keys() == {"a", "b"}


def test_failures_add_up_until_it_is_had(tmp_path):
    memory = Memory()
    for _ in range(2):
        memory.failed("http://x.example/1", "x", "article", asked=date(2026, 3, 1))
    assert memory.known["http://x.example/1"].failures == 2
    memory.had("http://x.example/1", "x", "article", fingerprints=(), asked=date(2026, 3, 2))
    assert memory.known["http://x.example/1"].failures == 0


@pytest.mark.hostile
def test_no_flipped_bit_of_the_memory_goes_unseen(tmp_path, tried):
    path = tmp_path / "memory.parquet"
    known = {f"http://x.example/{n}": Known(f"http://x.example/{n}", "x", "article", (f"said {n}",)) for n in range(50)}
    save_memory(path, Memory(known=known), "this store")
    whole, through = path.read_bytes(), 0
    flips = range(0, 8 * len(whole), max(1, 8 * len(whole) // 400))
    for bit in flips:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        through += load_memory(path, "this store") is not None
    tried("flipped bits of the crawl's memory", len(flips), got_through=through)
    assert through == 0
