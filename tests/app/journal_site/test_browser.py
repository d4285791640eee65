"""What a reader sees, in headless Chromium: from a file and from a server, in both colour schemes, on a desk and in a pocket."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.journal_site.build import JournalSiteConfig, build
from formats.tables import read_table
from tests.app.journal_site.papers_folder import TITLES, write_papers
from tests.conftest import find_chromium
from tests.orchestration.bridge.test_process import wait_until

pytestmark = pytest.mark.browser

# Without these, chromium looks for hosts outside of this machine when it starts.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a site") / "of #1, 50 %?"
    write_papers(folder / "papers")
    build(folder / "papers", JournalSiteConfig(papers_per_page=5), folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens a page in a new context; in the end, nothing may have been complained of and nothing asked of others."""
    contexts, complaints, asked = [], [], []

    def open_page(address: str, *, width: int = 1280, scheme: str = "light", **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(request.url) if request.failure != "net::ERR_ABORTED" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not re.match(r"file:///|http://127\.0\.0\.1:", url)] == []


@pytest.fixture(params=["file", "http"])
def start(request: pytest.FixtureRequest, site: Path) -> str:
    return site.as_uri() if request.param == "file" else request.getfixturevalue("server")


def a_paper(site: Path, place: int = 0) -> str:
    ids = read_table(site.parent / "papers/papers.parquet", ["id"]).column("id").to_pylist()
    return f"papers/{ids[place]}.html"


def follow(page: Any, link: Any, *, to: Any = None, force: bool = False) -> None:
    """Click, and wait until the browser is on the other page: a click alone returns before that."""
    with page.expect_navigation(url=to):
        link.click(force=force)


def test_from_the_gallery_to_a_paper_and_back(start: str, opened: Any):
    page = opened(f"{start}/index.html")
    assert page.locator(".card").count() == 5
    # The page's own policy forbids the eval by which playwright would wait for this inside of it.
    wait_until(lambda: page.evaluate("document.images[0].naturalWidth") == 128, timeout_s=30)
    # The whole card is the link.
    follow(page, page.locator(".card .plate").nth(1), force=True)
    assert page.inner_text("h1") == TITLES[1] and page.get_by_text("This paper does not exist").is_visible()
    follow(page, page.get_by_role("link", name="Next"))
    assert page.inner_text("h1") == TITLES[2] and "owned" in page.title() and page.title() != "owned"
    follow(page, page.get_by_role("link", name="Contents"))
    follow(page, page.get_by_role("link", name="2", exact=True))
    assert page.locator(".card").count() == 2


def test_chance_leads_to_papers(opened: Any, site: Path):
    page = opened(f"{site.as_uri()}/index.html")
    met = set()
    for _ in range(6):
        follow(page, page.get_by_role("link", name="Random paper"), to=re.compile(r"/papers/[0-9a-f]{16}\.html$"))
        met.add(page.url)
    assert len(met) > 1


def test_chance_stands_still_without_scripts(opened: Any, site: Path):
    page = opened(f"{site.as_uri()}/random.html", java_script_enabled=False)
    follow(page, page.locator("main a"))
    assert page.url.endswith(a_paper(site)) and not page.locator("#theme").is_visible()


def test_colours_follow_the_system_until_a_reader_chooses_and_the_choice_stays(server: str, opened: Any, site: Path):
    def is_dark(page: Any) -> bool:
        return sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")) < 3 * 60

    assert not is_dark(opened(f"{server}/index.html"))
    page = opened(f"{server}/index.html", scheme="dark")
    assert is_dark(page)
    page.get_by_role("button", name="Light colours").click()
    assert not is_dark(page)
    page.goto(f"{server}/{a_paper(site)}")
    assert not is_dark(page) and page.get_by_role("button", name="Dark colours").is_visible()


def test_a_browser_that_refuses_storage_still_changes_colours(opened: Any, site: Path):
    page = opened(f"{site.as_uri()}/index.html")
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });")
    page.reload()
    page.get_by_role("button", name="Dark colours").click()
    assert page.get_attribute("html", "data-theme") == "dark"


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_scrolls_sideways_on_a_phone(width: int, server: str, opened: Any, site: Path):
    page = opened(f"{server}/index.html", width=width)
    for name in ("index.html", a_paper(site, 2), a_paper(site, 4), "about.html"):
        page.goto(f"{server}/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_pictures_stand_in_frames_of_one_shape_on_white(opened: Any, server: str):
    page = opened(f"{server}/index.html", scheme="dark")
    frames = page.evaluate(
        "[...document.querySelectorAll('.plate')].map((it) => [it.clientWidth / it.clientHeight, getComputedStyle(it).backgroundColor])"
    )
    assert all(ratio == pytest.approx(1, rel=0.02) and colour == "rgb(255, 255, 255)" for ratio, colour in frames[1:])


def test_html_in_texts_is_never_run(opened: Any, server: str, site: Path):
    page = opened(f"{server}/index.html")
    for name in ("index.html", a_paper(site, 2)):
        page.goto(f"{server}/{name}")
        assert page.title() != "owned"
        assert page.locator("main img").count() == page.locator(".plate img").count()
        assert page.locator("main script").count() == 0


def test_the_keyboard_reaches_all_and_shows_where_it_is(opened: Any, server: str):
    page = opened(f"{server}/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.card') !== null")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_what_moves_stands_still_for_those_who_ask_and_print_is_plain(opened: Any, server: str):
    page = opened(f"{server}/index.html", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.plate')).transitionDuration") == "0s"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".bar").is_hidden() and page.locator(".notice").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_item_can_be_downloaded(opened: Any, server: str, site: Path, tmp_path: Path):
    page = opened(f"{server}/{a_paper(site)}")
    for name, suffix in (("Download as JSON", ".json"), ("Download the picture", ".png")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == Path(a_paper(site)).stem + suffix


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_to_complain_of(scheme: str, width: int, opened: Any, server: str, site: Path):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(f"{server}/index.html", scheme=scheme, width=width)
    for name in ("index.html", a_paper(site, 3), "about.html"):
        page.goto(f"{server}/{name}")
        found = Axe().run(page, options={"resultTypes": ["violations"]})
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found.response["violations"]] == [], name
