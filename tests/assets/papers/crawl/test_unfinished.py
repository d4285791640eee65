import json
from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.papers.crawl.unfinished import Done, Unfinished, unfinished_crawl
from assets.papers.warc_store import Exchange

NOW = datetime(2026, 7, 8, 9, tzinfo=UTC)
COUNT = 6


def opened(folder, origin="here", crawl=3) -> Unfinished:
    unfinished = Unfinished(folder, crawl, origins={"x": origin}, about={"software": "figment"})
    unfinished.open()
    return unfinished


def done(n: int, outcome="stored", **more) -> Done:
    url = f"http://x.example/{n}"
    return Done(url=url, link=url, source="x", kind="article", outcome=outcome, tries=1, origin="here", status=200, **more)


def keep(unfinished: Unfinished, n: int) -> None:
    exchange = Exchange(f"http://x.example/{n}", NOW, 200, (("ETag", f'"{n}"'),), f"body of {n}".encode())
    unfinished.keep(exchange, done(n), content_sha256=str(n), tdm_reserved=None)


def begun(folder) -> None:
    unfinished = opened(folder)
    unfinished.note_date("x", "Wed, 08 Jul 2026 23:59:59 GMT")
    for n in range(COUNT):
        keep(unfinished, n)
    unfinished.note(done(90, "failed", problem="timeout", words="no answer — für immer"))
    unfinished.note(done(91, "unchanged"))
    unfinished.close()


def test_it_goes_on_where_it_was(tmp_path):
    begun(tmp_path)
    again = opened(tmp_path)
    assert [entry.url[-2:] for entry in again.done.values()] == [f"/{n}" for n in range(COUNT)] + ["90", "91"]
    assert again.done["http://x.example/90"].words == "no answer — für immer"
    assert [again.read(page).body for page in again.stored()] == [f"body of {n}".encode() for n in range(COUNT)]
    assert {(page.day, page.crawl, page.fetched_at) for page in again.stored()} == {(date(2026, 7, 8), 3, NOW)}
    again.note_date("x", "Thu, 09 Jul 2026 00:00:00 GMT")
    assert again.day_of("x") == date(2026, 7, 8), "the day is fixed when the crawl begins"
    assert unfinished_crawl(tmp_path) == 3
    again.close()


@settings(max_examples=60)
@given(log_share=st.floats(0, 1), warc_share=st.floats(0, 1))
def test_whatever_is_torn_nothing_whole_is_lost_and_nothing_torn_is_taken(tmp_path_factory, log_share, warc_share):
    """The log and the WARC file end at any byte, as after a power cut."""
    folder = tmp_path_factory.mktemp("unfinished")
    begun(folder)
    log, warc = folder / "log.jsonl", folder / "crawl-00003.warc.gz"
    lines = [json.loads(line.partition("\t")[0]) for line in log.read_text().splitlines()]
    ends = [line["page"]["offset"] + line["page"]["length"] for line in lines[:COUNT]]
    for path, share in ((log, log_share), (warc, warc_share)):
        with path.open("r+b") as file:
            file.truncate(round(share * path.stat().st_size))
    whole = {n for n in range(COUNT) if ends[n] <= warc.stat().st_size}
    again = opened(folder)
    logged = {int(page.url[-1]) for page in again.stored()}
    lost = {n for n in range(COUNT) if again.take_lost(f"http://x.example/{n}")}
    assert logged | lost == whole and not logged & lost
    for n in range(COUNT):  # What is found again is not written a second time.
        if n not in logged:
            keep(again, n)
    bodies = {page.url[-1]: again.read(page).body for page in again.stored()}
    assert bodies == {str(n): f"body of {n}".encode() for n in range(COUNT)}
    again.close()
    assert sorted(page.url for page in opened(folder).stored()) == [f"http://x.example/{n}" for n in range(COUNT)]


def test_empty_blocks_at_the_end_are_not_taken_for_responses(tmp_path):
    begun(tmp_path)
    warc = tmp_path / "crawl-00003.warc.gz"
    before = opened(tmp_path)
    size, pages = warc.stat().st_size, sorted(before.stored(), key=lambda page: page.offset)
    before.close()
    with warc.open("r+b") as file:
        file.truncate(pages[-2].offset + 40)
        file.truncate(size)
    again = opened(tmp_path)
    assert {page.url for page in again.stored()} == {page.url for page in pages[:-2]}
    assert again.take_lost(pages[-1].url) is None
    again.close()


def test_responses_of_another_origin_do_not_count(tmp_path):
    begun(tmp_path)
    elsewhere = opened(tmp_path, origin="http://127.0.0.1:1")
    assert not elsewhere.done
    assert elsewhere.take_lost("http://x.example/1") is None
    elsewhere.close()


def test_without_a_date_header_the_day_is_today(tmp_path):
    for n, header in enumerate(("", "yesterday", "Wed, 99 Jul 2026 23:59:59 GMT")):
        unfinished = opened(tmp_path / str(n))
        unfinished.note_date("x", header)
        assert abs((unfinished.day_of("x") - datetime.now(UTC).date()).days) <= 1
        unfinished.close()


def test_no_crawl_in_progress(tmp_path):
    assert unfinished_crawl(tmp_path) is None
    Path(tmp_path / "crawl.json").write_text("{", encoding="utf-8")
    assert unfinished_crawl(tmp_path) is None
