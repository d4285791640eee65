import json

from assets.papers.crawl.tally import Night, append_night, nights_picture, nights_table, read_nights, sparkline
from assets.papers.crawl.unfinished import Done


def entry(outcome, kind="article", tries=1, **more) -> Done:
    return Done(url="u", link="u", source="x", kind=kind, outcome=outcome, tries=tries, **more)


def test_a_night_counts_what_the_log_says():
    night = Night("data/journal_pages", 1, "2026-01-01", "now")
    refused = entry("failed", tries=0, problem="robots_disallowed")
    circle = entry("stored", problem="refused")
    night.count([entry("stored"), entry("stored", "image", tries=3), entry("unchanged", "index"), entry("still_gone"), refused, circle])
    assert night.requests == {"robots": 0, "index": 1, "api": 0, "article": 3, "image": 3}
    assert (night.total_requests, night.stored, night.unchanged, night.problems) == (7, 3, 2, 2)


def test_nights_are_read_back_for_their_own_output(tmp_path):
    path = tmp_path / "state" / "nights.jsonl"
    assert read_nights(path, "data/journal_pages") == []
    for crawl, output in ((1, "data/journal_pages"), (2, "other/journal_pages"), (3, "data/journal_pages")):
        append_night(path, Night(output, crawl, "2026-01-01", "now"))
    with path.open("a") as file:
        file.write('{"output": "data/journal_pages", "cra')
    assert [night.crawl for night in read_nights(path, "data/journal_pages")] == [1, 3]
    assert json.loads(path.read_text().splitlines()[0])["papers_new"] == 0


def test_tables_and_pictures_show_the_last_nights():
    nights = [Night("o", n, f"2026-01-{n:02}", "now", requests={"image": n}, papers_new=n) for n in range(1, 21)]
    table = nights_table(nights)
    assert "2026\\-01\\-20" in table and "2026\\-01\\-06" not in table
    assert "new papers" in nights_picture(nights)
    assert nights_table([]).count("\n") == 2
    assert nights_picture([]).count("`") == 8


def test_a_sparkline_is_as_high_as_its_values():
    assert sparkline([0, 1, 4, 8]) == "·▂▅█"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "··"
