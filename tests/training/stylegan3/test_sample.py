"""Fakes of StyleGAN3: one seed is one picture, pictures can be moved and turned, and what is wrong is said."""

import json
from pathlib import Path

import numpy
import pyarrow.parquet as pq
import pytest
import torch

from formats.image_shards import ImageShards
from stages.params import ParamsError, build_config
from tests.training.stylegan3.model_folder import write_model
from tests.training.stylegan3.snapshot_files import write_snapshot
from training.gans.grids import load_picture
from training.stylegan3 import load_generator, sample
from training.stylegan3.nvidia_snapshots import convert_snapshot
from training.stylegan3.sample import ToCFakesConfig, draw, placement

PARAMS = {"seeds": "0-6,10", "psi": [0.2, 1.1], "images_per_shard": 3, "gallery": [4, 2], "batch_size": 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_model(folder / "data")
    (folder / "params.yaml").write_text(json.dumps({"toc_fakes": PARAMS}))
    return folder


@pytest.fixture(scope="module")
def generator(prepared):
    return load_generator(prepared / "data/stylegan3_toc")


def project(prepared: Path, folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for name in ("data/stylegan3_toc", "params.yaml"):
        (folder / name).symlink_to(prepared / name)
    return folder


def run(folder: Path, *settings: str) -> int:
    sets = [word for setting in settings for word in ("--set", setting)]
    return sample.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), "--state", str(folder / ".figment"), *sets])


def files(folder: Path) -> dict[str, bytes]:
    fakes = folder / "data/toc_fakes"
    return {path.relative_to(fakes).as_posix(): path.read_bytes() for path in sorted(fakes.rglob("*")) if path.is_file()}


def pictures(generator, seeds, psi=1.0, **settings) -> numpy.ndarray:
    return numpy.stack([picture for _, picture in draw(generator, seeds, ToCFakesConfig(**settings), psi=psi)])


def test_each_truncation_has_all_seeds_in_shards(prepared, tmp_path):
    folder = project(prepared, tmp_path / "p")
    assert run(folder) == 0
    shards = [f"psi{psi}/shard-{number:05d}.zip" for psi in ("0.2", "1.1") for number in range(3)]
    assert sorted(files(folder)) == sorted(["gallery-psi0.2.png", "gallery-psi1.1.png", "index.parquet", *shards])
    fakes = ImageShards(folder / "data/toc_fakes/psi1.1")
    assert fakes.names == [f"00000/img{seed:08d}.png" for seed in (*range(7), 10)]
    index = pq.read_table(folder / "data/toc_fakes/index.parquet").to_pylist()
    assert index[8] == {"psi": 1.1, "seed": 0, "shard": "psi1.1/shard-00000.zip", "member": "00000/img00000000.png", "class": None}
    assert len(index) == 16 and load_picture(folder / "data/toc_fakes/gallery-psi0.2.png").shape == (32, 64, 3)
    assert not (folder / ".figment/fakes/toc_fakes").exists()


def test_less_truncation_is_more_variety(prepared, generator):
    seeds = list(range(12))
    spreads = [pictures(generator, seeds, psi=psi).astype(float).std(axis=0).mean() for psi in (0.0, 0.2, 0.8)]
    assert spreads[0] == 0 and spreads[0] < spreads[1] < spreads[2]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_seed_is_one_picture_at_any_batch_size(generator, batch_size):
    seeds = list(range(8))
    expected = pictures(generator, seeds, batch_size=5)
    found = pictures(generator, seeds, batch_size=batch_size)
    difference = numpy.abs(found.astype(int) - expected.astype(int))
    # Rounding may tip a value over to its neighbour, here and there.
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01 and expected.std() > 10


def test_a_picture_moves_right_and_down(generator):
    still, moved = (pictures(generator, [1, 2], translate=shift).astype(int) for shift in ((0.0, 0.0), (0.25, 0.125)))
    # Four pixels to the right and two down; what comes in at the border is new.
    assert numpy.abs(moved[:, :, 4:-2, 6:-2] - still[:, :, 2:-4, 2:-6]).mean() < 0.25 * numpy.abs(moved - still).mean()


def test_a_placement_undoes_itself():
    there, back = placement((0.1, -0.2), 0.0), placement((-0.1, 0.2), 0.0)
    assert torch.allclose(there @ back, torch.eye(3), atol=1e-6)
    # The inverse of a quarter turn anticlockwise takes the content above the middle (0, -1) from the right of it (1, 0).
    assert torch.allclose(placement((0.0, 0.0), 90.0) @ torch.tensor([0.0, -1.0, 1.0]), torch.tensor([1.0, 0.0, 1.0]), atol=1e-6)


def test_a_class_is_asked_for_where_there_are_classes(tmp_path, capsys):
    write_model(tmp_path / "data", label_dim=3)
    (tmp_path / "params.yaml").write_text(json.dumps({"toc_fakes": PARAMS}))
    assert run(tmp_path) == 1
    assert "this model has the classes 0 to 2; set class_index" in capsys.readouterr().err
    assert run(tmp_path, "class_index=1", "psi=[1.0]") == 0
    labels = ImageShards(tmp_path / "data/toc_fakes/psi1").labels
    assert labels is not None and labels.argmax(axis=1).tolist() == [1] * 8
    generator = load_generator(tmp_path / "data/stylegan3_toc")
    first, second = (pictures(generator, [0], class_index=index) for index in (0, 1))
    assert (first != second).any()


def test_a_class_of_a_model_without_labels_is_refused(prepared, tmp_path, capsys):
    assert run(project(prepared, tmp_path / "p"), "class_index=0") == 1
    assert "trained without labels" in capsys.readouterr().err


def test_by_hand_it_writes_the_files_people_know(prepared, tmp_path):
    model = str(prepared / "data/stylegan3_toc")
    assert sample.main(["--network", model, "--seeds", "0,4-5", "--trunc", "0.7", "--translate", "0.1,0", "--outdir", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seed0000.png", "seed0004.png", "seed0005.png"]


def test_without_a_model_it_says_how_to_get_one(tmp_path, prepared, capsys):
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run(tmp_path) == 1
    assert "figment materialize stylegan3_toc" in capsys.readouterr().err


def test_a_place_has_two_numbers():
    with pytest.raises(ParamsError, match=r"translate must be \[right, down\]"):
        build_config(ToCFakesConfig, {"translate": [1.0]}, where="params.yaml: toc_fakes")


def test_a_snapshot_draws_what_its_folder_would(tmp_path, nvidia_names, capsys):
    write_snapshot(tmp_path / "in.pkl")
    convert_snapshot(tmp_path / "in.pkl", tmp_path / "model")
    for name in ("in.pkl", "model"):
        assert sample.main(["--network", str(tmp_path / name), "--seeds", "1,2", "--outdir", str(tmp_path / f"of {name}")]) == 0
    for seed in (1, 2):
        one, other = (load_picture(tmp_path / f"of {name}/seed000{seed}.png") for name in ("in.pkl", "model"))
        assert numpy.array_equal(one, other)
    (tmp_path / "bad.pkl").write_bytes(b"cposix\nsystem\n.")
    assert sample.main(["--network", str(tmp_path / "bad.pkl"), "--outdir", str(tmp_path / "none")]) == 1
    assert "it asks for posix.system" in capsys.readouterr().err and not (tmp_path / "none").exists()
