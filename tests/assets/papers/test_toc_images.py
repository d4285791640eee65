"""The pictures that papers show are gathered, and those of withdrawn papers leave; how, is tested in tests/assets/images/test_gather.py."""

import hashlib
import json
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
from hypothesis import given, settings

from assets.images.gather import GatherConfig, GatherFacts
from assets.papers import toc_images
from assets.papers.raw_pages import RawPages
from assets.papers.toc_images import ImagesError, gather_images, main
from stages.reporting import Reporter
from stages.retractions import Request
from tests.assets.papers.stores import Store, build, contents, day, paper, picture, table

LIST = "http://letters.example/toc"
SMALL = GatherConfig(images_per_shard=4)


def image_url(number: int) -> str:
    return f"http://letters.example/media/{number}.png"


def shown(number: int, **values) -> dict:
    return paper(number, image_url=image_url(number)) | values


def store_of(folder: Path, count: int) -> Store:
    store = Store(folder).page(LIST, *(shown(number) for number in range(count)))
    for number in range(count):
        store.picture(image_url(number), picture(number))
    return store


def gather(store: Store, root: Path, *, config: GatherConfig = SMALL, scratch: str = "scratch", requests=()) -> GatherFacts:
    build(store, root / "papers", requests=requests, scratch=root / scratch / "papers")
    with RawPages(store.write()) as raw:
        return gather_images(config, raw, root / "papers", root / "toc_images", scratch=root / scratch)


def index(root: Path) -> list[dict]:
    return table(root / "toc_images", "index")


def test_each_picture_is_listed_with_what_its_papers_say(tmp_path):
    store = Store(tmp_path / "raw").page(LIST, shown(1, date="2019-05-06", journal="Letters"), shown(2))
    store.picture(image_url(1), picture(1)).picture(image_url(2), b"no picture")
    gather(store, tmp_path)
    (row,), (aside,) = index(tmp_path), table(tmp_path / "toc_images", "rejected")
    assert (row["year"], row["journal"], row["licence"], row["source"], row["first_crawl"]) == (2019, "Letters", "CC-BY-4.0", "letters", 1)
    assert (aside["where"], aside["reason"], len(aside["paper_ids"])) == (image_url(2), "not_an_image", 1)


def test_a_withdrawn_paper_rewrites_the_shard_of_its_picture_alone(tmp_path):
    store = store_of(tmp_path / "raw", 12)
    gather(store, tmp_path)
    before, victim = contents(tmp_path / "toc_images"), index(tmp_path)[5]
    facts = gather(store, tmp_path, requests=[Request(victim["paper_ids"][0], "asked", day(2))])
    after = contents(tmp_path / "toc_images")
    assert {name for name in after if after[name] != before[name]} == {"images-00001.zip", "index.parquet"}
    assert victim["sha256"] not in {row["sha256"] for row in index(tmp_path)} and facts.left == 1 and facts.looked_at == 0
    assert not any(victim["sha256"].encode() in data for data in after.values())


def test_a_new_picture_at_the_same_address_goes_to_the_tail(tmp_path):
    store = store_of(tmp_path / "raw", 6)
    gather(store, tmp_path)
    serial = next(row["serial"] for row in index(tmp_path) if row["sha256"] == hashlib.sha256(picture(2)).hexdigest())
    gather(store.picture(image_url(2), picture(99), crawl=2), tmp_path)
    serials = {row["serial"]: row["sha256"] for row in index(tmp_path)}
    assert serial not in serials and serials[6] == hashlib.sha256(picture(99)).hexdigest()


def test_papers_that_do_not_fit_the_store_are_an_error(tmp_path):
    gather(store_of(tmp_path / "raw", 3), tmp_path)
    other = Store(tmp_path / "other").page(LIST, paper(1))
    with RawPages(other.write()) as raw, pytest.raises(ImagesError, match=r"and 2 more.*make papers again"):
        gather_images(SMALL, raw, tmp_path / "papers", tmp_path / "toc_images", scratch=tmp_path / "scratch")


class Collecting(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.checks: dict[str, bool] = {}
        self.texts: dict[str, str] = {}
        self.facts: dict = {}

    def check(self, name, passed, *, severity="ERROR", **values):
        self.checks[name] = passed

    def markdown(self, name, text):
        self.texts[name] = text

    def metadata(self, **values):
        self.facts |= values


def _run_program(module, stage: str, root: Path, monkeypatch) -> Collecting:
    reporter = Collecting()
    monkeypatch.chdir(root)
    arguments = type(
        "Arguments", (), {"params": root / "params.yaml", "overrides": [], "data": root / "data", "retractions": root / "retractions.yaml"}
    )
    module._run(arguments, reporter)
    json.dumps(reporter.facts)
    return reporter


def test_both_programs_report_their_checks_counts_and_samples(tmp_path, monkeypatch):
    from assets.papers import build as build_module
    from tests.assets.papers import stores

    monkeypatch.setattr(build_module.build_papers, "__kwdefaults__", build_module.build_papers.__kwdefaults__ | {"find": stores.find})
    store = store_of(tmp_path / "data/journal_pages", 6)
    store.page(
        "http://letters.example/x", shown(7, title="A <b>bold</b> | title"), crawl=2, withdrawals=[(paper(1)["url"], "retracted", "made up")]
    ).write()
    (tmp_path / "params.yaml").write_text("papers: {}\ntoc_images: {}\n")
    (tmp_path / "retractions.yaml").write_text('- {id: "10.1/none", reason: x, day: 2026-01-01}\n')
    papers = _run_program(build_module, "papers", tmp_path, monkeypatch)
    images = _run_program(toc_images, "toc_images", tmp_path, monkeypatch)
    names = {"licences_known", "ids_unique", "no_withdrawn_paper", "pictures_stored", "pictures_not_shared", "lists_complete"}
    names |= {"rows_did_not_collapse", "shares_held"}
    assert papers.checks == dict.fromkeys(names, True)
    assert images.checks == dict.fromkeys({"licences_known", "no_withdrawn_picture", "members_intact"}, True)
    assert papers.facts["withdrawn"] == {"retracted": 1} and papers.facts["retractions_of_unknown_papers"] == ["10.1/none"]
    assert "<b>" not in papers.texts["examples"] and images.texts["pictures"].startswith("![some of the pictures](data:image/png;base64,")


def test_the_program_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("toc_images: {}\n")
    assert main([]) == 1
    assert "python -m assets.papers.build" in capsys.readouterr().err


# A night: pictures that papers show now (None: the paper is not listed; -1: a broken file), and papers withdrawn on request.
_NIGHT = st.tuples(st.lists(st.sampled_from([None, -1, 1, 2, 3, 4, 5, 6]), min_size=6, max_size=6), st.sets(st.integers(0, 5), max_size=2))


@settings(max_examples=8, deadline=None)
@given(st.lists(_NIGHT, min_size=2, max_size=4))
def test_any_sequence_of_nights_gives_the_bytes_of_building_from_nothing(nights):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = Store(root / "raw")
        requests: list[Request] = []
        for crawl, (pictures, retracted) in enumerate(nights, 1):
            store.page(LIST, *(shown(place) for place, seed in enumerate(pictures) if seed is not None), crawl=crawl)
            for place, seed in enumerate(pictures):
                if seed is not None:
                    store.picture(image_url(place), b"broken" if seed < 0 else picture(seed), crawl=crawl)
            requests = [Request(paper(place)["url"], "asked", day(crawl)) for place in sorted(retracted)]
            gather(store, root / "kept", config=GatherConfig(images_per_shard=2), requests=requests)
        gather(store, root / "fresh", config=GatherConfig(images_per_shard=2), requests=requests)
        for stage in ("papers", "toc_images"):
            assert contents(root / "kept" / stage) == contents(root / "fresh" / stage)
