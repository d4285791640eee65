"""A crawl as one archive, judged by another's reader and by the published form."""

import gzip
import hashlib
import json
import zipfile
from datetime import date
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from orchestration.export.copying import ExportError, export
from tests.assets.papers.raw_pages_writer import RawPagesWriter


@pytest.fixture
def crawl(tmp_path: Path) -> dict[str, Path]:
    with RawPagesWriter(tmp_path / "pages") as writer:
        for number in range(1_500):
            page = f"<title>Paper &amp; {number}</title>".encode()
            writer.add(f"http://www.letters.example/Paper/{number}?b=1&a=2", page, kind="article", source="letters")
        writer.add("http://letters.example/", b"<title>Letters</title>", kind="index", source="letters", crawl=2, day=date(2026, 1, 2))
    return {path.name: path for path in (tmp_path / "pages").iterdir()}


def test_the_archive_says_of_every_member_what_it_holds(crawl, tmp_path):
    export(crawl, tmp_path / "crawl.wacz", "wacz")

    with zipfile.ZipFile(tmp_path / "crawl.wacz") as archive:
        package = json.loads(archive.read("datapackage.json"))
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        for resource in package["resources"]:
            content = archive.read(resource["path"])
            assert (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)) == (resource["hash"], resource["bytes"])
        digest = json.loads(archive.read("datapackage-digest.json"))
        assert digest["hash"] == f"sha256:{hashlib.sha256(archive.read('datapackage.json')).hexdigest()}"
        pages = [json.loads(line) for line in archive.read("pages/pages.jsonl").splitlines()]
    assert package["created"].startswith("2026-01-02")
    assert len(pages) == 1 + 1_501
    assert {"Letters", "Paper & 7"} <= {page["title"] for page in pages}


def test_every_line_of_the_index_leads_to_its_record(crawl, tmp_path):
    export(crawl, tmp_path / "crawl.wacz", "wacz")

    with zipfile.ZipFile(tmp_path / "crawl.wacz") as archive:
        index, (head, *over) = archive.read("indexes/index.cdx.gz"), archive.read("indexes/index.idx").decode().splitlines()
        assert json.loads(head.removeprefix("!meta 0 "))["filename"] == "index.cdx.gz"
        lines: list[str] = []
        for line in over:
            key, timestamp, said = line.split(" ", 2)
            place = json.loads(said)
            member = gzip.decompress(index[place["offset"] : place["offset"] + place["length"]]).decode().splitlines()
            assert member[0].startswith(f"{key} {timestamp} ")
            lines += member
        assert len(over) == 2 and lines == sorted(lines) and len(lines) == 1_501
        assert lines[-1].startswith("example,letters)/paper/")
        for line in lines[::250]:
            fields = json.loads(line.split(" ", 2)[2])
            with archive.open(f"archive/{fields['filename']}") as warc:
                warc.seek(int(fields["offset"]))
                record = next(iter(ArchiveIterator(warc)))
                assert record.rec_headers["WARC-Target-URI"] == fields["url"]
                assert record.rec_headers["WARC-Payload-Digest"] == fields["digest"]


def test_equal_crawls_give_equal_bytes(crawl, tmp_path):
    for name in ("one.wacz", "two.wacz"):
        export(crawl, tmp_path / name, "wacz")

    assert (tmp_path / "one.wacz").read_bytes() == (tmp_path / "two.wacz").read_bytes()


def test_what_is_no_crawl_and_a_torn_file_are_refused(crawl, tmp_path):
    with pytest.raises(ExportError, match="no WARC files"):
        export({"index.parquet": crawl["index.parquet"]}, tmp_path / "no.wacz", "wacz")
    torn = next(path for name, path in crawl.items() if name.endswith(".warc.gz"))
    torn.write_bytes(torn.read_bytes()[:-10])
    with pytest.raises(ExportError, match="is cut off"):
        export(crawl, tmp_path / "torn.wacz", "wacz")
    assert not (tmp_path / "torn.wacz").exists()
