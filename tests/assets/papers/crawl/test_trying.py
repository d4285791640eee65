"""An address is tried before it becomes a source: asked for as the crawl would, read by every page object, and not stored."""

import json
import os
import subprocess
import sys

import pytest

from assets.demo_sites.exchange import Response
from assets.papers.crawl.config import JournalPagesConfig, SourceParams
from assets.papers.crawl.trying import main, report, verdicts
from assets.papers.items import Page
from tests.assets.papers.packages_maker import members, tar_gz
from tests.assets.papers.pages.cases import FIXTURES, saved_page
from tests.assets.papers.pages.test_openalex import answer, work
from tests.assets.papers.pages.test_pmc import result, search

from .tiny_site import ROOT, TinySite, running

PAGE = (FIXTURES / "rsc" / "issue_2011" / "page.html").read_bytes()


def try_it(folder, site, *words: str, **params) -> subprocess.CompletedProcess:
    """The program on an address of a site behind a proxy, as a source of params.yaml says."""
    with running(site) as server:
        source = {"name": "tiny", "page": "rsc", "start": ["http://tiny.example/"], "licence": "unknown", "via": server.proxy, "delay_s": 0}
        section = {"contact": "tests@figment.internal", "retries": 0, "sources": [source]} | params
        (folder / "params.yaml").write_text(json.dumps({"journal_pages": section}))
        command = [sys.executable, "-m", "assets.papers.crawl.trying", *words]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
        )
        done.asked = [entry.url for entry in server.log]
    return done


def test_an_address_is_asked_for_once_and_leaves_nothing_behind(tmp_path):
    site = TinySite(answers={"tiny.example/toc": Response(PAGE, "text/html; charset=utf-8")})
    done = try_it(tmp_path, site, "http://tiny.example/toc")
    assert done.returncode == 0, done.stderr
    assert "source 'tiny' of params.yaml reads it with page object 'rsc'" in done.stdout
    assert "best read by page object 'rsc', as kind index" in done.stdout and "10.5555/c0in01390k" in done.stdout
    assert [url for url in done.asked if "robots" not in url and "well-known" not in url] == ["http://tiny.example/toc"], "nothing is followed"
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("name", "body", "best", "words"),
    [
        ("PMC1.tar.gz", tar_gz(members()), "pmc", ["10.5555/imag.1", "imag-1-ga.jpg"]),
        ("works.json", answer(work(1)), "openalex", ["10.5555/imag.1", "openalex"]),
        ("search.json", search(result(1)), "pmc", ["10.5555/imag.1"]),
    ],
)
def test_the_doors_of_open_access_are_known(tmp_path, capsys, name, body, best, words):
    (tmp_path / name).write_bytes(body)
    assert main([str(tmp_path / name), "--url", f"https://x.example/{name}?cursor=*", "--params", str(tmp_path / "none.yaml")]) == 0
    told = capsys.readouterr().out
    assert f"best read by page object '{best}'" in told
    assert all(word in told for word in words)


def test_robots_and_the_guard_hold(tmp_path):
    rules = Response(b"User-agent: *\nDisallow: /\n", "text/plain")
    forbidden = try_it(tmp_path, TinySite(answers={"tiny.example/robots.txt": rules}), "http://tiny.example/toc")
    assert forbidden.returncode == 1 and "robots_disallowed" in forbidden.stderr
    private = try_it(tmp_path, TinySite(), "http://127.0.0.1:9/toc")
    assert private.returncode == 1 and "private_address" in private.stderr
    nobody = try_it(tmp_path, TinySite(), "http://tiny.example/toc", contact="your.name@example.org")
    assert nobody.returncode == 1 and "reaches nobody" in nobody.stderr


def test_a_saved_page_is_read_where_it_lies(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved.html").write_bytes(PAGE)
    assert main(["saved.html", "--url", saved_page("rsc/issue_2011").url]) == 0
    assert "best read by page object 'rsc'" in capsys.readouterr().out
    assert main(["saved.html", "--url", "http://x.example/", "--page", "oai"]) == 1
    assert "no page object finds papers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["saved.html"], 2, "give --url"),
        (["nowhere.html", "--url", "http://x.example/"], 1, "no such file"),
        (["saved.html", "--url", "http://x.example/", "--page", "rsk"], 2, "did you mean 'rsc'"),
        (["http://x.example/"], 2, "params.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, capsys, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved.html").write_bytes(PAGE)
    assert main(words) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "case", ["acs/issue_2009", "rsc/issue_2011", "nature/issue_2011", "wiley/issue_2011", "elsevier/issue_2004", "iucr/body", "csj/issue_2010"]
)
def test_the_publishers_own_page_object_is_the_best(case):
    from assets.papers.pages import PAGES

    best, *_ = verdicts(saved_page(case), sorted(PAGES))
    assert best.page_object == case.partition("/")[0] and best.kind == "index"


def test_a_list_of_lists_is_no_paper_for_all_its_title():
    page = saved_page("iucr/frames")
    best, *_ = verdicts(page, ["acs", "article", "distill", "iucr"])
    assert (best.page_object, best.kind, len(best.parsed.links)) == ("iucr", "index", 2)


def test_problems_of_the_best_are_told():
    page = saved_page("acs/issue_2009")
    broken = page.body.replace(b"totalCount3", b"totalCount5")
    said = report(page, verdicts(type(page)(page.url, broken, page.kind, page.source), ["acs"]), None)
    assert "problem:" in said and "lists 5 articles, and 3 were found" in said


def test_sources_are_named_by_their_hosts():
    sources = [
        SourceParams("mine", "rsc", ["http://pubs.imaginary-rsc.example/"], "unknown"),
        SourceParams("other", "acs", ["http://o.example/"], "unknown"),
    ]
    said = report(saved_page("rsc/issue_2011"), [], JournalPagesConfig(contact="someone@lab.org", sources=sources))
    assert "source 'mine'" in said and "other" not in said


def test_an_article_page_is_no_list_of_the_papers_that_it_cites():
    cited = "".join(f'<li><a href="https://doi.org/10.5555/cited.{number}">What another paper is called</a></li>' for number in range(9))
    head = '<meta name="citation_title" content="T"><meta name="citation_doi" content="10.5555/own"><meta name="citation_volume" content="3">'
    body = f'<html><head>{head}<meta name="citation_date" content="2011/01/02"></head><body><ol class="references">{cited}</ol></body></html>'
    best, *others = verdicts(Page("http://x.example/1", body.encode(), "index", "tried", "text/html"), ["acs", "article", "nature"])
    assert (best.page_object, best.kind) == ("article", "article"), "of page objects that read the same, the general one"
    assert {(verdict.kind, len(verdict.parsed.papers)) for verdict in others} == {("article", 1)}
