import json
from urllib.parse import parse_qs, urlsplit

import pytest

from assets.papers.items import Page
from assets.papers.pages import crossref


def answer(url, *, works=2, total=5, cursor=None, **message):
    items = [{"DOI": f"10.5555/w.{number}", "title": [f"Work {number}"]} for number in range(works)]
    body = {"status": "ok", "message": {"items": items, "total-results": total, **({"next-cursor": cursor} if cursor else {}), **message}}
    return crossref.parse(Page(url, json.dumps(body).encode(), "api", "registry"))


def query_of(result):
    (link,) = result.links
    return {key: value for key, (value,) in parse_qs(urlsplit(link.url).query).items()}


def test_a_cursor_leads_to_the_next_answer_and_the_contact_goes_along():
    result = answer("https://api.example/works?rows=2&cursor=*&mailto=us@lab.example&filter=issn:1234-5678", cursor="A+b/=")
    assert query_of(result) == {"rows": "2", "cursor": "A+b/=", "mailto": "us@lab.example", "filter": "issn:1234-5678"}


@pytest.mark.parametrize(("works", "cursor"), [(0, "next"), (1, "next"), (2, None), (2, "same")])
def test_cursors_end(works, cursor):
    assert answer("https://api.example/works?rows=2&cursor=same", works=works, cursor=cursor).links == ()


def test_without_a_cursor_answers_are_counted():
    assert query_of(answer("https://api.example/works?rows=2")) == {"rows": "2", "offset": "2"}
    assert query_of(answer("https://api.example/works?rows=2&offset=2")) == {"rows": "2", "offset": "4"}
    assert answer("https://api.example/works?rows=2&offset=4").links == ()


def test_a_list_longer_than_crossref_counts_is_said_to_be_cut():
    result = answer("https://api.example/works?rows=2&offset=9998", total=20_000)
    assert result.links == () and "cursor=*" in result.problems[0].words


def test_a_sample_and_a_single_work_have_no_next():
    assert answer("https://api.example/works?sample=2&rows=2").links == ()
    body = json.dumps({"status": "ok", "message": {"DOI": "10.5555/X", "title": ["One"]}}).encode()
    result = crossref.parse(Page("https://api.example/works/10.5555/X?rows=1", body, "api", "registry"))
    assert [paper.doi for paper in result.papers] == ["10.5555/x"] and result.links == ()


@pytest.mark.parametrize(
    ("update", "withdraws", "is_paper"),
    [
        ("retraction", True, False),
        ("withdrawal", True, False),
        ("removal", True, False),
        ("correction", False, False),
        ("partial_retraction", False, False),
        ("new_version", False, True),
    ],
)
def test_notices_withdraw_what_they_retract_and_are_no_papers(update, withdraws, is_paper):
    item = {"DOI": "10.5555/notice", "title": ["About another"], "update-to": [{"DOI": "10.5555/TARGET", "type": update}]}
    body = json.dumps({"status": "ok", "message": {"items": [item]}}).encode()
    result = crossref.parse(Page("https://api.example/works", body, "api", "registry"))
    assert [entry.key for entry in result.withdrawals] == ["10.5555/target"] * withdraws
    assert bool(result.papers) is is_paper


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("<jats:p>One.</jats:p><jats:p>Two.</jats:p>", "One. Two."),
        ("<jats:title>ABSTRACT</jats:title><jats:p>H<jats:sub>2</jats:sub>O</jats:p>", "H₂O"),
        ("Abstract The plain kind", "The plain kind"),
        ("Abstract algebra is plain", "Abstract algebra is plain"),
        (
            "x <jats:alternatives><jats:tex-math>$$\\alpha$$</jats:tex-math><mml:math><mml:mi>a</mml:mi></mml:math></jats:alternatives>",
            "x $$\\alpha$$",
        ),
        ("<jats:p>p &lt; 0.05, &amp;alpha; &unknown;", "p < 0.05, α &unknown;"),
        ("", ""),
    ],
)
def test_abstracts_lose_their_markup_and_their_own_heading(marked, text):
    assert crossref.abstract_text(marked) == text
