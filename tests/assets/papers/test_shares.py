"""The shares of papers with title, abstract and picture, by source, night after night: a fall is told, and the history survives."""

import base64
import io
import re
from collections import Counter
from dataclasses import replace

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assets.papers.checks import report_shares
from assets.papers.raw_pages import RawPages
from assets.papers.shares import NightShares, counts_of, falls, remember, shares_plot, shares_table
from stages.reporting import Reporter
from tests.assets.papers.stores import Store, build, paper, picture


def counts(**sources: tuple[int, int, int, int]) -> dict[str, dict[str, int]]:
    return {name: dict(zip(("papers", "title", "abstract", "picture"), numbers, strict=True)) for name, numbers in sources.items()}


def night(crawl: int, **sources: tuple[int, int, int, int]) -> NightShares:
    return NightShares("data/papers", crawl, f"2026-03-{crawl:02d}", counts(**sources))


def test_a_marked_fall_is_told_and_a_small_one_is_not():
    before = night(1, acs=(100, 100, 90, 80), rsc=(100, 100, 50, 0))
    after = night(2, acs=(110, 110, 40, 85), rsc=(100, 100, 45, 0))
    assert falls([before, after], most=0.1) == ["acs: abstract 90% → 36%"]
    assert falls([before, after], most=0.01) == ["acs: abstract 90% → 36%", "acs: picture 80% → 77%", "rsc: abstract 50% → 45%"]
    assert falls([before], most=0.1) == [] == falls([], most=0.1)
    # Only the night before counts: what fell long ago has been told.
    assert falls([before, after, after], most=0.0) == []


def test_a_source_that_is_left_without_papers_has_fallen_one_that_left_the_parameters_has_not():
    before = night(1, gone=(50, 50, 50, 50), left=(50, 50, 50, 50), tiny=(3, 3, 3, 3))
    assert falls([before, night(2, gone=(0, 0, 0, 0), tiny=(3, 3, 0, 0))], most=0.1) == ["gone: no paper left of 50"]


def test_new_papers_without_pictures_are_told_though_the_many_old_ones_hide_them():
    before, after = night(1, acs=(9_000, 9_000, 8_900, 8_900)), night(2, acs=(9_025, 9_025, 8_925, 8_900))
    assert falls([before, after], most=0.1) == []
    fresh = replace(after, fresh=counts(acs=(25, 25, 25, 0)))
    assert falls([before, fresh], most=0.1) == ["acs: picture 99% → 0% of its 25 new papers"]
    assert falls([before, replace(after, fresh=counts(acs=(5, 5, 5, 0)))], most=0.1) == [], "a few papers say little"


@settings(max_examples=30)
@given(st.integers(20, 500), st.data())
def test_equal_nights_never_fall_and_a_fall_never_comes_from_a_rise(papers, data):
    few = [data.draw(st.integers(0, papers)) for _ in range(3)]
    more = [data.draw(st.integers(count, papers)) for count in few]
    assert falls([night(1, a=(papers, *few)), night(2, a=(papers, *more))], most=0.0) == []


def test_history_survives_rebuilds_damage_and_other_outputs(tmp_path):
    path = tmp_path / "state" / "shares.jsonl"
    first, second = night(1, a=(10, 10, 10, 10)), night(2, a=(10, 10, 9, 9))
    assert remember(path, first) == [first]
    assert remember(path, second) == [first, second]
    other = NightShares("elsewhere", 7, "2026-01-01", {})
    assert remember(path, other) == [other]
    # Built again from the same crawl, with a better page object: its own line is replaced, and not compared with.
    better = night(2, a=(10, 10, 10, 10))
    path.write_text(path.read_text() + '{"torn": \n[1]\n')
    assert remember(path, better) == [first, better]
    assert len(path.read_text().splitlines()) == 3
    # A store that begins anew forgets the nights of the one before it.
    assert remember(path, first) == [first]


def test_the_titleless_count_as_papers():
    told = counts_of({"a": Counter(papers=8, abstract=4, image=2)}, {"a": 2})
    assert told == {"a": {"papers": 10, "title": 8, "abstract": 4, "picture": 2}}


def test_the_table_shows_the_change_and_escapes_names():
    table = shares_table([night(1, **{"a|b": (100, 100, 90, 80)}), night(2, **{"a|b": (100, 100, 40, 80)}, new=(0, 0, 0, 0))])
    assert "| a&#124;b | 100 | 100.0% | 40.0% (-50.0) | 80.0% |" in table
    assert "| new | 0 | - | - | - |" in table


def test_the_plot_shows_the_level_of_each_share():
    text = shares_plot([night(1, a=(100, 100, 50, 0)), night(2, a=(100, 100, 25, 0))])
    pixels = numpy.asarray(Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^)]+)", text)[1]))).convert("RGB")).astype(int)
    blue = numpy.argwhere((pixels == (31, 119, 180)).all(axis=2))
    left, right = blue[blue[:, 1] < 14], blue[blue[:, 1] > 20]
    assert {106 - 50 - 1, 106 - 50} == set(left[:, 0]) and {106 - 25 - 1, 106 - 25} == set(right[:, 0]), "50 and 25 of 100 pixels above the floor"
    assert "2026-03-01 to 2026-03-02" in text and "from above: a" in text
    assert shares_plot([night(1)]) == ""


class Kept(Reporter):
    def __init__(self) -> None:
        self.checks: dict[str, tuple] = {}
        self.facts: dict = {}

    def check(self, name, passed, *, severity="ERROR", **values):
        self.checks[name] = (passed, severity, values.get("which"))

    def metadata(self, **values):
        self.facts |= values

    def markdown(self, name, text):
        self.facts[name] = text


def test_a_site_that_loses_its_pictures_warns_in_the_night_in_which_it_does(tmp_path):
    pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
    history, store = tmp_path / "shares.jsonl", Store(tmp_path / "raw")
    told = []
    for crawl, has_pictures in enumerate((True, True, False, False), start=1):
        shown = [paper(number, image_url=f"http://letters.example/{number}.png" if has_pictures else "") for number in range(25)]
        # One word that changes makes a version of every night.
        store.page("http://letters.example/toc", *shown, paper(99, title=f"The letters of night {crawl}"), crawl=crawl)
        for number in range(25 if crawl == 1 else 0):
            store.picture(f"http://letters.example/{number}.png", picture(number))
        facts = build(store, tmp_path / "papers")
        reporter = Kept()
        with RawPages(tmp_path / "raw") as raw:
            report_shares(tmp_path / "papers", raw, facts.sources, reporter, share_fall=0.1, history=history)
        told.append(reporter.checks["shares_held"])
    assert [passed for passed, _, _ in told] == [True, True, False, True]
    assert told[2][1:] == ("WARN", "letters: picture 96% → 0%")
    assert reporter.facts["shares_by_source"] == {"registry": {}, "letters": {"title": 1.0, "abstract": 0.0, "picture": 0.0}}
    assert len(history.read_text().splitlines()) == 4
