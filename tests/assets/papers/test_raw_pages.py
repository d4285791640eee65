import gzip
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.papers.items import Page
from assets.papers.raw_pages import INDEX, RawPages, RawPagesError, SourceInfo, address
from tests.assets.papers.raw_pages_writer import RawPagesWriter

SOURCES = [SourceInfo("letters", "acs", "CC-BY-4.0", ("http://letters.example/",)), SourceInfo("abc", "article", "CC0-1.0")]


@pytest.fixture
def store(tmp_path):
    with RawPagesWriter(tmp_path / "journal_pages", sources=SOURCES) as writer:
        writer.add("http://letters.example/b", b"second", kind="article", source="letters", headers={"ETag": '"2"', "X-Robots-Tag": "noai"})
        packed = gzip.compress(b"first", mtime=0)
        writer.add("http://letters.example/a", packed, kind="article", source="letters", headers={"Content-Encoding": "gzip"}, tdm_reserved=False)
        writer.add("http://letters.example/old", b"", kind="article", source="letters", status=301, headers={"Location": "/b#top"})
        for crawl in (2, 3):
            writer.add("http://letters.example/b", b"gone", kind="article", source="letters", crawl=crawl, status=404, day=date(2026, 1, crawl))
        writer.add_problem("http://letters.example/c", "a captcha stood there", kind="bot_wall", source="letters", crawl=2)
    return tmp_path / "journal_pages"


def test_records_come_in_order_of_crawl_and_address(store):
    with RawPages(store) as raw:
        assert [(record.crawl, record.url[-3:]) for record in raw.records()] == [(1, "e/a"), (1, "e/b"), (1, "old"), (2, "e/b"), (3, "e/b")]
        assert [record.day for record in raw.history("http://letters.example/b")] == [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]
        assert list(raw.sources().items()) == [(source.name, source) for source in SOURCES]
        assert [(problem.kind, problem.crawl) for problem in raw.problems()] == [("bot_wall", 2)]


def test_a_response_is_read_as_the_page_object_wants_it(store):
    with RawPages(store) as raw:
        record = raw.latest("http://letters.example/a")
        page = raw.page(record)
        assert isinstance(page, Page) and (page.body, page.kind, page.source) == (b"first", "article", "letters")
        assert page.headers["content-encoding"] == "gzip"
        assert (record.etag, record.robots_tag, record.tdm_reserved) == (None, None, False)
        other = raw.history("http://letters.example/b")[0]
        assert (other.etag, other.robots_tag, other.tdm_reserved) == ('"2"', "noai", None)


def test_redirects_are_followed_and_gone_is_gone_twice(store):
    with RawPages(store) as raw:
        assert raw.latest("http://letters.example/old").url == "http://letters.example/b"
        assert raw.is_gone("http://letters.example/old") and raw.is_gone("http://letters.example/b")
        assert not raw.is_gone("http://letters.example/a") and not raw.is_gone("http://letters.example/unknown")
        assert raw.latest("http://letters.example/unknown") is None


def test_a_circle_of_redirects_leads_nowhere(tmp_path):
    with RawPagesWriter(tmp_path / "s") as writer:
        writer.add("http://x.example/1", b"", kind="article", source="x", status=302, headers={"Location": "/2"})
        writer.add("http://x.example/2", b"", kind="article", source="x", status=302, headers={"Location": "/1"})
    with RawPages(tmp_path / "s") as raw:
        assert raw.latest("http://x.example/1") is None


def test_no_store_is_an_empty_store(tmp_path):
    with RawPages(tmp_path / "nothing") as raw:
        assert (raw.records(), raw.sources(), raw.problems(), raw.history("http://x.example/")) == ([], {}, [], [])


def test_equal_pages_give_equal_indexes_and_the_schema_is_kept(store, tmp_path):
    table = pq.read_table(store / "index.parquet", partitioning=None)
    assert table.schema.equals(INDEX)
    assert not pq.read_metadata(store / "index.parquet").metadata.keys() - {b"ARROW:schema"}


@pytest.mark.parametrize(("name", "byte"), [("index.parquet", 60), ("sources.parquet", 60), ("crawl-00001.warc.gz", 400)])
def test_damage_is_named_with_its_remedy(store, name, byte):
    content = bytearray((store / name).read_bytes())
    content[byte] ^= 0x55
    (store / name).write_bytes(content)

    def read_everything() -> None:
        with RawPages(store) as raw:
            raw.sources()
            for record in raw.records():
                raw.body(record)

    with pytest.raises(RawPagesError, match=f"{name}.*dvc checkout data/journal_pages"):
        read_everything()


def test_a_missing_and_a_cut_file_are_named(store):
    warc = store / "crawl-00001.warc.gz"
    with RawPages(store) as raw:
        record = raw.records()[2]
        whole = warc.read_bytes()
        warc.write_bytes(whole[: record.offset + 20])
        with pytest.raises(RawPagesError, match="crawl-00001.warc.gz at byte .* cut off"):
            raw.body(record)
    warc.unlink()
    with RawPages(store) as raw, pytest.raises(RawPagesError, match="no such file, but the index names it for http://letters.example/a"):
        raw.body(raw.records()[0])


def test_another_response_than_the_indexed_one_is_noticed(store):
    with RawPages(store) as raw:
        first, second = raw.records()[:2]
        wrong = type(first)(**{**vars(first), "offset": second.offset, "length": second.length})
        with pytest.raises(RawPagesError, match="found http://letters.example/b, the index says http://letters.example/a"):
            raw.body(wrong)
        wrong = type(first)(**{**vars(first), "content_sha256": "0" * 64})
        with pytest.raises(RawPagesError, match="the index says 0000"):
            raw.body(wrong)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("HTTP://Letters.Example", "http://letters.example/"),
        ("http://letters.example/a b#part", "http://letters.example/a%20b"),
        ("http://letters.example/été?q=ü", "http://letters.example/%C3%A9t%C3%A9?q=%C3%BC"),
        ("http://letters.example/%C3%A9?a=1&b=%20", "http://letters.example/%C3%A9?a=1&b=%20"),
        ("http://bücher.example:8080/", "http://xn--bcher-kva.example:8080/"),
        ("http://user:secret@letters.example/", "http://letters.example/"),
    ],
)
def test_an_address_has_one_spelling(written, kept):
    from scrapy import Request

    assert address(written) == kept == address(kept)
    assert Request(kept).url == kept, "Scrapy asks for exactly what the store remembers"


@pytest.mark.hostile
def test_an_index_never_leads_out_of_its_folder(store, tmp_path, tried):
    names = [
        "../crawl-00001.warc.gz",
        str(store / "crawl-00001.warc.gz"),
        "a/../crawl-00001.warc.gz",
        "index.parquet",
        "",
        "crawl-00001.warc.gz\0",
        "\n",
    ]
    names += [
        "crawl-00001.warc.gz\n",
        "../../../../etc/passwd",
        "CRAWL-00001.WARC.GZ",
        "crawl-00001.warc.gz/.",
        "crawl-\u0661\u0661\u0661\u0661\u0661.warc.gz",
    ]
    (tmp_path / "crawl-00001.warc.gz").write_bytes((store / "crawl-00001.warc.gz").read_bytes())
    table = pq.read_table(store / "index.parquet", partitioning=None)
    got_through = 0
    for name in names:
        led_astray = table.set_column(table.schema.get_field_index("warc"), INDEX.field("warc"), pa.array([name] * len(table), pa.string()))
        pq.write_table(led_astray, store / "index.parquet")
        with RawPages(store) as raw:
            try:
                got_through += bool(raw.body(raw.records()[0]))
            except RawPagesError as error:
                got_through += "expected files named crawl-00001.warc.gz" not in str(error)
    tried("names in an index that lead elsewhere", len(names), got_through=got_through)
    assert not got_through
