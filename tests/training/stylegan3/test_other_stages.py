"""A second StyleGAN3 stage: pages, in grey or colour, train with nothing but parameters, and the first stage stays what it was."""

import json
from pathlib import Path

import pytest
from PIL import Image

from formats.image_shards import shard_name, write_shard
from formats.png import encode_png
from stages.params import load_params
from tests.training.stylegan3.test_train import PARAMS
from tests.training.stylegan3.toy_images import disc_images, write_toy_dataset
from training.gans.grids import load_picture
from training.stylegan3 import load_generator, sample, train
from training.stylegan3.options import NamedSetOptions, StyleGAN3Options

PAGES = {**PARAMS, "kimg": 0.02, "metrics": []}


def write_pages(data: Path, *, channels: int) -> None:
    folder = data / "page_dataset@16"
    folder.mkdir(parents=True)
    images = disc_images(16, 16)[:, :channels].transpose(0, 2, 3, 1)
    write_shard(folder / shard_name(0), [(serial, encode_png(image.copy())) for serial, image in enumerate(images)])


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIGMENT_TRACK", "none")
    Path("params.yaml").write_text(json.dumps({"stylegan3_pages": PAGES, "stylegan3_toc": {**PARAMS, "kimg": 0.02, "metrics": []}}))
    return tmp_path


@pytest.mark.parametrize("channels", [1, 3])
def test_pages_train_and_draw_in_their_own_colours(place, channels):
    write_pages(place / "data", channels=channels)
    assert train.main(["stylegan3_pages"]) == 0
    assert {path.name for path in (place / "data").iterdir()} == {"page_dataset@16", "stylegan3_pages"}
    assert load_generator("data/stylegan3_pages").config.channels == channels
    assert json.loads(Path("data/stylegan3_pages/training_options.json").read_text())["dataset"] == "page_dataset"
    assert sample.main(["--network", "data/stylegan3_pages", "--seeds", "0", "--outdir", "out"]) == 0
    drawn = load_picture(Path("out/seed0000.png"))
    assert drawn.shape == (16, 16, 3) and (channels == 3 or (drawn == drawn[..., :1]).all())
    assert train.main(["stylegan3_pages", "--set", "kimg=0.028"]) == 0
    assert json.loads(Path("data/stylegan3_pages/training_options.json").read_text())["images_seen"] == 28


def test_the_first_stage_reads_writes_and_says_what_it_always_did(place):
    write_toy_dataset(place / "data", number=16, side=16)
    assert train.main([]) == 0
    told = json.loads(Path("data/stylegan3_toc/training_options.json").read_text())
    assert "dataset" not in told and {path.name for path in (place / "data").iterdir()} == {"toc_dataset@16", "stylegan3_toc"}
    assert NamedSetOptions().decisive() == StyleGAN3Options().decisive()


def test_ones_own_pictures_may_have_a_stage_of_their_own(place):
    (place / "mine").mkdir()
    for number, image in enumerate(disc_images(8, 24)):
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"mine/{number}.png")
    assert train.main(["stylegan3_pages", "--images", "mine", "--out", "out", "--resolution", "16", "--kimg", "0.012"]) == 0
    assert {path.name for path in (place / "out").iterdir()} == {"pictures@16", "stylegan3_pages", ".figment"}


def test_a_stage_without_a_section_is_named_with_the_nearest(place, capsys):
    assert train.main(["stylegan3_page"]) == 2
    assert "no section 'stylegan3_page' (did you mean 'stylegan3_pages'?)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_project_s_own_parameters_make_networks_for_pages(project_root, name):
    options = load_params(project_root / name, "stylegan3_pages", NamedSetOptions)
    config = options.network_config(resolution=options.resolution or options.dataset_size, channels=1, label_dim=0)
    assert options.reads.startswith("page_dataset@") and config.channels == 1
