"""A paper leaves when it is retracted, deleted, gone or asked for, comes back when its source says so, and never comes back against a request."""

import datetime

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hashlib

from stages.params import ParamsError
from stages.retractions import Request, RetractionsError, read_requests
from tests.assets.papers.stores import Store, build, day, paper, picture, rows, table

LIST = "http://letters.example/toc"
WORKS = "http://registry.example/works"
ONE = "http://letters.example/1"
DOI = "10.1234/one"


def listed(tmp_path) -> Store:
    store = Store(tmp_path / "raw").page(LIST, paper(1, doi=DOI, key=DOI, image_url=f"{ONE}.png"), paper(2))
    return store.page(ONE, paper(1, doi=DOI, key=DOI), kind="article").picture(f"{ONE}.png", picture(1))


def withdrawn(store: Store, tmp_path, **options) -> dict[str, str]:
    """Reason by final part of the address or DOI, after checking that nothing of a withdrawn paper is left."""
    build(store, tmp_path / "papers", **options)
    gone = table(tmp_path / "papers", "withdrawn")
    live = {row["id"] for row in rows(tmp_path / "papers")}
    shown = {id for image in table(tmp_path / "papers", "images") for id in image["paper_ids"]}
    assert not {row["id"] for row in gone} & (live | shown)
    assert set(gone[0] if gone else {}) <= {"id", "serial", "doi", "reason", "why", "since", "image_sha256"}
    return {(row["doi"] or row["id"]).rpartition("/")[2]: row["reason"] for row in gone}


def test_not_found_once_is_not_gone(tmp_path):
    assert withdrawn(listed(tmp_path).gone(ONE, crawl=2), tmp_path) == {}


@pytest.mark.parametrize("status", [404, 410])
def test_not_found_in_two_crawls_is_gone(tmp_path, status):
    store = listed(tmp_path).gone(ONE, crawl=2, status=status).gone(ONE, crawl=4)
    assert withdrawn(store, tmp_path) == {"one": "gone"}
    (row,) = table(tmp_path / "papers", "withdrawn")
    assert row["since"] == day(4) and "crawls 2 and 4" in row["why"]
    assert row["image_sha256"] == hashlib.sha256(picture(1)).hexdigest()
    assert [image["is_live"] for image in table(tmp_path / "papers", "images")] == [False]


def test_not_found_twice_with_an_answer_between_is_not_gone(tmp_path):
    store = listed(tmp_path).gone(ONE, crawl=2).page(ONE, paper(1, doi=DOI, key=DOI), kind="article", crawl=3).gone(ONE, crawl=4)
    assert withdrawn(store, tmp_path) == {}


def test_what_vanished_from_its_listing_and_is_not_found_twice_is_gone(tmp_path):
    store = listed(tmp_path).page(LIST, paper(2), crawl=2)
    assert withdrawn(store, tmp_path) == {}
    assert withdrawn(store.gone(ONE, crawl=2).gone(ONE, crawl=3), tmp_path) == {"one": "gone"}


def test_what_comes_back_is_live_again(tmp_path):
    store = listed(tmp_path).gone(ONE, crawl=2).gone(ONE, crawl=3)
    assert withdrawn(store, tmp_path) == {"one": "gone"}
    store.page(ONE, paper(1, doi=DOI, key=DOI), kind="article", crawl=5)
    assert withdrawn(store, tmp_path) == {}
    (row,) = [row for row in rows(tmp_path / "papers") if row["doi"] == DOI]
    assert (row["first_crawl"], row["last_changed"]) == (1, day(5))


def test_a_paper_with_another_living_page_is_not_gone(tmp_path):
    store = listed(tmp_path).page("http://mirror.example/1", paper(1, key=DOI, url="http://mirror.example/1"), kind="article", source="registry")
    store.gone(ONE, crawl=2).gone(ONE, crawl=3)
    assert withdrawn(store, tmp_path) == {}
    (row,) = [row for row in rows(tmp_path / "papers") if row["doi"] == DOI]
    assert row["url"] == "http://mirror.example/1"


def test_a_paper_that_moved_is_not_gone(tmp_path):
    store = listed(tmp_path).moved(ONE, f"{ONE}-new", crawl=2)
    store.page(f"{ONE}-new", paper(1, doi=DOI, key=DOI, url=f"{ONE}-new"), kind="article", crawl=2)
    assert withdrawn(store, tmp_path) == {}
    (row,) = [row for row in rows(tmp_path / "papers") if row["doi"] == DOI]
    assert row["url"] == f"{ONE}-new"


def test_a_paper_known_from_a_listing_alone_is_gone_with_the_listing(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, paper(1)).gone(LIST, crawl=2, kind="index").gone(LIST, crawl=3, kind="index")
    assert set(withdrawn(store, tmp_path).values()) == {"gone"}


def test_a_notice_retracts_a_paper_that_its_registry_still_lists(tmp_path):
    store = listed(tmp_path).page(WORKS, paper(1, key=DOI, doi=DOI), kind="api", source="registry")
    store.page(f"{WORKS}?2", kind="api", source="registry", crawl=3, withdrawals=[(DOI, "retracted", "retraction by 10.1234/notice")])
    assert withdrawn(store, tmp_path) == {"one": "retracted"}
    (row,) = table(tmp_path / "papers", "withdrawn")
    assert (row["why"], row["since"]) == ("retraction by 10.1234/notice", day(3))
    # The registry touches the paper's own record: the notice still stands.
    store.page(WORKS, paper(1, key=DOI, doi=DOI, pages="1-2"), kind="api", source="registry", crawl=4)
    assert withdrawn(store, tmp_path) == {"one": "retracted"}


def test_a_notice_that_fell_off_a_list_of_news_still_stands(tmp_path):
    store = listed(tmp_path).page(WORKS, kind="api", source="registry", withdrawals=[(DOI, "retracted", "words")])
    store.page(WORKS, kind="api", source="registry", crawl=2)
    assert withdrawn(store, tmp_path) == {"one": "retracted"}
    store.page(f"{WORKS}?3", paper(1, key=DOI, doi=DOI), kind="api", source="registry", crawl=3)
    assert withdrawn(store, tmp_path) == {}


def test_a_notice_that_its_page_took_back_does_not_stand(tmp_path):
    store = listed(tmp_path).page(WORKS, paper(1, key=DOI, doi=DOI), kind="api", source="registry", withdrawals=[(DOI, "retracted", "words")])
    assert withdrawn(store, tmp_path) == {"one": "retracted"}
    store.page(WORKS, paper(1, key=DOI, doi=DOI), kind="api", source="registry", crawl=2)
    assert withdrawn(store, tmp_path) == {}


def test_a_page_that_calls_its_paper_retracted_retracts_it_until_it_does_not(tmp_path):
    store = listed(tmp_path).page(ONE, paper(1, doi=DOI, key=DOI, status="retracted"), kind="article", crawl=2)
    assert withdrawn(store, tmp_path) == {"one": "retracted"}
    # The listing, which knows nothing of it, is edited.
    store.page(LIST, paper(1, doi=DOI, key=DOI, volume="7"), paper(2), paper(3), crawl=3)
    assert withdrawn(store, tmp_path) == {"one": "retracted"}
    store.page(ONE, paper(1, doi=DOI, key=DOI), kind="article", crawl=4)
    assert withdrawn(store, tmp_path) == {}


def test_a_deleted_record_is_withdrawn_and_a_newer_record_brings_it_back(tmp_path):
    record = {"key": "oai:letters:1", "url": ONE, "title": "A record of an archive"}
    store = Store(tmp_path / "raw").page(WORKS, record, kind="api")
    store.page(f"{WORKS}?from=2", kind="api", crawl=2, withdrawals=[("oai:letters:1", "deleted", "status deleted")])
    assert set(withdrawn(store, tmp_path).values()) == {"deleted"}
    # Both are seen again, unchanged: what was said last holds.
    assert set(withdrawn(store.page(WORKS, record, paper(5), kind="api", crawl=3), tmp_path).values()) == {"deleted"}
    store.page(f"{WORKS}?from=4", record, kind="api", crawl=4)
    assert withdrawn(store, tmp_path) == {}


def test_a_notice_about_an_unknown_paper_withdraws_nothing(tmp_path):
    store = listed(tmp_path).page(WORKS, kind="api", source="registry", withdrawals=[("10.9999/other", "retracted", "words")])
    assert withdrawn(store, tmp_path) == {}


def identifier(tmp_path) -> str:
    build(listed(tmp_path / "first"), tmp_path / "first/papers")
    return next(row["id"] for row in rows(tmp_path / "first/papers") if row["doi"] == DOI)


@pytest.mark.parametrize(
    "name", ["id", DOI, DOI.upper(), f"https://doi.org/{DOI}", f"doi:{DOI}", ONE, f"{ONE.replace('http', 'https')}/", f"{ONE}.png"]
)
def test_a_request_names_a_paper_in_any_of_its_names(tmp_path, name):
    name = identifier(tmp_path) if name == "id" else name
    request = Request(name, "the author asked", datetime.date(2026, 3, 4))
    assert withdrawn(listed(tmp_path), tmp_path, requests=[request]) == {"one": "on_request"}
    (row,) = table(tmp_path / "papers", "withdrawn")
    assert (row["why"], row["since"]) == ("the author asked", datetime.date(2026, 3, 4))


def test_a_request_outlives_the_paper_coming_back(tmp_path):
    request = Request(DOI, "asked", datetime.date(2026, 3, 4))
    store = listed(tmp_path).gone(ONE, crawl=2).gone(ONE, crawl=3)
    assert withdrawn(store, tmp_path, requests=[request]) == {"one": "on_request"}
    store.page(ONE, paper(1, doi=DOI, key=DOI), kind="article", crawl=4)
    assert withdrawn(store, tmp_path, requests=[request]) == {"one": "on_request"}


def test_a_picture_that_a_living_paper_shares_stays(tmp_path):
    shared = f"{ONE}.png"
    store = Store(tmp_path / "raw").page(LIST, paper(1, image_url=shared), paper(2, image_url=shared)).picture(shared, picture(1))
    withdrawn(store, tmp_path, requests=[Request(ONE, "asked", day(1))])
    (image,) = table(tmp_path / "papers", "images")
    assert image["is_live"] and image["paper_ids"] == [rows(tmp_path / "papers")[0]["id"]]
    # A request for the picture itself takes all its papers.
    withdrawn(store, tmp_path, requests=[Request(shared, "asked", day(1))])
    assert rows(tmp_path / "papers") == [] and not table(tmp_path / "papers", "images")[0]["is_live"]


def test_requests_for_unknown_papers_are_told_and_do_nothing(tmp_path):
    facts = build(listed(tmp_path), tmp_path / "papers", requests=[Request("10.1/none", "?", day(1)), Request(DOI, "asked", day(1))])
    assert facts.unknown_requests == ["10.1/none"] and facts.papers == 1


def test_the_file_of_requests_is_read(tmp_path):
    path = tmp_path / "retractions.yaml"
    assert read_requests(path) == []
    path.write_text("# none yet\n")
    assert read_requests(path) == []
    path.write_text("[]\n")
    assert read_requests(path) == []
    path.write_text('- id: "10.1234/one"\n  reason: "asked: by mail"\n  day: 2026-11-20\n- {id: abc, reason: x, day: "2026-11-21"}\n')
    assert read_requests(path) == [
        Request("10.1234/one", "asked: by mail", datetime.date(2026, 11, 20)),
        Request("abc", "x", datetime.date(2026, 11, 21)),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id: x\n", "expected a list"),
        ("- x\n", "entry 1: found 'x', expected a mapping"),
        ("- {id: 12, reason: x, day: 2026-01-01}\n", "entry 1: id is 12.*quotation marks"),
        ("- {id: a, reason: x, day: 2026-01-01}\n- {id: b, day: 2026-01-01}\n", r"entry 2 \(b\): reason is None"),
        ("- {id: a, reason: x, day: tomorrow}\n", "day is 'tomorrow', expected a day such as"),
        ("- {id: a, reason: x, day: 2026-01-01, why: y}\n", "found the key 'why'"),
    ],
)
def test_an_invalid_file_of_requests_is_an_error_that_names_the_entry(tmp_path, text, words):
    path = tmp_path / "retractions.yaml"
    path.write_text(text)
    with pytest.raises(RetractionsError, match=words):
        read_requests(path)


def test_a_file_of_requests_that_is_no_yaml_is_an_error(tmp_path):
    path = tmp_path / "retractions.yaml"
    path.write_text("- {id: a\n")
    with pytest.raises(ParamsError, match="not valid YAML"):
        read_requests(path)
