"""Furniture is never a paper's picture, and a list that says nothing is a problem, whoever wrote the page object."""

import pytest

from assets.papers.items import Link, Page, Paper, Parsed
from assets.papers.page_objects import read_page
from assets.papers.page_rules import is_furniture, keep_rules
from assets.papers.pages import PAGES
from assets.papers.pages.markup import tolerant

FURNITURE = [
    "http://x.example/entityImage/?text=0065,0301",
    "http://x.example/appl/journals/entities/223C.gif",
    "http://x.example/logos/entities/eta_rmgif.gif",
    "http://x.example/templates/jsp/images/singlePixel.gif",
    "http://x.example/templates/images/access_free.gif",
    "http://x.example/images/openAccess.gif",
    "http://x.example/images/icon-pdf-sm.gif",
    "http://x.example/graphics/spacer.gif",
    "http://x.example/content/NewImages/Ajax-GA-Loader.gif",
    "http://x.example/a/LoadingBackGround.JPG",
    "http://x.example/journals/covergifs/jimag/2009/131-9/cover.jpg",
    "http://x.example/nimag/journal/v3/n1/images/homecover.gif",
    "http://x.example/image/CoverIssue?id=CC&issueid=CC047003",
    "http://x.example/content/image/1-s2.0-S0000000000X04278-cov150h.gif",
    "http://x.example/favicon.ico",
]
PICTURES = [
    "http://x.example/images/medium/ja-2008-098001_0005.gif",
    "http://x.example/toc_images/nimag.2_toc.jpg",
    "http://x.example/image/GA?id=C0IN01390K",
    "http://x.example/ab0001/ab0001contentsthm.gif",
    "http://x.example/images/loading-data/loading-data.png",
    "http://x.example/images/superpixels.png",
    "http://x.example/images/recover.png",
    "http://x.example/images/iconography.png",
    "http://x.example/posts/coverage.png",
]


@pytest.mark.parametrize("url", FURNITURE)
def test_icons_glyphs_spacers_and_covers_are_furniture(url):
    assert is_furniture(url)


@pytest.mark.parametrize("url", PICTURES)
def test_pictures_whose_names_only_sound_like_it_are_none(url):
    assert not is_furniture(url)


def test_a_paper_keeps_everything_but_furniture():
    papers = tuple(Paper(key=url, url="http://x.example/", title="T", image_url=url) for url in (*FURNITURE, *PICTURES))
    links = tuple(Link(url, "image", paper_key=url) for url in (*FURNITURE, *PICTURES))
    said = keep_rules(Page("http://x.example/", b"", "index", "x"), Parsed(papers=papers, links=(*links, Link(FURNITURE[0], "index"))))
    assert len(said.papers) == len(papers)
    assert {paper.image_url for paper in said.papers if paper.image_url} == set(PICTURES)
    assert [link.url for link in said.links] == [*PICTURES, FURNITURE[0]]


def test_a_list_with_neither_papers_nor_links_is_a_problem_and_an_article_is_not_one():
    def empty(page: Page) -> Parsed:
        return Parsed()

    for read in (empty, tolerant(empty)):
        (problem,) = read_page(read, Page("http://x.example/toc", b"<p>", "index", "x")).problems
        assert problem.where == "http://x.example/toc" and "neither papers nor links" in problem.words
        assert read_page(read, Page("http://x.example/1", b"<p>", "article", "x")) == Parsed()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_page_object_of_ours_says_so_of_a_list_it_does_not_know(name):
    assert PAGES[name](Page("http://x.example/list", b"<html><body><p>Nothing here.</p></body></html>", "index", "x", "text/html")).problems
