"""Looking at a Progressive GAN: the viewer draws what the sampler draws, walks along arcs, and shows what blocks hold."""

from pathlib import Path

import numpy
import pytest

from tests.training.progressive.drawing_model import write_drawing_model
from training.gans.drawing import draw_seeds
from training.gans.viewer.controls import read_settings
from training.progressive import load_generator, view
from training.progressive.view import ProgressiveView, open_view


def picture(viewed: ProgressiveView, **fields: object) -> numpy.ndarray:
    return viewed.draw(settings(viewed, **fields)).astype(int)


def settings(viewed: ProgressiveView, **fields: object) -> dict:
    return read_settings(viewed.controls, {name: str(value) for name, value in fields.items()})


def test_a_seed_is_the_picture_that_the_sampler_draws(tmp_path: Path):
    viewed = open_view(write_drawing_model(tmp_path))
    ((_, expected),) = draw_seeds(load_generator(tmp_path / "pggan_pages"), [5], z_dim=8, label=None, psi=0.7, batch_size=1)
    assert numpy.abs(picture(viewed, seed=5, psi=0.7) - expected.transpose(1, 2, 0)).max() <= 1
    assert viewed.name == "pggan_pages" and list(viewed.facts[:2]) == ["Progressive GAN", "16 px"]


def test_a_blend_goes_from_one_seed_to_the_other(tmp_path: Path):
    viewed = open_view(write_drawing_model(tmp_path))
    start, end = picture(viewed, seed=5), picture(viewed, seed=6)
    assert (picture(viewed, seed=5, toward=6) == start).all() and numpy.abs(picture(viewed, seed=5, toward=6, blend=1) - end).max() <= 1
    between = picture(viewed, seed=5, toward=6, blend=0.5)
    assert numpy.abs(between - start).mean() > 1 and numpy.abs(between - end).mean() > 1


@pytest.mark.parametrize("grown_px", [4, 8, 16])
def test_each_block_that_has_grown_shows_what_it_says_and_the_last_layer_is_the_picture(tmp_path: Path, grown_px: int):
    viewed = open_view(write_drawing_model(tmp_path, grown_px=grown_px, alpha=0.5 if grown_px == 8 else 1.0, channels=1))
    assert [layer.side for layer in viewed.layers] == [*(side for side in (4, 8, 16) if side <= grown_px), grown_px]
    for place, layer in enumerate(viewed.layers):
        found = viewed.activations(settings(viewed, seed=5, psi=0.5), place)
        assert found.shape == (layer.channels, layer.side, layer.side) and found.dtype == numpy.float32
    large = numpy.clip(found * 127.5 + 128, 0, 255).astype(numpy.uint8).repeat(16 // grown_px, axis=1).repeat(16 // grown_px, axis=2)
    assert (large.transpose(1, 2, 0) == picture(viewed, seed=5, psi=0.5)).all()


def test_what_is_no_model_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert view.main([str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert "figment materialize pggan_pages" in error and error.count("\n") == 1
