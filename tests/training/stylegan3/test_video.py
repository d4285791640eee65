"""Videos: as many frames as were asked for, equal bytes twice, a walk that closes smoothly."""

import json
from pathlib import Path

import numpy
import pytest
import torch

pytest.importorskip("av", reason="PyAV is not installed (the `gan` extra)")

from formats.video import read_video
from stages.params import ParamsError, build_config
from tests.training.stylegan3.model_folder import write_model
from training.stylegan3 import video
from training.stylegan3.video import ToCTrainingVideoConfig, closed_walk, fitted, labelled

PARAMS = {"fps": 10, "snapshot_s": 0.3, "seeds": "0-5", "grid": [2, 1], "keyframes": 3, "w_frames": 4, "batch_size": 8}


def project(folder: Path, **model) -> Path:
    write_model(folder / "data", **model)
    (folder / "params.yaml").write_text(json.dumps({"toc_training_video": PARAMS}))
    return folder


def run(folder: Path, *settings: str) -> int:
    sets = [word for setting in settings for word in ("--set", setting)]
    return video.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), *sets])


def test_each_snapshot_is_held_and_the_walk_has_its_frames(tmp_path):
    folder = project(tmp_path)
    assert run(folder) == 0
    made = folder / "data/toc_training_video"
    assert sorted(path.name for path in made.iterdir()) == ["interpolation.mp4", "poster.png", "training.mp4"]
    training = read_video(made / "training.mp4")
    # Three frames each, the last one for a second and a half more.
    assert len(training) == 3 * 3 + 15 and len(read_video(made / "interpolation.mp4")) == 3 * 4
    shades = numpy.array([numpy.median(frame[40:]) for frame in training])
    assert numpy.abs(shades - ([0] * 3 + [60] * 3 + [120] * 18)).max() <= 3


def test_made_twice_the_bytes_are_the_same(tmp_path):
    folder = project(tmp_path)
    made = folder / "data/toc_training_video"
    contents = []
    for _ in range(2):
        assert run(folder) == 0
        contents.append({path.name: path.read_bytes() for path in made.iterdir()})
    assert contents[0] == contents[1]


def test_a_walk_passes_its_keys_and_closes_smoothly():
    keys = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    points = torch.stack(list(closed_walk(keys, 50)))
    assert points.shape == (200, 2, 3) and torch.allclose(points[::50], keys, atol=1e-9)
    steps = points.roll(-1, 0) - points
    # The step over the seam is like its neighbours, and so is the change of steps.
    turns = (steps.roll(-1, 0) - steps).flatten(1).norm(dim=1)
    assert float(turns[-3:].max()) <= 1.5 * float(turns.median() + turns.std() * 3)
    assert torch.allclose(steps[-1], (steps[-2] + steps[0]) / 2, atol=0.05 * float(steps.abs().max()))


def test_one_key_stands_still():
    points = list(closed_walk(torch.ones(1, 2, 3), 5))
    assert len(points) == 5 and all(torch.equal(point, torch.ones(2, 3)) for point in points)


def test_small_pictures_are_enlarged_by_whole_pixels_and_labelled_above():
    picture = numpy.arange(12, dtype=numpy.uint8).reshape(2, 2, 3)
    large = fitted(picture, 1920)
    assert large.shape[0] >= 360 and (large[:: len(large) // 2, :: len(large) // 2] == picture).all()
    assert fitted(numpy.zeros((500, 800, 3), numpy.uint8), 1920).shape == (500, 800, 3)
    assert fitted(numpy.zeros((4096, 7680, 3), numpy.uint8), 1920).shape == (1024, 1920, 3)
    with_label = labelled(large, "40 kimg")
    strip = with_label[: len(with_label) - len(large)]
    assert (with_label[len(strip) :] == large).all() and strip.min() < 100 and strip[-1].min() == 255


def test_without_snapshots_it_says_what_to_do(tmp_path, capsys):
    assert run(project(tmp_path, snapshots=0)) == 1
    assert "train with a smaller snap" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [({"seeds": "0-3"}, "fewer than the 32"), ({"grid": [0, 1]}, "grid must be"), ({"fps": 0}, "fps must be"), ({"codec": "mpeg1"}, "codec must be")],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(ToCTrainingVideoConfig, values, where="params.yaml: toc_training_video")
