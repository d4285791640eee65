"""What films are made of: a walk that closes smoothly, pictures that fit, settings that can be."""

import numpy
import pytest
import torch

from stages.params import ParamsError, build_config
from training.gans.video import VideoConfig, Walk, closed_walk, fitted, labelled, walk_frames


def test_each_place_of_the_grid_walks_through_its_own_keys():
    config = VideoConfig(seeds="0-5", grid=(2, 1), keyframes=3, w_frames=2, batch_size=1)
    shades = torch.tensor([0.0, 100.0, 50.0, 150.0, 100.0, 200.0])
    path = closed_walk(shades.unflatten(0, (3, 2)), 2)
    walk = Walk(path, lambda points: numpy.tile(points.round().numpy().astype(numpy.uint8)[:, None, None, None], (1, 3, 8, 8)))
    frames = [(frame[0, 0, 0], frame[0, -1, 0]) for frame in walk_frames(walk, config)]
    assert config.walk_seeds == [0, 1, 2, 3, 4, 5] and len(frames) == 6
    assert frames[::2] == [(0, 100), (50, 150), (100, 200)]


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


@pytest.mark.parametrize(
    ("values", "message"),
    [({"seeds": "0-3"}, "fewer than the 32"), ({"grid": [0, 1]}, "grid must be"), ({"fps": 0}, "fps must be"), ({"codec": "mpeg1"}, "codec must be")],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(VideoConfig, values, where="params.yaml: video")
