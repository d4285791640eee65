"""Looking at a StyleGAN3: the viewer draws what the sampler draws, mixes and walks in W, and shows what layers hold."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from tests.training.stylegan3.model_folder import write_model
from training.gans.viewer.controls import read_settings
from training.stylegan3 import load_generator, view
from training.stylegan3.sample import ToCFakesConfig, draw
from training.stylegan3.view import StyleGAN3View, open_view


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("project") / "data")


@pytest.fixture(scope="module")
def viewed(folder: Path) -> StyleGAN3View:
    return open_view(folder)


def settings(viewed: StyleGAN3View, **fields: object) -> dict:
    return read_settings(viewed.controls, {name: str(value) for name, value in fields.items()})


def picture(viewed: StyleGAN3View, **fields: object) -> numpy.ndarray:
    return viewed.draw(settings(viewed, **fields)).astype(int)


def test_a_seed_is_the_picture_that_the_sampler_draws(viewed: StyleGAN3View, folder: Path):
    config = ToCFakesConfig(translate=(0.25, -0.125), rotate=30.0)
    ((_, expected),) = draw(load_generator(folder), [5], config, psi=0.7)
    found = picture(viewed, seed=5, psi=0.7, x=0.25, y=-0.125, turn=30)
    assert found.shape == (16, 16, 3) and numpy.abs(found - expected.transpose(1, 2, 0)).max() <= 1
    assert (found != picture(viewed, seed=5, psi=0.7)).any()


def test_a_blend_goes_from_one_seed_to_the_other(viewed: StyleGAN3View):
    start, end = picture(viewed, seed=5), picture(viewed, seed=6)
    assert (picture(viewed, seed=5, toward=6, blend=0) == start).all()
    assert numpy.abs(picture(viewed, seed=5, toward=6, blend=1) - end).max() <= 1
    between = picture(viewed, seed=5, toward=6, blend=0.5)
    assert numpy.abs(between - start).mean() > 1 and numpy.abs(between - end).mean() > 1


def test_all_layers_of_another_style_are_the_other_picture_and_some_are_neither(viewed: StyleGAN3View):
    own, other = picture(viewed, seed=5), picture(viewed, seed=9)
    every = ",".join(str(place) for place in range(len(viewed.layers)))
    assert numpy.abs(picture(viewed, seed=5, mix_seed=9, mix=every) - other).max() <= 1
    assert (picture(viewed, seed=5, mix_seed=9, mix="") == own).all()
    mixed = picture(viewed, seed=5, mix_seed=9, mix="0,1")
    assert numpy.abs(mixed - own).mean() > 1 and numpy.abs(mixed - other).mean() > 1


def test_truncation_reaches_as_many_layers_as_are_asked_for(viewed: StyleGAN3View):
    assert (picture(viewed, psi=0, cutoff=0, seed=5) == picture(viewed, seed=5)).all()
    assert (picture(viewed, psi=0, seed=5) == picture(viewed, psi=0, seed=6)).all()
    assert (picture(viewed, psi=0, cutoff=2, seed=5) != picture(viewed, psi=0, cutoff=2, seed=6)).any()


def test_the_last_layer_holds_the_picture_and_each_layer_what_it_says(viewed: StyleGAN3View):
    for place, layer in enumerate(viewed.layers):
        found = viewed.activations(settings(viewed, seed=5, psi=0.5), place)
        assert found.shape == (layer.channels, layer.side, layer.side) and found.dtype == numpy.float32
    rgb = torch.from_numpy(found).mul(0.25 * 127.5).add(128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    assert (rgb == picture(viewed, seed=5, psi=0.5)).all()


def test_classes_can_be_chosen_where_there_are_classes(tmp_path: Path, viewed: StyleGAN3View):
    classes = open_view(write_model(tmp_path / "data", label_dim=3))
    assert (picture(classes, **{"class": 0}) != picture(classes, **{"class": 2})).any()
    assert [control.most for control in classes.controls if control.name == "class"] == [2]
    assert "class" not in {control.name for control in viewed.controls}


def test_what_is_no_model_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "x.pkl").write_bytes(b"not a pickle")
    for name, reason in (("nowhere", "figment materialize stylegan3_toc"), ("x.pkl", "not a readable pickle")):
        assert view.main([str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1


def test_ctrl_c_ends_it_clean_and_a_taken_port_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    command = [sys.executable, "-m", "training.stylegan3.view", str(folder)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as first:
        try:
            assert first.stdout is not None
            told = [first.stdout.readline() for _ in range(3)]
            port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", told[1])
            assert told[0].startswith("stylegan3_toc (stylegan3-t, 16 px, ") and port and told[2] == "stop with Ctrl-C\n"
            assert view.main([str(folder), "--port", port[1]]) == 2
        finally:
            first.send_signal(signal.SIGINT)
        assert (*first.communicate(timeout=30), first.returncode) == ("stopped\n", "", 0)
    assert capsys.readouterr().err == f"figment: port {port[1]}: Address already in use; stop what listens there, or give another port (or none)\n"
