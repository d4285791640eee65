"""OpenAlex: works become papers, with their abstracts put together from the inverted index and their retractions told."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.papers.items import Page, Parsed
from assets.papers.pages.openalex import abstract_of, parse

WORKS = "https://api.example/works?filter=primary_location.source.id:S1,is_oa:true&per_page=100&cursor="


def work(number: int, **changed) -> dict:
    """One work with the fields that are read and some that are not."""
    return {
        "id": f"https://openalex.org/W{number}", "doi": f"https://doi.org/10.5555/IMAG.{number}", "display_name": "another", "type": "article",
        "title": f"On <i>imaginary</i> solids, part {number}", "publication_year": 2024, "publication_date": "2024-03-02", "language": "en",
        "primary_location": {
            "is_oa": True, "landing_page_url": f"https://doi.org/10.5555/imag.{number}", "license": "cc-by", "version": "publishedVersion",
            "source": {"id": "https://openalex.org/S1", "display_name": "Imaginary Chemistry", "issn_l": "1234-5678"},
        },
        "biblio": {"volume": "4", "issue": "2", "first_page": "10", "last_page": "19"}, "is_retracted": False, "is_paratext": False,
        "abstract_inverted_index": {"They": [0], "are": [1, 4], "solid": [2], "and": [3], "blue.": [5]}, "cited_by_count": 7,
    } | changed  # fmt: skip


def answer(*works, next_cursor: str | None = "IlsxNzE=", **meta) -> bytes:
    said = {"count": 300, "db_response_time_ms": 12, "page": None, "per_page": 100, "next_cursor": next_cursor, "cost_usd": 0.0001} | meta
    return json.dumps({"meta": said, "results": list(works), "group_by": []}).encode()


def read(body: bytes, url: str = WORKS + "*") -> Parsed:
    return parse(Page(url, body, "api", "openalex"))


def test_a_work_is_a_paper_and_the_cursor_leads_on():
    found = read(answer(work(1)))
    (paper,) = found.papers
    assert (paper.key, paper.journal, paper.volume, paper.issue, paper.pages) == ("10.5555/imag.1", "Imaginary Chemistry", "4", "2", "10–19")
    assert (paper.title, paper.abstract) == ("On imaginary solids, part 1", "They are solid and are blue.")
    assert (str(paper.date), paper.licence, paper.language, paper.url) == ("2024-03-02", "CC-BY", "en", "https://doi.org/10.5555/imag.1")
    headed = work(2, abstract_inverted_index={"ABSTRACT": [0], "Solids": [1], "exist": [2]})
    assert read(answer(headed)).papers[0].abstract == "Solids exist"
    assert [(link.url, link.kind) for link in found.links] == [(WORKS + "IlsxNzE%3D", "api")]
    # After the last page there is no cursor; an empty page ends it as well.
    assert read(answer(work(1), next_cursor=None)).links == () == read(answer()).links


def test_without_a_cursor_pages_are_counted_to_ten_thousand():
    url = "https://api.example/works?per-page=100&page="
    assert read(answer(work(1), page=2, count=301), url + "2").links[0].url == url + "3"
    assert read(answer(work(1), page=3, count=300), url + "3").links == ()
    assert read(answer(work(1), page=100, count=99_999), url + "100").links == ()


def test_retracted_works_say_so_and_notices_are_no_papers():
    found = read(answer(work(1, is_retracted=True), work(2, type="retraction"), work(3, is_paratext=True), work(4, title="RETRACTED: On nothing")))
    assert [(paper.key, paper.status) for paper in found.papers] == [("10.5555/imag.1", "retracted"), ("10.5555/imag.4", "retracted")]


def test_a_work_alone_is_read_and_what_is_none_is_told():
    assert [paper.doi for paper in read(json.dumps(work(1)).encode(), "https://api.example/works/W1").papers] == ["10.5555/imag.1"]
    assert "not an answer of OpenAlex's /works" in read(b'{"error": "Invalid filter"}').problems[0].words
    found = read(answer("nonsense", work(2, title=None, display_name=None), work(3, primary_location=None, biblio=None, doi=None), work(4)))
    assert [paper.key for paper in found.papers] == ["https://openalex.org/W3", "10.5555/imag.4"] and len(found.problems) == 2


@settings(max_examples=30)
@given(st.lists(st.from_regex(r"[A-Za-z0-9.,()]{1,8}", fullmatch=True), max_size=40))
def test_an_inverted_index_gives_its_text_back(words):
    index: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        index.setdefault(word, []).append(place)
    assert abstract_of(index) == " ".join(words)


def test_a_damaged_index_costs_nothing():
    assert abstract_of({"far": [10**15], "near": [0]}) == "near far"
    assert abstract_of({"many": list(range(30_000))}) == ""
    assert abstract_of({"odd": ["1", None, 2.5], "word": 3}) == "" == abstract_of(["no", "index"]) == abstract_of(None)
