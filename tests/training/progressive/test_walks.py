"""Walks of a Progressive GAN: as many frames and keys as were asked for, one scale of grey for all, and every form of the same frames."""

import json
from pathlib import Path

import numpy
import pytest
import torch

pytest.importorskip("av", reason="PyAV is not installed (the `video` extra)")

from PIL import Image

from formats.video import read_video
from stages.params import ParamsError, build_config
from tests.training.progressive.drawing_model import write_drawing_model
from training.gans.grids import load_picture
from training.gans.seed_ranges import latents
from training.gans.video import Walk, walk_frames
from training.progressive import load_generator, walks
from training.progressive.walks import BookWalksConfig, Method, growth_label, walk

PARAMS = {"fps": 10, "snapshot_s": 0.3, "seeds": "0-5", "grid": [2, 1], "keypoints": 3, "frames": 4, "batch_size": 8}
METHODS = ["linear", "spherical", "origin", "smooth"]


def project(folder: Path, **model) -> Path:
    write_drawing_model(folder / "data", **model)
    (folder / "params.yaml").write_text(json.dumps({"book_walks": PARAMS}))
    return folder


def run(folder: Path, *settings: str) -> int:
    sets = [word for setting in settings for word in ("--set", setting)]
    return walks.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), *sets])


def walked(generator, method: Method, **settings) -> tuple[list[torch.Tensor], list[numpy.ndarray]]:
    """The points of a walk, and the pictures [places, C, R, R] of each."""
    way = walk(generator, method, build_config(BookWalksConfig, {**PARAMS, **settings}, where="book_walks"))
    points = list(way.path)
    return points, [way.draw(point).astype(int) for point in points]


def keys(generator) -> torch.Tensor:
    return generator.latents(latents(range(6), 8))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_way_has_a_film_and_the_training_one_too(tmp_path):
    folder = project(tmp_path)
    assert run(folder) == 0
    made = folder / "data/book_walks"
    films = [f"{name}.mp4" for name in sorted([*METHODS, "training"])]
    first = contents(made)
    assert list(first) == sorted([*films, "poster.png", "walks.png"])
    # Three frames each, the last one for a second and a half more.
    training = read_video(made / "training.mp4")
    shades = numpy.array([numpy.median(frame[40:]) for frame in training])
    assert {len(read_video(made / f"{method}.mp4")) for method in METHODS} == {3 * 4}
    assert len(training) == 3 * 3 + 15 and numpy.abs(shades - ([0] * 3 + [60] * 3 + [120] * 18)).max() <= 3
    assert run(folder, "methods=[origin]") == 0
    again = contents(made)
    assert again["origin.mp4"] == first["origin.mp4"] and again["training.mp4"] == first["training.mp4"]


@pytest.mark.parametrize(("keypoints", "frames", "loop", "count"), [(3, 4, False, 8), (2, 7, True, 14), (2, 5, False, 5)])
def test_interpolation_frames_and_keypoints_are_honoured_exactly(tmp_path, keypoints, frames, loop, count):
    """DeepZine's defect 5: `interpolation_frames` was ignored, a segment always had 100."""
    folder = project(tmp_path)
    settings = (f"keypoints={keypoints}", f"frames={frames}", f"loop={str(loop).lower()}", "methods=[spherical, smooth]")
    assert run(folder, *settings) == 0
    assert {len(read_video(folder / f"data/book_walks/{method}.mp4")) for method in ("spherical", "smooth")} == {count}


def test_a_grey_level_means_the_same_in_every_frame(tmp_path):
    """DeepZine's defect 7: every frame was stretched from its own darkest to its own lightest value, and the contrast flickered."""
    shades = torch.linspace(-0.5, 0.5, 11)

    def flat(points):
        value = (points[:, :1, None, None].expand(-1, 3, 4, 4) * 127.5 + 128).clamp(0, 255)
        return value.to(torch.uint8).numpy()

    config = build_config(BookWalksConfig, {**PARAMS, "grid": [1, 1]}, where="book_walks")
    found = [frame[0, 0, 0] for frame in walk_frames(Walk([shade.view(1, 1) for shade in shades], flat), config)]
    assert found == [int(shade * 127.5 + 128) for shade in shades]
    # And so does the network's own drawing: what it gives for one latent is the same beside any other.
    way = walk(load_generator(write_drawing_model(tmp_path)), "linear", build_config(BookWalksConfig, PARAMS, where="book_walks"))
    points = next(iter(way.path))
    alone = numpy.concatenate([way.draw(point[None]) for point in points])
    assert (way.draw(points) == alone).all() and len({int(picture.max()) - int(picture.min()) for picture in alone}) > 1


def test_gif_and_single_frames_are_the_frames_of_the_film(tmp_path):
    """DeepZine's defect 6: the program that was to make a film of interpolation_%05d.png could not run."""
    folder = project(tmp_path, channels=1)
    assert run(folder, "methods=[spherical]", "gif=true", "png=true") == 0
    made = folder / "data/book_walks"
    names = sorted(path.name for path in (made / "spherical").iterdir())
    assert names == [f"interpolation_{number:05d}.png" for number in range(12)]
    film, frames = read_video(made / "spherical.mp4"), [load_picture(made / "spherical" / name) for name in names]
    assert len(film) == 12 and numpy.abs(film.astype(int) - numpy.stack(frames)).mean() < 4
    with Image.open(made / "spherical.gif") as gif:
        assert gif.n_frames == 12 and gif.info["loop"] == 0 and gif.info["duration"] == 100
        for number in (0, 5):
            gif.seek(number)
            assert (numpy.asarray(gif.convert("RGB")) == frames[number]).all()


def test_through_the_origin_all_walks_meet_in_one_picture_and_keys_are_what_other_ways_draw(tmp_path):
    generator = load_generator(write_drawing_model(tmp_path))
    points, drawn = walked(generator, "origin")
    assert (points[2] == 0).all() and (drawn[2][0] == drawn[2][1]).all()
    expected = generator(keys(generator)).mul(127.5).add(128).clamp(0, 255).int().numpy()
    for method in ("linear", "spherical", "origin"):
        at_keys = walked(generator, method)[1][::4]
        assert numpy.abs(numpy.concatenate(at_keys) - expected).max() <= 1, method
    # Half of the way to the middle the latent is half as long, and the picture neither that of the key nor that of the middle.
    assert numpy.abs(drawn[1] - drawn[0]).max() > 3 and numpy.abs(drawn[1] - drawn[2]).max() > 3


def test_latents_that_are_not_normalised_keep_their_lengths(tmp_path):
    generator = load_generator(write_drawing_model(tmp_path, normalize_latents=False))
    lengths = keys(generator).norm(dim=1)
    assert lengths.max() > 1.1 * lengths.min()
    middle = walked(generator, "origin")[1][2]
    assert (middle[0] == middle[1]).all()


@pytest.mark.parametrize(("loop", "nearest"), [(True, [0, 1]), (False, [4, 5])])
def test_a_loop_returns_and_an_open_walk_does_not(tmp_path, loop, nearest):
    """The frame before the end is nearest to the key the walk goes to: the first ones, or the last."""
    generator = load_generator(write_drawing_model(tmp_path))
    last = walked(generator, "linear", loop=loop)[0][-1]
    assert torch.cdist(last, keys(generator)).argmin(dim=1).tolist() == nearest


def test_a_snapshot_says_how_far_the_network_had_grown(tmp_path, capsys):
    folder = project(tmp_path)
    label = growth_label(folder / "data/pggan_pages", 16)
    assert [label(images) for images in (0, 40_000, 80_000, 150_000, 900_000)] == [
        "0 kimg · 4 px · lod 2.00",
        "40 kimg · 8 px · lod 1.67",
        "80 kimg · 8 px · lod 1.00",
        "150 kimg · 16 px · lod 0.00",
        "900 kimg · 16 px · lod 0.00",
    ]
    (folder / "data/pggan_pages/training_options.json").unlink()
    assert run(folder) == 1 and "set label: false" in capsys.readouterr().err
    assert run(folder, "label=false", "methods=[linear]") == 0


def test_without_snapshots_it_says_what_to_do(tmp_path, capsys):
    assert run(project(tmp_path, snapshots=0)) == 1
    assert "train with a smaller snap" in capsys.readouterr().err and not (tmp_path / "data/book_walks").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": "0-3"}, "fewer than the 6 that a grid of 2 by 1 places with 3 latents each"),
        ({"keypoints": 1}, "keypoints must be at least 2"),
        ({"methods": []}, "methods must name ways"),
        ({"methods": ["cubic"]}, "linear"),
        ({"smooth_s": 0.0}, "smooth_s must be above 0"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(BookWalksConfig, {**PARAMS, **values}, where="params.yaml: book_walks")
