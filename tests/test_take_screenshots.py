"""The script that takes the documentation's pictures; with a browser, on pages of the test's own."""

import importlib.util
import io
from types import ModuleType

import pytest
from PIL import Image

from tests.conftest import ROOT

PAGE = "<script src='https://cdn.jsdelivr.net/npm/vega@5.20.2'></script><img src='http://192.0.2.1/x.png'><h1>plain</h1>"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("take_screenshots", ROOT / "scripts/take_screenshots.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()


def test_a_picture_is_written_in_as_many_colours_as_are_small_enough(script, tmp_path, capsys):
    flat, busy = Image.new("RGB", (400, 300), "navy"), Image.effect_noise((420, 420), 90).convert("RGB")

    for name, picture in (("flat", flat), ("busy", busy)):
        script._write(png(picture), tmp_path / f"{name}.png")

    found = {path.stem: Image.open(path) for path in tmp_path.glob("*.png")}
    assert found["flat"].convert("RGB").getpixel((0, 0)) == (0, 0, 128)
    assert len(found["busy"].getcolors()) < 256 and (tmp_path / "busy.png").stat().st_size <= 150_000
    assert "busy.png: " in capsys.readouterr().out


def test_a_picture_that_no_palette_makes_small_is_refused(script, tmp_path):
    with pytest.raises(script.ScreenshotError, match="at most 150,000 are kept"):
        script._write(png(Image.effect_noise((1400, 900), 90).convert("RGB")), tmp_path / "noise.png")
    assert list(tmp_path.iterdir()) == []


def test_a_checkout_without_a_demo_is_told_to_make_one(script, tmp_path, capsys):
    assert script.main(["--root", str(tmp_path), "--browser", "chromium"]) == 1
    assert "make the demo first: make demo" in capsys.readouterr().err


@pytest.mark.browser
def test_a_page_is_seen_with_libraries_from_here_and_nothing_from_elsewhere(script, chromium, tmp_path):
    library = tmp_path / "node_modules/vega/build/vega.min.js"
    library.parent.mkdir(parents=True)
    library.write_text("addEventListener('load', () => { document.querySelector('h1').textContent = 'drawn here' })")
    page = tmp_path / "index.html"
    page.write_text(PAGE)
    seen = []

    with script._page(chromium, tmp_path / "node_modules") as browser:
        taken = script._look(browser, script.Shot("plots", page.as_uri(), lambda page: seen.append(page.locator("h1").inner_text())))

    assert seen == ["drawn here"] and Image.open(io.BytesIO(taken)).size == (1400, 900)
