"""The report on a CycleGAN: both ways beside doing nothing and the floor, errors with intervals, checks, and the same bytes twice."""

import json

import numpy
import pytest
import torch
from torch import nn

pytest.importorskip("av", reason="av is not installed (extra: video)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")

from tests.training.conftest import RecordingReporter
from training.cyclegan.generator import Generators
from training.cyclegan.report import PaintingsReportConfig, judge, main
from training.cyclegan.translate import PaintedConfig, make_painted
from training.gans.report import ImageReportConfig
from training.tracking.tracker import PromotionRule

from .tiny import CPU, tiny, write_model, write_set

CONFIG = PaintingsReportConfig(
    swd_images=12, kid_subsets=5, drawn_images=3, nearest_pairs=2, bootstrap_rounds=50, promote=PromotionRule("b2a_swd_ratio", better="lower")
)


def scenes(count, *, seed, warm, channels=3):
    """Blobs on a ground: reddish (warm) or bluish ones."""
    random = numpy.random.default_rng(seed)
    place = numpy.stack(numpy.meshgrid(numpy.arange(32), numpy.arange(32)))
    middle, radius = random.uniform(8, 24, (count, 2, 1, 1)), random.uniform(4, 10, (count, 1, 1))
    blob = (((place - middle) ** 2).sum(axis=1) < radius**2)[:, None]
    colour = numpy.array([180, 90, 40] if warm else [40, 90, 180]).reshape(1, 3, 1, 1)
    found = numpy.where(blob, colour, 0.4 * colour) + random.normal(0, 12, (count, 3, 32, 32))
    return found.clip(0, 255).astype(numpy.uint8)[:, :channels]


class Swap(nn.Module):
    """Red becomes blue and blue red: exactly what leads from one domain to the other, and back."""

    def forward(self, x):
        return x.flip(1)


def exact(generators) -> Generators:
    for network in (generators.a_to_b, generators.b_to_a):
        network.model = Swap()
    return generators


def make_data(folder, generators, *, channels=(3, 3)):
    data = folder / "data"
    write_model(data / "cyclegan_paintings", tiny(channels_a=generators.config.channels_a, channels_b=generators.config.channels_b))
    for seed, (name, count) in enumerate((("testA", 12), ("testB", 14), ("trainA", 26), ("trainB", 30))):
        domain = seed % 2
        write_set(data / "paintings" / name, scenes(count, seed=seed, warm=domain == 0, channels=channels[domain]), per_shard=20)
    places = {"data": data, "state": folder / ".figment", "reporter": RecordingReporter()}
    make_painted(PaintedConfig(fps=5), generators, CPU, **places)
    return data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(report, the folder it was written to), on networks that do it exactly."""
    folder = tmp_path_factory.mktemp("report")
    networks = exact(tiny())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.cyclegan.report.load_generators", lambda *arguments, **more: networks)
        report = judge(CONFIG, make_data(folder, networks), RecordingReporter(), state_dir=folder / "state")
    return report, report.write(folder / "data")


def test_both_ways_are_judged_beside_doing_nothing_and_the_floor(made):
    numbers = made[0].numbers.flat
    for way in ("a2b", "b2a"):
        for name in ("translated", "untranslated"):
            wanted = ("fd_rand0", "fd_rand0_same_n", "mifd_rand0", "kid_rand0_x1000", "precision_rand0", "coverage_rand0", "swd_x1000", "n")
            assert {f"{way}_{name}_{key}" for key in wanted} <= set(numbers)
        assert {f"{way}_real_swd_x1000", f"{way}_real_fd_rand0", f"{way}_cycle_l1", f"{way}_identity_l1", f"{way}_swd_ratio"} <= set(numbers)
    assert (numbers["b2a_translated_n"], numbers["a2b_translated_n"], numbers["b2a_real_n"], numbers["a2b_real_n"]) == (14, 12, 26, 30)


def test_a_network_that_does_it_exactly_gets_the_numbers_of_real_pictures(made):
    values = made[0].numbers.values
    for way in ("a2b", "b2a"):
        assert values[f"{way}_translated_fd_rand0_same_n"] < 0.2 * values[f"{way}_untranslated_fd_rand0_same_n"]
        assert values[f"{way}_swd_ratio"] == pytest.approx(values[f"{way}_translated_swd_x1000"] / values[f"{way}_untranslated_swd_x1000"], rel=1e-4)
        # There and back is the picture itself; a picture that is of the domain already is turned into the other.
        assert values[f"{way}_cycle_l1"] == pytest.approx(0, abs=1e-6)
        assert values[f"{way}_identity_l1"] > 0.3


def test_errors_have_intervals_and_are_the_mean_distance_in_minus_one_to_one(tmp_path):
    generators = tiny(seed=3)
    data = make_data(tmp_path, generators)
    torch.manual_seed(0)
    write_model(data / "cyclegan_paintings", generators)
    report = judge(CONFIG, data, RecordingReporter(), state_dir=tmp_path / "state")
    x = torch.from_numpy(scenes(12, seed=0, warm=True)).float() / 127.5 - 1
    distances = (generators.b_to_a(generators.a_to_b(x)) - x).abs().mean(dim=(1, 2, 3))
    numbers = report.numbers
    assert numbers.values["a2b_cycle_l1"] == pytest.approx(float(distances.mean()), rel=1e-4)
    low, high = numbers.interval("a2b_cycle_l1", numbers.flat)
    assert low < numbers.values["a2b_cycle_l1"] < high
    assert numbers.flat["a2b_cycle_l1_n"] == 12
    assert numbers.values["b2a_identity_l1"] == pytest.approx(float((generators.b_to_a(x) - x).abs().mean()), rel=1e-4)


def test_the_headline_is_small_and_about_both_ways(made):
    headline = json.loads((made[1] / "headline.json").read_text())
    assert {way: list(found) for way, found in headline.items()} == {
        way: ["swd_ratio", "cycle_l1", "identity_l1", "translated_fd_rand0", "translated_mifd_rand0"] for way in ("b2a", "a2b")
    }
    assert made[0].promote == CONFIG.promote and CONFIG.promote.metric in made[0].numbers.values


def test_the_report_holds_its_pictures_and_says_what_the_numbers_are(made):
    _, folder = made
    pictures = [f"{way}-{name}.png" for way in ("a2b", "b2a") for name in ("fakes", "nearest", "rows", "spectra")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*pictures, "headline.json", "metrics.json", "report.md"])
    text = (folder / "report.md").read_text()
    assert all(f"({name})" in text for name in pictures)
    assert "# photo to painting and painting to photo" in text and "## photo to painting" in text
    assert "This is not FID" in text and "MiFD-rand@0" in text and "MiFID" not in text
    assert str(folder.parent) not in text


def test_the_worse_way_decides_the_checks(made, tmp_path):
    checks = {check.name: check for check in made[0].checks}
    assert set(checks) == {"not_memorised", "nearer_than_untranslated"}
    ratios = [made[0].numbers.values[f"{way}_swd_ratio"] for way in ("a2b", "b2a")]
    facts = checks["nearer_than_untranslated"].facts
    assert checks["nearer_than_untranslated"].passed == (max(facts["a2b"], facts["b2a"]) <= facts["ceiling"])
    assert sorted(ratios) == pytest.approx(sorted((facts["a2b"], facts["b2a"])), rel=1e-4)
    assert facts["ceiling"] == 0.5


def test_grey_paintings_are_compared_in_colour_where_their_translations_are(tmp_path):
    report = judge(CONFIG, make_data(tmp_path, tiny(), channels=(1, 3)), RecordingReporter(), state_dir=tmp_path / "state")
    assert {"a2b_translated_swd_x1000", "b2a_translated_swd_x1000", "a2b_identity_l1"} <= set(report.numbers.values)


def test_two_reports_are_equal_byte_for_byte_whether_features_were_kept_or_not(made, tmp_path, monkeypatch):
    networks = exact(tiny())
    monkeypatch.setattr("training.cyclegan.report.load_generators", lambda *arguments, **more: networks)
    again = judge(CONFIG, made[1].parent, RecordingReporter(), state_dir=made[1].parent.parent / "state").write(tmp_path)
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (made[1], again))
    assert one == two


def test_it_can_be_asked_what_any_report_on_images_can(tmp_path):
    assert issubclass(PaintingsReportConfig, ImageReportConfig)
    with pytest.raises(ValueError, match="error_images must be at least 1"):
        PaintingsReportConfig(error_images=0)
    with pytest.raises(ValueError, match="swd_ratio_ceiling must be above 0"):
        PaintingsReportConfig(swd_ratio_ceiling=0)


def test_without_translated_pictures_it_says_what_is_missing(tmp_path, monkeypatch, capsys):
    write_model(tmp_path / "data/cyclegan_paintings", tiny())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("paintings_report: {}\n")
    assert main([]) == 1
    assert "painted_photos/b2a/test: no such file or folder" in capsys.readouterr().err
