"""The apps as a person and a program meet them: one server on loopback for the whole module."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed (the `app` extra)")
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from formats.png import encode_png
from tests.app.journal_site.papers_folder import write_papers
from tests.app.live.projects import register, write_polygpt, write_project, write_t5, write_titler
from tests.training.progressive.drawing_model import write_drawing_model
from tests.training.stylegan3.model_folder import write_model
from training.gans.grids import load_picture
from training.words.imaginary.tables import read_papers

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Champions of all but title_t5, which nobody trained, and stylegan3_pages, which nobody judged."""
    root = write_project(tmp_path_factory.mktemp("apps") / "project", empty_store)
    data = root / "data"
    write_titler(data / "toc_titler")
    write_t5(data / "abstract_t5")
    write_polygpt(data / "polygpt")
    write_model(data)
    write_drawing_model(data)
    for model in ("toc_titler", "abstract_t5", "polygpt", "stylegan3_toc", "pggan_pages"):
        register(root, model)
    return root


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """Of `figment app` at work, with surroundings that would open it to the world if they were listened to."""
    surroundings = {**os.environ, "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SHARE": "True", "GRADIO_ANALYTICS_ENABLED": "True"}
    command = [sys.executable, "-m", "orchestration.cli.main", "--root", str(project), "app"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=surroundings) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("answers")), analytics_enabled=False)


@pytest.fixture
def picture(tmp_path: Path) -> Any:
    Image.fromarray(numpy.arange(48 * 32 * 3, dtype=numpy.uint8).reshape(32, 48, 3)).save(tmp_path / "picture.png")
    return handle_file(tmp_path / "picture.png")


def test_a_title_gets_abstracts_and_the_same_seed_the_same_ones(client: Client):
    first = client.predict("Light on <b>water</b>", "drawn by chance", 3, api_name="/abstract")
    assert first == client.predict("Light on <b>water</b>", "drawn by chance", 3, api_name="/abstract")
    assert first.count("<h2>Light on water</h2>") == 3 and "does not exist" in first


def test_a_picture_gets_a_title(client: Client, picture: Any):
    assert "<h2>" in client.predict(picture, "the likeliest", 0, api_name="/caption")


def test_a_walk_draws_each_step(client: Client):
    job = client.submit("pggan_pages", 0, 1, 1, api_name="/walk")
    job.result()
    assert [blend for _, blend in job.outputs()] == [step / 24 for step in range(25)]


def test_molecules_are_drawn_and_listed_with_what_was_asked_for(client: Client):
    drawn, table = client.predict("mol_wt", "40:60", 5, 1.0, 0, api_name="/molecules")
    assert table.count("| false |") + table.count("| true |") == 5 and "| 40 |" in table and "| 60 |" in table
    assert load_picture(Path(drawn)).shape[0] > 16


def test_a_fresh_paper_is_made_by_three_models_which_are_named(client: Client):
    drawn, text = client.predict(7, api_name="/fresh_paper")
    assert load_picture(Path(drawn)).shape[:2] == (256, 256)
    assert all(f"{name}, version 1, champion" in text for name in ("stylegan3_toc", "toc_titler", "abstract_t5"))


def test_a_paper_of_the_journal_is_shown_with_what_it_was_made_from(client: Client, project: Path):
    with pytest.raises(AppError, match="make the papers first: figment materialize imaginary_papers"):
        client.predict(api_name="/paper")
    write_papers(project / "data/imaginary_papers", 1)
    drawn, text = client.predict(api_name="/paper")
    (paper,) = read_papers(project / "data/imaginary_papers")
    assert paper.id in text and "made from" in text and "nearest real title" in text
    assert load_picture(Path(drawn)).ndim == 3


@pytest.mark.parametrize(
    ("api", "sent", "words"),
    [
        ("abstract", ["x" * 501, "drawn by chance", 0], "has 501 characters, at most 500 are allowed"),
        ("abstract", ["x" * 10_000_000, "drawn by chance", 0], "has 10,000,000 characters"),
        ("abstract", [" \u202e\u0000 ", "drawn by chance", 0], "the title is empty"),
        ("abstract", ["Light", "drawn by chance", -1], "the seed must be a whole number from 0"),
        ("title", ["An abstract", "drawn by chance", 0], "no version of title_t5 is registered; `figment materialize title_t5`"),
        ("molecules", ["mol_wt", "", 5, 1.0, 0], "mol_wt must be asked for as a number such as 180, or two such as 150:350; found 'nothing'"),
        ("molecules", ["mol_wt", "1e999", 5, 1.0, 0], "found '1e999'"),
        ("molecules", ["tpsa", "40", 5, 1.0, 0], "no property 'tpsa'; this model was trained with mol_wt"),
        ("molecules", ["nothing", "", 1_000_000, 1.0, 0], "1000000"),
        ("draw", ["stylegan3_toc", -3, 1, 1, 0], "expected a seed from 0"),
        ("draw", ["stylegan3_pages", 0, 1, 1, 0], "no version of stylegan3_pages is registered"),
        ("fresh_paper", [2**32], "the seed must be a whole number from 0 to 4,294,967,295"),
        ("caption", [None, "the likeliest", 0], "this picture cannot be used: found nothing"),
    ],
)
def test_what_cannot_be_answered_is_said_in_words(client: Client, api: str, sent: list[Any], words: str):
    with pytest.raises(AppError, match=re.escape(words)):
        client.predict(*sent, api_name=f"/{api}")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("large.png", lambda: png(4100, 4100), "16,810,000 pixels, at most 16,000,000 are allowed"),
        ("words.png", lambda: b"no picture at all", "found unknown bytes, expected png"),
        ("drawing.svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "found SVG, expected png"),
        ("half.png", lambda: png(64, 64)[:400], "png, 64×64"),
        ("small.png", lambda: png(4, 4), "the shorter side must have at least 16"),
    ],
)
def test_a_file_that_is_no_usable_picture_is_refused(client: Client, tmp_path: Path, name: str, content: Any, words: str):
    (tmp_path / name).write_bytes(content())
    with pytest.raises(AppError, match=re.escape(words)):
        client.predict(handle_file(tmp_path / name), "the likeliest", 0, api_name="/caption")


def png(width: int, height: int) -> bytes:
    return encode_png(
        numpy.random.default_rng(0).integers(0, 2, (height, width, 3), numpy.uint8) * 255
        if width < 100
        else numpy.zeros((height, width), numpy.uint8)
    )


def test_more_bytes_than_a_picture_may_have_are_not_even_kept(client: Client, tmp_path: Path):
    (tmp_path / "much.png").write_bytes(bytes(9 * 2**20))
    with pytest.raises(Exception, match="(?i)size|413|large|limit"):
        client.predict(handle_file(tmp_path / "much.png"), "the likeliest", 0, api_name="/caption")


def test_no_address_is_fetched_for_a_picture(address: str):
    """The socket guard of these tests would name whoever tried."""
    sent = {"path": "http://127.0.0.1:9/picture.png", "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [sent, "the likeliest", 0]}).encode()
    asked = urllib.request.Request(f"{address}gradio_api/call/caption", body, {"Content-Type": "application/json"})
    event = json.load(urllib.request.urlopen(asked))["event_id"]
    answer = urllib.request.urlopen(f"{address}gradio_api/call/caption/{event}").read().decode()
    assert "event: error" in answer and "sent as a file, not as an address" in answer


def test_only_this_machine_is_listened_to_and_only_its_own_name_is_answered(address: str):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "rebound.example"}))


def test_a_second_server_on_the_same_port_says_so(address: str, project: Path):
    port = address.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "orchestration.cli.main", "--root", str(project), "app", "--port", port]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == f"figment: port {port} of 127.0.0.1 is taken; --port N names another, and without it there is any free one\n"


@pytest.fixture
def page(address: str, chromium: str) -> Iterator[Any]:
    """The page, opened; it asks nobody but its own server, and its scripts complain of nothing."""
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    asked, heard = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(address)
        page.locator(".standing:visible li").first.wait_for()
        yield page
        browser.close()
    assert {url.split("/")[2] for url in asked if not url.startswith(("data:", "blob:"))} == {address.split("/")[2]}
    assert heard == []


@pytest.mark.browser
def test_each_tab_is_accessible_fits_a_phone_and_says_that_nothing_is_real(page: Any):
    from axe_playwright_python.sync_playwright import Axe

    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for dark in (False, True):
            page.evaluate(f"document.body.classList.toggle('dark', {str(dark).lower()})")
            page.wait_for_timeout(200)  # Colours fade from one to the other.
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_role("note").inner_text().startswith("Nothing here is real.")
    assert page.locator("meta[name=robots]").get_attribute("content") == "noindex, nofollow" and page.locator("meta[name^=citation]").count() == 0


@pytest.mark.browser
def test_a_person_writes_an_abstract_walks_and_sees_what_is_missing(page: Any):
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": 1280, "height": 900})
    for tab in ("Title → abstract", "Abstract → title", "Papers", "Molecules", "Walks"):
        page.get_by_role("tab", name=tab).click()
        page.locator(".standing:visible li").first.wait_for()
        if tab == "Title → abstract":
            page.get_by_label("A title").fill("Light <img src=x onerror=alert(1)> on water")
            page.get_by_role("button", name="Write", exact=True).click()
            assert page.locator(".paper h2").first.inner_text() == "Light on water"
        if tab == "Abstract → title":
            assert "figment materialize title_t5" in page.locator(".missing:visible").inner_text()
            page.get_by_label("An abstract").fill("We report a catalyst.")
            page.get_by_role("button", name="Write", exact=True).click()
            page.get_by_text("trains and registers one").nth(1).wait_for()
        if tab == "Walks":
            page.get_by_role("button", name="Walk").click()
            page.get_by_alt_text("What the generator drew").wait_for()
        # Gradio's own: a toast is a button with a button inside, a picture that is not there yet a div with a label.
        found = Axe().run(page, context={"exclude": [[".toast-wrap"], [".empty"]]})
        assert found.violations_count == 0, (tab, found.generate_report())
