"""Page objects and the sites we serve ourselves, without a crawl between them: all links lead somewhere, and lists and pages agree."""

import dataclasses
from collections import deque
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from assets.demo_sites.exchange import Request, Site
from assets.demo_sites.folder import FolderSite
from assets.demo_sites.journal import ImaginaryLetters
from assets.papers.items import Page, PageKind, Paper
from assets.papers.pages import PAGES
from tests.assets.papers.pages.cases import saved_page


class Walk:
    """What following every link of a site gives. statuses: of images, by address."""

    def __init__(self, site: Site, page_object: str, start: str, *, kind: PageKind = "index") -> None:
        self.papers: dict[str, list[Paper]] = {}
        self.statuses: dict[str, int] = {}
        self.problems: list[str] = []
        self.withdrawn: set[str] = set()
        waiting, seen = deque([(start, kind)]), {start}
        while waiting:
            url, kind = waiting.popleft()
            parts = urlsplit(url)
            answer = site.respond(Request("GET", parts.netloc, unquote(parts.path), dict(parse_qsl(parts.query))))
            if kind == "image":
                self.statuses[url] = answer.status
                continue
            assert answer.status == 200, url
            result = PAGES[page_object](Page(url, answer.body, kind, "walk", answer.content_type))
            self.problems += [problem.words for problem in result.problems]
            self.withdrawn |= {withdrawal.key for withdrawal in result.withdrawals}
            for paper in result.papers:
                self.papers.setdefault(paper.key, []).append(paper)
            fresh = [link for link in result.links if link.url not in seen]
            seen |= {link.url for link in fresh}
            waiting += [(link.url, link.kind) for link in fresh]


def test_lists_and_article_pages_of_the_imaginary_journal_never_contradict_each_other():
    walk = Walk(ImaginaryLetters(1), "acs", "http://journal.imaginary-letters.example/loi/imlett")
    assert len(walk.papers) == 240 and not walk.problems
    for of_list, of_page in walk.papers.values():
        for field in dataclasses.fields(Paper):
            one, other = getattr(of_list, field.name), getattr(of_page, field.name)
            assert one == other or not one or not other, (field.name, one, other)


def test_registry_and_repository_tell_of_the_same_papers_as_the_lists():
    listed = Walk(ImaginaryLetters(2), "acs_lists", "http://journal.imaginary-letters.example/loi/imlett").papers
    counted = Walk(ImaginaryLetters(2), "crossref", "http://api.imaginary-letters.example/works?rows=50", kind="api")
    by_cursor = Walk(ImaginaryLetters(2), "crossref", "http://api.imaginary-letters.example/works?rows=50&cursor=*", kind="api")
    harvested = Walk(ImaginaryLetters(2), "oai", "http://oai.imaginary-letters.example/oai?verb=ListRecords&metadataPrefix=oai_dc", kind="api")
    assert counted.papers == by_cursor.papers and counted.withdrawn == by_cursor.withdrawn
    living = {key for key, (paper, *_) in counted.papers.items() if paper.status == "published"}
    assert living == set(listed)
    assert counted.withdrawn == {key for key in counted.papers if key not in living} != set()
    assert {paper.doi for (paper, *_) in harvested.papers.values()} == living
    assert {key.rpartition(":")[2] for key in harvested.withdrawn} == counted.withdrawn
    for (paper,) in harvested.papers.values():
        assert (paper.title, paper.abstract, paper.date) == (listed[paper.doi][0].title, listed[paper.doi][0].abstract, listed[paper.doi][0].date)


def test_an_older_scrape_in_a_folder_arrives_with_its_pictures(tmp_path):
    (tmp_path / "papers.csv").write_bytes(saved_page("legacy_csv/table").body)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "im2c00001_0005.gif").write_bytes(b"GIF89a")
    site = FolderSite(tmp_path, hosts=("older.example",), day=datetime(2026, 1, 5, tzinfo=UTC))
    walk = Walk(site, "legacy_csv", "http://older.example/")
    assert len(walk.papers) == 5
    assert walk.statuses["http://older.example/images/im2c00001_0005.gif"] == 200
    assert sorted(walk.statuses.values()) == [200, 404, 404]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("page_object", "folder", "start", "papers", "with_picture"),
    [
        ("programming_historian", "programming_historian", "", 160, 160),
        ("distill", "distill", "", 13, 13),
        ("jekyll_blog", "chem_bla_ics", "_posts/", 474, 172),
        ("jats", "jats_plos", "", 57, 0),
        ("article", "html_oa", "", 9, 0),
    ],
)
def test_folders_of_real_collections_lead_to_all_papers_and_pictures(shared_data, page_object, folder, start, papers, with_picture):
    site = FolderSite(shared_data / "journals" / folder, hosts=("shared.example",), day=datetime(2026, 1, 5, tzinfo=UTC))
    walk = Walk(site, page_object, f"http://shared.example/{start}")
    assert len(walk.papers) == papers
    shown = [paper.image_url for (paper, *_) in walk.papers.values() if paper.image_url]
    assert [walk.statuses[url] for url in shown].count(200) == with_picture
    assert set(walk.statuses) == set(shown)
