"""Archives of items: what the real client finds, reads and downloads of them, what searches understand, editions, and folders as archives."""

import gzip
import hashlib
import json
import re
import time
import zipfile
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.demo_sites import open_site, serve, site_named
from assets.demo_sites.archive import ArchiveSite, Item, ItemFile
from assets.demo_sites.archive_folder import _groups
from assets.demo_sites.archive_search import SearchError, matcher
from assets.demo_sites.exchange import Response
from assets.demo_sites.opening import write_edition
from assets.demo_sites.server import _part
from tests.assets.demo_sites.proxying import client_of
from tests.assets.demo_sites.reading import ask

HOST = "archive.imaginary-letters.example"


def answer(site: Any, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(site, f"http://{site.hosts[0]}{path}").body)
    return found


@pytest.fixture(scope="module")
def archive():
    pytest.importorskip("PIL")
    return site_named("imaginary_archive")


@pytest.fixture(scope="module")
def session(archive):
    """The real client, led to the embedded archive."""
    internetarchive = pytest.importorskip("internetarchive")
    with serve(archive) as running:
        session = internetarchive.get_session(config={"general": {"secure": False}}, config_file="/dev/null")
        session.host, session.proxies, session.trust_env = HOST, {"http": running.proxy}, False
        yield session
        session.close()


def test_the_real_client_finds_every_item_over_several_pages(session, archive):
    found = session.search_items("collection:imaginary_books AND mediatype:texts", fields=["title"])
    shown = [item for item in archive.items.values() if not item.is_dark]
    assert len(found) == len(shown) > 10
    assert {one["identifier"]: one["title"] for one in found} == {item.identifier: item.metadata["title"] for item in shown}


def test_the_real_client_finds_items_by_page_and_row(session):
    found = session.search_items("mediatype:texts", fields=["date"], sorts=["date desc"], params={"rows": 3, "page": 2})
    dates = [one["date"] for one in found]
    assert len(dates) == 3 and dates == sorted(dates, reverse=True)


def test_the_real_client_downloads_a_file_and_goes_on_where_one_broke_off(session, tmp_path):
    item = session.get_item("lettersofaclampstand00beak")
    (file,) = item.get_files(formats="Text PDF")
    target = tmp_path / file.name
    assert file.download(destdir=str(tmp_path))
    whole = target.read_bytes()
    assert (hashlib.md5(whole).hexdigest(), hashlib.sha1(whole).hexdigest(), len(whole)) == (file.md5, file.sha1, file.size)
    # A cut file with another time is taken up again by a range; the client compares the sum of the whole.
    target.write_bytes(whole[:1000])
    assert file.download(destdir=str(tmp_path))
    assert target.read_bytes() == whole


def test_the_real_client_learns_what_is_dark_and_what_never_was(session):
    assert session.get_item("unspeakableflask").is_dark
    assert not session.get_item("nobodyswrote").exists


def test_metadata_has_the_archives_own_shape(archive):
    told = answer(archive, "/metadata/naturalhistoryofflasks")
    assert told.keys() == {
        "created", "d1", "d2", "dir", "files", "files_count", "item_last_updated", "item_size", "metadata", "server", "uniq", "workable_servers",
    }  # fmt: skip
    assert told["files_count"] == len(told["files"])
    sums = next(entry for entry in told["files"] if entry["name"].endswith("_files.xml"))
    assert sums.keys() == {"name", "source", "format", "md5", "summation"}
    assert all(isinstance(value, str) for entry in told["files"] for value in entry.values())
    # Some fields are a text in one item and a list in another.
    kinds = {type(answer(archive, f"/metadata/{name}")["metadata"]["creator"]) for name in ("naturalhistoryofflasks", "silentlecture1902")}
    assert kinds == {str, list}


def test_the_archive_holds_every_kind_of_item_that_harvests_meet(archive):
    formats = {name: {file.format for file in item.files} for name, item in archive.items.items()}
    assert "Grayscale PDF" in formats["naturalhistoryofflasks"]
    assert formats["oraltradition"] == {"DjVuTXT"}
    assert "licenseurl" not in archive.items["anonymousalmanac"].metadata
    assert archive.items["unspeakableflask"].is_dark
    assert sum(int(item.metadata["imagecount"]) for item in archive.items.values() if not item.is_dark) == pytest.approx(180, abs=20)


def test_pages_of_every_kind_open_as_they_are_meant(archive):
    pdfium = pytest.importorskip("pypdfium2")
    with pytest.raises(pdfium.PdfiumError, match="password"):
        pdfium.PdfDocument(_body(archive, "sealedcorrespondence", ".pdf"))
    with pdfium.PdfDocument(_body(archive, "mixedbag00trip", ".pdf")) as mixed:
        pages = [mixed[place] for place in range(len(mixed))]
        assert len({page.get_size() for page in pages}) > 3
        assert {page.get_rotation() for page in pages} > {0, 90, 180}
    with pdfium.PdfDocument(_body(archive, "lettersofaclampstand00beak", ".pdf")) as scans:
        page = scans[4]
        kinds = [item.type for item in page.get_objects()]
        assert kinds.count(pdfium.raw.FPDF_PAGEOBJ_IMAGE) == 1
        assert "CHAPTER" in page.get_textpage().get_text_bounded()
        # A page of print is mostly paper, with ink in lines.
        grey = page.render(scale=0.5, grayscale=True).to_numpy().squeeze()
        assert 100 < grey.mean() < 240 and grey.min() < 90


def test_typeset_pages_hold_their_text(archive):
    pdfium = pytest.importorskip("pypdfium2")
    with pdfium.PdfDocument(_body(archive, "primeroftea00funn", ".pdf")) as book:
        words = book[3].get_textpage().get_text_bounded().split()
    printed = _body(archive, "primeroftea00funn", "_djvu.txt").decode().split("\f")[3].split()
    assert len(words) > 200
    assert len(set(words) & set(printed)) > 0.9 * len(set(printed))


def test_scanned_pictures_are_in_a_zip_of_jpeg_2000(archive):
    pytest.importorskip("PIL")
    from PIL import Image, features

    if not features.check("jpg_2000"):
        pytest.skip("this Pillow writes no JPEG 2000")
    with zipfile.ZipFile(BytesIO(_body(archive, "silentlecture1902", "_jp2.zip"))) as pages:
        names = pages.namelist()
        with Image.open(BytesIO(pages.read(names[0]))) as image:
            assert (image.format, len(names)) == ("JPEG2000", 6)


def _body(archive: ArchiveSite, identifier: str, ending: str) -> bytes:
    (file,) = (file for file in archive.items[identifier].files if file.name == f"{identifier}{ending}")
    return file.read()


def test_everything_is_drawn_alike_twice():
    from assets.demo_sites import books

    once = [file.entry for file in books._first_items.__wrapped__()[0].files]
    assert once == [file.entry for file in books._first_items.__wrapped__()[0].files]


def test_an_edition_adds_an_item_changes_a_file_and_takes_one_away(archive, tmp_path):
    write_edition(2, tmp_path)
    later = site_named("imaginary_archive", state=tmp_path)
    before, after = archive.items, later.items
    assert after.keys() - before.keys() == {"supplement0002"}
    assert {name for name in before if after[name].is_dark and not before[name].is_dark} == {"pamphletpunctuality"}
    here = [name for name in before if not after[name].is_dark and before[name] is not after[name]]
    changed = {name for name in here if before[name].entries != after[name].entries}
    assert changed == {"primeroftea00funn"}
    assert after["primeroftea00funn"].updated > before["primeroftea00funn"].updated
    assert answer(later, "/metadata/pamphletpunctuality")["is_dark"] is True
    assert ask(later, f"http://{HOST}/download/pamphletpunctuality/pamphletpunctuality.pdf").status == 403


def test_each_edition_takes_what_the_one_before_it_added(tmp_path):
    pytest.importorskip("PIL")
    write_edition(4, tmp_path)
    dark = {name for name, item in site_named("imaginary_archive", state=tmp_path).items.items() if item.is_dark}
    assert dark == {"unspeakableflask", "pamphletpunctuality", "supplement0002", "supplement0003"}


BOOK = {
    "identifier": "abook",
    "title": "A Book of Tea",
    "collection": ["books", "tea"],
    "date": "1894",
    "mediatype": "texts",
    "license": "http://a/b",
}


@pytest.mark.parametrize(
    "query",
    [
        "collection:books",
        "collection:maps OR collection:books AND date:[1880 TO 1899]",
        'title:"book of tea" NOT mediatype:image',
        "tea -date:[* TO 1893]",
        "identifier:other OR identifier:a* mediatype:TEXTS",
        "license:http://a/*",
        "date:[1894 TO null]",
        "*",
    ],
)
def test_a_search_finds_what_fits(query):
    assert matcher(query)(BOOK)


@pytest.mark.parametrize(
    "query", ["collection:book", "date:[1895 TO 1899]", "tea NOT collection:tea", "title:of AND title:coffee", "-mediatype:texts"]
)
def test_a_search_leaves_out_what_does_not(query):
    assert not matcher(query)(BOOK)


@pytest.mark.parametrize("query", ["", "(a OR b", "a OR", "OR a", 'title:"open', "a )", "[a TO", "NOT", "(" * 3000])
def test_a_search_that_cannot_be_read_is_refused(query):
    with pytest.raises(SearchError):
        matcher(query)


def small_archive() -> ArchiveSite:
    day = site_named("frozen_folder", folder=".", hosts=["a.example"]).now()
    files = (ItemFile("a.pdf", "Text PDF", "original", 1_700_000_000, lambda: b"0123456789"),)
    return ArchiveSite([Item("one", {"identifier": "one", "title": "<One>"}, files, 1_700_000_000)], hosts=("a.example",), day=day)


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=0-99", 206, b"0123456789"),
        ("bytes=10-", 416, b""),
        ("bytes=4-2", 200, b"0123456789"),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_parts_of_a_file_are_sent_as_asked(asked, status, body):
    with serve(small_archive()) as running, client_of(running.proxy) as client:
        found = client.get("http://a.example/download/one/a.pdf", Range=asked)
        changed = client.get("http://a.example/download/one/a.pdf", Range=asked, If_Range='"another"')
    assert (found.status, found.body) == (status, body)
    if status == 206:
        first = 10 - len(body) if asked.startswith("bytes=-") else int(asked.removeprefix("bytes=").split("-")[0])
        assert found.headers["content-range"] == f"bytes {first}-{first + len(body) - 1}/10"
    assert (changed.status, changed.body) == (200, b"0123456789")


@given(start=st.integers(0, 12), end=st.one_of(st.none(), st.integers(0, 12)))
def test_a_part_is_what_lies_between_its_ends(start, end):
    response = Response(b"0123456789", has_ranges=True)
    part = _part({"range": f"bytes={start}-{'' if end is None else end}"}, '"x"', response)
    expected = response.body[start : None if end is None else end + 1]
    if end is not None and end < start:
        assert part is None
    else:
        assert part is not None and response.body[part.start : part.stop] == expected and len(part) == len(expected)


@given(st.text(max_size=20))
def test_nobody_s_range_is_too_strange(words):
    part = _part({"range": f"bytes={words}"}, '"x"', Response(b"0123456789", has_ranges=True))
    assert part is None or set(part) <= set(range(10))


def test_questions_may_be_posted_and_mistakes_are_told():
    with serve(small_archive()) as running, client_of(running.proxy) as client:
        asked = "http://a.example/services/search/v1/scrape"
        assert json.loads(client.get(f"{asked}?q=one", method="POST").body)["total"] == 1
        assert client.get(f"{asked}?q=one", method="PUT").headers["allow"] == "GET, HEAD, POST"
        for mistake in ("", "?q=(", "?q=one&cursor=nonsense", "?q=one&count=many"):
            refused = client.get(f"{asked}{mistake}")
            assert refused.status == 400 and "error" in json.loads(refused.body)
        assert "&lt;One&gt;" in client.get("http://a.example/details/one").body.decode()
        for missing in ("/details/two", "/details/one/x", "/download/one/b.pdf", "/other"):
            assert client.get(f"http://a.example{missing}").status == 404


def test_a_folder_of_files_is_an_archive_of_items(tmp_path):
    for name in (
        "one.pdf",
        "one_bw.pdf",
        "one_jp2.zip",
        "two words.PDF",
        "sub/one.pdf",
        "whole/whole.pdf",
        "whole/extra.pdf",
        ".hidden.pdf",
        "notes.txt",
        "two-words.pdf",
        "deep/sub/one.pdf",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    site = site_named("archive_folder", folder=tmp_path, hosts=["scans.example"])
    groups = {name: [file.name for file in item.files] for name, item in site.items.items()}
    assert groups == {
        "one": ["one.pdf", "one_bw.pdf", "one_jp2.zip"],
        "deep-sub-one": ["one.pdf"],
        "sub-one": ["one.pdf"],
        "two-words": ["two words.PDF"],
        "two-words-4": ["two-words.pdf"],
        "whole": ["extra.pdf", "whole.pdf"],
    }
    assert ask(site, "http://scans.example/download/two-words/two%20words.PDF").body == b"two words.PDF"
    entry = next(entry for entry in answer(site, "/metadata/sub-one")["files"] if entry["name"] == "one.pdf")
    assert entry["md5"] == hashlib.md5(b"sub/one.pdf").hexdigest()


def test_a_folder_of_thousands_of_files_is_grouped_in_a_moment(tmp_path):
    paths = [tmp_path / f"{number:05d}.pdf" for number in range(5_000)]
    started = time.process_time()
    assert len(_groups(paths, tmp_path)) == 5_000
    assert time.process_time() - started < 5


def test_saved_answers_lend_their_fields_but_not_their_sums(tmp_path):
    (tmp_path / "one.pdf").write_bytes(b"%PDF")
    entry = {"name": "one.pdf", "format": "Image Container PDF", "md5": "0" * 32, "size": "9", "source": "derivative"}
    saved = {"metadata": {"identifier": "one", "title": "One", "creator": ["A", "B"]}, "files": [entry], "item_last_updated": 7}
    (tmp_path / "one.json").write_text(json.dumps(saved))
    lines = json.dumps({"identifier": "elsewhere", "response": {"is_dark": True}})
    (tmp_path / "more.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "broken.json").write_text("{")
    site = site_named("archive_folder", folder=tmp_path, hosts=["scans.example"])
    told = answer(site, "/metadata/one")
    assert (told["metadata"]["creator"], told["item_last_updated"]) == (["A", "B"], 7)
    found = next(file for file in told["files"] if file["name"] == "one.pdf")
    assert (found["format"], found["md5"], found["size"]) == ("Image Container PDF", hashlib.md5(b"%PDF").hexdigest(), "4")
    assert answer(site, "/metadata/elsewhere") == {"is_dark": True}
    assert answer(site, "/services/search/v1/scrape")["error"]
    assert [words.partition(":")[0] for words in site.skipped] == ["broken.json"]


@pytest.mark.shared_data
def test_the_real_scans_are_items_and_the_real_answers_are_served(shared_data):
    scans = site_named("archive_folder", folder=shared_data / "scanned_pdfs", hosts=["scans.example"])
    assert len(scans.items) == 11
    real = site_named("archive_folder", folder=shared_data / "internet_archive", hosts=["archive.example"])
    saved = [name for name, item in real.items.items() if item.saved]
    assert len(saved) >= 199
    assert answer(real, "/metadata/CAT10507566")["metadata"]["identifier"] == "CAT10507566"


def test_a_site_of_archives_is_opened_by_name(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with open_site("archive_folder", folder=tmp_path, hosts=["Scans.example"]) as proxy, client_of(proxy) as client:
        found = client.get("http://scans.example/advancedsearch.php?q=mediatype:texts&output=json&rows=5")
    assert re.search(r'"numFound": 1', found.body.decode())
