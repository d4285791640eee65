"""`papers` is a function of the stored pages: merged, dated, numbered and withdrawn by what was said, and by nothing else."""

import datetime
import hashlib
import random
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import pyarrow.parquet as pq
from hypothesis import given, settings

from assets.papers import build as build_module
from assets.papers.build import BuildError, PapersConfig, main
from assets.papers.raw_pages import RawPages, RawPagesError, SourceInfo
from assets.papers.tables import COLUMN_DOCS, IMAGES, PAPERS, REJECTED_IMAGES, REJECTED_PAPERS, TOC_IMAGES, WITHDRAWN
from tests.assets.papers import stores
from tests.assets.papers.stores import Store, build, contents, day, paper, picture, rows, table

LIST = "http://letters.example/toc"


def article(number: int) -> str:
    return f"http://letters.example/{number}"


def two_pages(tmp_path) -> Store:
    """A listing and an article page of the same paper; the listing does not know the DOI."""
    store = Store(tmp_path / "raw")
    store.page(LIST, paper(1, image_url="http://letters.example/1.png"))
    store.page(article(1), paper(1, key="10.1234/one", doi="10.1234/One", abstract="It was made.", title="The better title"), kind="article")
    return store.picture("http://letters.example/1.png", picture(1))


def test_what_a_listing_and_an_article_page_say_becomes_one_paper(tmp_path):
    facts = build(two_pages(tmp_path), tmp_path / "papers")
    (row,) = rows(tmp_path / "papers")
    assert (row["doi"], row["title"], row["abstract"]) == ("10.1234/one", "The better title", "It was made.")
    assert row["image_sha256"] == hashlib.sha256(picture(1)).hexdigest() and row["licence"] == "CC-BY-4.0"
    assert (row["first_crawl"], row["first_seen"], row["last_changed"], row["serial"]) == (1, day(1), day(1), 0)
    assert row["id"] == hashlib.sha256(b"doi:10.1234/one").hexdigest()[:16]
    assert (facts.papers, facts.complete, facts.merged_statements) == (1, 1, 1)


def test_a_registry_fills_in_what_the_journal_does_not_say(tmp_path):
    store = two_pages(tmp_path)
    known = {"key": "10.1234/one", "url": "https://doi.org/10.1234/one", "doi": "10.1234/one"}
    store.page(
        "http://registry.example/works",
        known | {"title": "A worse title", "date": "2025-12-01", "pages": "1-9", "licence": "CC0-1.0"},
        kind="api",
        source="registry",
    )
    build(store, tmp_path / "papers")
    (row,) = rows(tmp_path / "papers")
    assert (row["date"], row["pages"], row["licence"]) == (datetime.date(2025, 12, 1), "1-9", "CC0-1.0")
    assert (row["title"], row["source"], row["url"]) == ("The better title", "letters", article(1))


def test_two_dois_are_never_one_paper_even_at_one_address(tmp_path):
    store = Store(tmp_path / "raw")
    store.page(article(1), paper(1, key="10.1/a", doi="10.1234/a"), kind="article")
    store.page(LIST, paper(1, key="10.1/b", doi="10.1234/b"))
    build(store, tmp_path / "papers")
    assert sorted(row["doi"] for row in rows(tmp_path / "papers")) == ["10.1234/a", "10.1234/b"]


def test_an_address_that_many_papers_share_names_none_of_them(tmp_path):
    store = Store(tmp_path / "raw")
    store.page(LIST, *({"key": f"oai:{number}", "url": LIST, "title": f"Record {number}"} for number in range(5)), kind="api")
    assert build(store, tmp_path / "papers").papers == 5


def test_duplicate_dois_are_merged_however_they_are_spelled(tmp_path):
    store = Store(tmp_path / "raw")
    spellings = ["10.1234/ONE", "https://doi.org/10.1234/one", "doi:10.1234/One"]
    for number, doi in enumerate(spellings):
        store.page(article(number), paper(number, key=f"k{number}", doi=doi), kind="article")
    facts = build(store, tmp_path / "papers")
    assert facts.papers == 1 and facts.merged_statements == 2


def test_the_day_of_change_comes_from_what_was_said(tmp_path):
    store = Store(tmp_path / "raw")
    store.page(LIST, paper(1), paper(2))
    store.page(LIST, paper(1), paper(2, title="A new title"), paper(3), crawl=4)
    store.page(LIST, paper(1), paper(2, title="A new title"), crawl=6)  # the third is not listed any more; it stays
    build(store, tmp_path / "papers")
    found = {row["url"]: (row["first_crawl"], row["first_seen"], row["last_changed"]) for row in rows(tmp_path / "papers")}
    assert found == {article(1): (1, day(1), day(1)), article(2): (1, day(1), day(4)), article(3): (4, day(4), day(4))}


def test_a_new_picture_at_the_same_address_changes_the_paper_and_keeps_the_old_serial(tmp_path):
    store = two_pages(tmp_path)
    build(store, tmp_path / "papers")
    (before,) = table(tmp_path / "papers", "images")
    store.picture("http://letters.example/1.png", picture(2), crawl=3)
    facts = build(store, tmp_path / "papers")
    (row,) = rows(tmp_path / "papers")
    old, new = table(tmp_path / "papers", "images")
    assert row["last_changed"] == day(3) and row["image_sha256"] == new["sha256"] == hashlib.sha256(picture(2)).hexdigest()
    assert (old["sha256"], old["serial"], old["is_live"], old["paper_ids"], old["url"]) == (before["sha256"], 0, False, [], None)
    assert (new["serial"], new["is_live"], new["first_crawl"], new["paper_ids"]) == (1, True, 3, [row["id"]])
    assert facts.changed == 1 and facts.new == 0


def test_a_picture_that_is_gone_twice_leaves_and_comes_back_under_its_old_serial(tmp_path):
    store, url = two_pages(tmp_path), "http://letters.example/1.png"
    store.gone(url, crawl=2, kind="image")
    build(store, tmp_path / "papers")
    assert rows(tmp_path / "papers")[0]["image_sha256"]
    build(store.gone(url, crawl=3, kind="image"), tmp_path / "papers")
    assert (rows(tmp_path / "papers")[0]["image_sha256"], rows(tmp_path / "papers")[0]["last_changed"]) == (None, day(3))
    assert [image["is_live"] for image in table(tmp_path / "papers", "images")] == [False]
    build(store.picture(url, picture(1), crawl=4), tmp_path / "papers")
    assert [(image["serial"], image["is_live"], image["first_crawl"]) for image in table(tmp_path / "papers", "images")] == [(0, True, 1)]


def test_a_picture_behind_a_redirect_is_found(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, paper(1, image_url="http://letters.example/1.png"))
    store.moved("http://letters.example/1.png", "/media/1.png", crawl=1, kind="image")
    store.picture("http://letters.example/media/1.png", picture(7))
    build(store, tmp_path / "papers")
    assert rows(tmp_path / "papers")[0]["image_sha256"] == hashlib.sha256(picture(7)).hexdigest()


def test_a_picture_that_was_not_stored_gives_way_to_one_that_was(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, paper(1, image_url="http://letters.example/lost.png"))
    store.page(article(1), paper(1, image_url="http://letters.example/1.png"), kind="article").picture("http://letters.example/1.png", picture(7))
    build(store, tmp_path / "papers")
    assert rows(tmp_path / "papers")[0]["image_url"] == "http://letters.example/1.png"


def test_a_picture_that_is_not_stored_is_told_and_its_paper_stays(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, paper(1, image_url="http://letters.example/1.png"))
    facts = build(store, tmp_path / "papers")
    (row,) = table(tmp_path / "papers", "rejected")
    assert facts.papers == 1 and (row["reason"], row["where"], row["id"]) == (
        "picture_not_stored",
        "http://letters.example/1.png",
        rows(tmp_path / "papers")[0]["id"],
    )


def test_a_picture_that_two_papers_share_has_one_row(tmp_path):
    store = Store(tmp_path / "raw")
    store.page(LIST, paper(1, image_url="http://letters.example/1.png"), paper(2, image_url="http://letters.example/1.png", licence="CC0-1.0"))
    build(store.picture("http://letters.example/1.png", picture(7)), tmp_path / "papers")
    (image,) = table(tmp_path / "papers", "images")
    assert image["paper_ids"] == [row["id"] for row in rows(tmp_path / "papers")] and image["licence"] == "CC-BY-4.0; CC0-1.0"


def test_serials_never_move_when_papers_come_and_go(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, *(paper(number) for number in range(6)))
    build(store, tmp_path / "papers")
    before = {row["id"]: row["serial"] for row in rows(tmp_path / "papers")}
    store.page(LIST, *(paper(number) for number in range(9)), crawl=2)
    store.page(article(2), paper(2), kind="article", crawl=2).gone(article(2), crawl=3).gone(article(2), crawl=4)
    facts = build(store, tmp_path / "papers")
    after = {row["id"]: row["serial"] for row in rows(tmp_path / "papers")}
    (tomb,) = table(tmp_path / "papers", "withdrawn")
    assert after | {tomb["id"]: tomb["serial"]} == before | {id: serial for id, serial in after.items() if id not in before}
    assert sorted(after[id] for id in set(after) - set(before)) == [6, 7, 8]
    assert (facts.new, facts.left, facts.withdrawn["gone"]) == (3, 1, 1)


def test_a_removed_paper_rewrites_its_own_shard_only(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, *(paper(number) for number in range(12)))
    build(store, tmp_path / "papers")
    before = contents(tmp_path / "papers")
    victim = rows(tmp_path / "papers")[5]
    store.page(LIST, *(paper(n) for n in range(12)), crawl=2, withdrawals=[(victim["url"], "retracted", "made up")])
    build(store, tmp_path / "papers")
    after = contents(tmp_path / "papers")
    assert {name for name in after if name.startswith("papers-") and after[name] != before.get(name)} == {"papers-00001.parquet"}


def test_translations_are_recognised_and_are_no_duplicates(tmp_path):
    text = "how to count the words of very many texts with a computer and what it teaches us about reading them"
    store = Store(tmp_path / "raw").page(
        LIST,
        paper(1, title=text, abstract=text, language="en"),
        paper(2, title=text, abstract=text, translation_of=article(1)),
        paper(3, title=text, abstract=text, language="es"),
        paper(4, title=text, abstract=text, language="en"),
    )
    facts = build(store, tmp_path / "papers")
    by_url = {row["url"]: row for row in rows(tmp_path / "papers")}
    first, translation, spanish, copy = (by_url[article(number)] for number in (1, 2, 3, 4))
    assert translation["translation_of"] == first["id"] and translation["near_duplicate_of"] != first["id"]
    assert spanish["near_duplicate_of"] in (None, translation["id"])
    english = {first["id"], copy["id"]}
    assert first["near_duplicate_of"] in english | {None, translation["id"]} and facts.translations == 1
    assert any(row["near_duplicate_of"] for row in (first, copy))


def test_a_night_without_changes_gives_the_same_bytes_and_reads_no_page_again(tmp_path, monkeypatch):
    store = two_pages(tmp_path)
    build(store, tmp_path / "papers")
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "papers").iterdir()}
    monkeypatch.setattr(RawPages, "body", lambda self, record: pytest.fail("a page was read again"))
    facts = build(store, tmp_path / "papers")
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "papers").iterdir()} == before
    assert (facts.pages_parsed, facts.pages_reused, facts.new, facts.changed, facts.left) == (0, 2, 0, 0, 0)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "flipped"])
@pytest.mark.parametrize("name", ["parsed.sqlite", "night.sqlite", "receipt.json", "night.sha256"])
def test_a_damaged_memory_is_never_trusted(tmp_path, name, how):
    store = Store(tmp_path / "raw").page(LIST, *(paper(number) for number in range(40)))
    build(store, tmp_path / "papers")
    damage(tmp_path / "scratch" / name, how)
    store.page(LIST, *(paper(number, title=f"Another title of {number}") for number in range(9)), crawl=2)
    build(store, tmp_path / "papers")
    build(store, tmp_path / "fresh", scratch=tmp_path / "other")
    assert contents(tmp_path / "papers") == contents(tmp_path / "fresh")


def test_an_output_that_was_tampered_with_is_made_again(tmp_path):
    store = two_pages(tmp_path)
    build(store, tmp_path / "papers")
    before = contents(tmp_path / "papers")
    shard = tmp_path / "papers/papers-00000.parquet"
    shard.write_bytes(b"")
    assert build(store, tmp_path / "papers").pages_parsed == 0 and contents(tmp_path / "papers") == before


def test_the_order_of_answers_and_papers_in_the_store_does_not_matter(tmp_path):
    def filled(folder, order: random.Random | None) -> Store:
        store = two_pages(folder)
        store.page(LIST, *(paper(number) for number in range(9)), crawl=2).gone(article(1), crawl=3)
        store.page("http://registry.example/works", paper(1, key="10.1234/one"), source="registry", kind="api", crawl=2)
        if order:
            order.shuffle(store._answers)
        return store

    build(filled(tmp_path / "a", None), tmp_path / "a/papers")
    build(filled(tmp_path / "b", random.Random(3)), tmp_path / "b/papers")
    assert contents(tmp_path / "a/papers") == contents(tmp_path / "b/papers")


def test_building_after_every_crawl_equals_building_once(tmp_path):
    store = Store(tmp_path / "raw")
    for crawl in range(1, 6):
        store.page(LIST, *(paper(n, abstract="" if n > crawl else "known") for n in range(crawl * 3)), crawl=crawl)
        store.picture(f"http://letters.example/{crawl}.png", picture(crawl), crawl=crawl)
        store.page(article(crawl), paper(crawl, key=f"10.1234/{crawl}", image_url=f"http://letters.example/{crawl}.png"), kind="article", crawl=crawl)
        if crawl > 3:
            store.gone(article(1), crawl=crawl)
        build(store, tmp_path / "papers")
    build(store, tmp_path / "fresh", scratch=tmp_path / "other")
    assert contents(tmp_path / "papers") == contents(tmp_path / "fresh")


# What a listing says in a crawl: (number of the paper, title, picture) of each, and the pictures served that night (None: not found).
_TOLD = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 2)), max_size=4, unique_by=lambda told: told[0])
_SERVED = st.lists(st.sampled_from([None, 1, 2, 3]), min_size=3, max_size=3)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(_TOLD, _SERVED), min_size=2, max_size=4))
def test_what_later_crawls_bring_moves_no_serial_and_no_first_day(nights):
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder), Store(Path(folder) / "raw")
        papers: dict[str, tuple] = {}
        images: dict[str, tuple] = {}
        for crawl, (told, served) in enumerate(nights, 1):
            store.page(LIST, *(paper(n, title=f"A title {t}", image_url=f"http://letters.example/{p}.png") for n, t, p in told), crawl=crawl)
            for place, seed in enumerate(served):
                url = f"http://letters.example/{place}.png"
                store.gone(url, crawl=crawl, kind="image") if seed is None else store.picture(url, picture(seed), crawl=crawl)
            build(store, root / "papers")
            now = {row["id"]: (row["serial"], row["first_crawl"], row["first_seen"]) for row in rows(root / "papers")}
            seen = {row["sha256"]: (row["serial"], row["first_crawl"], row["first_seen"]) for row in table(root / "papers", "images")}
            assert papers.items() <= now.items() and images.items() <= seen.items()
            papers, images = now, seen


def test_no_papers_at_all_are_an_empty_table(tmp_path):
    facts = build(Store(tmp_path / "raw"), tmp_path / "papers")
    assert facts.papers == 0 and rows(tmp_path / "papers") == [] and pq.read_schema(tmp_path / "papers/papers-00000.parquet").equals(PAPERS)


def test_hostile_titles_stay_data(tmp_path):
    titles = ["\u202eexe.gnp", "x" * 300, "../../etc/passwd", "| a | b |\n# c <script>", "=cmd()", "\ud800 lone", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢"]
    store = Store(tmp_path / "raw").page(LIST, *(paper(number, title=title) for number, title in enumerate(titles)))
    facts = build(store, tmp_path / "papers")
    kept = {row["title"] for row in rows(tmp_path / "papers")}
    assert facts.papers == len(titles) and {"exe.gnp", "x" * 300, "../../etc/passwd", "lone"} <= kept
    assert {path.name for path in (tmp_path / "papers").iterdir()} >= {"images.parquet", "withdrawn.parquet", "rejected.parquet"}
    shown = build_module._examples(tmp_path / "papers")
    assert "<script>" not in shown and len(shown.splitlines()) == 2 + len(rows(tmp_path / "papers")[4:])


def test_what_cannot_be_used_is_set_aside_with_a_reason_and_a_place(tmp_path):
    store = Store(tmp_path / "raw")
    store.page(LIST, paper(1, title=""), paper(2, title="x" * 5000), paper(3, abstract="y" * 40_000), problems=[(article(9), "no date found")])
    store.page(article(4), kind="article")
    store.answer(article(5), b'"fail"', crawl=1, kind="article", source="letters")
    facts = build(store, tmp_path / "papers")
    found = {row["where"]: row["reason"] for row in table(tmp_path / "papers", "rejected")}
    assert found == {
        article(1): "no_title",
        article(2): "title_too_long",
        article(3): "abstract_too_long",
        article(9): "problem_on_page",
        article(4): "no_paper_on_page",
        article(5): "problem_on_page",
    }
    assert facts.papers == 0 and all(row["words"] for row in table(tmp_path / "papers", "rejected"))


def test_papers_without_a_key_are_left_out_and_told(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, paper(1, key=""), paper(2, key=" "), paper(3))
    assert build(store, tmp_path / "papers").papers == 1
    (row,) = table(tmp_path / "papers", "rejected")
    assert row["words"].startswith("2 papers without a key")


def test_problems_of_pages_that_were_mended_are_forgotten(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, problems=[("x", "y")]).page(LIST, paper(1), crawl=2)
    assert build(store, tmp_path / "papers").rejected.total() == 0


def test_reservations_are_recorded_with_each_paper(tmp_path):
    store = Store(tmp_path / "raw")
    store.page(article(1), paper(1), kind="article", tdm_reserved=True).page(article(2), paper(2), kind="article", tdm_reserved=False)
    store.page(article(3), paper(3), kind="article").page(article(4), paper(4), kind="article", headers={"X-Robots-Tag": "noindex, noai"})
    build(store, tmp_path / "papers")
    assert {row["url"][-1]: row["tdm_reserved"] for row in rows(tmp_path / "papers")} == {"1": True, "2": False, "3": None, "4": True}


def test_a_paper_without_a_licence_says_so(tmp_path):
    store = Store(tmp_path / "raw", [SourceInfo("letters", "json", "")]).page(LIST, paper(1), paper(2, licence="CC0-1.0"))
    build(store, tmp_path / "papers")
    assert {row["url"][-1]: row["licence"] for row in rows(tmp_path / "papers")} == {"1": "unknown", "2": "CC0-1.0"}


def test_a_source_that_left_params_is_left_out_and_named(tmp_path):
    store = Store(tmp_path / "raw", stores.SOURCES[1:]).page(LIST, paper(1))
    facts = build(store, tmp_path / "papers")
    assert facts.papers == 0 and facts.sources_left_out == ["letters"]


def test_an_unknown_page_object_names_the_source(tmp_path):
    store = Store(tmp_path / "raw", [SourceInfo("letters", "jsn", "CC0-1.0")]).page(LIST, paper(1))
    with pytest.raises(BuildError, match=r"source 'letters'.*'jsn'"):
        build(store, tmp_path / "papers")


def test_a_damaged_store_is_an_error_that_names_the_file_and_keeps_the_previous_output(tmp_path):
    store = two_pages(tmp_path)
    build(store, tmp_path / "papers")
    before = contents(tmp_path / "papers")
    folder = store.write()
    warc = folder / "crawl-00001.warc.gz"
    data = bytearray(warc.read_bytes())
    data[len(data) // 2] ^= 0xFF
    warc.write_bytes(bytes(data))
    with RawPages(folder) as raw, pytest.raises(RawPagesError, match="crawl-00001"):
        build_module.build_papers(PapersConfig(), raw, tmp_path / "papers", scratch=tmp_path / "empty", find=stores.find)
    assert contents(tmp_path / "papers") == before


@pytest.mark.parametrize("wrong", [{"rows_per_shard": 0}, {"near_duplicate_similarity": 0.0}, {"collapse_fraction": 2.0}])
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        PapersConfig(**wrong)


def test_the_program_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("papers:\n  rows_per_shard: 10\n")
    assert main([]) == 1
    assert "crawl first: python -m assets.papers.crawl" in capsys.readouterr().err


def test_every_column_is_explained():
    names = {name for schema in (PAPERS, IMAGES, WITHDRAWN, REJECTED_PAPERS, TOC_IMAGES, REJECTED_IMAGES) for name in schema.names}
    assert names == set(COLUMN_DOCS)
