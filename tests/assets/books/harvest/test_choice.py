"""The file that shows an item's pages best."""

import gzip
import json
from collections import Counter

import pytest

from assets.books.harvest.choice import JP2_ZIP, choose, kind_of
from assets.books.harvest.stated import Stated, StatedFile, read_reply
from tests.conftest import SHARED_DATA

MANY = 2**40


def file(name: str, kind: str, size: int | None = 1_000, **values) -> StatedFile:
    return StatedFile(name, kind, size, **{"md5": "0" * 32, "sha1": "", "is_private": False} | values)


def chosen(*files: StatedFile, prefer="pdf", per_item="best", max_bytes=MANY):
    choice = choose(Stated("a", files=files), prefer=prefer, files=per_item, max_bytes=max_bytes)
    return [found.name for found in choice.files] or choice.reason


TEXT, SCAN, ADDED, GREY, JP2 = (
    file("a.pdf", "Text PDF"),
    file("scan.pdf", "Image Container PDF"),
    file("scan_text.pdf", "Additional Text PDF"),
    file("a_bw.pdf", "Grayscale PDF", 9_000),
    file("a_jp2.zip", JP2_ZIP, 50_000),
)


def test_the_grey_derivative_is_never_taken():
    assert chosen(GREY, TEXT) == ["a.pdf"]
    assert chosen(GREY) == "no_pages"
    assert chosen(file("b_bw.pdf", "Text PDF")) == "no_pages"


def test_text_comes_before_scans_and_the_original_scan_before_what_was_made_of_it():
    assert chosen(ADDED, SCAN, TEXT) == ["a.pdf"]
    assert chosen(ADDED, SCAN) == ["scan.pdf"]
    assert chosen(ADDED, file("x.pdf", "PDF")) == ["scan_text.pdf"]


def test_of_one_format_the_larger_is_taken_and_of_equal_ones_the_first_by_name():
    assert chosen(TEXT, file("b.pdf", "Text PDF", 2_000)) == ["b.pdf"]
    assert chosen(file("c.pdf", "Text PDF"), TEXT) == ["a.pdf"]


def test_page_images_are_the_other_choice_and_what_is_left_where_there_is_no_pdf():
    assert chosen(TEXT, JP2, prefer="jp2") == ["a_jp2.zip"]
    assert chosen(TEXT, JP2) == ["a.pdf"]
    assert chosen(JP2) == ["a_jp2.zip"]
    assert chosen(TEXT, prefer="jp2") == ["a.pdf"]
    assert chosen(file("a_raw_jp2.zip", "Single Page Raw JP2 ZIP")) == "no_pages"


@pytest.mark.parametrize("kind", ["ACS Encrypted PDF", "LCP Encrypted PDF"])
def test_what_is_encrypted_is_no_choice(kind):
    assert chosen(file("a.pdf", kind)) == "no_pages"
    assert chosen(file("a_encrypted.pdf", "Text PDF"), file("a.lcpdf", kind)) == "no_pages"


def test_why_there_is_none():
    assert chosen(file("a.pdf", "Text PDF", is_private=True)) == "private"
    assert chosen(file("a.pdf", "Text PDF", md5="")) == "no_checksum"
    assert chosen(TEXT, max_bytes=999) == "too_large"
    assert chosen() == "no_pages"


def test_all_of_the_best_format_come_where_that_is_asked_for():
    volumes = [file(f"{number}.pdf", "Text PDF", number) for number in (1, 2)]
    assert chosen(*volumes, SCAN, JP2, GREY, per_item="all") == ["2.pdf", "1.pdf"]


@pytest.mark.shared_data
def test_of_199_real_items_each_gives_what_a_person_would_take():
    """Looked through by hand once, all of them; the formats, and every item that is not as most are, are written down here."""
    kinds, jp2, without = Counter(), Counter(), {}
    with gzip.open(SHARED_DATA / "internet_archive" / "ia_metadata_responses.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            saved = json.loads(line)
            stated = read_reply(saved["identifier"], saved["response"])
            assert stated.title and stated.collections and stated.updated
            best = choose(stated, prefer="pdf", files="best", max_bytes=MANY)
            if not best.files:
                without[stated.identifier] = best.reason
                continue
            (file,) = best.files
            assert not file.name.endswith("_bw.pdf") and not file.is_private and file.md5 and file.sha1 and file.bytes
            kinds[file.format] += 1
            (images,) = choose(stated, prefer="jp2", files="best", max_bytes=MANY).files
            jp2[kind_of(images)] += 1
            if stated.identifier == "ldpd_10825098_004":  # whose PDF has 5 GB: within usual bounds its page images come instead
                (smaller,) = choose(stated, prefer="pdf", files="best", max_bytes=2**31).files
                assert (file.bytes > 2**31, smaller.format) == (True, JP2_ZIP)
    assert kinds == {"Text PDF": 172, "Image Container PDF": 16}
    assert jp2 == {"jp2_zip": 176, "pdf": 12}
    assert Counter(without.values()) == {"private": 10, "no_pages": 1}
    assert without["stampe-storiche-135"] == "no_pages"  # the one item that is an image
