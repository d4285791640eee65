"""The imaginary journal says the same to every reader, and an edition changes exactly three papers."""

import hashlib
import subprocess
import sys
from collections import Counter

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

from assets.demo_sites.catalogue import EDITORIALS, PAPERS_IN_FIRST_EDITION, PICTURE_FAULTS, PRINTED_TWICE, WITHOUT_PICTURE, edition, picture
from assets.demo_sites.journal import API_HOST, JOURNAL, OAI_HOST, ImaginaryLetters
from tests.assets.demo_sites.reading import ask, read, walk

LIST_OF_ISSUES = f"{JOURNAL}/loi/imlett"
WORKS = f"http://{API_HOST}/works?filter=prefix:10.5555&rows=100&cursor=*"
RECORDS = f"http://{OAI_HOST}/oai?verb=ListRecords&metadataPrefix=oai_dc"


@pytest.fixture(scope="module")
def first():
    return ImaginaryLetters(1)


@pytest.fixture(scope="module")
def listed(first):
    """By key, what the issue lists say."""
    papers, _, _ = walk(first, LIST_OF_ISSUES, "acs", "index", kinds=("index",))
    return {paper.key: paper for paper in papers}


def test_the_issue_lists_of_both_ages_say_what_the_journal_holds(listed):
    articles = {article.doi: article for article in edition(1).articles.values()}
    assert listed.keys() == articles.keys() and len(listed) == PAPERS_IN_FIRST_EDITION
    for doi, article in articles.items():
        paper = listed[doi]
        assert paper.title == article.written.title
        assert paper.abstract == article.written.abstract
        assert bool(paper.image_url) == bool(article.picture_name)
        assert (paper.volume, paper.issue, paper.pages, paper.date) == (
            str(article.issue.volume),
            str(article.issue.number),
            article.pages,
            article.day,
        )
    assert sum(not paper.image_url for paper in listed.values()) == len(EDITORIALS) + len(WITHOUT_PICTURE)


def test_article_pages_agree_with_the_lists(first, listed):
    for paper in list(listed.values())[::7]:
        (read_again,) = read(first, paper.url, "acs", "article").papers
        assert (read_again.key, read_again.title, read_again.abstract, read_again.image_url) == (
            paper.key,
            paper.title,
            paper.abstract,
            paper.image_url,
        )
        assert read_again.licence == "CC0-1.0"


def test_titles_and_abstracts_are_different_but_for_the_paper_printed_twice(listed):
    titles = Counter(paper.title for paper in listed.values())
    assert sum(count - 1 for count in titles.values()) <= 3
    assert len({paper.abstract for paper in listed.values() if paper.abstract}) == PAPERS_IN_FIRST_EDITION - len(EDITORIALS)
    assert all(200 < len(paper.abstract) < 1_500 for paper in listed.values() if paper.abstract)


def test_registry_and_harvest_name_the_same_papers(first, listed):
    registered, withdrawals, pages = walk(first, WORKS, "crossref", "api", kinds=("api",))
    assert {paper.key for paper in registered} == listed.keys() and not withdrawals and len(pages) == 3
    assert all(paper.licence == "CC0-1.0" and paper.date == listed[paper.key].date for paper in registered)
    harvested, _, _ = walk(first, RECORDS, "oai", "api", kinds=("api",))
    assert {paper.doi for paper in harvested} == listed.keys()


@pytest.mark.parametrize("number", [2, 3, 9])
def test_an_edition_changes_one_abstract_adds_one_paper_and_retracts_one(number):
    before, after = edition(number - 1), edition(number)
    gone = before.articles.keys() - after.articles.keys()
    new = after.articles.keys() - before.articles.keys()
    both = before.articles.keys() & after.articles.keys()
    changed = {article for article in both if before.articles[article] != after.articles[article]}
    assert (len(gone), len(new), len(changed)) == (1, 1, 1)
    (article,) = changed
    assert before.articles[article].written.abstract != after.articles[article].written.abstract
    assert before.articles[article].written.title == after.articles[article].written.title
    assert gone == {retraction.number for retraction in after.retractions if retraction.edition == number}
    assert after.now > before.now


def test_a_retracted_paper_is_gone_everywhere_and_the_registry_says_why():
    before, after = ImaginaryLetters(1), ImaginaryLetters(2)
    (retraction,) = after.edition.retractions
    article = before.edition.articles[retraction.number]
    page, image = f"{JOURNAL}/doi/{article.doi}", f"{JOURNAL}/cms/{article.doi}/asset/images/medium/{article.picture_name}"
    assert (ask(before, page).status, ask(before, image).status) == (200, 200)
    assert (ask(after, page).status, ask(after, image).status) == (410, 410)
    listed, _, _ = walk(after, LIST_OF_ISSUES, "acs", "index", kinds=("index",))
    assert article.doi not in {paper.key for paper in listed} and len(listed) == PAPERS_IN_FIRST_EDITION
    _, withdrawals, _ = walk(after, WORKS, "crossref", "api", kinds=("api",))
    assert [(withdrawal.key, withdrawal.reason) for withdrawal in withdrawals] == [(article.doi, "retracted")]
    _, deleted, _ = walk(after, RECORDS, "oai", "api", kinds=("api",))
    assert [withdrawal.reason for withdrawal in deleted] == ["deleted"]


def test_an_edition_touches_only_the_issues_of_its_papers():
    before, after = ImaginaryLetters(1), ImaginaryLetters(2)
    (retraction,) = after.edition.retractions
    new = max(after.edition.articles)
    touched = {before.edition.articles[number].issue for number in (retraction.number, *after.edition.changed)} | {after.edition.articles[new].issue}
    for issue in before.edition.issues:
        url = f"{JOURNAL}/toc/imlett/{issue.volume}/{issue.number}"
        assert (ask(before, url).body != ask(after, url).body) == (issue in touched), issue
    assert ask(before, LIST_OF_ISSUES).body == ask(after, LIST_OF_ISSUES).body


def test_retracted_pictures_are_the_last_of_an_archive_by_content():
    plain = [number for number, article in edition(1).articles.items() if article.picture_name and number not in {*PICTURE_FAULTS, *PRINTED_TWICE}]
    order = sorted(plain, key=lambda number: hashlib.sha256(picture(number).body).hexdigest())
    assert [retraction.number for retraction in edition(4).retractions] == order[:-4:-1]


def test_robots_may_go_everywhere_but_where_nothing_is_to_be_read(first):
    assert b"Disallow: /action/" in ask(first, f"{JOURNAL}/robots.txt").body
    assert b"/action/" in ask(first, f"{JOURNAL}/toc/imlett/17/1").body


@pytest.mark.parametrize(
    "path", ["/toc/imlett/3/1", "/toc/imlett/99999999999/1", "/doi/10.5555/nobody", "/cms/10.5555/imlett.26c00240/asset/images/medium/x.gif", "/x"]
)
def test_what_was_never_there_is_not_found(first, path):
    assert ask(first, f"{JOURNAL}{path}").status == 404


@pytest.mark.parametrize("query", ["rows=x", "rows=10&cursor=AAAA", "cursor=é", "rows=-1", "offset=-3"])
def test_the_registry_refuses_what_it_did_not_hand_out(first, query):
    assert ask(first, f"http://{API_HOST}/works?{query}").status == 400


def test_another_process_serves_the_same_bytes():
    code = (
        "import hashlib\nfrom assets.demo_sites.exchange import Request\nfrom assets.demo_sites.journal import ImaginaryLetters, JOURNAL_HOST\n"
        "site = ImaginaryLetters(2)\n"
        "paths = ['/loi/imlett', '/toc/imlett/1/1', '/toc/imlett/17/1', '/doi/10.5555/imlett.26c00240']\n"
        "print(hashlib.sha256(b''.join(site.respond(Request('GET', JOURNAL_HOST, path)).body for path in paths)).hexdigest())\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin"}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
