"""The stage toc_report: from fakes, reals and a model to numbers beside a floor, tables and pictures, twice the same."""

import hashlib
import io
import json
import os
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from formats.image_shards import write_shard
from stages.artifact_id import content_id
from stages.params import load_params
from stages.reporting import Reporter
from training.metrics.images import features, scoring
from training.stylegan3 import report
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.generator import write_config
from training.stylegan3.report import ToCReportConfig
from training.tracking import tracker as tracking

FILES = ["fakes.png", "metrics.json", "nearest.png", "psi_sweep.png", "report.md"]


class ListeningReporter(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        self.lines, self.facts, self.markdowns, self.checks = [], {}, {}, {}

    def log(self, message):
        self.lines.append(message)

    def metadata(self, **values):
        self.facts.update(values)

    def markdown(self, name, text):
        self.markdowns[name] = text

    def check(self, name, passed, *, severity="ERROR", **values):
        self.checks[name] = (passed, severity, values)


def discs(count, *, side, seed, spread=1.0):
    """Coloured discs on white; with a small spread they are all much the same: uint8 [count, side, side, 3]."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:side, :side]
    centres = side / 2 + spread * random.uniform(-side / 4, side / 4, (count, 2))
    radii = side / 5 * (1 + spread * random.uniform(-0.4, 0.4, count))
    colours = 100 + spread * random.uniform(-100, 100, (count, 3))
    is_inside = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2 < radii[:, None, None] ** 2
    return numpy.where(is_inside[..., None], colours[:, None, None, :], 255).astype(numpy.uint8)


def write_images(folder: Path, images):
    def png(image):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        return stream.getvalue()

    folder.mkdir(parents=True)
    write_shard(folder / "shard-00000.zip", [(serial, png(image)) for serial, image in enumerate(images)])


def make_data(folder: Path, *, fakes=20, reals=44, side=32, stored=64, psis=((0.2, 0.1), (0.8, 0.7), (1.1, 1.0))) -> Path:
    """A model of 32 px trained on 64 px images made smaller, and its fakes at three truncations: the smaller, the more alike."""
    write_images(folder / "toc_dataset@64", discs(reals, side=stored, seed=0))
    for psi, spread in psis:
        write_images(folder / "toc_fakes" / f"psi{psi:g}", discs(fakes, side=side, seed=round(10 * psi) + 1, spread=spread))
    (folder / "stylegan3_toc").mkdir()
    write_config(folder / "stylegan3_toc", StyleGAN3Config(resolution=side, z_dim=8, w_dim=8, cbase=64, cmax=8, num_layers=4, margin=4))
    return folder


def rewrite_fakes(data, images):
    shutil.rmtree(data / "toc_fakes" / "psi0.8")
    write_images(data / "toc_fakes" / "psi0.8", images)


CONFIG = ToCReportConfig(dataset_size=64, swd_images=16, ms_ssim_pairs=30, kid_subsets=10, drawn_images=5, nearest_pairs=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("report") / "data")


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """(metrics, reporter, folder of the report) of one run."""
    reporter = ListeningReporter()
    metrics = report.make_report(CONFIG, data, reporter, state_dir=tmp_path_factory.mktemp("state"))
    return metrics, reporter, data / "toc_report"


def test_every_truncation_is_judged_with_all_images_and_with_as_many_as_the_floor(made):
    metrics, _, _ = made
    for psi in ("psi0.2", "psi0.8", "psi1.1"):
        for name in ("fd_rand0", "kid_rand0_x1000", "precision_rand0", "recall_rand0", "density_rand0", "coverage_rand0"):
            assert {f"{psi}_{name}", f"{psi}_{name}_same_n"} <= set(metrics), name
        assert {f"{psi}_swd_x1000", f"{psi}_swd_x1000_32px", f"{psi}_swd_x1000_16px", f"{psi}_ms_ssim", f"{psi}_authentic_rand0"} <= set(metrics)
    assert {"real_fd_rand0", "real_kid_rand0_x1000", "real_swd_x1000", "real_ms_ssim", "real_precision_rand0"} <= set(metrics)
    assert (metrics["psi0.2_n"], metrics["real_n"], metrics["same_n"]) == (20, 44, 20)


def test_no_number_is_called_fid_without_the_reference_network(made):
    metrics, _, folder = made
    assert not [name for name in metrics if "fid" in name]
    text = (folder / "report.md").read_text()
    assert "| FD-rand@0 | KID-rand@0 × 10³ |" in text
    assert "| KID " not in text
    assert "This is not FID" in text


class Shades(torch.nn.Module):
    """Called like the reference network, and gives as many features: the pixels of a small grey image, repeated."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return torch.nn.functional.avg_pool2d(img.float().mean(1, keepdim=True), 4).flatten(1).repeat(1, 32)


def test_with_the_reference_network_the_numbers_are_called_fid_and_kid(tmp_path, monkeypatch):
    path = tmp_path / "network.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Shades()), str(path))
    monkeypatch.setattr(features, "INCEPTION_SHA256", {hashlib.sha256(path.read_bytes()).hexdigest(): "inception-2015-12-05.pt"})
    data = make_data(tmp_path / "data", fakes=8, psis=((0.8, 1.0),))
    metrics = report.make_report(replace(CONFIG, extractor=f"inception:{path}"), data, ListeningReporter(), state_dir=tmp_path / "state")
    assert {"psi0.8_fid", "psi0.8_fid_same_n", "real_fid", "psi0.8_kid_inception_x1000", "psi0.8_precision_inception"} <= set(metrics)
    text = (data / "toc_report" / "report.md").read_text()
    assert "| FID | KID × 10³ |" in text
    assert "not FID" not in text


def test_truncation_loses_variety_as_the_sweep_must_show(made):
    metrics, _, _ = made
    assert metrics["psi0.2_ms_ssim"] > metrics["psi0.8_ms_ssim"] > metrics["psi1.1_ms_ssim"]
    assert metrics["psi0.2_recall_rand0"] < metrics["psi1.1_recall_rand0"]
    assert metrics["psi1.1_fd_rand0"] < metrics["psi0.8_fd_rand0"] < metrics["psi0.2_fd_rand0"]


def test_real_images_are_nearer_to_each_other_than_the_fakes_of_a_poor_truncation(made):
    metrics, _, _ = made
    assert metrics["real_fd_rand0"] < metrics["psi0.2_fd_rand0_same_n"]
    assert metrics["real_swd_x1000"] < metrics["psi0.2_swd_x1000"]


def test_numbers_are_flat_sorted_finite_and_of_six_digits(made):
    metrics, _, folder = made
    pairs = json.loads((folder / "metrics.json").read_text(), object_pairs_hook=list)
    assert [name for name, _ in pairs] == sorted(metrics)
    for name, value in pairs:
        assert float(f"{value:.6g}") == value, name


def test_rates_come_with_an_interval_that_holds_them(made):
    metrics, _, _ = made
    for name in ("psi0.8_precision_rand0", "psi0.8_recall_rand0_same_n", "real_coverage_rand0", "psi1.1_authentic_rand0"):
        stem, ending = (name.removesuffix("_same_n"), "_same_n") if name.endswith("_same_n") else (name, "")
        assert metrics[f"{stem}_low{ending}"] <= metrics[name] <= metrics[f"{stem}_high{ending}"], name


def test_the_report_holds_its_files_and_no_path_time_or_host(made, data):
    _, _, folder = made
    assert sorted(path.name for path in folder.iterdir()) == FILES
    text = (folder / "report.md").read_text()
    assert str(data) not in text
    assert "real images (floor)" in text and "ψ = 0.2" in text
    for name in ("fakes.png", "nearest.png", "psi_sweep.png"):
        with Image.open(folder / name) as picture:
            picture.load()
            assert f"({name})" in text


def test_two_reports_are_equal_byte_for_byte_whether_features_were_kept_or_not(made, tmp_path, monkeypatch):
    _, _, folder = made
    copy, state = make_data(tmp_path / "data"), tmp_path / "state"
    for _ in range(2):
        report.make_report(CONFIG, copy, ListeningReporter(), state_dir=state)
        for name in FILES:
            assert (copy / "toc_report" / name).read_bytes() == (folder / name).read_bytes(), name


def test_real_images_are_shown_to_the_extractor_once_in_a_life(tmp_path, monkeypatch):
    data, state, seen = make_data(tmp_path / "data", fakes=8), tmp_path / "state", []
    original = scoring.compute_features

    def counted(source, extractor, batch_images):
        seen.append(len(source))
        return original(source, extractor, batch_images)

    monkeypatch.setattr(scoring, "compute_features", counted)
    for _ in range(2):
        report.make_report(CONFIG, data, ListeningReporter(), state_dir=state)
    assert seen == [44]


def test_the_picture_of_pairs_shows_a_copy_above_its_original(tmp_path):
    data = make_data(tmp_path / "data", psis=((0.8, 1.0),), stored=32)
    original = discs(44, side=32, seed=0)[17]
    images = discs(20, side=32, seed=9)
    images[6] = original
    rewrite_fakes(data, images)
    report.make_report(CONFIG, data, ListeningReporter(), state_dir=tmp_path / "state")
    with Image.open(data / "toc_report" / "nearest.png") as picture:
        drawn = numpy.asarray(picture.convert("RGB"))
    shown = original.repeat(2, axis=0).repeat(2, axis=1)
    assert numpy.array_equal(drawn[:64, :64], shown)
    assert numpy.array_equal(drawn[68:132, :64], shown)


def test_a_model_that_copies_fails_the_check_with_a_warning(tmp_path):
    data = make_data(tmp_path / "data", psis=((0.8, 1.0),), stored=32)
    rewrite_fakes(data, discs(44, side=32, seed=0)[:20])
    reporter = ListeningReporter()
    report.make_report(CONFIG, data, reporter, state_dir=tmp_path / "state")
    passed, severity, values = reporter.checks["not_memorised"]
    assert (passed, severity, values["authentic"], values["judged"]) == (False, "WARN", 0, 20)


def test_the_caller_hears_the_numbers_and_sees_the_report(made):
    metrics, reporter, _ = made
    assert reporter.facts["psi0.8_fd_rand0"] == metrics["psi0.8_fd_rand0"]
    assert "Beside the floor" in reporter.markdowns["report"]
    assert "data:image/png;base64," in reporter.markdowns["report"]
    assert reporter.checks["not_memorised"][0] is True


def test_fewer_reals_are_chosen_by_the_seed_and_said_so(tmp_path):
    data = make_data(tmp_path / "data", fakes=8)
    metrics = report.make_report(replace(CONFIG, most_reals=30), data, ListeningReporter(), state_dir=tmp_path / "state")
    assert metrics["real_n"] == 30
    assert "compared with 30 of the 44 in toc" in (data / "toc_report" / "report.md").read_text()


def test_images_that_are_few_leave_numbers_out_and_still_give_a_report(tmp_path):
    data = make_data(tmp_path / "data", fakes=2, reals=4, psis=((1.0, 1.0),))
    metrics = report.make_report(replace(CONFIG, metrics=("prdc",)), data, ListeningReporter(), state_dir=tmp_path / "state")
    assert not [name for name in metrics if "precision" in name]
    assert sorted(path.name for path in (data / "toc_report").iterdir()) == FILES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("no fakes", "toc_fakes: no set of fakes such as psi0.8 in it; sample them: figment materialize toc_fakes"),
        ("other size", r"psi0.8: images of 64 px, but the model in stylegan3_toc draws 32 px; sample again"),
        ("no reals", "toc_dataset@64: no such file or folder"),
        ("no model", "expected a trained StyleGAN3: figment materialize stylegan3_toc"),
        ("few reals", "3 reals; a comparison needs one set and 4 reals"),
        ("one fake", "psi0.8: 1 images; a comparison needs two"),
    ],
)
def test_what_is_missing_is_one_line_that_says_what_to_do(tmp_path, capsys, change, words):
    data = make_data(tmp_path / "data", psis=((0.8, 1.0),), fakes=1 if change == "one fake" else 8, reals=3 if change == "few reals" else 8)
    if change == "no fakes":
        shutil.rmtree(data / "toc_fakes" / "psi0.8")
    if change == "other size":
        rewrite_fakes(data, discs(8, side=64, seed=1))
    if change == "no reals":
        shutil.rmtree(data / "toc_dataset@64")
    if change == "no model":
        (data / "stylegan3_toc" / "config.json").unlink()
    params = tmp_path / "params.yaml"
    params.write_text("toc_report:\n  dataset_size: 64\n")
    os.chdir(tmp_path)
    os.environ["FIGMENT_TRACK"] = "none"
    assert report.main(["--params", str(params), "--data", str(data)]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("figment: ")]
    assert len(said) == 1
    assert re.search(words, said[0])
    assert not (data / "toc_report").exists()


def test_the_command_writes_the_report_and_attaches_it_to_the_model_s_run(tmp_path, monkeypatch, capsys):
    data, attached = make_data(tmp_path / "data", fakes=8, psis=((0.8, 1.0),)), []
    monkeypatch.setattr(report, "attach_metrics", lambda model, **facts: attached.append((model, facts)))
    params = tmp_path / "params.yaml"
    params.write_text("toc_report:\n  dataset_size: 64\n  metrics: [fd]\n  promote: {metric: psi0.8_fd_rand0, at_most: 1000, better: lower}\n")
    os.chdir(tmp_path)
    assert report.main(["--params", str(params), "--data", str(data)]) == 0
    ((model, facts),) = attached
    assert (model, facts["output_id"]) == ("stylegan3_toc", content_id(data / "stylegan3_toc"))
    assert facts["promote"] == tracking.PromotionRule("psi0.8_fd_rand0", at_most=1000.0, better="lower")
    assert [path.name for path in facts["artifacts"]] == FILES
    assert facts["metrics"]["psi0.8_fd_rand0"] > 0


def test_a_rule_about_a_number_that_is_not_there_promotes_nothing(tmp_path, monkeypatch, capsys):
    data, attached = make_data(tmp_path / "data", fakes=8, psis=((0.8, 1.0),)), []
    monkeypatch.setattr(report, "attach_metrics", lambda model, **facts: attached.append(facts))
    params = tmp_path / "params.yaml"
    params.write_text("toc_report:\n  dataset_size: 64\n  metrics: [fd]\n  promote: {metric: psi0.8_fid, at_most: 10, better: lower}\n")
    os.chdir(tmp_path)
    assert report.main(["--params", str(params), "--data", str(data)]) == 0
    assert attached[0]["promote"] is None
    assert "no promotion, because there is no number psi0.8_fid in the report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("metrics: [fid]", "must be one of 'fd'"),
        ("metrics: []", "metrics is empty"),
        ("authentic_floor: 2", "must lie in"),
        ("swd_images: 0", "swd_images must be"),
    ],
)
def test_parameters_out_of_range_are_named(tmp_path, line, words):
    params = tmp_path / "params.yaml"
    params.write_text(f"toc_report:\n  {line}\n")
    with pytest.raises(Exception, match=words):
        load_params(params, "toc_report", ToCReportConfig)
