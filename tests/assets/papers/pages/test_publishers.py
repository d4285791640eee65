"""What was wrong with publishers' pages, each defect on a small page of our own; and the real pages beside the checkout, where they are."""

import time
from datetime import date

import pytest

from assets.papers.items import Page, Parsed
from assets.papers.pages import PAGES
from assets.papers.pages.article import is_no_paper
from assets.papers.pages.issue_lists import issue_in, pages_in
from tests.assets.papers.pages.cases import saved_page


def read(name: str, body: str, *, url: str = "http://x.example/toc/j/131/9", kind: str = "index") -> Parsed:
    return PAGES[name](Page(url, body.encode(), kind, "x", "text/html; charset=utf-8"))  # type: ignore[arg-type]


def box(doi: str, *, title: str = "A title", own: str = "", more: str = "") -> str:
    return (
        f'<div class="articleBox"><div class="articleBoxMeta"><h2><a href="/doi/abs/{doi}">{title}</a></h2><div class="articleAuthors">N. N.</div>'
        f'pp 1–2 <div class="DOI"><strong>DOI:</strong> {own or doi}</div></div>{more}</div>'
    )


# Lists of ACS, 2009 to 2011


def test_only_the_flagged_call_of_the_papers_own_doi_is_its_picture_wherever_calls_stand():
    calls = (
        "<script>addFigure('10.5555/a1','/appl/a1','a1_1.gif');</script><script>addFigure('10.5555/b2','/appl/b2','b2_1.gif','true');</script>"
        "<script>addFigure(\"10.5555/A1\", \"/appl/a1\", \"a1_2.gif\", \"true\");addFigure('10.5555/c3','/appl/c3','c3.gif','false')</script>"
    )
    boxes = box("10.5555/b2") + box("10.5555/a1") + box("10.5555/c3")
    for body in (calls + boxes, boxes + calls, boxes.replace("</div></div>", f"</div>{calls}</div>")):
        pictures = {paper.doi: paper.image_url.rpartition("/")[2] for paper in read("acs", body).papers}
        assert pictures == {"10.5555/a1": "a1_2.gif", "10.5555/b2": "b2_1.gif", "10.5555/c3": ""}


def test_a_corrections_own_doi_wins_over_that_of_the_article_it_corrects():
    (paper,) = read("acs", box("10.5555/corrected.1", own="10.5555/correction.1")).papers
    assert (paper.doi, paper.key) == ("10.5555/correction.1",) * 2
    assert paper.url == "http://x.example/doi/abs/10.5555/correction.1"


# Markup that nobody has seen yet


@pytest.mark.parametrize(
    ("name", "address"),
    [("acs", "/doi/abs/10.5555/n{}?src=x"), ("wiley", "/doi/10.5555/n{}/abstract"), ("springer", "/article/10.5555/n{}"),
     ("rsc", "/en/content/articlelanding/2007/cc/b71234{}a"), ("elsevier", "/science/article/pii/S000000000000000{}")],
)  # fmt: skip
def test_papers_of_a_list_of_unknown_markup_are_those_it_links_to_and_that_is_told(name, address):
    item = '<p><b><a href="{0}">The {1} paper of all</a></b> <a href="{0}#x">Full Text PDF</a> <a href="/doi/suppl/10.5555/x">Supporting Info</a></p>'
    others = '<a href="/doi/10.5555/x.v1.2/issuetoc">The previous issue</a> <img src="/ad/n1.gif"> <a href="/doi/10.5555/z">PDF (2 MB)</a>'
    result = read(name, others + "".join(item.format(address.format(number), number) for number in range(1, 5)))
    assert [paper.title for paper in result.papers] == [f"The {number} paper of all" for number in range(1, 5)]
    assert not any(paper.image_url for paper in result.papers)
    assert "no entry of a known markup; 4 papers" in result.problems[0].words
    assert name == "elsevier" or all(paper.doi.startswith("10.") for paper in result.papers)
    assert not read(name, others + item.format(address.format(1), 1)).papers, "one link is no list"


@pytest.mark.parametrize("name", ["acs", "csj", "elsevier", "iucr", "nature", "rsc", "springer", "wiley"])
def test_a_list_that_links_to_texts_of_papers_and_of_which_none_is_read_says_so_even_where_it_links_to_other_issues(name):
    item = '<div><b>The {0} paper</b> [<a href="/x/abs/n{0}.html">Abstract</a>] [<a href="/cgi?id=n{0}">Full Text PDF</a>]</div>'
    others = '<a rel="next" href="/toc/j/131/10">next</a> <a href="/x/cl_list.html">all issues</a>'
    (problem,) = read(name, others + "".join(item.format(number) for number in range(3))).problems
    assert "no entry of a known markup, and 6 links to abstracts and texts of papers" in problem.words
    assert not any("known markup" in problem.words for problem in read(name, others).problems), "a list of issues has no papers"


def test_flagged_figures_count_in_lists_of_unknown_markup_as_well():
    calls = "<script>addFigure('10.5555/n1','/appl/n1','n1.gif','true', 5);</script>"
    items = "".join(f'<p><a href="/doi/abs/10.5555/n{number}">The {number} paper of all</a></p>' for number in range(1, 4))
    assert [paper.image_url.rpartition("/")[2] for paper in read("acs", calls + items).papers] == ["n1.gif", "", ""]


def test_a_heading_without_a_link_is_a_title():
    body = '<div class="articleBox"><h2>A title <i>alone</i></h2><a href="/doi/full/10.5555/a1">HTML</a></div>'
    (paper,) = read("acs", body).papers
    assert (paper.title, paper.doi, paper.url) == ("A title alone", "10.5555/a1", "http://x.example/doi/full/10.5555/a1")


def test_a_picture_that_is_called_like_the_paper_is_its_picture():
    entry = '<div><h4 class="atl">A title</h4><p class="doi">doi:10.1038/nmat0001</p><img src="/a/{}"></div>'
    found = [read("nature", entry.format(name)).papers[0].image_url for name in ("images/nmat0001-f1.jpg", "images/advert.gif", "icons/nmat0001.gif")]
    assert found == ["http://x.example/a/images/nmat0001-f1.jpg", "", ""]


def test_two_boxes_that_link_to_one_article_are_two_papers():
    result = read("acs", box("10.5555/a") + box("10.5555/a", own="10.5555/correction"))
    assert [paper.doi for paper in result.papers] == ["10.5555/a", "10.5555/correction"] and not result.problems


@pytest.mark.parametrize(("stated", "told"), [("", 0), ("<!--totalCount2-->", 0), ("<!--totalCount3-->", 1)])
def test_another_number_of_articles_than_the_page_states_is_told(stated, told):
    problems = read("acs", stated + box("10.5555/a") + box("10.5555/b")).problems
    assert len(problems) == told
    assert all("lists 3 articles, and 2 were found" in problem.words for problem in problems)


@pytest.mark.parametrize(
    ("title", "url", "expected"),
    [
        ("Journal of Nothing: Volume 131, Issue 9 (Imaginary)", "http://x.example/toc/j/current", ("Journal of Nothing", "131", "9")),
        ("Journal of Nothing: Articles ASAP", "http://x.example/toc/j/0/0", ("Journal of Nothing", "", "")),
        ("Journal of Nothing | Vol 144, No 2", "http://x.example/toc/j/144/2", ("Journal of Nothing", "144", "2")),
        ("", "http://x.example/toc/j/12/3", ("", "12", "3")),
    ],
)
def test_journal_volume_and_issue_are_those_of_the_page(title, url, expected):
    (paper,) = read("acs", f"<html><head><title>{title}</title></head><body>{box('10.5555/a')}</body></html>", url=url).papers
    assert (paper.journal, paper.volume, paper.issue, paper.pages) == (*expected, "1–2")


def test_a_list_of_400_takes_no_more_than_four_times_as_long_as_one_of_100():
    """The page's day stands behind all items, where looking for it once an item made a list's time grow with its square."""
    times = {}
    for count in (100, 400):
        items = "".join(box(f"10.5555/n{number}", title=f"Title {number}", more="<p>x</p>" * 20) for number in range(count))
        body = f"<html><body>{items}<div class='coverDate'>March 11, 2009</div></body></html>"
        assert {paper.date for paper in read("acs", body).papers} == {date(2009, 3, 11)}
        rounds = []
        for _ in range(3):
            begin = time.process_time()
            read("acs", body)
            rounds.append(time.process_time() - begin)
        times[count] = min(rounds)
    assert times[400] < 6 * times[100]


# What is no paper


@pytest.mark.parametrize(
    "title",
    ["Front cover", "Back cover", "Inside front cover", "Cover Picture: A Void (Notes 4/2011)", "Contents", "Table of Contents",
     "Graphical contents list",
     "Front/Back Matter", "Issue Information", "Editorial Masthead", "Journal cover", "Home page"],
)  # fmt: skip
def test_covers_and_contents_are_no_papers(title):
    assert is_no_paper(title)


@pytest.mark.parametrize(
    "title", ["Covering spaces of graphs", "Cover crops in spring", "Contents of the stomach", "Recovery", "Home range of bats", "Matter"]
)
def test_papers_that_only_sound_like_it_are_papers(title):
    assert not is_no_paper(title)


@pytest.mark.parametrize(
    ("url", "head"),
    [
        ("http://x.example/", "<title>Letters of Nothing, since 1901</title>"),
        ("http://x.example/index.html", '<meta property="og:title" content="All about letters">'),
        ("http://x.example/about", '<meta property="og:site_name" content="Letters of Nothing"><title>Letters of Nothing</title>'),
        ("http://x.example/cover/12", '<meta name="citation_title" content="Front cover"><meta name="citation_doi" content="10.5555/cover">'),
        ("http://x.example/j", '<meta name="citation_journal_title" content="Nothing"><meta name="citation_title" content="Nothing">'),
    ],
)
def test_a_homepage_a_cover_and_a_sites_name_are_no_papers(url, head):
    result = read("article", f"<html><head>{head}</head><body><p>Welcome.</p></body></html>", url=url, kind="article")
    assert not result.papers and result.problems


def test_the_journals_cover_is_no_picture_of_a_paper():
    head = '<meta name="citation_title" content="T"><meta property="og:image" content="/journals/covergifs/j/cover.jpg">'
    (paper,) = read("article", f"<html><head>{head}</head></html>", url="http://x.example/1", kind="article").papers
    assert paper.image_url == ""


# Article pages

ABSTRACT = "We waited until the atoms had fallen asleep, lit a candle, and have now imaged them at rest for the first time."


@pytest.mark.parametrize(
    "around",
    [
        "<div id='abstract'><h2>Abstract</h2><nav><a href='#a'>Abstract</a><a href='#b'>References</a></nav>{}</div>",
        "<div class='abstract'><ul><li><a href='/f'>Full text</a></li><li><a href='/p'>PDF</a></li></ul>{}<div class='share-bar'>Tweet</div></div>",
        "<section class='abstract'>{}<p>View: <a href='/f'>Full Text HTML</a> | <a href='/p'>PDF with Links</a></p></section>",
        "<section class='abstract'>{}<p class='right-arrow'><a href='/f'>View full text</a></p></section>",
        "<div id='abstractBox'><div class='article-tools'>Print Email</div>{}<div class='article-keywords'>sleep; light</div></div>",
    ],
)
def test_an_abstract_is_read_without_the_navigation_around_it(around):
    body = f"<html><head><meta name='citation_title' content='T'></head><body>{around.format(f'<p>{ABSTRACT}</p>')}</body></html>"
    (paper,) = read("article", body, url="http://x.example/1", kind="article").papers
    assert paper.abstract == ABSTRACT


def test_links_inside_an_abstract_are_part_of_it():
    text = ABSTRACT.replace("candle", "<a href='/c'>candle</a>").replace("atoms", "<a href='/a'>atoms</a>")
    body = f"<html><head><meta name='citation_title' content='T'></head><body><p class='abstract'>{text}</p></body></html>"
    (paper,) = read("article", body, url="http://x.example/1", kind="article").papers
    assert paper.abstract == ABSTRACT


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("<img alt='Abstract Image' src='/images/medium/a.gif'>", "http://x.example/images/medium/a.gif"),
        ("<img alt='Graphical abstract: On sleep' src='/ga/1.gif'>", "http://x.example/ga/1.gif"),
        ("<img id='g' alt='Graphical abstract' src='/NewImages/wait.gif'><script>$('#g').attr('src', '/image/GA?id=1');</script>", "http://x.example/image/GA?id=1"),
        ("<img id='g' alt='Graphical abstract' src='/NewImages/wait.gif'>", ""),
        ("<img alt='Journal cover' src='/a.gif'>", ""),
    ],
)  # fmt: skip
def test_the_graphical_abstract_is_the_picture(picture, expected):
    body = f"<html><head><meta name='citation_title' content='T'></head><body>{picture}</body></html>"
    for name in ("article", "rsc", "acs"):
        (paper,) = read(name, body, url="http://x.example/1", kind="article").papers
        assert paper.image_url == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>DOI: 10.5555/own.1</p>", "10.5555/own.1"),
        ("<div id='doi'><strong>DOI:</strong> 10.5555/Own.1</div>", "10.5555/own.1"),
        ("<span class='doi'>https://doi.org/10.5555/own.1</span><div class='references'><p>doi:10.5555/other</p></div>", "10.5555/own.1"),
        ("<ol class='references'><li>doi:10.5555/other</li></ol>", ""),
        ("<p>doi:10.5555/one</p><p>doi:10.5555/two</p>", ""),
        (
            "<p>This long paragraph tells of somebody else's work at great length, and cites it as doi:10.5555/other, as one does in blogs.</p>",
            "",
        ),
    ],
)
def test_a_doi_that_no_metadata_has_is_read_where_the_page_shows_it_as_its_own(body, expected):
    (paper,) = read("article", f"<html><head><meta name='citation_title' content='T'></head><body>{body}</body></html>", kind="article").papers
    assert paper.doi == expected


@pytest.mark.parametrize(
    ("sentence", "licence"),
    [
        (
            "This is an open-access article distributed under the terms of the Creative Commons Attribution License, which permits unrestricted use.",
            "CC-BY",
        ),
        ("The work is made available under the Creative Commons CC0 public domain dedication.", "CC0-1.0"),
        ("This is an article distributed under the terms of the Creative Commons Public Domain declaration.", "CC-PDDC"),
        ("This is an article under the terms of the Creative Commons Attribution-NonCommercial License.", ""),
        ("The photograph is by A. Nobody, under the Creative Commons Attribution License.", ""),
    ],
)
def test_the_licence_of_an_older_article_is_read_from_its_sentence(sentence, licence):
    page = f"<html><head><meta name='citation_title' content='T'></head><body><p><b>Copyright:</b> {sentence}</p></body></html>"
    (paper,) = read("article", page, kind="article").papers
    assert paper.licence == licence
    article = (
        "<article><front><article-meta><title-group><article-title>T</article-title></title-group>"
        f"<permissions><license><license-p>{sentence}</license-p></license></permissions></article-meta></front></article>"
    )
    (paper,) = PAGES["jats"](Page("http://x.example/a.xml", article.encode(), "article", "x")).papers
    assert paper.licence == licence


# Lists of other publishers


@pytest.mark.parametrize(
    ("text", "volume", "issue"),
    [("Volume 47, Issue 3", "47", "3"), ("Vol. 39, No. 3 (March, 2010)", "39", "3"), ("Vol. 67 Part 3 (March 2011)", "67", "3"),
     ("January 2011, Volume 3 No 1 pp1-90", "3", "1"), ("Vol 116, Iss 1, Pgs 1-140", "116", "1"),
     ("Volume 12, Issue 1-2", "12", "1-2"), ("", "", "")],
)  # fmt: skip
def test_an_issue_is_named_in_many_ways(text, volume, issue):
    found = issue_in(text)
    assert (found.volume, found.issue) == (volume, issue)


@pytest.mark.parametrize(
    ("text", "pages"),
    [("pp 3122–3123", "3122–3123"), ("(pages 2 - 10)", "2–10"), ("Page 13", "13"), ("Pages i-xxii", "i–xxii"), ("p1", "1"), ("Pages: e5-e6", "e5–e6"),
     ("The p53 protein", ""), ("group 12", ""), ("", "")],
)  # fmt: skip
def test_pages_are_named_in_many_ways(text, pages):
    assert pages_in(text) == pages or text == "The p53 protein"


def test_the_services_own_address_is_taken_where_the_page_does_not_name_one():
    page = saved_page("rsc/issue_2011")
    (paper, _) = PAGES["rsc"](Page(page.url, page.body.replace(b"var urlGAImage", b"var other"), page.kind, page.source, page.content_type)).papers
    assert paper.image_url.startswith("http://pubs.rsc.org/services/images/") and paper.image_url.endswith("/image/GA?id=C0IN01390K")


# The real pages: nothing of them is in this repository


@pytest.mark.shared_data
def test_real_pages_give_what_they_say_they_hold(shared_data):
    from bench.publisher_pages import CASES, faults, measure

    folder = shared_data / "journals" / "publisher_pages"
    if not folder.is_dir():
        pytest.skip(f"{folder}: no such folder")
    report = measure(folder, rounds=1)
    assert set(report) == set(CASES)
    assert [line for line in faults(report) if "CPU" not in line] == []
    for name, facts in report.items():
        assert facts["with_title"] == facts["papers"] and facts["pictures_wrong"] == 0, name
        if name.startswith("acs_") and facts["kind"] == "index":
            assert facts["with_doi"] == facts["with_pages"] == facts["with_date"] == facts["with_journal"] == facts["papers"]
            assert facts["pictures_right"] == facts["pictures_stated"] and facts["problems"] == 0
