from dataclasses import replace
from types import SimpleNamespace

from assets.papers.crawl.publishing import NO_CHAINS, Chains, merged_problems
from assets.papers.crawl.unfinished import Done
from assets.papers.raw_pages import RawPages, StoredProblem
from tests.assets.papers.raw_pages_writer import RawPagesWriter

URL = "http://x.example/1"


def merged(folder, *done: Done, offsite=(), stored=False, old=(), chains=NO_CHAINS) -> list[StoredProblem]:
    with RawPagesWriter(folder) as writer:
        if stored:
            writer.add(URL, b"page", kind="article", source="x")
        for kind, source in old:
            writer.add_problem(URL, f"old words of {kind}", kind=kind, source=source)
    unfinished = SimpleNamespace(crawl=7, done={entry.url: entry for entry in done})
    return merged_problems(RawPages(folder), unfinished, ["x"], offsite, chains)


def tried(problem="", outcome="failed") -> Done:
    return Done(url=URL, link=URL, source="x", kind="article", outcome=outcome, tries=1, problem=problem, words=f"new words of {problem}")


def kinds(problems) -> list[tuple]:
    return [(problem.kind, problem.crawl, problem.words.split()[0]) for problem in problems]


def test_a_problem_comes_stays_changes_and_goes(tmp_path):
    assert kinds(merged(tmp_path / "1", tried("http_403"))) == [("http_403", 7, "new")]
    assert kinds(merged(tmp_path / "2", tried("http_403"), old=[("http_403", "x")])) == [("http_403", 1, "old")]
    assert kinds(merged(tmp_path / "3", old=[("http_403", "x")])) == [("http_403", 1, "old")]
    assert kinds(merged(tmp_path / "4", tried("bot_wall"), old=[("http_403", "x")])) == [("bot_wall", 7, "new")]
    assert kinds(merged(tmp_path / "5", tried(outcome="unchanged"), old=[("http_403", "x")])) == []
    assert kinds(merged(tmp_path / "6", old=[("http_403", "a source that is no more")])) == []


def test_the_troubles_of_a_chain_are_told_at_its_start_and_end_with_it(tmp_path):
    endless = StoredProblem(URL, "x", 7, "repeated_token", "new words")
    on_its_way = replace(tried("http_503"), url=f"{URL}?token", link=f"{URL}?token")

    def chains(problem):
        return Chains({(URL, "x"): problem}, lambda url: url.startswith(URL))

    assert merged(tmp_path / "1", on_its_way, chains=chains(endless)) == [endless]
    # It goes on in the next night, whether the start was asked for or not; it is over when a chain comes to its end.
    old = [("repeated_token", "x")]
    assert kinds(merged(tmp_path / "2", tried(outcome="unchanged"), old=old, chains=chains(endless))) == [("repeated_token", 1, "old")]
    assert merged(tmp_path / "3", old=old, chains=chains(None)) == []
    assert kinds(merged(tmp_path / "4", old=old)) == [("repeated_token", 1, "old")]


def test_a_night_of_trouble_with_a_stored_page_leaves_no_trace(tmp_path):
    assert kinds(merged(tmp_path / "1", tried("timeout"), stored=True)) == []
    assert kinds(merged(tmp_path / "2", tried("timeout"))) == [("timeout", 7, "new")]
    assert kinds(merged(tmp_path / "3", tried("robots_disallowed"), stored=True)) == [("robots_disallowed", 7, "new")]


def test_a_host_that_is_not_allowed_is_named_once(tmp_path):
    there = StoredProblem("http://elsewhere.example/2", "x", 7, "host_not_allowed", "elsewhere.example is not among the hosts")
    assert merged(tmp_path / "1", offsite=[there]) == [there]
    with RawPagesWriter(tmp_path / "2") as writer:
        writer.add_problem("http://elsewhere.example/1", there.words, kind="host_not_allowed", source="x")
    unfinished = SimpleNamespace(crawl=7, done={})
    assert [problem.url for problem in merged_problems(RawPages(tmp_path / "2"), unfinished, ["x"], [there])] == ["http://elsewhere.example/1"]
