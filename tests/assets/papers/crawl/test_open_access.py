"""Two nights at the doors of open access, as they answer: Europe PMC, PMC's packages, OpenAlex with its credits, Crossref with its rate."""

import gzip
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from assets.demo_sites.exchange import Request, Response
from assets.papers.build import PapersConfig, build_papers
from assets.papers.crawl.config import JournalPagesConfig, SourceParams
from assets.papers.crawl.credits import EXHAUSTED, Ledger
from assets.papers.crawl.packages import MARK
from assets.papers.crawl.politeness import published_rate
from assets.papers.raw_pages import RawPages
from tests.assets.papers.packages_maker import article, drawing, members, tar_gz, zipped
from tests.assets.papers.pages.test_openalex import answer, work
from tests.assets.papers.pages.test_pmc import result, search

from .tiny_site import Crawler, TinySite, running

pytest.importorskip("scrapy", reason="scrapy is not installed (the `scrape` extra)")

KEY = "key-that-nobody-may-see"
REST = "rest.example/epmc/rest"


def api_json(body: bytes, **headers: str) -> Response:
    return Response(body, "application/json", headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()))


class Doors:
    """The services, with what they have heard. pages: of OpenAlex, each for one credit."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.asked_at: list[float] = []
        self.revised = ""

    def search(self, request: Request) -> Response:
        if request.query.get("cursorMark") == "*":
            return api_json(search(result(1, dateOfRevision=self.revised), result(2), mark="second"))
        return api_json(search(result(3), result(4, isOpenAccess="N"), mark="second"))

    def openalex(self, request: Request) -> Response:
        place = request.query["cursor"]
        self.heard.append((place, request.query.get("api_key", "")))
        number = 0 if place == "*" else int(place)
        following = str(number + 1) if number < 4 else None
        headers = {"X_RateLimit_Credits_Used": "1", "X_RateLimit_Remaining": str(900 - len(self.heard)), "X_RateLimit_Reset": "3600"}
        return api_json(answer(work(100 + number, is_retracted=number == 2), next_cursor=following), **headers)

    def spent(self, request: Request) -> Response:
        self.heard.append(("spent", request.query.get("api_key", "")))
        headers = (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "54000"), ("Retry-After", "54000"))
        return Response(b'{"error": "Rate limit exceeded"}', "application/json", status=429, headers=headers)

    def crossref(self, request: Request) -> Response:
        self.asked_at.append(time.monotonic())
        start = int(request.query.get("offset", 0))
        item = {"DOI": f"10.5555/registered.{start}", "title": [f"Registered {start}"]}
        message = {"total-results": 4, "items": [item] if start < 4 else []}
        body = json.dumps({"status": "ok", "message": message}).encode()
        return api_json(body, X_Rate_Limit_Limit="5", X_Rate_Limit_Interval="1s", X_Concurrency_Limit="1")


def oa_list(*numbers: int) -> Response:
    records = "".join(f'<record id="PMC{n}"><link format="tgz" updated="1" href="http://files.example/PMC{n}.tar.gz"/></record>' for n in numbers)
    return Response(f"<OA><records>{records}</records></OA>".encode(), "application/xml")


SOURCES = [
    {"name": "europe_pmc", "page": "pmc+open", "start": [f"http://{REST}/search?query=OPEN_ACCESS:y&format=json&cursorMark=*"]},
    {"name": "pmc", "page": "pmc_first_figure", "start": ["http://oa.example/oa.fcgi"], "allowed_hosts": ["files.example"]},
    {"name": "openalex", "page": "openalex", "start": ["http://alex.example/works?cursor=*"], "daily_credits": 3, "key_env": "TEST_ALEX_KEY"},
    {"name": "spent", "page": "openalex", "start": ["http://spent.example/works?cursor=*"], "daily_credits": 1000},
    {"name": "echo", "page": "openalex", "start": ["http://echo.example/works"], "key_env": "TEST_ALEX_KEY", "key_name": "k"},
    {"name": "crossref", "page": "crossref", "start": ["http://crossref.example/works?rows=1"]},
]


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """What was asked in each of three nights, and what they left; the credits of the first day last for the first two."""
    folder, doors, environment = tmp_path_factory.mktemp("nights"), Doors(), pytest.MonkeyPatch()
    environment.setenv("TEST_ALEX_KEY", KEY)
    site = TinySite(
        hosts=("rest.example", "oa.example", "files.example", "alex.example", "spent.example", "echo.example", "crossref.example"),
        answers={
            f"{REST}/search": doors.search,
            **{f"{REST}/PMC{number}/fullTextXML": Response(article(number), "application/xml") for number in (1, 2, 3)},
            f"{REST}/PMC1/supplementaryFiles": Response(zipped(members(1)), "application/zip"),
            f"{REST}/PMC2/supplementaryFiles": Response(zipped({"../imag-1-ga.jpg": b"x"}), "application/zip"),
            "oa.example/oa.fcgi": oa_list(11, 12),
            "files.example/PMC11.tar.gz": Response(tar_gz(members(11, **{"PMC11/imag.11.nxml": article(11, abstract="")})), "application/gzip"),
            "files.example/PMC12.tar.gz": Response(tar_gz(members(12))[:-30], "application/gzip"),
            "alex.example/works": doors.openalex,
            "spent.example/works": doors.spent,
            "echo.example/works": lambda request: Response(f'{{"error": "no filter in ?k={request.query.get("k")}"}}'.encode(), "application/json"),
            "crossref.example/works": doors.crossref,
        },
    )
    told = SimpleNamespace(doors=doors, asked=[], words=[], problems=[], folder=folder)
    with running(site) as server:
        sources = [{"start_kind": "api", "via": server.proxy, "licence": "unknown", **source} for source in SOURCES]
        crawler = Crawler(folder, server, sources=sources, params={"concurrency_per_host": 4})
        for night in range(2):
            if night == 1:
                # One article is revised, and its picture with it.
                doors.revised = "2026-03-05"
                site.answers[f"{REST}/PMC1/fullTextXML"] = Response(article(1).replace(b"They are", b"They were"), "application/xml")
                package = zipped(members(1, **{"PMC1/imag-1-ga.jpg": drawing(200)}))
                site.answers[f"{REST}/PMC1/supplementaryFiles"] = Response(package, "application/zip")
                # For one source it is the next day.
                ledger = next((folder / ".figment").rglob("credits.json"))
                ledger.write_text(json.dumps(json.loads(ledger.read_bytes()) | {"openalex": ["2026-01-01", 3]}))
            site.day = datetime(2026, 3, 4 + night, 5, tzinfo=UTC)
            told.words.append(crawler.run())
            told.asked.append([url.removeprefix("http://") for url in crawler.asked() if "robots.txt" not in url and "well-known" not in url])
            with RawPages(crawler.store) as raw:
                told.problems.append({(problem.source, problem.url): (problem.kind, problem.words) for problem in raw.problems()})
    environment.undo()
    told.store = crawler.store
    return told


def problems_of(nights, night: int, source: str) -> dict[str, str]:
    return {url.partition("://")[2]: kind for (name, url), (kind, _) in nights.problems[night].items() if name == source}


def test_pictures_come_out_of_their_packages_and_each_package_is_asked_for_once(nights):
    first = nights.asked[0]
    assert [sum(url.endswith(end) for url in first) for end in ("PMC1/supplementaryFiles", "PMC2/supplementaryFiles", "PMC11.tar.gz")] == [1, 1, 1]
    assert not any("!/" in url for url in first), "no server is asked for a member"
    with RawPages(nights.store) as raw:
        assert raw.body(raw.history(f"http://{REST}/PMC1/supplementaryFiles!/imag-1-ga")[0]) == members(1)["PMC1/imag-1-ga.jpg"]
        record = raw.latest("http://files.example/PMC11.tar.gz!/PMC11/imag-1-g001.jpg")
        assert raw.body(record) == members(11)["PMC11/imag-1-g001.jpg"]
        assert raw.headers(record)[MARK.lower()] == "http://files.example/PMC11.tar.gz PMC11/imag-1-g001.jpg"
        assert record.content_type == "image/jpeg"


def test_a_bad_package_is_set_aside_alone(nights):
    assert problems_of(nights, 0, "europe_pmc") == {
        f"{REST}/PMC2/supplementaryFiles!/imag-1-ga": "bad_package",
        f"{REST}/PMC3/supplementaryFiles!/imag-1-ga": "no_package",
    }
    with RawPages(nights.store) as raw:
        facts = build_papers(PapersConfig(), raw, nights.folder / "papers", scratch=nights.folder / "scratch")
    assert (facts.sources["europe_pmc"]["papers"], facts.sources["europe_pmc"]["image"]) == (4, 1)
    assert (facts.sources["pmc"]["papers"], facts.sources["pmc"]["image"]) == (1, 1)
    assert facts.withdrawn == {"retracted": 1}, "what OpenAlex marks as retracted"
    assert (facts.rejected["problem_on_page"], facts.rejected["picture_not_stored"]) == (2, 2), "two packages, two articles without their pictures"


def test_a_night_asks_for_what_changed_and_for_no_other_package(nights):
    articles = [url for url in nights.asked[1] if "fullTextXML" in url or "supplementaryFiles" in url or "tar.gz" in url]
    assert sorted(articles) == [f"{REST}/PMC1/fullTextXML", f"{REST}/PMC1/supplementaryFiles"]
    with RawPages(nights.store) as raw:
        history = raw.history(f"http://{REST}/PMC1/supplementaryFiles!/imag-1-ga")
        assert [record.crawl for record in history] == [1, 2] and raw.body(history[-1]) == drawing(200)


def test_credits_end_a_source_for_the_day_and_the_next_day_goes_on_there(nights):
    asked = [[url.partition("cursor=")[2].partition("&")[0] for url in night if url.startswith("alex.example")] for night in nights.asked]
    assert asked == [["*", "1", "2"], ["3", "4"]]
    assert problems_of(nights, 0, "openalex") == {"alex.example/works?cursor=*": EXHAUSTED}
    assert "source 'openalex' is done for today: 3 of its daily_credits (3) are spent" in nights.words[0]
    assert problems_of(nights, 1, "openalex") == {}
    assert json.loads(next((nights.folder / ".figment").rglob("credits.json")).read_text())["openalex"][1] == 2


def test_a_server_that_has_no_credits_left_is_not_asked_again(nights):
    assert sum(url.startswith("spent.example") for night in nights.asked for url in night) == 1, "neither tried again nor on the same day"
    kind, words = nights.problems[0]["spent", "http://spent.example/works?cursor=*"]
    assert kind == EXHAUSTED and "the server says that none are left for 15.0 h" in words


def test_a_key_goes_over_the_wire_and_is_kept_nowhere(nights):
    assert {key for place, key in nights.doors.heard if place != "spent"} == {KEY}
    assert ("spent", "") in nights.doors.heard, "a source that names no key has none"
    assert problems_of(nights, 0, "echo") == {"echo.example/works": "key_repeated"}
    for path in filter(lambda path: path.is_file(), nights.folder.rglob("*")):
        data = path.read_bytes()
        assert KEY.encode() not in (gzip.decompress(data) if path.suffix == ".gz" else data), path
    assert not any(KEY in words for words in nights.words)


def test_crossref_is_asked_at_its_published_rate(nights):
    _, second, _, fourth = nights.doors.asked_at[:4]
    # The first answer publishes five a second; the second request may be on its way by then. When they arrive, a busy machine shifts a little.
    assert fourth - second > 0.3


# Parts


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Rate-Limit-Limit": "50", "X-Rate-Limit-Interval": "1s"}, (0.02, None)),
        ({"X-Rate-Limit-Limit": "3", "X-Rate-Limit-Interval": "1m", "X-Concurrency-Limit": "2"}, (20.0, 2)),
        ({"X-Rate-Limit-Limit": "1", "X-Rate-Limit-Interval": "99h", "X-Concurrency-Limit": "0"}, (300.0, 1)),
        ({"X-Rate-Limit-Limit": "0", "X-Rate-Limit-Interval": "1s"}, (None, None)),
        ({"X-Rate-Limit-Limit": "ten", "X-Rate-Limit-Interval": "1 s", "X-Concurrency-Limit": "many"}, (None, None)),
        ({"X-Rate-Limit-Limit": "5", "X-Rate-Limit-Interval": "a while"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_what_a_response_says_of_its_rate(headers, expected):
    from scrapy.http import Response as ScrapyResponse

    assert published_rate(ScrapyResponse("http://x.example/", headers=headers)) == expected


def test_the_ledger_forgets_at_midnight_and_survives_damage(tmp_path):
    ledger = Ledger(tmp_path / "credits.json")
    ledger.spend("a", 3)
    ledger.spend("a", -1)
    assert (Ledger(tmp_path / "credits.json").spent("a"), ledger.spent("b")) == (2, 0)
    (tmp_path / "credits.json").write_text(json.dumps({"a": ["2020-01-01", 9]}))
    assert Ledger(tmp_path / "credits.json").spent("a") == 0
    (tmp_path / "credits.json").write_bytes(b"torn")
    assert Ledger(tmp_path / "credits.json").spent("a") == 0


@pytest.mark.parametrize("start", ["https://x.example/works?api_key=abc", "https://x.example/works?token=abc"])
def test_a_key_in_the_parameters_is_refused(start):
    with pytest.raises(ValueError, match="start holds a key"):
        SourceParams(name="a", page="openalex", start=[start], licence="CC0-1.0", key_env="A_KEY", key_name="token")
    with pytest.raises(ValueError, match="name of an environment variable"):
        SourceParams(name="a", page="openalex", start=["https://x.example/"], licence="CC0-1.0", key_env="sk-123")
    source = SourceParams(name="a", page="openalex", start=["https://x.example/"], licence="CC0-1.0", daily_credits=10)
    assert JournalPagesConfig(contact="a@b.example", sources=[source]).sources[0].daily_credits == 10
