"""Every page of every file has its own id and place; a change costs what changed, and the result is that of a build from nothing."""

import hashlib
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed (extra: books)")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.books.pages import build as program
from assets.books.pages import drawn_pages
from assets.books.pages.build import PagesError
from assets.books.pages.checks import report_page_checks
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.supervising import draw_file
from formats.stored_zip import StoredZips
from formats.tables import read_table, table_from_rows, write_table
from stages.retractions import Request
from tests.assets.books.pages.archives import DAY, SMALL, Archive, Words, build, contents, draw_here, table
from tests.assets.books.pages.pdfs import Page, drawing, encoded, pdf, scan_page, scans, text_page


@pytest.fixture
def quick(monkeypatch):
    """Draw in this process, counting files."""
    drawn: list[Path] = []

    def draw(path, *arguments, **options):
        drawn.append(path)
        return draw_here(path, *arguments, **options)

    monkeypatch.setattr(drawn_pages, "draw_file", draw)
    return drawn


def book(*words: str) -> bytes:
    return pdf(*(text_page(word) for word in words))


def three() -> Archive:
    return Archive().put("a", book("one", "two")).put("b", book("three")).put("c", book("four", "five", "six"))


# ---- what is written -----------------------------------------------------------------------------------------------------------------


def test_every_page_of_every_file_has_its_own_id_and_place(quick, tmp_path):
    """Several PDFs of one item overwrote each other's pages, and a test for `*1.png` took page 11 for page 1 (DeepZine's defect 11)."""
    volumes = {f"volume {number}.pdf": book(*(f"{number} {page}" for page in range(1, 13))) for number in (1, 2)}
    archive = Archive()
    for name, content in volumes.items():
        archive.put("annals", content, name)
    build(archive, tmp_path, max_pages=20)
    rows = table(tmp_path, "index")
    assert [row["page_id"] for row in rows] == [f"annals/volume {number}.pdf/{page}" for number in (1, 2) for page in range(1, 13)]
    assert [row["serial"] for row in rows] == [*range(12), *range(20, 32)]
    assert len({row["sha256"] for row in rows}) == 24
    zips = StoredZips(tmp_path / "book_pages")
    assert all(hashlib.sha256(zips.read(row["shard"], row["member"])).hexdigest() == row["sha256"] for row in rows)
    first = {key: rows[0][key] for key in ("item_id", "file", "page", "engine", "licence", "source", "first_seen", "height", "format")}
    assert first == {
        "item_id": "annals", "file": "volume 1.pdf", "page": 1, "engine": "pdfium", "licence": "CC0-1.0", "source": "tests", "first_seen": DAY,
        "height": 48, "format": "png",
    }  # fmt: skip
    texts = [row for name in ("texts-00000", "texts-00001") for row in table(tmp_path, name)]
    assert [(row["page_id"], row["text"]) for row in texts[:2]] == [("annals/volume 1.pdf/1", "1 1"), ("annals/volume 1.pdf/2", "1 2")]
    assert len(texts) == 24


def test_what_gives_no_page_is_set_aside_with_its_reason_and_the_rest_is_there(tmp_path):
    archive = (
        Archive()
        .put("mixed", pdf(text_page("good"), Page(), text_page(size=(1, 1)), scan_page(b"", (35_000, 26_000)), text_page("last")))
        .put("broken", b"%PDF-1.4\n%%EOF")
        .put("html", b"<html>not here</html>")
        .put("long", book(*"abcdefghij"))
        .put("scans", scans({"1.png": encoded(drawing(40, 50), "PNG", compress_level=1), "2.jp2": b"no"}), "scans_jp2.zip")
    )
    words = Words()
    facts = build(archive, tmp_path, workers=2, reporter=words)
    aside = {(row["item_id"], row["page"]): row["reason"] for row in table(tmp_path, "rejected")}
    assert aside == {
        ("mixed", 2): "blank", ("mixed", 3): "too_small", ("mixed", 4): "too_many_pixels", ("broken", None): "broken", ("html", None): "not_a_pdf",
        ("long", None): "too_many_pages", ("scans", 2): "not_an_image",
    }  # fmt: skip
    assert all(row["words"] and row["licence"] == "CC0-1.0" for row in table(tmp_path, "rejected"))
    assert [(row["item_id"], row["page"]) for row in table(tmp_path, "index")] == [
        ("mixed", 1), ("mixed", 5), *(("long", page) for page in range(1, 9)), ("scans", 1),
    ]  # fmt: skip
    files = {row["item_id"]: (row["pages"], row["drawn"], row["set_aside"]) for row in table(tmp_path, "files")}
    assert files == {"mixed": (5, 2, 3), "broken": (0, 0, 0), "html": (0, 0, 0), "long": (10, 8, 0), "scans": (2, 1, 1)}
    assert facts.files == 5 and dict(facts.gathered.rejected)["blank"] == 1
    report_page_checks(tmp_path / "book_pages", tmp_path / "archive_items", 8, words)
    assert words.checks == {"every_page_accounted": True, "no_withdrawn_item": True}


def test_one_worker_and_several_write_the_same_bytes(tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        build(three(), tmp_path / name, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_drawing_here_is_what_the_process_does(tmp_path):
    """The tests that draw in this process test the same thing."""
    path = tmp_path / "file.pdf"
    path.write_bytes(pdf(text_page("words"), Page(), scan_page(encoded(drawing(90, 120)), (90, 120))))
    config = BookPagesConfig(**SMALL)
    assert draw_file(path, "pdf", config, tmp_path / "process.zip") == draw_here(path, "pdf", config, tmp_path / "here.zip")
    assert (tmp_path / "process.zip").read_bytes() == (tmp_path / "here.zip").read_bytes()


# ---- what a change costs -------------------------------------------------------------------------------------------------------------


def test_a_second_build_opens_no_file_and_writes_nothing(quick, tmp_path):
    build(three(), tmp_path)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "book_pages").iterdir()}
    scratch = {path.name: path.stat().st_ino for path in (tmp_path / "scratch").iterdir()}
    facts = build(three(), tmp_path)
    assert len(quick) == 3 and (facts.files_drawn, facts.files_reused, facts.gathered.looked_at) == (0, 3, 0)
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "book_pages").iterdir()} == before
    assert {path.name: path.stat().st_ino for path in (tmp_path / "scratch").iterdir()} == scratch


def test_a_changed_file_is_drawn_alone_and_moves_no_page(quick, tmp_path):
    archive = three()
    build(archive, tmp_path)
    before = {row["page_id"]: (row["serial"], row["sha256"]) for row in table(tmp_path, "index")}
    facts = build(archive.put("b", book("other", "and more")), tmp_path)
    after = {row["page_id"]: (row["serial"], row["sha256"]) for row in table(tmp_path, "index")}
    assert facts.files_drawn == 1 and len(quick) == 4
    assert {key: value for key, value in after.items() if before.get(key) != value}.keys() == {"b/book.pdf/1", "b/book.pdf/2"}
    assert after["b/book.pdf/1"][0] == before["b/book.pdf/1"][0] == 8
    # The first shard has the pages of two files: those of the other are taken from where they lay.
    assert contents(tmp_path).keys() >= {"images-00000.zip", "images-00001.zip", "texts-00000.parquet", "texts-00001.parquet"}


def test_other_words_on_an_item_reach_its_pages_without_drawing(quick, tmp_path):
    archive = three()
    build(archive, tmp_path)
    build(archive.put("b", book("three"), licence="CC-BY-4.0"), tmp_path)
    assert len(quick) == 3
    assert {row["item_id"]: row["licence"] for row in table(tmp_path, "index")}["b"] == "CC-BY-4.0"


def test_another_size_draws_everything_again(quick, tmp_path):
    build(three(), tmp_path)
    facts = build(three(), tmp_path, page_px=64)
    assert facts.files_drawn == 3 and {row["height"] for row in table(tmp_path, "index")} == {64}


def test_equal_files_of_two_items_are_drawn_once_and_lie_under_both_ids(quick, tmp_path):
    build(Archive().put("a", book("one")).put("b", book("one")), tmp_path)
    assert len(quick) == 1 and [row["page_id"] for row in table(tmp_path, "index")] == ["a/book.pdf/1", "b/book.pdf/1"]
    build(Archive().put("a", book("one")).put("b", book("one")), tmp_path)
    assert len(quick) == 1


@pytest.mark.parametrize("name", ["images-00000.zip", "texts-00000.parquet"])
@pytest.mark.parametrize("damage", ["edited", "removed"])
def test_a_damaged_shard_is_made_again_from_the_files(quick, tmp_path, name, damage):
    build(three(), tmp_path)
    before = contents(tmp_path)
    shard = tmp_path / "book_pages" / name
    shard.unlink()
    if damage == "edited":
        shard.write_bytes(before[name][:-9] + b"?" + before[name][-8:])
    build(three(), tmp_path)
    assert contents(tmp_path) == before and len(quick) == 3 + 2


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"recipe": 1, "files": {}, "texts": {}}'])
def test_a_damaged_memory_is_forgotten(quick, tmp_path, damage):
    build(three(), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "scratch/files.json").write_bytes(damage)
    build(three(), tmp_path)
    assert contents(tmp_path) == before and len(quick) == 6


def test_a_build_that_was_interrupted_goes_on_with_the_next_file(quick, tmp_path, monkeypatch):
    draw = drawn_pages.draw_file

    def fail_at_third(path, *arguments, **options):
        if len(quick) == 2:
            raise OSError("no space left on device")
        return draw(path, *arguments, **options)

    monkeypatch.setattr(drawn_pages, "draw_file", fail_at_third)
    with pytest.raises(OSError, match="no space"):
        build(three(), tmp_path)
    assert not (tmp_path / "book_pages").exists()
    monkeypatch.setattr(drawn_pages, "draw_file", draw)
    build(three(), tmp_path)
    assert len(quick) == 3 and len(table(tmp_path, "index")) == 6
    assert not (tmp_path / "scratch/drawn").exists()


def test_a_page_that_the_clock_cut_off_is_tried_again(quick, tmp_path, monkeypatch):
    draw = drawn_pages.draw_file

    def stalled(*arguments, **options):
        facts = draw(*arguments, **options)
        facts.is_final = False
        return facts

    monkeypatch.setattr(drawn_pages, "draw_file", stalled)
    build(three(), tmp_path)
    monkeypatch.setattr(drawn_pages, "draw_file", draw)
    assert build(three(), tmp_path).files_drawn == 3 and build(three(), tmp_path).files_drawn == 0


CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "darken", "request"]), st.sampled_from("abcd"), st.integers(0, 3)), min_size=1, max_size=4
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(CHANGES, min_size=1, max_size=3))
def test_builds_one_after_the_other_give_what_one_from_nothing_gives(quick, tmp_path_factory, rounds):
    root = tmp_path_factory.mktemp("property")
    archive, requests = Archive().put("z", book("always there")), []
    build(archive, root / "steps")
    for changes in rounds:
        for what, identifier, number in changes:
            if what == "put":
                archive.put(identifier, book(*(f"{identifier} {page}" for page in range(number + 1))), f"{number % 2}.pdf", status="here")
            elif what == "darken" and identifier in archive.items:
                archive.darken(identifier)
            elif what == "request":
                requests.append(Request(identifier, "asked", DAY))
        build(archive, root / "steps", requests=requests)
    build(archive, root / "scratch", requests=requests)
    assert contents(root / "steps") == contents(root / "scratch")


# ---- withdrawal ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["dark", "identifier", "address"])
def test_a_withdrawn_item_leaves_pages_and_texts(quick, tmp_path, how):
    archive = three()
    build(archive, tmp_path)
    names = {"identifier": "B", "address": "https://archive.example/details/b/"}
    requests = [Request(names[how], "the heirs asked", date(2026, 11, 29))] if how in names else []
    build(archive if requests else archive.darken("b"), tmp_path, requests=requests)
    (row,) = table(tmp_path, "withdrawn")
    assert (row["id"], row["serial"], row["since"]) == ("b", 1, date(2026, 11, 29))
    assert (row["reason"], row["why"]) == (("on_request", "the heirs asked") if requests else ("dark", "found is_dark"))
    assert {row["item_id"] for row in table(tmp_path, "index")} == {"a", "c"}
    assert not any(b"three" in content for content in contents(tmp_path).values())
    words = Words()
    report_page_checks(tmp_path / "book_pages", tmp_path / "archive_items", 8, words)
    assert words.checks == {"every_page_accounted": True, "no_withdrawn_item": True}
    # The request is taken back: the item is there as before.
    build(three(), tmp_path)
    assert [row["serial"] for row in table(tmp_path, "index")] == [0, 1, 8, 16, 17, 18] and len(quick) == 4


@pytest.mark.parametrize(
    ("table_name", "check"), [("index", "every_page_accounted"), ("rejected", "every_page_accounted"), ("withdrawn", "no_withdrawn_item")]
)
def test_the_checks_find_what_is_missing_or_should_be(quick, tmp_path, table_name, check):
    build(three().put("d", pdf(Page(), text_page())), tmp_path)
    path = tmp_path / f"book_pages/{table_name}.parquet"
    rows, schema = table(tmp_path, table_name), read_table(path).schema
    path.unlink()
    changed = [{"id": "a", "serial": 0, "reason": "dark", "why": "", "since": DAY}] if table_name == "withdrawn" else rows[1:]
    write_table(path, table_from_rows(schema, changed))
    words = Words()
    report_page_checks(tmp_path / "book_pages", tmp_path / "archive_items", 8, words)
    assert words.checks[check] is False


# ---- the program ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    three().write(tmp_path / "data/archive_items")
    (tmp_path / "params.yaml").write_text(f"book_pages: {json.dumps(SMALL)}\n")
    return tmp_path


def test_the_program_builds_the_pages_and_reports(project, capsys):
    (project / "retractions.yaml").write_text("- {id: a, reason: asked, day: 2026-11-29}\n")
    assert program.main(["--workers", "2"]) == 0
    said = capsys.readouterr().err
    assert "book_pages: 2 files, 2 drawn, 0 as they were; 4 pages with a text; 1 items withdrawn" in said and "check " not in said
    assert program.main([]) == 0
    assert "0 drawn, 2 as they were" in capsys.readouterr().err


def test_an_engine_that_is_not_installed_is_an_error_that_names_it(project, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(project))
    assert program.main(["--set", "engine=poppler"]) == 1
    assert "book_pages.engine is poppler, whose program pdftoppm is not installed" in capsys.readouterr().err
    assert not (project / "data/book_pages").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("engine=mupdf", "must be one of 'pdfium', 'poppler', 'ghostscript'"),
        ("page_px=8", "page_px must lie between 16 and 8,192, found 8"),
        ("memory_mib=64", "memory_mib must be at least 256"),
        ("max_pages=0", "max_pages must be at least 1, found 0"),
        ("blank_ink=2", "blank_ink between 0 and 1"),
        ("max_scan_pixels=1000000000", "max_scan_pixels must be at most 178,956,970"),
    ],
)
def test_settings_that_cannot_be_are_named(project, capsys, setting, words):
    assert program.main(["--set", setting]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "items.parquet").unlink(), "archive_items: not a whole harvest"),
        (lambda folder: next((folder / "files").iterdir()).unlink(), "is missing; restore it with `dvc checkout`, or harvest again"),
    ],
)
def test_a_damaged_archive_is_an_error_that_names_the_place(project, capsys, damage, words):
    damage(project / "data/archive_items")
    assert program.main([]) == 1
    assert words in capsys.readouterr().err


def test_a_file_that_dvc_links_to_its_cache_is_a_file(quick, tmp_path):
    archive = three()
    stored = next((archive.write(tmp_path / "archive_items") / "files").iterdir())
    stored.rename(tmp_path / "in_the_cache")
    stored.symlink_to(tmp_path / "in_the_cache")
    assert build(archive, tmp_path).files_drawn == 3


def test_serials_that_no_dataset_could_hold_are_refused(tmp_path):
    archive = Archive().put("a", book("one"))
    archive.files["a", "book.pdf"] = (20_000_000, book("one"))
    with pytest.raises(PagesError, match="file number 20,000,000 times max_pages = 8 is over 100,000,000; lower book_pages.max_pages"):
        build(archive, tmp_path)


# ---- real files ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.shared_data
def test_every_page_of_real_scans_is_drawn_or_set_aside(shared_data, tmp_path):
    archive = Archive()
    for path in sorted((shared_data / "scanned_pdfs").rglob("*.pdf")):
        archive.put(path.stem, path.read_bytes(), path.name)
    build(archive, tmp_path, page_px=128, max_pages=50)
    files = {row["item_id"]: (row["pages"], row["drawn"]) for row in table(tmp_path, "files")}
    assert files.pop("kant_aufklaerung_1784_20p") == (20, 20) and files.pop("multipage") == (6, 6) and files.pop("cardinal") == (4, 4)
    assert files.pop("invalid") == (0, 0) and set(files.values()) == {(1, 1)} and len(files) == 7
    assert [(row["item_id"], row["reason"]) for row in table(tmp_path, "rejected")] == [("invalid", "broken")]
    shapes = {row["page_id"]: (row["width"], row["height"]) for row in table(tmp_path, "index")}
    assert [shapes[f"cardinal/cardinal.pdf/{page}"] for page in (1, 2, 3, 4)] == [(99, 128), (128, 99)] * 2
    words = Words()
    report_page_checks(tmp_path / "book_pages", tmp_path / "archive_items", 50, words)
    assert words.checks == {"every_page_accounted": True, "no_withdrawn_item": True}


def test_the_process_that_draws_loads_no_more_than_it_needs():
    """Its start is paid for each file."""
    said = (
        "import sys, assets.books.pages.worker; from assets.books.pages import pdf; print(sorted({'pyarrow', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, cwd=Path(__file__).parents[4], check=True)
    assert done.stdout.strip() == "[]"
