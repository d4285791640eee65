"""Reports on images: from sets of fakes and reals to numbers beside a floor, tables and pictures, twice the same."""

import hashlib
import json
import warnings
from dataclasses import replace

import numpy
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from formats.image_shards import ImageShards
from tests.training.conftest import RecordingReporter
from training.gans.report import FakesError, ImageReportConfig, Sweep, judge_images, open_fakes
from training.metrics.images import features, scoring
from training.metrics.images.comparison import TooFewImagesError

from .drawn_sets import discs, write_images

FILES = ["a_sweep.png", "fakes.png", "metrics.json", "nearest.png", "report.md", "slices.png", "spectra.png"]
CONFIG = ImageReportConfig(swd_images=16, ms_ssim_pairs=30, kid_subsets=10, drawn_images=5, nearest_pairs=4)
# Discs of 32 px that are the more alike the smaller their spread, judged by 64 px reals made smaller.
SPREADS = {"a0.2": 0.1, "a0.8": 0.7, "a1.1": 1.0}


def make_sets(folder, *, fakes=20, reals=44, stored=64, spreads=SPREADS):
    """(sets of fakes by name, the folder of reals)."""
    drawn = {name: discs(fakes, side=32, seed=round(10 * float(name[1:])) + 1, spread=spread) for name, spread in spreads.items()}
    sets = {name: ImageShards(write_images(folder / "fakes" / name, images)) for name, images in drawn.items()}
    return sets, write_images(folder / "pictures@64", discs(reals, side=stored, seed=0))


def judge(config, sets, dataset, state_dir, *, reporter=None):
    sweep = Sweep("a", "amount", "α", {name: float(name[1:]) for name in sets})
    more = {"stage": "report", "model": "model", "title": "Discs", "sweep": sweep, "state_dir": state_dir}
    return judge_images(config, sets, dataset, reporter or RecordingReporter(), **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(report, the folder it was written to)."""
    folder = tmp_path_factory.mktemp("report")
    report = judge(CONFIG, *make_sets(folder), folder / "state")
    return report, report.write(folder)


def test_every_set_is_judged_with_all_images_and_with_as_many_as_the_floor(made):
    numbers = made[0].numbers.flat
    for set_name in SPREADS:
        for name in ("fd_rand0", "kid_rand0_x1000", "precision_rand0", "recall_rand0", "density_rand0", "coverage_rand0"):
            assert {f"{set_name}_{name}", f"{set_name}_{name}_same_n"} <= set(numbers), name
        names = ("swd_x1000", "swd_x1000_32px", "swd_x1000_16px", "ms_ssim", "authentic_rand0")
        assert {f"{set_name}_{name}" for name in names} <= set(numbers)
    assert {"real_fd_rand0", "real_kid_rand0_x1000", "real_swd_x1000", "real_ms_ssim", "real_precision_rand0"} <= set(numbers)
    assert (numbers["a0.2_n"], numbers["real_n"], numbers["same_n"]) == (20, 44, 20)


def test_only_the_kernel_distance_has_a_spread_and_only_rates_and_pair_means_have_intervals(made):
    numbers = made[0].numbers
    # With as many images as the floor there is one subset only, and no spread.
    assert {name for name in numbers.qualifiers if "_sd" in name} == {f"{name}_kid_rand0_x1000_sd" for name in SPREADS}
    for name in ("a0.8_precision_rand0", "a0.8_recall_rand0_same_n", "real_coverage_rand0", "a1.1_authentic_rand0", "a0.2_ms_ssim"):
        low, high = numbers.interval(name, numbers.flat)
        assert low <= numbers.values[name] <= high, name
    assert numbers.interval("a0.8_fd_rand0", numbers.flat) is None


def test_no_number_is_called_fid_without_the_reference_network(made):
    report, _ = made
    assert not [name for name in report.numbers.flat if "fid" in name]
    assert "| FD-rand@0 | KID-rand@0 × 10³ |" in report.text
    assert "| KID " not in report.text
    assert "This is not FID" in report.text


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
    report = judge(replace(CONFIG, extractor=f"inception:{path}"), *make_sets(tmp_path, fakes=8, spreads={"a1": 1.0}), tmp_path / "state")
    names = {"a1_fid", "a1_fid_same_n", "real_fid", "a1_kid_inception_x1000", "a1_precision_inception"}
    assert names <= set(report.numbers.flat)
    assert "| FID | KID × 10³ |" in report.text
    assert "not FID" not in report.text


def test_a_loss_of_variety_shows_along_the_sweep(made):
    values = made[0].numbers.values
    assert values["a0.2_ms_ssim"] > values["a0.8_ms_ssim"] > values["a1.1_ms_ssim"]
    assert values["a0.2_recall_rand0"] < values["a1.1_recall_rand0"]
    assert values["a1.1_fd_rand0"] < values["a0.8_fd_rand0"] < values["a0.2_fd_rand0"]


def test_real_images_are_nearer_to_each_other_than_poor_fakes(made):
    values = made[0].numbers.values
    assert values["real_fd_rand0"] < values["a0.2_fd_rand0_same_n"]
    assert values["real_swd_x1000"] < values["a0.2_swd_x1000"]


def test_the_report_holds_its_files_and_no_path_time_or_host(made):
    _, folder = made
    assert sorted(path.name for path in folder.iterdir()) == FILES
    text = (folder / "report.md").read_text()
    assert str(folder.parent) not in text
    assert "real images (floor)" in text and "α = 0.2" in text and "## By amount" in text
    for name in ("fakes.png", "nearest.png", "a_sweep.png"):
        with Image.open(folder / name) as picture:
            picture.load()
            assert f"({name})" in text


def test_two_reports_are_equal_byte_for_byte_whether_features_were_kept_or_not(made, tmp_path):
    _, folder = made
    sets, dataset = make_sets(tmp_path)
    for _ in range(2):
        again = judge(CONFIG, sets, dataset, tmp_path / "state").write(tmp_path)
        for name in FILES:
            assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_real_images_are_shown_to_the_extractor_once_in_a_life(tmp_path, monkeypatch):
    (sets, dataset), seen = make_sets(tmp_path, fakes=8), []
    original = scoring.compute_features

    def counted(source, extractor, batch_images):
        seen.append(len(source))
        return original(source, extractor, batch_images)

    monkeypatch.setattr(scoring, "compute_features", counted)
    for _ in range(2):
        judge(CONFIG, sets, dataset, tmp_path / "state")
    assert seen == [44]


def test_sets_that_differ_by_no_number_are_named_and_have_no_curves(tmp_path):
    sets, dataset = make_sets(tmp_path, fakes=8, spreads={"a1": 1.0})
    report = judge_images(CONFIG, sets, dataset, RecordingReporter(), stage="report", model="model", title="Discs", state_dir=tmp_path / "state")
    folder = report.write(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["fakes.png", "metrics.json", "nearest.png", "report.md", "slices.png", "spectra.png"]
    text = (folder / "report.md").read_text()
    assert "| a1 | " in text and "One row for each set; the last row is real." in text


def test_the_picture_of_pairs_shows_a_copy_above_its_original(tmp_path):
    _, dataset = make_sets(tmp_path, spreads={}, stored=32)
    images, original = discs(20, side=32, seed=9), discs(44, side=32, seed=0)[17]
    images[6] = original
    report = judge(CONFIG, {"a1": ImageShards(write_images(tmp_path / "a1", images))}, dataset, tmp_path / "state")
    with Image.open(report.write(tmp_path) / "nearest.png") as picture:
        drawn = numpy.asarray(picture.convert("RGB"))
    shown = original.repeat(2, axis=0).repeat(2, axis=1)
    assert numpy.array_equal(drawn[:64, :64], shown)
    assert numpy.array_equal(drawn[68:132, :64], shown)


def test_the_set_that_copies_most_decides_the_check(made, tmp_path):
    assert made[0].checks[0].passed
    sets, dataset = make_sets(tmp_path, spreads={"a1": 1.0}, stored=32)
    sets["a2"] = ImageShards(write_images(tmp_path / "a2", discs(44, side=32, seed=0)[:20]))
    (check,) = judge(CONFIG, sets, dataset, tmp_path / "state").checks
    assert (check.name, check.passed, check.facts["images"], check.facts["authentic"]) == ("not_memorised", False, "a2", 0)


def test_fewer_reals_are_chosen_by_the_seed_and_said_so(tmp_path):
    report = judge(replace(CONFIG, most_reals=30), *make_sets(tmp_path, fakes=8), tmp_path / "state")
    assert report.numbers.flat["real_n"] == 30
    assert "compared with 30 of the 44 in pictures@64" in report.text


def test_images_that_are_few_leave_numbers_out_and_still_give_a_report(tmp_path):
    report = judge(replace(CONFIG, metrics=("prdc",)), *make_sets(tmp_path, fakes=2, reals=4, spreads={"a1": 1.0}), tmp_path / "state")
    folder = report.write(tmp_path)
    assert not [name for name in json.loads((folder / "metrics.json").read_text()) if "precision" in name]
    assert sorted(path.name for path in folder.iterdir()) == FILES


@pytest.mark.parametrize(("fakes", "reals", "words"), [(8, 3, "3 reals; a comparison needs one set and 4"), (1, 8, "a1: 1 images; a comparison")])
def test_too_few_images_are_an_error_that_says_how_many_are_needed(tmp_path, fakes, reals, words):
    with pytest.raises(TooFewImagesError, match=words):
        judge(CONFIG, *make_sets(tmp_path, fakes=fakes, reals=reals, spreads={"a1": 1.0}), tmp_path / "state")


def test_fakes_of_another_size_than_the_model_draws_are_an_error_with_its_remedy(tmp_path):
    folder = write_images(tmp_path / "toc_fakes" / "psi0.8", discs(2, side=64, seed=1))
    with pytest.raises(FakesError, match="images of 64 px, but the model in gan draws 32 px; sample again: figment materialize toc_fakes"):
        open_fakes(folder, 32, "gan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": ()}, "metrics is empty"),
        ({"authentic_floor": 2}, "must lie in"),
        ({"swd_images": 0}, "swd_images must be"),
        ({"most_reals": 3}, "most_reals must be"),
    ],
)
def test_settings_out_of_range_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        ImageReportConfig(**change)
