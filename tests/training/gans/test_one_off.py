"""A training on a folder of pictures, without DVC, MLflow or a dataset of the graph: it makes its set, trains, goes on, and says what is wrong."""

import json
import os
import zipfile

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from PIL import Image

from tests.training.stylegan3.test_train import PARAMS
from tests.training.stylegan3.toy_images import disc_images
from training.stylegan3 import load_generator, train


@pytest.fixture
def place(tmp_path):
    """A folder of pictures of several shapes and kinds, one of them broken, and parameters; nothing else."""
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(disc_images(12, 48)):
        picture = Image.fromarray(image.transpose(1, 2, 0)).crop((0, 0, 48, 48 - number))
        picture = picture.convert(("RGB", "L", "RGBA")[number % 3])
        picture.save(tmp_path / f"pictures/{number}.png")
    (tmp_path / "pictures/bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "params.yaml").write_text(json.dumps({"stylegan3_toc": {**PARAMS, "metrics": []}}))
    os.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    return train.main(["--images", "pictures", "--out", "out", *words])


def test_a_folder_becomes_a_set_and_a_model_that_goes_on(place, capsys):
    assert run("--resolution", "16", "--kimg", "0.02") == 0
    said = capsys.readouterr().err
    assert "toc_dataset@16: 12 pictures of 16 px; 1 set aside: bad.png (png whose beginning cannot be read" in said
    assert {path.name for path in place.iterdir()} == {"pictures", "params.yaml", "out"}
    assert {path.name for path in (place / "out").iterdir()} == {"toc_dataset@16", "stylegan3_toc", ".figment"}
    assert not (place / "out/.figment/mlflow").exists() and not (place / "out/.figment/tracking").exists()
    generator = load_generator(place / "out/stylegan3_toc")
    assert generator.config.resolution == 16
    options = json.loads((place / "out/stylegan3_toc/training_options.json").read_text())
    assert (options["pictures"], options["images_seen"], options["kimg"]) == (12, 20, 0.02)
    # The same command with more to do continues, and looks at no picture again.
    assert run("--resolution", "16", "--kimg", "0.04") == 0
    said = capsys.readouterr().err
    assert "made from these 13 files before" in said and "40 images seen" in said


def test_it_ends_with_the_weights_of_a_training_that_was_never_stopped(place):
    assert run("--resolution", "16", "--kimg", "0.02") == 0 and run("--resolution", "16", "--kimg", "0.04") == 0
    assert train.main(["--images", "pictures", "--out", "whole", "--resolution", "16", "--kimg", "0.04"]) == 0
    one, other = (load_generator(place / folder / "stylegan3_toc").state_dict() for folder in ("out", "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_zip_of_the_original_s_trains_with_its_labels(place):
    """As its dataset tool writes them: a folder of PNGs and dataset.json, deflated or stored."""
    with zipfile.ZipFile(place / "set.zip", "w") as archive:
        for number in range(12):
            archive.write(place / f"pictures/{number}.png", f"00000/img{number:08d}.png")
        labels = [[f"00000/img{number:08d}.png", number % 3] for number in range(12)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    words = ["--out", "out", "--resolution", "16", "--kimg", "0.004", "--set", "cond=true"]
    assert train.main(["--images", "set.zip", *words]) == 0
    assert load_generator(place / "out/stylegan3_toc").config.label_dim == 3


def test_without_a_resolution_it_takes_that_of_the_parameters(place):
    assert run("--kimg", "0.004", "--set", "resolution=16", "--fit", "crop") == 0
    assert json.loads((place / "out/toc_dataset@16/pictures.json").read_text())["fit"] == "crop"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--images", "pictures"], 2, "--images needs --out"),
        (["--out", "out"], 2, "--out belongs to --images"),
        (["--images", "pictures", "--out", "pictures/out"], 2, "lies among the pictures of --images"),
        (["--images", "pictures", "--out", "out", "--resolution", "48"], 2, "--resolution must be a power of two from 16 on, found 48"),
        (["--images", "nothing", "--out", "out"], 1, "nothing: no such file or folder"),
        (["--images", "pictures", "--out", "out", "--set", "kimgs=1"], 2, "did you mean 'kimg'"),
    ],
)
def test_what_is_wrong_is_one_line(place, capsys, words, code, said):
    assert train.main(words) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("figment: ")]
    assert said in line


@pytest.mark.shared_data
def test_pictures_of_journals_are_learnt_as_they_are(shared_data, tmp_path):
    """Real files of any shape, straight from a folder."""
    source = shared_data / "page_images"
    (tmp_path / "params.yaml").write_text(json.dumps({"stylegan3_toc": {**PARAMS, "metrics": []}}))
    words = [
        "--images",
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--resolution",
        "16",
        "--kimg",
        "0.004",
        "--params",
        str(tmp_path / "params.yaml"),
    ]
    assert train.main(words) == 0
    index = json.loads((tmp_path / "out/toc_dataset@16/pictures.json").read_text())
    assert len(index["pictures"]) > 2
    assert load_generator(tmp_path / "out/stylegan3_toc").config.resolution == 16
