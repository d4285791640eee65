"""Sets of pictures: NVIDIA's layout, their reader's rules, one picture or all, whole or damaged."""

import io
import json
import pickle
import resource
import zipfile

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import numpy
from hypothesis import given, settings
from PIL import Image

from formats.image_shards import DamagedImageError, ImageSetError, ImageShards, box_downsample, member_name, shard_name, write_shard
from formats.png import encode_png

from .forking import right_in_all_forks


def pictures(count, side=16, channels=3, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=numpy.uint8)


def write_set(folder, images, *, per_shard=4, labels=None, gaps=()):
    folder.mkdir()
    serials = [serial for serial in range(len(images) + len(gaps)) if serial not in gaps]
    named = dict(zip(serials, images, strict=True))
    for number in sorted({serial // per_shard for serial in serials}):
        members = [(serial, encode_png(image)) for serial, image in named.items() if serial // per_shard == number]
        write_shard(folder / shard_name(number), members, labels)
    return folder


def read_as_nvidia_does(path):
    """The rules of their reader, from its description: sorted names with a picture's ending, the first sets the shape, labels by name."""
    with zipfile.ZipFile(path) as archive:
        Image.init()
        names = sorted(name for name in archive.namelist() if "." + name.lower().rpartition(".")[2] in Image.EXTENSION)
        arrays = []
        for name in names:
            array = numpy.array(Image.open(io.BytesIO(archive.read(name))))
            arrays.append((array[:, :, None] if array.ndim == 2 else array).transpose(2, 0, 1))
        labels = json.loads(archive.read("dataset.json"))["labels"]
        found = None if labels is None else [dict(labels)[name] for name in names]
    return names, numpy.stack(arrays), found


@pytest.mark.parametrize("channels", [1, 3])
def test_each_shard_is_a_dataset_for_nvidias_trainers(tmp_path, channels):
    images = pictures(6, channels=channels)
    folder = write_set(tmp_path / "set", images, labels={serial: serial % 3 for serial in range(6)})
    names, arrays, labels = read_as_nvidia_does(folder / "shard-00001.zip")
    assert names == ["00000/img00000004.png", "00000/img00000005.png"]
    assert (arrays == images[4:].transpose(0, 3, 1, 2)).all() and arrays.dtype == numpy.uint8
    assert labels == [1, 2]
    with zipfile.ZipFile(folder / "shard-00000.zip") as archive:
        assert archive.namelist()[-1] == "dataset.json"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_names_have_a_folder_for_each_thousand():
    assert [member_name(serial) for serial in (0, 999, 1000, 49_999)] == [
        "00000/img00000000.png",
        "00000/img00000999.png",
        "00001/img00001000.png",
        "00049/img00049999.png",
    ]


@settings(max_examples=20)
@given(count=st.integers(1, 9), per_shard=st.integers(1, 5), channels=st.sampled_from([1, 3]), gap=st.integers(0, 8), data=st.data())
def test_what_was_written_is_read(tmp_path_factory, count, per_shard, channels, gap, data):
    images = pictures(count, side=8, channels=channels)
    folder = write_set(tmp_path_factory.mktemp("set") / "s", images, per_shard=per_shard, gaps={gap} if gap < count else ())
    found = ImageShards(folder)
    expected = images.transpose(0, 3, 1, 2)
    assert (len(found), found.resolution, found.channels, found.labels, found.label_dim) == (count, 8, channels, None, 0)
    assert (found.load_all() == expected).all()
    order = data.draw(st.lists(st.integers(0, count - 1), max_size=6))
    assert (found.images(order) == expected[order]).all()
    assert (found.image(count - 1) == expected[-1]).all()
    assert list(map(bytes, found)) == [image.tobytes() for image in expected]


def test_labels_are_null_when_one_is_missing(tmp_path):
    folder = write_set(tmp_path / "set", pictures(3), labels={0: 1, 2: 4})
    assert read_as_nvidia_does(folder / "shard-00000.zip")[2] is None
    assert ImageShards(folder).labels is None


def test_classes_become_one_hot_rows_and_vectors_stay(tmp_path):
    classes = ImageShards(write_set(tmp_path / "classes", pictures(3), labels={0: 2, 1: 0, 2: 2}))
    assert classes.labels.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]] and classes.label_dim == 3
    vectors = ImageShards(write_set(tmp_path / "vectors", pictures(2), labels={0: [0.5, 1.0], 1: [0.0, -1.0]}))
    assert vectors.labels.tolist() == [[0.5, 1.0], [0.0, -1.0]] and vectors.labels.dtype == numpy.float32


def test_one_zip_and_a_folder_of_pictures_are_read_too(tmp_path):
    images = pictures(2)
    folder = write_set(tmp_path / "set", images, labels={0: 1, 1: 0})
    assert (ImageShards(folder / "shard-00000.zip").load_all() == images.transpose(0, 3, 1, 2)).all()
    plain = tmp_path / "plain"
    (plain / "deep").mkdir(parents=True)
    Image.fromarray(images[0]).save(plain / "deep/a.bmp")
    Image.fromarray(images[1]).save(plain / "deep/b.png")
    (plain / "notes.txt").write_text("no picture")
    assert (ImageShards(plain).load_all() == images.transpose(0, 3, 1, 2)).all()
    (plain / "dataset.json").write_text(json.dumps({"labels": [["deep/b.png", 0], ["deep/a.bmp", 1]]}))
    assert ImageShards(plain).labels.tolist() == [[0, 1], [1, 0]]


def test_stored_pngs_of_a_dataset_tool_are_read(tmp_path):
    images = pictures(3, channels=1)
    with zipfile.ZipFile(tmp_path / "tool.zip", "w", zipfile.ZIP_STORED) as archive:
        for serial, image in enumerate(images):
            stream = io.BytesIO()
            Image.fromarray(image[:, :, 0]).save(stream, "PNG", compress_level=0)
            archive.writestr(member_name(serial), stream.getvalue())
        archive.writestr("dataset.json", '{"labels": null}')
    assert (ImageShards(tmp_path / "tool.zip").load_all() == images.transpose(0, 3, 1, 2)).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 8]))
def test_a_lower_resolution_is_the_mean_of_boxes_halves_up(seed, resolution):
    image = pictures(1, side=8, seed=seed)[0]
    factor = 8 // resolution
    exact = image.astype(float).reshape(resolution, factor, resolution, factor, 3).mean(axis=(1, 3))
    assert (box_downsample(image, resolution) == numpy.floor(exact + 0.5)).all()


def test_a_set_opens_at_a_lower_resolution(tmp_path):
    images = pictures(2)
    folder = write_set(tmp_path / "set", images)
    small = ImageShards(folder, resolution=4)
    assert small.load_all().shape == (2, 3, 4, 4) and small.stored_resolution == 16
    assert (small.image(1) == box_downsample(images[1], 4).transpose(2, 0, 1)).all()
    for wrong in (32, 12):
        with pytest.raises(ImageSetError, match=f"cannot be given at {wrong} px"):
            ImageShards(folder, resolution=wrong)


def test_a_damaged_picture_is_named_with_its_shard(tmp_path):
    folder = write_set(tmp_path / "set", pictures(6))
    path = folder / "shard-00001.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 1
    path.write_bytes(content)
    images = ImageShards(folder)
    assert images.image(3).shape == (3, 16, 16)
    with pytest.raises(DamagedImageError, match=r"shard-00001\.zip: member 00000/img00000004\.png is damaged"):
        images.image(4)


def test_a_picture_of_another_size_is_named(tmp_path):
    (tmp_path / "set").mkdir()
    write_shard(tmp_path / "set/shard-00000.zip", [(0, encode_png(pictures(1)[0])), (1, encode_png(pictures(1, side=8)[0]))])
    with pytest.raises(DamagedImageError, match=r"img00000001\.png: 8 x 8 px with 3 channels; the first picture of the set is 16 x 16"):
        ImageShards(tmp_path / "set").load_all()


def test_what_is_no_set_of_pictures_is_named(tmp_path):
    with pytest.raises(ImageSetError, match="no such file or folder"):
        ImageShards(tmp_path / "nowhere")
    with pytest.raises(ImageSetError, match="no picture in it"):
        ImageShards(tmp_path)
    (tmp_path / "shard-00000.zip").write_bytes(b"PK no")
    with pytest.raises(ImageSetError, match=r"shard-00000\.zip: not a zip"):
        ImageShards(tmp_path)
    (tmp_path / "wide").mkdir()
    Image.new("RGB", (16, 8)).save(tmp_path / "wide/a.png")
    with pytest.raises(ImageSetError, match="16 x 8 px with 3 channels; StyleGAN datasets are square"):
        ImageShards(tmp_path / "wide")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ('{"labels": [["a.png", 0]]}', "has no label for b.png"),
        ('{"labels": [["a.png", 0], ["b.png", [1.0]]]}', "neither all classes"),
        ('{"labels": [["a.png", -1], ["b.png", 0]]}', "the class -1"),
        ('{"labels": 3}', "cannot be read"),
        ("[", "cannot be read"),
    ],
)
def test_labels_that_do_not_fit_are_named(tmp_path, labels, words):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "dataset.json").write_text(labels)
    with pytest.raises(ImageSetError, match=words):
        _ = ImageShards(tmp_path).labels


def test_serials_come_in_rising_order(tmp_path):
    png = encode_png(pictures(1)[0])
    with pytest.raises(ValueError, match="rising order"):
        write_shard(tmp_path / "a.zip", [(1, png), (0, png)])


_SUM = """
from formats.image_shards import ImageShards
opened = ImageShards(__import__("pathlib").Path(sys.argv[1]))
def is_right(images):
    return int(images.load_all().sum()) == int(sys.argv[2])
opened.image(0)
"""


def test_a_set_may_be_pickled_and_forked(tmp_path):
    images = ImageShards(write_set(tmp_path / "set", pictures(8)))
    expected = int(images.load_all().sum())
    assert right_in_all_forks(_SUM, tmp_path / "set", expected)
    assert int(pickle.loads(pickle.dumps(images)).load_all().sum()) == expected


def test_reading_again_and_again_takes_no_more_memory_and_few_open_files(tmp_path, monkeypatch):
    from formats import image_shards

    monkeypatch.setattr(image_shards, "_MOST_OPEN", 3)
    images = ImageShards(write_set(tmp_path / "set", pictures(12, side=64), per_shard=1))
    images.load_all()
    assert sum(pack._zip._handle is not None for pack in images._packs) <= 3
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(30):
        images.load_all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_000
