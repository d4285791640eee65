"""A picture that many papers of a source show belongs to none of them."""

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

from assets.papers.checks import report_checks
from assets.papers.raw_pages import RawPages
from assets.papers.shared_pictures import MOST_PAPERS, set_aside_shared
from stages.reporting import Reporter
from tests.assets.papers.stores import Store, build, paper, picture, rows, table


def row(id: str, sha256: str | None, *, source: str = "letters", translation_of: str | None = None) -> dict:
    return {"id": id, "source": source, "image_sha256": sha256, "image_url": f"http://x.example/{sha256}", "url": "", "first_crawl": 1} | {
        "translation_of": translation_of
    }


def test_more_than_three_papers_of_one_source_lose_the_picture_they_share():
    shared = [row(f"p{number}", "logo") for number in range(MOST_PAPERS + 1)]
    own = [row("a", "one"), row("b", None), *(row(f"c{number}", "figure") for number in range(MOST_PAPERS))]
    records = set_aside_shared([*shared, *own])
    assert [record["id"] for record in records] == ["p0", "p1", "p2", "p3"]
    assert all(record["reason"] == "picture_shared" and "4 papers" in record["words"] for record in records)
    assert [entry["image_sha256"] for entry in shared] == [None] * 4
    assert [entry["image_sha256"] for entry in own] == ["one", None, *["figure"] * MOST_PAPERS]


def test_translations_count_as_their_original_and_other_sources_do_not_count():
    translations = [row("en", "one"), *(row(language, "one", translation_of="en") for language in ("de", "es", "fr", "pt"))]
    elsewhere = [row(f"p{number}", "two", source=f"source{number}") for number in range(6)]
    assert set_aside_shared([*translations, *elsewhere]) == []


def test_a_build_sets_it_aside_and_the_check_warns(tmp_path):
    store = Store(tmp_path / "raw")
    papers = [paper(number, image_url="http://letters.example/logo-of-all.png") for number in range(4)]
    store.page("http://letters.example/toc", *papers, paper(9, image_url="http://letters.example/9.png"))
    store.picture("http://letters.example/logo-of-all.png", picture(1)).picture("http://letters.example/9.png", picture(9))
    build(store, tmp_path / "papers")
    assert [bool(entry["image_sha256"]) for entry in rows(tmp_path / "papers")] == [False, False, False, False, True]
    assert [image["is_live"] for image in sorted(table(tmp_path / "papers", "images"), key=lambda image: image["is_live"])] == [False, True]
    assert [entry["reason"] for entry in table(tmp_path / "papers", "rejected")] == ["picture_shared"] * 4
    assert failed(tmp_path) == {("pictures_not_shared", "WARN")}


def test_a_list_that_says_it_has_more_articles_fails_its_check(tmp_path):
    words = "the page says that it lists 4 articles, and 1 were found; its markup may have changed"
    store = Store(tmp_path / "raw").page("http://letters.example/toc", paper(1), problems=[("http://letters.example/toc", words)])
    build(store, tmp_path / "papers")
    assert failed(tmp_path) == {("lists_complete", "WARN")}


def failed(root) -> set[tuple[str, str]]:
    found = set()

    class Failed(Reporter):
        def check(self, name, passed, *, severity="ERROR", **values):
            if not passed:
                found.add((name, severity))

    with RawPages(root / "raw") as raw:
        report_checks(root / "papers", raw, Failed(), rows_before=None, collapse_fraction=0.5)
    return found
