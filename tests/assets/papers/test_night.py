"""A night gives the bytes of a build from scratch, whatever changed in it, and does work for what changed alone."""

import tempfile
from pathlib import Path

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import datetime

import hypothesis.strategies as st
from hypothesis import example, given, settings

from assets.papers.build import PapersConfig
from stages.retractions import Request
from tests.assets.papers.stores import Store, build, contents, paper, picture, rows, table

SITE = "http://letters.example"
LONG = "how a very small machine learned to draw molecules that nobody has made and why most of them cannot exist at all"
CONFIG = PapersConfig(rows_per_shard=3, near_duplicate_min_words=4, near_duplicate_similarity=0.6)

# What a page may say of a paper: which names it uses decides who it is.
_NUMBER = st.integers(0, 4)
_STATEMENT = st.fixed_dictionaries(
    {
        "key": _NUMBER.map(lambda n: f"{SITE}/{n}") | _NUMBER.map(lambda n: f"10.1234/{n}"),
        "url": _NUMBER.map(lambda n: f"{SITE}/{n}") | st.just(f"{SITE}/toc/0"),
        "title": st.sampled_from(["", LONG, f"{LONG} indeed", f"{LONG} part 2", "Something else that has no likeness to it"]),
    },
    optional={
        "doi": _NUMBER.map(lambda n: f"10.1234/{n}"),
        "abstract": st.sampled_from([LONG, "other words of another paper about salts"]),
        "image_url": st.integers(0, 2).map(lambda n: f"{SITE}/{n}.png"),
        "translation_of": _NUMBER.map(lambda n: f"{SITE}/{n}"),
        "language": st.sampled_from(["en", "es"]),
        "status": st.sampled_from(["published", "retracted"]),
    },
)
# A registry is asked for everything, or for what is new since a day; each is an address of its own that speaks of the same records.
_ADDRESSES = [("index", f"{SITE}/toc/0"), ("index", f"{SITE}/toc/1"), ("article", f"{SITE}/0"), ("article", f"{SITE}/1"), ("api", f"{SITE}/w")]
_ADDRESSES += [("api", f"{SITE}/w?from=2026-01-0{day}") for day in (1, 2)]
_PAGE = st.tuples(
    st.sampled_from(_ADDRESSES),
    st.sampled_from(["letters", "registry"]),
    st.none() | st.lists(_STATEMENT, max_size=4),
    st.lists(st.tuples(_NUMBER.map(lambda n: f"10.1234/{n}"), st.just("retracted"), st.just("made up")), max_size=1),
    st.sampled_from([None, True]),
)
_IMAGE = st.tuples(st.integers(0, 2), st.sampled_from(["letters", "registry"]), st.sampled_from([None, "moved", 1, 2]))
_REQUESTS = st.sampled_from([(), (Request("10.1234/1", "asked", datetime.date(2026, 1, 2)),)])
_PAGES = st.lists(_PAGE, max_size=3, unique_by=lambda page: page[:2])
_NIGHT = st.tuples(_PAGES, st.lists(_IMAGE, max_size=2, unique_by=lambda one: one[:2]), _REQUESTS)


def add_night(store: Store, crawl: int, pages: list, images: list, said: dict) -> None:
    """said: what each page said when it was stored last; one that says it again is not stored again, as by a crawl."""
    for (kind, url), source, statements, notices, reserved in pages:
        if said.get((url, source)) == (statements, notices, reserved):
            continue
        said[url, source] = (statements, notices, reserved)
        if statements is None:
            store.gone(url, crawl=crawl, kind=kind, source=source)
        else:
            store.page(url, *statements, crawl=crawl, kind=kind, source=source, withdrawals=notices, tdm_reserved=reserved)
    for number, source, shown in images:
        url = f"{SITE}/{number}.png"
        if shown is None:
            store.gone(url, crawl=crawl, kind="image", source=source)
        elif shown == "moved":
            store.moved(url, f"/{(number + 1) % 3}.png", crawl=crawl, kind="image", source=source)
        else:
            store.picture(url, picture(shown), crawl=crawl, source=source)


# A registry's sweep, a night in which nothing is read anew, an increment with a deletion, one in which the record is there again.
_RECORD = {"key": "10.1234/1", "url": f"{SITE}/1", "title": LONG, "doi": "10.1234/1"}
_SWEEP = (("api", f"{SITE}/w"), "registry", [_RECORD, {**_RECORD, "key": "10.1234/2", "doi": "10.1234/2"}], [], None)
_DELETED = (("api", f"{SITE}/w?from=2026-01-01"), "registry", [], [("10.1234/1", "retracted", "deleted")], None)
_BACK = (("api", f"{SITE}/w?from=2026-01-02"), "registry", [_RECORD], [], None)
_NIGHTS_OF_A_REGISTRY = [([page], [], ()) for page in (_SWEEP, _SWEEP, _DELETED, _BACK)]


@settings(max_examples=10, deadline=None)
@given(st.lists(_NIGHT, min_size=2, max_size=4))
@example(_NIGHTS_OF_A_REGISTRY)
def test_after_any_nights_the_bytes_are_those_of_a_build_from_scratch(nights):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = Store(root / "raw")
        said: dict = {}
        for crawl, (pages, images, requests) in enumerate(nights, 1):
            add_night(store, crawl, pages, images, said)
            build(store, root / "papers", requests=requests, config=CONFIG)
        build(store, root / "fresh", requests=requests, config=CONFIG, scratch=root / "other")
        assert contents(root / "papers") == contents(root / "fresh")


def journal(root: Path, papers: int = 24) -> Store:
    """Two lists, an article page and a picture for each paper."""
    store = Store(root / "raw")
    for start in (0, papers // 2):
        store.page(f"{SITE}/toc/{start}", *(paper(n, image_url=f"{SITE}/{n}.png") for n in range(start, start + papers // 2)))
    for number in range(papers):
        store.page(f"{SITE}/{number}", paper(number, abstract=f"{LONG} {number} {number * 7}"), kind="article")
        store.picture(f"{SITE}/{number}.png", picture(number))
    return store


def test_a_night_does_the_work_of_what_changed(tmp_path):
    store = journal(tmp_path)
    first = build(store, tmp_path / "papers")
    assert (first.pages_parsed, first.papers_merged, first.texts_compared, first.shards_written) == (26, 24, 24, 6)
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "papers").iterdir()}
    store.page(f"{SITE}/5", paper(5, abstract="It was made anew, and in another way than it had been made before."), kind="article", crawl=2)
    night = build(store, tmp_path / "papers")
    assert (night.pages_parsed, night.papers_merged, night.texts_compared, night.shards_written) == (1, 1, 1, 1)
    assert (night.new, night.changed, night.left, night.rows_before) == (0, 1, 0, 24)
    moved = {path.name for path in (tmp_path / "papers").iterdir() if path.stat().st_ino != inodes[path.name]}
    assert len({name for name in moved if name.startswith("papers-")}) == 1
    again = build(store, tmp_path / "papers")
    assert (again.pages_parsed, again.papers_merged, again.texts_compared, again.shards_written, again.papers) == (0, 0, 0, 0, 24)


def test_a_table_without_papers_goes_when_papers_come(tmp_path):
    store = Store(tmp_path / "raw")
    for number in range(3):
        store.page(f"{SITE}/{number}", paper(number, status="retracted"), kind="article")
    assert build(store, tmp_path / "papers", config=CONFIG).papers == 0
    store.page(f"{SITE}/5", paper(5, abstract=LONG), kind="article", crawl=2)
    assert build(store, tmp_path / "papers", config=CONFIG).papers == 1
    build(store, tmp_path / "fresh", config=CONFIG, scratch=tmp_path / "other")
    assert contents(tmp_path / "papers") == contents(tmp_path / "fresh")


def test_a_request_concerns_the_paper_that_it_names(tmp_path):
    store = journal(tmp_path)
    build(store, tmp_path / "papers")
    asked = [Request(f"{SITE}/7", "asked", datetime.date(2026, 1, 2)), Request("nobody", "asked", datetime.date(2026, 1, 2))]
    facts = build(store, tmp_path / "papers", requests=asked)
    assert (facts.papers_merged, facts.papers, facts.left, facts.unknown_requests) == (1, 23, 1, ["nobody"])
    assert build(store, tmp_path / "papers").papers == 24


def test_a_build_that_is_killed_before_its_output_takes_its_place_is_made_again(tmp_path, monkeypatch):
    store = journal(tmp_path)
    build(store, tmp_path / "papers")
    store.page(f"{SITE}/5", paper(5, abstract="anew"), kind="article", crawl=2)

    class Killed(BaseException):
        pass

    def die(self) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("stages.output_folder.OutputFolder._publish", die)
        with pytest.raises(Killed):
            build(store, tmp_path / "papers")
    build(store, tmp_path / "papers")
    build(store, tmp_path / "fresh", scratch=tmp_path / "other")
    assert contents(tmp_path / "papers") == contents(tmp_path / "fresh") and len(rows(tmp_path / "papers")) == 24
    assert [image["serial"] for image in table(tmp_path / "papers", "images")] == list(range(24))
