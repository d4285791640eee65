"""Pages that a Progressive GAN draws: by seeds, in shards, at any batch size and at any age of the network."""

import json
from pathlib import Path

import numpy
import pytest

from formats.image_shards import ImageShards
from tests.training.progressive.drawing_model import write_drawing_model
from training.gans.drawing import draw_seeds
from training.gans.grids import load_picture
from training.progressive import load_generator, sample

PARAMS = {"seeds": "0-6,10", "images_per_shard": 3, "gallery": [4, 2], "batch_size": 2}


def project(folder: Path, **model) -> Path:
    write_drawing_model(folder / "data", **model)
    (folder / "params.yaml").write_text(json.dumps({"book_fakes": PARAMS}))
    return folder


def run(folder: Path, *settings: str) -> int:
    sets = [word for setting in settings for word in ("--set", setting)]
    return sample.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), "--state", str(folder / ".figment"), *sets])


def pictures(generator, seeds, *, batch_size=3, psi=1.0) -> numpy.ndarray:
    drawn = list(draw_seeds(generator, seeds, z_dim=8, label=None, psi=psi, batch_size=batch_size))
    assert [seed for seed, _ in drawn] == list(seeds)
    return numpy.stack([picture for _, picture in drawn]).astype(int)


def test_all_seeds_lie_in_shards_with_a_gallery_and_an_index(tmp_path):
    folder = project(tmp_path)
    assert run(folder) == 0
    fakes = folder / "data/book_fakes"
    files = sorted(path.relative_to(fakes).as_posix() for path in fakes.rglob("*") if path.is_file())
    assert files == ["gallery-psi1.png", "index.parquet", *(f"psi1/shard-{number:05d}.zip" for number in range(3))]
    assert ImageShards(fakes / "psi1").names == [f"00000/img{seed:08d}.png" for seed in (*range(7), 10)]
    # Two rows of four, each of 16 px four times as large, with gaps.
    assert load_picture(fakes / "gallery-psi1.png").shape == (2 * 68, 4 * 68, 3)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_a_partial_last_inference_batch_is_drawn_and_no_seed_is_left_out(tmp_path, batch_size):
    """DeepZine's defect 12: a number of pictures that is no multiple of the batch crashed, and counting was off by one."""
    generator = load_generator(write_drawing_model(tmp_path))
    drawn, alone = (pictures(generator, range(7), batch_size=size) for size in (batch_size, 1))
    assert numpy.abs(drawn - alone).max() <= 1 and alone.std() > 5


@pytest.mark.parametrize(("grown_px", "alpha"), [(4, 1.0), (8, 0.5), (16, 0.0)])
def test_a_network_that_has_grown_part_of_the_way_draws_as_far_as_it_has(tmp_path, grown_px, alpha):
    folder = project(tmp_path, grown_px=grown_px, alpha=alpha)
    assert run(folder) == 0
    drawn = ImageShards(folder / "data/book_fakes/psi1").load_all()
    assert drawn.shape == (8, 3, 16, 16)
    step = 16 // grown_px
    assert (drawn == drawn[:, :, ::step, ::step].repeat(step, axis=2).repeat(step, axis=3)).all()


def test_grey_pages_stay_grey(tmp_path):
    folder = project(tmp_path, channels=1)
    assert run(folder) == 0
    assert ImageShards(folder / "data/book_fakes/psi1").load_all().shape == (8, 1, 16, 16)


def test_less_psi_is_less_variety(tmp_path):
    generator = load_generator(write_drawing_model(tmp_path))
    spreads = [pictures(generator, range(12), psi=psi).std(axis=0).mean() for psi in (0.0, 0.3, 1.0)]
    assert spreads[0] == 0 and spreads[0] < spreads[1] < spreads[2]


def test_by_hand_each_seed_is_a_file(tmp_path):
    model = str(write_drawing_model(tmp_path))
    assert sample.main(["--network", model, "--seeds", "0,4-5", "--trunc", "0.7", "--outdir", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seed0000.png", "seed0004.png", "seed0005.png"]


def test_what_cannot_be_drawn_is_said(tmp_path, capsys):
    folder = project(tmp_path)
    assert run(folder, "class_index=1") == 1 and "trained without labels" in capsys.readouterr().err
    assert sample.main(["--network", str(tmp_path / "none"), "--outdir", str(tmp_path / "out")]) == 1
    assert "none" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert sample.main(["--network", str(folder / "data/pggan_pages"), "--trunc", "-1"]) == 2
    assert "psi must be a list of truncations from 0 on" in capsys.readouterr().err
