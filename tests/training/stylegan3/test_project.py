"""Projection: a picture of the generator's own is found again, any picture is taken, a stopped search goes on to the same bits."""

import json

import numpy
import pytest
import torch
from PIL import Image

pytest.importorskip("av", reason="av is not installed (extra: video)")

from formats.video import read_video
from tests.training.stylegan3.model_folder import write_model
from training.gans.grids import load_picture
from training.metrics.images.perceptual import RandomDistance
from training.stylegan3 import load_generator, sample
from training.stylegan3.project import Projection, ProjectionOptions, main, pixel_distance, read_target
from training.stylegan3.styles import draw_styles, read_styles, seed_styles


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("data"))


@pytest.fixture
def own(model, tmp_path):
    """A picture that the generator can draw."""
    generator = load_generator(model)
    (picture,) = draw_styles(generator, seed_styles(generator, [7]), batch=1)
    Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / "own.png")
    return tmp_path / "own.png"


def run(model, target, outdir, *words) -> int:
    return main([str(target), "--network", str(model), "--outdir", str(outdir), "--w-samples", "500", *words])


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_picture_of_the_generator_s_own_is_found_again(model, own, tmp_path, space):
    assert run(model, own, tmp_path / "out", "--steps", "100", "--space", space) == 0
    target, found = (load_picture(tmp_path / "out" / name).astype(int) for name in ("target.png", "projection.png"))
    generator = load_generator(model)
    mean = generator.mapping.w_avg.expand(1, generator.config.num_ws, -1)
    (start,) = draw_styles(generator, mean, batch=1)
    assert ((found - target) ** 2).mean() < 0.05 * ((start.transpose(1, 2, 0).astype(int) - target) ** 2).mean()
    ws = read_styles(tmp_path / "out/projected_w.npz", generator)
    assert ws.shape == (1, 6, 8) and (ws[:, :1] == ws).all() == (space == "w")
    facts = json.loads((tmp_path / "out/projection.json").read_text())
    assert facts["distance"] == "rand0" and facts["options"]["space"] == space and facts["found"]["pixels"] < 0.05
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["projected_w.npz", "projection.json", "projection.png", "target.png"]


def test_a_stopped_search_goes_on_to_the_same_bits(model, own, tmp_path, capsys, monkeypatch):
    assert run(model, own, tmp_path / "whole", "--steps", "12") == 0

    class Killed(BaseException):
        pass

    steps = []
    true_step = Projection.step

    def step(self):
        steps.append(self.step_number)
        if len(steps) == 9:
            raise Killed
        return true_step(self)

    monkeypatch.setattr(Projection, "step", step)
    with pytest.raises(Killed):
        run(model, own, tmp_path / "out", "--steps", "12", "--save-every", "4")
    assert run(model, own, tmp_path / "out", "--steps", "12", "--save-every", "4") == 0
    assert steps == [*range(9), *range(8, 12)] and "going on after step 8" in capsys.readouterr().err
    one, other = (numpy.load(tmp_path / folder / "projected_w.npz")["w"] for folder in ("whole", "out"))
    assert (one == other).all()
    # Of another search nothing is taken over.
    assert run(model, own, tmp_path / "out", "--steps", "3", "--seed", "1") == 0 and "going on" not in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "size"), [("RGB", (40, 20)), ("L", (9, 30)), ("RGBA", (16, 16)), ("P", (50, 7)), ("CMYK", (20, 20))])
def test_any_picture_is_made_square_as_in_a_dataset(model, tmp_path, mode, size):
    generator = load_generator(model)
    path = tmp_path / ("p.jpg" if mode == "CMYK" else "p.png")
    Image.new("RGB", size, (200, 30, 30)).convert(mode).save(path)
    padded, cropped = (read_target(path, generator, fit) for fit in ("pad", "crop"))
    assert padded.shape == cropped.shape == (3, 16, 16)
    assert (padded[:, 0, 0] == 255).all() == (size[0] != size[1]) and not (cropped[1] > 150).any()


def test_the_way_there_is_a_video_and_its_end_can_be_drawn(model, own, tmp_path):
    assert run(model, own, tmp_path / "out", "--steps", "6", "--video") == 0
    assert len(read_video(tmp_path / "out/projection.mp4")) == 7
    drawn = ["--projected-w", str(tmp_path / "out/projected_w.npz"), "--data", str(model.parent), "--outdir", str(tmp_path / "drawn")]
    assert sample.main(drawn) == 0
    assert (load_picture(tmp_path / "drawn/proj00.png") == load_picture(tmp_path / "out/projection.png")).all()
    assert sample.main([*drawn, "--translate", "0.25,0"]) == 0
    assert (load_picture(tmp_path / "drawn/proj00.png") != load_picture(tmp_path / "out/projection.png")).any()


def test_rates_and_noise_follow_appendix_d():
    options = ProjectionOptions()
    rates = [options.rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.002) and rates[49] == rates[500] == 0.1 and rates[875] == pytest.approx(0.05) and rates[999] < 1e-5
    assert [options.noise_at(step) for step in (0, 375, 750, 999)] == pytest.approx([0.05, 0.0125, 0, 0])


def test_coarse_differences_count_on_every_level():
    one = torch.zeros(1, 1, 32, 32)
    checks = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    # A checkerboard is gone at half the size; a flat difference is there at 32, 16 and 8 px.
    assert pixel_distance(one, one + checks).item() == pytest.approx(1 / 3) and pixel_distance(one, one + 1).item() == pytest.approx(1)


def test_a_conditional_generator_is_searched_in_one_class(tmp_path, capsys):
    model = write_model(tmp_path / "data", label_dim=2)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.png")
    assert run(model, tmp_path / "red.png", tmp_path / "out", "--steps", "2", "--class", "1") == 0
    assert run(model, tmp_path / "red.png", tmp_path / "out", "--steps", "2") == 1
    assert "this model has the classes 0 to 1" in capsys.readouterr().err


def test_what_is_wrong_is_said(model, own, tmp_path, capsys):
    (tmp_path / "page.jpg").write_text("<html>")
    cases = {
        (1, "page.jpg: not_an_image: found HTML"): [tmp_path / "page.jpg"],
        (1, "nothing.png: no such file; expected a picture"): [tmp_path / "nothing.png"],
        (2, "steps must be at least 1"): [own, "--steps", "0"],
        (1, "is not a known distance"): [own, "--distance", "vgg"],
    }
    for (code, words), (target, *more) in cases.items():
        assert run(model, target, tmp_path / "out", *map(str, more)) == code
        assert words in capsys.readouterr().err


def test_style_vectors_of_another_network_are_refused(model, tmp_path, capsys):
    words = ["--network", str(model), "--outdir", str(tmp_path / "out"), "--projected-w"]
    numpy.savez(tmp_path / "other.npz", w=numpy.zeros((1, 16, 512), numpy.float32))
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04")
    for name, said in (("other.npz", "expected an npz with the array w [N, 6, 8]"), ("no.npz", "cannot be read"), ("none.npz", "no such file")):
        assert sample.main([*words, str(tmp_path / name)]) == 1
        assert said in capsys.readouterr().err


def test_the_distance_can_be_another(model):
    """Which networks looked is part of what a search is, and of its name."""
    generator = load_generator(model)
    target = torch.rand(1, 3, 16, 16)
    first, second = (Projection(generator, target, RandomDistance(seed), ProjectionOptions(steps=2, w_samples=50)).step() for seed in (0, 1))
    assert first != second
