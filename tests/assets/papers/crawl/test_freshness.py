from datetime import date, timedelta

import pytest

from assets.papers.crawl.freshness import MOST_FAILURES, Freshness
from assets.papers.crawl.memory import Known
from assets.papers.items import Link
from assets.papers.raw_pages import RawPages
from tests.assets.papers.raw_pages_writer import RawPagesWriter

DAY = date(2026, 5, 1)
URL = "http://x.example/1"


def freshness(folder, *statuses: int, kind="article") -> Freshness:
    with RawPagesWriter(folder) as writer:
        for crawl, status in enumerate(statuses, 1):
            writer.add(URL, b"page", kind=kind, source="x", crawl=crawl, status=status)
    return Freshness(RawPages(folder), revisit_after_days=30)


def wanted(rules, kind="article", *, fingerprint="v1", today=DAY, has_changed=False, **known) -> bool:
    remembered = Known(URL, "x", kind, **({"fingerprints": ("v1",), "asked": DAY} | known))
    return rules.is_wanted(Link(URL, kind, fingerprint), remembered, today=today, has_changed=has_changed)


def test_lists_are_asked_for_every_night(tmp_path):
    rules = freshness(tmp_path, 200)
    assert wanted(rules, "index") and wanted(rules, "api")


def test_a_list_that_is_gone_is_asked_for_after_growing_pauses(tmp_path):
    rules = freshness(tmp_path, 404, kind="index")
    nights, known, asked = [], {"absences": 1}, DAY
    for night in range(1, 130):
        today = DAY + timedelta(days=night)
        if wanted(rules, "index", today=today, **known, asked=asked):
            nights.append(night)
            known, asked = {"absences": known["absences"] + 1}, today
    assert nights == [1, 3, 7, 15, 31, 61, 91, 121], "1, 2, 4 … days, and no more than revisit_after_days"
    lost = Known(URL, "x", "index", asked=DAY, absences=3)
    assert not rules.is_worth_a_look(lost, today=DAY + timedelta(days=3)) and rules.is_worth_a_look(lost, today=DAY + timedelta(days=4))


def test_an_article_is_asked_for_when_new_changed_or_due(tmp_path):
    rules = freshness(tmp_path, 200)
    assert not wanted(rules)
    assert wanted(rules, fingerprint="v2")
    assert not wanted(rules, fingerprint="v2", fingerprints=("v1", "v2")), "two lists may say different things of it, every night"
    assert not wanted(rules, today=DAY + timedelta(days=29))
    assert wanted(rules, today=DAY + timedelta(days=30))


def test_an_article_that_fails_is_tried_a_few_nights_and_then_when_due(tmp_path):
    never_had = freshness(tmp_path / "a")
    assert wanted(never_had, failures=MOST_FAILURES - 1)
    assert not wanted(never_had, failures=MOST_FAILURES)
    assert wanted(never_had, failures=MOST_FAILURES, today=DAY + timedelta(days=30))
    had = freshness(tmp_path / "b", 200)
    assert not wanted(had, fingerprint="v2", failures=MOST_FAILURES)


@pytest.mark.parametrize(("statuses", "expected"), [((200, 404), True), ((200, 404, 410), False), ((404,), True), ((404, 404, 200), False)])
def test_a_missing_article_is_asked_for_once_more(tmp_path, statuses, expected):
    assert wanted(freshness(tmp_path, *statuses)) is expected


def test_an_article_that_is_gone_and_listed_again_is_asked_for(tmp_path):
    gone = freshness(tmp_path, 200, 404, 404)
    assert wanted(gone, is_listed=False)
    assert not wanted(gone, is_listed=True), "a list that never stopped naming it is only careless"


def test_an_image_is_asked_for_when_missing_or_its_paper_changed(tmp_path):
    assert wanted(freshness(tmp_path / "a", kind="image"), "image")
    had = freshness(tmp_path / "b", 200, kind="image")
    assert not wanted(had, "image", fingerprint="v2", today=DAY + timedelta(days=300))
    assert wanted(had, "image", has_changed=True)
    assert not wanted(freshness(tmp_path / "c", 404, kind="image"), "image"), "a missing image says nothing of its paper"


def test_a_page_without_links_to_it_gets_one_look(tmp_path):
    rules = freshness(tmp_path / "a", 200)
    listed = Known(URL, "x", "article", asked=DAY)
    assert rules.is_worth_a_look(listed, today=DAY)
    assert not rules.is_worth_a_look(listed.listed(is_listed=False), today=DAY)
    assert rules.is_worth_a_look(listed.listed(is_listed=False), today=DAY + timedelta(days=30))
    once, twice = freshness(tmp_path / "b", 200, 404), freshness(tmp_path / "c", 200, 404, 404)
    assert once.is_worth_a_look(listed.listed(is_listed=False), today=DAY)
    assert not twice.is_worth_a_look(listed, today=DAY)
