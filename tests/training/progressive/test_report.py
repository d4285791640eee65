"""The stage book_report: pages beside real ones, and whether their lines are as far apart."""

import json
import shutil

import numpy
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")

from stages.params import load_params
from tests.training.gans.drawn_sets import write_images
from training.metrics.images.line_period import LinePeriod
from training.progressive import Generator, ProgressiveConfig, save_generator
from training.progressive.options import ProgressiveOptions
from training.progressive.report import BookReportConfig, lines_check, main
from training.progressive.sample import BookFakesConfig
from training.progressive.walks import BookWalksConfig


def pages(count: int, *, side: int, period: float, seed: int) -> numpy.ndarray:
    """Dark lines on white paper, in grey: uint8 [count, side, side]."""
    random = numpy.random.default_rng(seed)
    rows = numpy.arange(side)[None] - random.uniform(0, period, (count, 1))
    ink = 140 * (numpy.cos(2 * numpy.pi * rows / period) > 0)[:, :, None] * (random.random((count, side, side)) > 0.3)
    return (250 - ink).astype(numpy.uint8)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A grey model of 32 px trained on pages of 64 px made smaller, and its fakes: lines 4 px apart in both at psi 1, 6 px at psi 0.5."""
    data = tmp_path / "data"
    write_images(data / "page_dataset@64", pages(12, side=64, period=8, seed=0))
    for psi, period in (("1", 4), ("0.5", 6)):
        write_images(data / "book_fakes" / f"psi{psi}", pages(10, side=32, period=period, seed=1))
    (data / "pggan_pages").mkdir()
    save_generator(data / "pggan_pages", Generator(ProgressiveConfig(resolution=32, channels=1, z_dim=8, filters=(4, 4, 4, 4))))
    rule = "{metric: psi1_swd_x1000, better: lower}"
    lines = ["dataset_size: 64", "metrics: [fd, swd, ms_ssim]", "ms_ssim_pairs: 20", "swd_images: 8", "drawn_images: 3", f"promote: {rule}"]
    (tmp_path / "params.yaml").write_text("\n  ".join(["book_report:", *lines]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIGMENT_TRACK", "none")
    return tmp_path


def test_pages_are_judged_beside_the_floor_and_by_their_lines(project):
    assert main([]) == 0
    folder = project / "data/book_report"
    pictures = ["fakes.png", "lines.png", "nearest.png", "psi_sweep.png", "slices.png", "spectra.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["headline.json", "metrics.json", "report.md", *pictures])
    numbers, headline = (json.loads((folder / name).read_text()) for name in ("metrics.json", "headline.json"))
    assert {"psi1_swd_x1000", "real_swd_x1000", "psi0.5_ms_ssim", "real_ms_ssim"} <= set(numbers)
    assert numbers["real_line_period_px"] == pytest.approx(4, abs=0.3) and numbers["psi1_line_period_px"] == pytest.approx(4, abs=0.3)
    assert numbers["psi0.5_line_period_px"] == pytest.approx(6, abs=0.3)
    # The set that promotion looks at speaks for the model, with its lines and those of the reals.
    assert list(headline) == ["psi1", "real"] and all("line_period_px" in named for named in headline.values())
    text = (folder / "report.md").read_text()
    assert text.startswith("# Progressive GAN: book pages\n") and "## Lines of text" in text and "| *real images* | 12 | 4" in text


@pytest.mark.parametrize(
    ("fake", "real", "passed"), [(6.4, 6.0, True), (7.2, 6.0, False), (None, 6.0, False), (None, None, True), (6.0, None, True), (5.0, 6.0, True)]
)
def test_lines_must_be_as_far_apart_as_real_ones_where_those_have_any(fake, real, passed):
    periods = {"psi1": LinePeriod(numpy.zeros(0), fake, 4), "real": LinePeriod(numpy.zeros(0), real, 4)}
    check = lines_check(periods, "psi1")
    assert (check.name, check.passed) == ("text_lines", passed) and check.facts.get("line_period_px") == fake


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("book_fakes/psi*", "book_fakes: no set of fakes such as psi0.8 in it; sample them: figment materialize book_fakes"),
        ("page_dataset@64", "page_dataset@64: no such file or folder"),
        ("pggan_pages", "figment materialize pggan_pages"),
    ],
)
def test_what_is_missing_is_one_line_that_says_what_to_do(project, capsys, missing, words):
    for folder in project.glob(f"data/{missing}"):
        shutil.rmtree(folder)
    assert main([]) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("figment: ")]
    assert words in said and not (project / "data/book_report").exists()


@pytest.mark.parametrize("name", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_project_s_own_parameters_judge_draw_and_film_what_was_trained(project_root, name):
    report = load_params(project_root / name, "book_report", BookReportConfig)
    assert report.dataset_size == load_params(project_root / name, "pggan_pages", ProgressiveOptions).dataset_size
    # The number that promotes is one of a set that is drawn.
    fakes = load_params(project_root / name, "book_fakes", BookFakesConfig)
    assert report.promote is not None and report.promote.metric.partition("_")[0] in {f"psi{psi:g}" for psi in fakes.psi}
    assert load_params(project_root / name, "book_walks", BookWalksConfig).frame_count >= 2
