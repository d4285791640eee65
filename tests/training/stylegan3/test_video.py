"""Videos of StyleGAN3: as many frames as were asked for, equal bytes twice."""

import json
from pathlib import Path

import numpy
import pytest

pytest.importorskip("av", reason="PyAV is not installed (the `video` extra)")

from formats.video import read_video
from tests.training.stylegan3.model_folder import write_model
from training.stylegan3 import video

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


def test_without_snapshots_it_says_what_to_do(tmp_path, capsys):
    assert run(project(tmp_path, snapshots=0)) == 1
    assert "train with a smaller snap" in capsys.readouterr().err
