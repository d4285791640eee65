"""What a person sees: `figment view` opens a page whose picture follows the knobs, walks, and shows layers."""

import base64
import io
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from tests.conftest import find_chromium
from tests.training.stylegan3.model_folder import write_model

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[4]
# Without these, chromium looks for hosts outside of this machine when it starts.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = write_model(tmp_path_factory.mktemp("project") / "data")
    command = [sys.executable, "-m", "orchestration.cli.main", "view", str(model)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as viewer:
        try:
            assert viewer.stdout is not None
            told = [viewer.stdout.readline() for _ in range(2)]
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", told[1]), told
            yield told[1].strip()
        finally:
            viewer.send_signal(signal.SIGINT)
        assert viewer.wait(30) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the page's scripts and the browser complain of; nothing, in the end."""
    heard: list[str] = []
    yield heard
    assert heard == []


@pytest.fixture
def page(address: str, browser: Any, complaints: list[str]) -> Iterator[Any]:
    with browser.new_context(viewport={"width": 1300, "height": 900}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.goto(address)
        yield page


def pixels(page: Any) -> numpy.ndarray:
    """The canvas, once nothing more is to be drawn."""
    page.wait_for_selector("#picture[data-drawn][aria-busy=false]")
    content = page.evaluate("() => document.getElementById('picture').toDataURL('image/png').split(',')[1]")
    return numpy.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


def changed(page: Any, action: Callable[[], object]) -> numpy.ndarray:
    """The canvas after `action`, and after the page has drawn for it."""
    drawn = page.get_attribute("#picture", "data-drawn")
    action()
    page.wait_for_function("drawn => document.getElementById('picture').dataset.drawn !== drawn", arg=drawn)
    return pixels(page)


def test_the_picture_follows_the_knobs_and_the_address_remembers_them(page: Any):
    start = pixels(page)
    assert start.shape == (16, 16, 3) and start.std() > 5

    # Dragged: the knob of ψ from the right to its left end, in steps as a hand makes them.
    knob = page.locator("input[type=range][aria-label='Truncation ψ']").bounding_box()
    middle = knob["y"] + knob["height"] / 2

    def drag() -> None:
        page.mouse.move(knob["x"] + knob["width"] * 2 / 3, middle)
        page.mouse.down()
        for share in (0.6, 0.5, 0.4, 0.36):
            page.mouse.move(knob["x"] + knob["width"] * share, middle)
        page.mouse.up()

    dragged = changed(page, drag)
    psi = float(page.input_value("#set-psi"))
    assert 0 <= psi < 0.3 and numpy.abs(dragged - start).mean() > 1
    assert f"psi={psi:g}" in page.evaluate("location.hash")

    # The same address shows the same picture.
    page.reload()
    assert (pixels(page) == dragged).all()
    assert (changed(page, lambda: page.get_by_role("button", name="Reset").click()) == start).all()


def test_a_picture_is_moved_turned_mixed_and_saved(page: Any, tmp_path: Path):
    start = pixels(page)
    box = page.locator("#picture").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag() -> None:
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + box["width"] / 4, middle[1], steps=4)
        page.mouse.up()

    moved = changed(page, drag)
    assert float(page.input_value("#set-x")) == pytest.approx(0.25, abs=0.01)
    assert numpy.abs(moved[4:-4, 6:-2] - start[4:-4, 2:-6]).mean() < 0.35 * numpy.abs(moved - start).mean()
    assert (changed(page, lambda: page.locator("#picture").dblclick()) == start).all()

    mixed = changed(page, lambda: page.get_by_role("button", name="last", exact=True).click())
    assert numpy.abs(mixed - start).mean() > 0.5
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save PNG").click()
    assert saved.value.suggested_filename == "stylegan3_toc-mix4+5.png"
    saved.value.save_as(tmp_path / "saved.png")
    assert (numpy.asarray(Image.open(tmp_path / "saved.png")) == mixed).all()


def test_keys_walk_through_seeds_and_layers(page: Any):
    start = pixels(page)
    after = changed(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.input_value("#set-seed") == "1" and (after != start).any()

    page.keyboard.press(" ")
    page.wait_for_function("() => Number(document.getElementById('set-blend').value) > 0.1")
    page.keyboard.press(" ")
    assert "blend" in page.inner_text("#caption")

    sheet = changed(page, lambda: page.keyboard.press("l"))
    assert sheet.shape[1] == 8 * (page.evaluate("document.getElementById('picture').width") // 8)
    assert page.inner_text("#caption").startswith("input · channels 0–7")
    alone = changed(page, lambda: page.locator("#picture").click(position={"x": 5, "y": 5}))
    assert page.inner_text("#caption").startswith("input · channel 0 ") and alone.shape[0] == alone.shape[1]
    assert changed(page, lambda: page.keyboard.press("Escape")).shape == (16, 16, 3)


def test_a_picture_that_cannot_be_drawn_is_said_on_the_page(page: Any, complaints: list[str]):
    pixels(page)
    page.route("**/picture.png*", lambda route: route.fulfill(status=500, body="it could not be drawn: out of memory\n"))
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#message:visible")
    assert page.inner_text("#message") == "it could not be drawn: out of memory"
    page.unroute("**/picture.png*")
    changed(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.locator("#message").is_hidden()
    # The browser itself complains of such an answer, and of one to a seed beside this one that was under way.
    assert complaints and all("500" in complaint for complaint in complaints)
    complaints.clear()
