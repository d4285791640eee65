"""Pictures straight from a folder or a zip: every kind and shape becomes a square, the rest is set aside, pixels are those of a dataset."""

import io
import json
import zipfile

import numpy
import pytest

pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from PIL import Image

from assets.images.dataset_config import DatasetConfig
from assets.images.maker import _make_sizes
from formats.image_shards import ImageSetError, ImageShards
from formats.png import decode_png
from tests.training.conftest import RecordingReporter
from training.gans.picture_folder import INDEX, make_picture_set


def gradient(width: int, height: int) -> Image.Image:
    y, x = numpy.mgrid[:height, :width]
    return Image.fromarray(numpy.stack([x * 255 // width, y * 255 // height, 0 * x + 90], axis=-1).astype(numpy.uint8))


@pytest.fixture
def folder(tmp_path):
    """Eight pictures of as many kinds, three files that are none, and one that says nothing."""
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    gradient(40, 20).save(pictures / "wide.png")
    gradient(20, 50).save(pictures / "tall.jpg")
    gradient(7, 9).save(pictures / "tiny.webp")
    gradient(30, 30).convert("L").save(pictures / "grey.png")
    gradient(30, 30).convert("P").save(pictures / "palette.gif")
    gradient(30, 20).convert("CMYK").save(pictures / "more/cmyk.jpg")
    Image.fromarray(numpy.full((16, 16), 40_000, numpy.uint16)).save(pictures / "more/sixteen.png")
    rgba = gradient(24, 24)
    rgba.putalpha(Image.fromarray(numpy.eye(24, dtype=numpy.uint8) * 255))
    rgba.save(pictures / "more/alpha.png")
    (pictures / "broken.png").write_bytes((pictures / "wide.png").read_bytes()[:90])
    (pictures / "page.jpg").write_text("<!doctype html><p>not found</p>")
    (pictures / "empty.png").touch()
    (pictures / "notes.txt").write_text("not a picture, and never called one")
    return pictures


def make(source, tmp_path, *, size=32, fit="pad", reporter=None):
    target = tmp_path / f"set@{size}"
    make_picture_set(source, target, size=size, fit=fit, memory=tmp_path / "state/key", reporter=reporter or RecordingReporter())
    return target


def test_every_kind_of_picture_becomes_a_square_and_the_rest_is_set_aside(folder, tmp_path):
    reporter = RecordingReporter()
    target = make(folder, tmp_path, reporter=reporter)
    images, index = ImageShards(target), json.loads((target / INDEX).read_text())
    assert (len(images), images.channels, images.resolution) == (8, 3, 32)
    assert sorted(index["pictures"].values()) == sorted(
        ["grey.png", "more/alpha.png", "more/cmyk.jpg", "more/sixteen.png", "palette.gif", "tall.jpg", "tiny.webp", "wide.png"]
    )
    assert {row["name"]: row["reason"] for row in index["set_aside"]} == {
        "broken.png": "broken",
        "empty.png": "not_an_image",
        "page.jpg": "not_an_image",
    }
    assert any("8 pictures of 32 px; 3 set aside" in line and "page.jpg (found HTML" in line for line in reporter.lines)
    named = {name: int(serial) for serial, name in index["pictures"].items()}
    picture = {name: images.image(images.names.index(f"00000/img{serial:08d}.png")) for name, serial in named.items()}
    # A wide picture has white above and below, a transparent one white where nothing is, a small one stays small.
    assert (picture["wide.png"][:, :6] == 255).all() and not (picture["wide.png"][:, 16] == 255).all()
    assert (picture["more/alpha.png"][:, 2, 20] == 255).all() and (picture["tiny.webp"][:, :, :10] == 255).all()
    assert len({tuple(channel.ravel()) for channel in picture["grey.png"]}) == 1


def test_the_pixels_are_those_of_a_dataset_of_the_graph(folder, tmp_path):
    for fit in ("pad", "crop"):
        images = ImageShards(make(folder, tmp_path / fit, fit=fit))
        index = json.loads((tmp_path / fit / "set@32" / INDEX).read_text())
        config = DatasetConfig(sizes=[32], canvas_px=32, fit=fit)
        for serial, name in index["pictures"].items():
            expected = decode_png(_make_sizes((folder / name).read_bytes(), [32], config)[32])
            found = images.image(images.names.index(f"00000/img{int(serial):08d}.png")).transpose(1, 2, 0)
            assert (found == expected).all(), name


def test_cropping_takes_the_middle(tmp_path):
    (tmp_path / "p").mkdir()
    for name in "ab":
        gradient(96, 32).save(tmp_path / f"p/{name}.png")
    picture = ImageShards(make(tmp_path / "p", tmp_path, fit="crop")).image(0)
    assert (picture[2] == 90).all() and picture[0].min() > 80 and picture[0].max() < 175


def test_the_same_files_are_not_looked_at_again_and_a_new_one_is(folder, tmp_path):
    target = make(folder, tmp_path)
    before = (target / "shard-00000.zip").stat().st_mtime_ns
    reporter = RecordingReporter()
    make(folder, tmp_path, reporter=reporter)
    assert reporter.lines == ["set@32: made from these 11 files before"]
    assert (target / "shard-00000.zip").stat().st_mtime_ns == before
    gradient(50, 50).save(folder / "new.bmp")
    make(folder, tmp_path)
    assert len(ImageShards(target)) == 9


def test_a_zip_brings_its_labels_and_a_damaged_member_is_set_aside(folder, tmp_path):
    path, labels = tmp_path / "set.zip", []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            stream = io.BytesIO()
            gradient(20 + number, 30).save(stream, format="PNG")
            archive.writestr(f"00000/img{number:08d}.png", stream.getvalue() if number != 3 else b"no picture")
            labels.append([f"00000/img{number:08d}.png", number % 2])
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    images = ImageShards(make(path, tmp_path))
    assert len(images) == 4 and images.labels is not None and images.labels.argmax(1).tolist() == [0, 1, 0, 0]


def test_too_few_pictures_are_an_error_that_says_what_was_found(tmp_path):
    (tmp_path / "p").mkdir()
    gradient(20, 20).save(tmp_path / "p/one.png")
    (tmp_path / "p/two.png").write_bytes(b"\0" * 9)
    with pytest.raises(ImageSetError, match=r"1 pictures that can be used, at least 2 are needed; 1 set aside: two\.png"):
        make(tmp_path / "p", tmp_path)
    assert not (tmp_path / "set@32").exists()
    with pytest.raises(ImageSetError, match="no such file or folder"):
        make(tmp_path / "nothing", tmp_path)
