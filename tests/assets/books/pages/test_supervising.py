"""Whatever a file does to the process that draws it costs a page or the file, is told, and the rest goes on: hostile files in real processes."""

import json
import time

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed (extra: books)")

from assets.books.pages import supervising
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.supervising import FACTS, FileFacts, draw_file, member
from formats.png import decode_png
from formats.stored_zip import StoredZip
from tests.assets.books.pages.pdfs import Page, drawing, encoded, packed, pdf, scan_page, scans, stream, text_page

SMALL = {"page_px": 64, "memory_mib": 512}


@pytest.fixture
def draw(tmp_path):
    """Draw a file in a process."""

    def draw(content: bytes, kind: str = "pdf", name: str = "file", **settings) -> FileFacts:
        path = tmp_path / f"{name}.pdf"
        path.write_bytes(content)
        (tmp_path / "drawn.zip").unlink(missing_ok=True)
        return draw_file(path, kind, BookPagesConfig(**(SMALL | settings)), tmp_path / "drawn.zip")

    return draw


def reasons(facts: FileFacts) -> dict[int | None, str]:
    assert sorted([*(page.number for page in facts.drawn), *(page for page, _, _ in facts.aside if page)]) == list(range(1, facts.pages + 1))
    return {page: reason for page, reason, _ in facts.aside}


def test_pages_and_texts_come_back_in_one_zip(draw, tmp_path):
    facts = draw(pdf(text_page("first"), Page(), text_page()))
    assert reasons(facts) == {2: "blank"} and facts.is_final
    archive = StoredZip(tmp_path / "drawn.zip")
    assert archive.names == ["00001.png", "00001.txt", "00003.png", FACTS]
    assert decode_png(archive.read(member(3, "png"))).shape == (64, 49, 1) and archive.read("00001.txt") == b"first"
    assert FileFacts.from_json(json.loads(archive.read(FACTS))) == facts


def test_a_zip_of_scans_is_drawn_as_well(draw):
    facts = draw(scans({"1.png": encoded(drawing(60, 80), "PNG", compress_level=1), "2.png": b"no"}), kind="jp2_zip")
    assert [page.engine for page in facts.drawn] == ["jp2"] and reasons(facts) == {2: "not_an_image"}


def test_a_file_that_cannot_be_opened_is_one_row(draw):
    facts = draw(b"<html>")
    assert (facts.pages, facts.drawn, [(page, reason) for page, reason, _ in facts.aside]) == (0, [], [(None, "not_a_pdf")])


def test_an_error_that_nobody_thought_of_is_told_as_what_it_is(tmp_path):
    facts = draw_file(tmp_path / "nowhere.pdf", "pdf", BookPagesConfig(**SMALL), tmp_path / "drawn.zip")
    ((page, reason, words),) = facts.aside
    assert (page, reason) == (None, "crashed") and words.startswith("FileNotFoundError: ") and "memory" not in words


def test_drawing_twice_gives_the_same_bytes(draw, tmp_path):
    content = pdf(text_page("one"), scan_page(encoded(drawing(200, 260)), (200, 260)))
    draw(content)
    first = (tmp_path / "drawn.zip").read_bytes()
    draw(content)
    assert (tmp_path / "drawn.zip").read_bytes() == first


# ---- files that nobody should have to open -------------------------------------------------------------------------------------------

LAUGHS = [
    # Ten forms, each of which draws the next one ten times: ten thousand million rectangles.
    stream(f"/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /XObject << /F {4 + depth + 1} 0 R >> >>", b"/F Do " * 10)
    for depth in range(9)
] + [stream("/Type /XObject /Subtype /Form /BBox [0 0 612 792]", b"0 0 99 99 re f " * 10)]


def test_a_page_of_endless_work_costs_that_page(draw):
    bomb = Page(b"/F Do", entries="/Resources << /XObject << /F 4 0 R >> >>")
    facts = draw(pdf(text_page(), bomb, text_page(), extra=LAUGHS), seconds_per_page=1, memory_mib=4096)
    assert reasons(facts) == {2: "too_slow"} and facts.is_final
    assert "seconds_per_page = 1 of CPU" in facts.aside[0][2]


def test_a_page_that_takes_all_memory_ends_the_process_and_costs_that_page(draw):
    # 200 MB of blanks in 200 kB of drawing commands, for a process that may have 256 MB in all.
    content = stream("/Filter /FlateDecode", packed(200 << 20))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>"
    facts = draw(pdf(text_page(), text_page(), kids="7 0 R 5 0 R 9 0 R", count=3, extra=[content, page]), memory_mib=256)
    assert reasons(facts) == {2: "crashed"} and facts.is_final
    assert "memory_mib = 256 may be too little" in facts.aside[0][2]


def test_a_file_that_is_larger_than_the_memory_is_drawn(tmp_path):
    content = pdf(text_page())
    end, hole = content.rindex(b"xref\n0 "), 300 << 20
    with (tmp_path / "large.pdf").open("wb") as file:
        file.write(content[:end])
        file.seek(hole, 1)  # takes no room on the disk
        file.write(content[end : content.rindex(b"startxref")] + b"startxref\n%d\n%%%%EOF\n" % (end + hole))
    facts = draw_file(tmp_path / "large.pdf", "pdf", BookPagesConfig(**(SMALL | {"memory_mib": 256})), tmp_path / "drawn.zip")
    assert (facts.pages, len(facts.drawn), facts.aside) == (1, 1, [])


def test_more_pages_than_allowed_are_one_row(draw):
    facts = draw(pdf(*[text_page()] * 5), max_pages=2)
    assert (facts.pages, [page.number for page in facts.drawn]) == (5, [1, 2])
    assert facts.aside == [(None, "too_many_pages", "it states 5 pages, max_pages = 2 are drawn")]


def test_a_count_that_lies_costs_the_pages_that_are_not_there(draw):
    facts = draw(pdf(text_page(), count=1_000_000), max_pages=3)
    assert [page.number for page in facts.drawn] == [1] and facts.pages <= 1_000_000
    assert all(reason in ("broken", "too_many_pages") for _, reason, _ in facts.aside)


@pytest.mark.parametrize("coding", ["JBIG2Decode", "JPXDecode"])
def test_garbage_for_decoders_costs_at_most_the_page(draw, coding):
    garbage = bytes(range(256)) * 40
    facts = draw(pdf(scan_page(garbage, (3000, 4000), image=f"/ColorSpace /DeviceGray /Filter /{coding}"), text_page()))
    assert facts.drawn[-1].number == 2 and set(reasons(facts)) <= {1}


# ---- processes that misbehave --------------------------------------------------------------------------------------------------------


@pytest.fixture
def misbehaving(draw, monkeypatch):
    """Draw with a process that does what it is named for."""
    monkeypatch.setattr(supervising, "_STALL_S", 1.0)
    monkeypatch.setattr(supervising, "_MOST_FAILURES", 2)
    monkeypatch.setattr(supervising, "_PROGRAM", "tests.assets.books.pages.misbehaving")
    return lambda name, **settings: draw(b"", name=name, **settings)


def test_a_process_that_hangs_costs_the_page_and_is_tried_again_by_the_next_build(misbehaving):
    started = time.monotonic()
    facts = misbehaving("hang")
    assert [page.number for page in facts.drawn] == [1, 3] and reasons(facts) == {2: "timed_out"}
    assert not facts.is_final and time.monotonic() - started < 20


def test_a_process_that_says_nothing_costs_the_file(misbehaving):
    facts = misbehaving("hang_at_once")
    assert [(page, reason) for page, reason, _ in facts.aside] == [(None, "timed_out")] and not facts.is_final


def test_a_file_that_ends_process_after_process_is_given_up(misbehaving):
    facts = misbehaving("die")
    assert list(reasons(facts).values()) == ["crashed"] * 2 + ["given_up"] * 7
    assert "Segmentation fault" in facts.aside[0][2] and "after 2 pages" in facts.aside[3][2]


def test_how_a_process_ends_after_its_last_page_costs_nothing(misbehaving):
    facts = misbehaving("linger")
    assert [page.number for page in facts.drawn] == [1] and facts.aside == [] and facts.is_final


def test_a_file_that_takes_too_long_is_given_up_for_now(misbehaving):
    facts = misbehaving("hang", seconds_per_file=1.0)
    assert reasons(facts) == {2: "timed_out", 3: "given_up"} and not facts.is_final


@pytest.mark.parametrize(
    ("name", "pages", "words"),
    [
        ("leave", {1: "crashed", 2: "crashed"}, "exit code 0"),
        ("babble", {1: "crashed"}, "what it never says"),
        ("jump", {1: "crashed", 2: "crashed", 3: "given_up", 4: "given_up", 5: "given_up"}, "page 2, expected 1 of 5"),
        ("flood", {1: "too_many_bytes", 2: "given_up", 3: "given_up"}, "max_output_mib"),
    ],
)
def test_a_process_that_talks_nonsense_is_not_believed(misbehaving, name, pages, words):
    facts = misbehaving(name)
    assert reasons(facts) == pages and words in facts.aside[0][2] and facts.drawn == []


def test_a_line_without_end_costs_the_file(misbehaving):
    facts = misbehaving("shout")
    assert [(page, reason) for page, reason, _ in facts.aside] == [(None, "crashed")]


def test_nothing_is_left_of_a_drawing_that_was_stopped(draw, tmp_path):
    path = tmp_path / "file.pdf"
    path.write_bytes(pdf(text_page()))
    with pytest.raises(InterruptedError):
        draw_file(path, "pdf", BookPagesConfig(**SMALL), tmp_path / "drawn.zip", is_unwanted=lambda: True)
    assert {entry.name for entry in tmp_path.iterdir()} == {"file.pdf"}
