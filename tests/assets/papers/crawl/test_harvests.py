"""Chains of answers without a network: a registry of numbered records, asked as the spider asks."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.papers.crawl.harvests import MOST_EMPTY_ANSWERS, Bounds, Harvest, Harvests, changes_since, from_rows, identify, to_rows
from assets.papers.items import Link, Paper, Parsed, Problem

START = "http://oai.example/oai?verb=ListRecords&metadataPrefix=oai_dc"
WORKS = "http://api.example/works?filter=issn:0002-7863&rows=100&cursor=*"
TODAY = date(2026, 5, 7)
WIDE = Bounds(requests=1_000, body_bytes=10**9, seconds=1e6)
MOMENT = b"<responseDate>2026-05-07T03:04:05Z</responseDate>"


def answer(*keys: str, token: str = "", problem: str = "", body: bytes = MOMENT) -> tuple[bytes, Parsed]:
    links = (Link(f"http://oai.example/oai?verb=ListRecords&resumptionToken={token}", "api"),) if token else ()
    papers = tuple(Paper(key=key, url=key, title=key) for key in keys)
    return body, Parsed(papers=papers, links=links, problems=(Problem("here", problem),) if problem else ())


def token_of(url: str) -> str:
    return url.partition("resumptionToken=")[2]


def night(
    respond: Callable[[str], tuple[bytes, Parsed]],
    states=None,
    *,
    page="oai",
    start=START,
    bounds=WIDE,
    nights=30,
    reader="v1",
    most=10**6,
    fails: dict[str, int] | None = None,
) -> tuple[Harvests, list[str]]:
    """One crawl of one source; gives its harvests and what was asked for. fails: statuses by token."""
    harvests = Harvests(states or {}, bounds)
    waiting = harvests.begin("x", page, start, sweep_nights=nights, reader=reader, is_fresh=True)
    asked: list[str] = []
    while waiting:
        url = waiting.pop(0)
        if url in asked:
            continue
        if len(asked) >= most:
            harvests.stopped(url)
            break
        asked.append(url)
        if status := (fails or {}).get(token_of(url)):
            found = harvests.failed(url, status=status, problem=f"http_{status}", words="no", is_passing=status >= 500)
        else:
            body, parsed = respond(url)
            found = harvests.onward(url, "x", body, parsed, today=TODAY)
        waiting += [link.url for link in found if link.kind == "api"]
    return harvests, asked


def three_answers(url: str) -> tuple[bytes, Parsed]:
    return {"": answer("a", "b", token="1"), "1": answer("c", token="2"), "2": answer("d")}[token_of(url)]


def state_of(harvests: Harvests) -> Harvest:
    return next(iter(harvests.states().values()))


def had(since="2026-05-01T00:00:00Z", **more) -> dict:
    return {("x", START): replace(Harvest(since=since, reader="v1", granularity="YYYY-MM-DD"), **more)}


def test_a_whole_chain_is_remembered_from_the_moment_it_began():
    harvests, asked = night(three_answers)
    assert asked[0] == identify(START) and [token_of(url) for url in asked[1:]] == ["", "1", "2"]
    assert state_of(harvests) == Harvest(since="2026-05-07T03:04:05Z", reader="v1", granularity="YYYY-MM-DD")
    assert harvests.problems() == {("x", START): None} and not harvests.partial_sources()
    assert from_rows(to_rows(harvests.states())) == harvests.states()


@pytest.mark.parametrize(("granularity", "since"), [("YYYY-MM-DD", "2026-05-01"), ("YYYY-MM-DDThh:mm:ssZ", "2026-05-01T00:00:00Z")])
def test_the_next_night_asks_in_the_granularity_that_identify_states(granularity, since):
    def respond(url):
        return (f"<granularity>{granularity}</granularity>".encode(), Parsed()) if "Identify" in url else answer()

    identified = state_of(night(respond)[0])
    assert identified.granularity == granularity
    harvests, asked = night(respond, had(granularity=granularity))
    assert asked == [f"{START}&from={since}"]
    assert state_of(harvests).nights == 1 and harvests.partial_sources() == {"x"}


def test_every_nth_night_is_a_whole_sweep():
    states, kinds = {}, []
    for _ in range(7):
        harvests, asked = night(lambda _: answer(), states, nights=3)
        states = harvests.states()
        kinds.append("from=" in asked[-1])
    assert kinds == [False, True, True, False, True, True, False]
    assert "from=" not in night(lambda _: answer(), had(), nights=1)[1][-1], "1: always whole"
    assert "from=" not in night(lambda _: answer(), had(), reader="v2")[1][-1], "what was had was read by another page object"


def test_crossref_is_asked_for_what_was_indexed_since_a_day_before():
    harvests, asked = night(lambda _: answer(body=b"{}"), page="crossref", start=WORKS)
    assert asked == [WORKS] and state_of(harvests).since == "2026-05-07"
    _, asked = night(lambda _: answer(), harvests.states(), page="crossref", start=WORKS)
    assert asked == ["http://api.example/works?filter=issn:0002-7863,from-index-date:2026-05-06&rows=100&cursor=*"]
    assert changes_since("crossref", "http://api.example/works/10.5555/1", Harvest(since="2026-05-07")) == ""
    assert changes_since("acs", START, Harvest(since="2026-05-07")) == ""


def test_an_interrupted_chain_goes_on_at_its_token_and_counts_from_when_it_began():
    first, asked = night(three_answers, most=3)
    assert [token_of(url) for url in asked[1:]] == ["", "1"] and state_of(first).rest.endswith("resumptionToken=2")
    second, asked = night(lambda url: answer("d", body=b"<responseDate>2026-05-09T00:00:00Z</responseDate>"), first.states())
    assert [token_of(url) for url in asked if "Identify" not in url] == ["2"]
    assert state_of(second).since == "2026-05-07T03:04:05Z"
    # A server that has too much to do is asked again in the next night; the start of the chain tells the trouble.
    busy, _ = night(three_answers, fails={"1": 503})
    assert busy.problems() == {("x", START): ("http_503", "no")} and token_of(state_of(busy).rest) == "1"


@pytest.mark.parametrize("how", ["by the protocol", "by its status"])
def test_an_expired_token_begins_again_from_the_last_date(how):
    interrupted = had(rest=f"{START[:35]}&resumptionToken=old", is_whole=False, began="2026-05-06T00:00:00Z")

    def respond(url):
        return answer(problem="badResumptionToken", body=b'<error code="badResumptionToken">') if token_of(url) == "old" else answer("a")

    harvests, asked = night(respond, interrupted, fails={"old": 400} if how == "by its status" else None)
    assert token_of(asked[0]) == "old" and asked[1:] == [f"{START}&from=2026-05-01"]
    assert state_of(harvests).since == "2026-05-07T03:04:05Z" and harvests.problems() == {("x", START): None}
    # One of tonight leaves it to the next night, which begins there as well.
    harvests, _ = night(lambda url: answer("a", token="old") if not token_of(url) else respond(url), had())
    assert harvests.problems()["x", START][0] == "expired_token"
    assert (state_of(harvests).since, state_of(harvests).rest) == ("2026-05-01T00:00:00Z", "")


def test_a_registry_that_refuses_to_be_asked_for_changes_is_swept_the_next_time():
    harvests, _ = night(lambda _: answer(problem="the server answers badArgument"), had())
    assert harvests.problems()["x", START][0] == "harvest_refused"
    _, asked = night(three_answers, harvests.states())
    assert asked[:2] == [identify(START), START]


ENDLESS = {
    "repeated_token": lambda url: answer(f"key {url}", token="2" if token_of(url) == "1" else "1"),
    "repeated_answer": lambda url: answer("a", "b", token=f"{int(token_of(url) or 0) + 1}"),
    "empty_answers": lambda url: answer(token=f"{int(token_of(url) or 0) + 1}"),
    "harvest_bound": lambda url: answer(f"key {url}", token=f"{int(token_of(url) or 0) + 1}"),
}


@pytest.mark.parametrize(
    ("kind", "most"), [("repeated_token", 3), ("repeated_answer", 2), ("empty_answers", MOST_EMPTY_ANSWERS + 1), ("harvest_bound", 20)]
)
def test_a_chain_without_an_end_ends_with_a_problem(kind, most):
    harvests, asked = night(ENDLESS[kind], bounds=replace(WIDE, requests=20))
    assert harvests.problems()["x", START][0] == kind
    assert len(asked) == 1 + most, "with Identify"
    assert state_of(harvests).since == "", "it was not had whole"
    # A circle is not gone into again where it stood; what was merely much goes on.
    assert bool(state_of(harvests).rest) == (kind == "harvest_bound")


@pytest.mark.parametrize("bounds", [replace(WIDE, body_bytes=10 * len(MOMENT)), replace(WIDE, seconds=0.0)])
def test_bytes_and_time_are_bounded_too(bounds):
    harvests, asked = night(ENDLESS["harvest_bound"], bounds=bounds)
    assert harvests.problems()["x", START][0] == "harvest_bound" and len(asked) <= 11


def test_a_chain_without_credits_goes_on_where_it_stopped_until_it_has_had_everything():
    """The start tells the trouble; nothing of another question's place is taken over."""
    start = "http://alex.example/works?cursor=*"
    alex = {"page": "openalex", "start": start}

    def respond(url):
        number = int(url.partition("cursor=")[2].replace("*", "0"))
        links = (Link(f"http://alex.example/works?cursor={number + 1}", "api"),) if number < 4 else ()
        return b"{}", Parsed(papers=(Paper(key=str(number), url="", title=str(number)),), links=links)

    harvests, asked = without_credits(respond, {}, after=2, **alex)
    assert [url[-1] for url in asked] == ["*", "1"] and harvests.problems() == {("x", start): ("credits_exhausted", "spent")}
    assert without_credits(respond, harvests.states(), after=0, **alex)[0].states() == harvests.states(), "a second crawl on that day"
    harvests, asked = night(respond, harvests.states(), **alex)
    assert [url[-1] for url in asked] == ["2", "3", "4"] and harvests.problems() == {("x", start): None}
    assert night(respond, harvests.states(), **alex)[1][0] == start, "OpenAlex is swept: it cannot be asked for changes"
    assert night(lambda _: answer(), harvests.states(), page="openalex", start=f"{start}&filter=b")[1] == [f"{start}&filter=b"]


def test_answers_whose_papers_are_all_left_out_are_neither_empty_nor_refused():
    def respond(url):
        body, parsed = answer(token=str(int(token_of(url) or 0) + 1) if token_of(url) != "30" else "", problem="1 of 1 papers name no open licence")
        return body, replace(parsed, left_out=1)

    harvests, asked = night(respond, page="oai+open")
    assert len(asked) == 32 and harvests.problems() == {("x", START): None}


def without_credits(respond, states, *, after: int, page: str, start: str) -> tuple[Harvests, list[str]]:
    """A night that ends after so many answers, since credits are spent."""
    harvests, asked = Harvests(states, WIDE), []
    (url,) = harvests.begin("x", page, start, sweep_nights=30, reader="v1", is_fresh=True)
    for _ in range(after):
        asked.append(url)
        (link,) = harvests.onward(url, "x", *respond(url), today=TODAY)
        url = link.url
    harvests.failed(url, status=0, problem="credits_exhausted", words="spent", is_passing=True)
    return harvests, asked


@pytest.mark.parametrize("length", [3, 7, 12])
def test_a_circle_longer_than_a_night_is_found(length):
    def respond(url):
        number = int(url.partition("cursor=")[2].replace("*", "0"))
        links = (Link(f"http://alex.example/works?cursor={number % length + 1}", "api"),)
        return b"{}", Parsed(papers=(Paper(key=str(number), url="", title=str(number)),), links=links)

    states: dict = {}
    for crawl in range(1, 100):  # noqa: B007 - looked at below
        harvests, _ = night(respond, states, page="openalex", start="http://alex.example/works?cursor=*", most=2)
        states = from_rows(to_rows(harvests.states()))
        if harvests.problems():
            break
    assert next(iter(harvests.problems().values()))[0] == "repeated_token" and state_of(harvests).rest == ""
    assert 2 * crawl <= 4 * length + 4


@settings(max_examples=20, deadline=None)
@given(
    edits=st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=4), min_size=1, max_size=8),
    sweeps=st.integers(1, 4),
    size=st.integers(1, 3),
    interrupted=st.sets(st.integers(0, 7)),
)
def test_nights_of_changes_end_with_what_a_harvest_from_nothing_has(edits, sweeps, size, interrupted):
    """edits: night by night, records that are written anew. interrupted: nights cut off after one answer."""
    records: dict[int, tuple[int, int]] = {}  # number -> (day, value)
    have: dict[str, str] = {}
    states: dict = {}
    for day, changes in enumerate([*edits, [], []], 1):
        for number, value in changes:
            records[number] = (day, value)
        today = f"2026-05-{day:02d}"

        def respond(url: str, today: str = today) -> tuple[bytes, Parsed]:
            since, _, place = (token_of(url) or f"{url.partition('from=')[2] or '0000'}!0").partition("!")
            chosen = [(number, value) for number, (written, value) in sorted(records.items()) if f"2026-05-{written:02d}" >= since]
            shown = chosen[int(place) : int(place) + size]
            have.update({str(number): str(value) for number, value in shown})
            following = int(place) + size
            papers = tuple(Paper(key=str(number), url=str(number), title=str(value)) for number, value in shown)
            token = f"{since}!{following}" if following < len(chosen) else ""
            return f"<responseDate>{today}T00:00:00Z</responseDate>".encode(), replace(answer(token=token)[1], papers=papers)

        harvests, _ = night(respond, states, nights=sweeps, most=2 if day - 1 in interrupted and day <= len(edits) else 10**6)
        states = from_rows(to_rows(harvests.states()))
    assert have == {str(number): str(value) for number, (_, value) in records.items()}
