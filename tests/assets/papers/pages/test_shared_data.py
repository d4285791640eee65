"""The real collections beside the checkout, read as they were saved: every title, abstract and picture that they are known to have is found.

Nothing of theirs is copied into this repository; the tests know counts only.
"""

import gzip
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from assets.papers.items import Page, PageKind, Parsed
from assets.papers.pages import PAGES

pytestmark = pytest.mark.shared_data

HOST = "http://shared.example/"


@pytest.fixture(scope="session")
def journals(shared_data: Path) -> Path:
    return shared_data / "journals"


def read(page_object: str, files: list[Path], journals: Path, *, kind: PageKind = "article") -> list[Parsed]:
    return [PAGES[page_object](Page(HOST + str(path.relative_to(journals)), path.read_bytes(), kind, "shared")) for path in files]


def papers_of(results: list[Parsed]) -> list:
    return [paper for result in results for paper in result.papers]


def picture_file(journals: Path, url: str) -> Path:
    assert url.startswith(HOST)
    return journals / unquote(urlsplit(url).path).lstrip("/")


def test_160_of_161_programming_historian_lessons_are_complete(journals):
    files = sorted((journals / "programming_historian").glob("e[ns]/*.md"))
    results = read("programming_historian", files, journals)
    papers = papers_of(results)
    assert len(files) == 161
    assert len([paper for paper in papers if paper.title and paper.abstract and picture_file(journals, paper.image_url).is_file()]) == 160
    assert [problem.words for result in results for problem in result.problems] == ["`published: false` in its front matter; it is left out"]
    assert len({paper.key for paper in papers}) == 160 and all(paper.doi.startswith("10.46430/ph") for paper in papers)
    assert all(paper.date and paper.language in ("en", "es") for paper in papers)


def test_translations_share_the_picture_of_their_original(journals):
    papers = papers_of(read("programming_historian", sorted((journals / "programming_historian").glob("e[ns]/*.md")), journals))
    by_url = {paper.url: paper for paper in papers}
    translations = [paper for paper in papers if paper.translation_of]
    assert len(translations) == 48
    for paper in translations:
        assert by_url[paper.translation_of].image_url == paper.image_url
        assert by_url[paper.translation_of].language != paper.language


def test_all_474_chemistry_posts_have_titles_and_172_have_pictures(journals):
    files = sorted((journals / "chem_bla_ics" / "_posts").iterdir())
    papers = papers_of(read("jekyll_blog", files, journals))
    assert len(files) == len(papers) == len({paper.key for paper in papers}) == 474
    assert all(paper.title and paper.date for paper in papers)
    pictures = [paper.image_url for paper in papers if paper.image_url]
    there = [url for url in pictures if picture_file(journals, url).is_file()]
    assert (len(pictures), len(there)) == (173, 172)  # the picture of one post is missing where the others are


def test_all_13_distill_articles_are_complete(journals):
    papers = papers_of(read("distill", sorted((journals / "distill").glob("*/index.html")), journals))
    assert len(papers) == 13
    assert all(paper.title and paper.abstract and picture_file(journals, paper.image_url).is_file() for paper in papers)


def test_all_9_open_access_pages_tell_title_abstract_doi_journal_and_date(journals):
    papers = papers_of(read("article", sorted((journals / "html_oa").glob("*.html")), journals))
    assert len(papers) == 9
    assert all(paper.title and len(paper.abstract) > 500 and paper.doi and paper.journal and paper.date for paper in papers)
    assert {paper.licence for paper in papers} == {"CC-BY", "CC0-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-ND-3.0"}


def test_all_57_jats_articles_have_titles_and_52_have_abstracts(journals):
    papers = papers_of(read("jats", sorted((journals / "jats_plos").glob("*.xml")), journals))
    assert len(papers) == 57
    assert sum(bool(paper.abstract) for paper in papers) == 52
    assert all(paper.title and paper.doi and paper.date and paper.journal and paper.language == "en" for paper in papers)
    assert not [paper.key for paper in papers if "\\begin{document}" in paper.title + paper.abstract]
    # PLOS draws no graphical abstracts. All figures are named by DOI, and 52 articles have one.
    assert not any(paper.image_url for paper in papers)
    for name in ("jats_first_figure", "pmc_first_figure"):
        shown = papers_of(read(name, sorted((journals / "jats_plos").glob("*.xml")), journals))
        assert sum(bool(paper.image_url) for paper in shown) == 52


def test_all_3191_arxiv_records_have_title_abstract_and_date(journals):
    results = read("oai", sorted((journals / "arxiv_oai").glob("*.xml")), journals, kind="api")
    assert [len(result.papers) for result in results] == [39, 436, 604, 856, 1256]
    papers = papers_of(results)
    assert len({paper.key for paper in papers}) == 3191
    assert all(paper.title and paper.abstract and paper.date for paper in papers)
    assert not [problem for result in results for problem in result.problems]
    assert sum("$" in paper.abstract for paper in papers) > 100  # LaTeX stays


def recorded_answers(journals: Path):
    """(address, status, body) of each recorded exchange; request headers name a person and are not looked at."""
    yaml = pytest.importorskip("yaml")
    for cassette in sorted((journals / "crossref_vcr").glob("*.yaml")):
        for exchange in yaml.safe_load(cassette.read_text())["interactions"]:
            body = exchange["response"]["body"]["string"]
            body = body.encode() if isinstance(body, str) else body
            yield exchange["request"]["uri"], exchange["response"]["status"]["code"], gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def test_recorded_crossref_answers_give_their_works(journals):
    seen = 0
    for url, status, body in recorded_answers(journals):
        result = PAGES["crossref"](Page(url, body, "api", "crossref"))
        if status != 200:
            assert not result.papers and result.problems
            continue
        message = json.loads(body)["message"]
        works = message.get("items", [message])
        named = [work for work in works if work.get("title") and work["title"][0]]
        assert [paper.doi for paper in result.papers] == [work["DOI"].lower() for work in named]
        assert all("</" not in paper.abstract and "jats:" not in paper.abstract for paper in result.papers)
        assert sum(bool(paper.abstract) for paper in result.papers) == sum(bool(work.get("abstract")) for work in named)
        seen += len(named)
    assert seen >= 50
