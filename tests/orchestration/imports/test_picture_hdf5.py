"""DeepZine's HDF5 files become image sets that trainings read, and ours come back as they went."""

from pathlib import Path

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("h5py", reason="h5py is not installed (extra: images)")

import h5py
import numpy

from formats.image_shards import ImageShards, member_name, write_shard
from formats.png import encode_png
from formats.tables import read_table
from orchestration.errors import CommandError
from orchestration.export.copying import export
from orchestration.imports import picture_hdf5
from orchestration.imports.picture_hdf5 import import_hdf5, import_here
from tests.orchestration.cli.figment import figment


def pictures(count: int = 5, side: int = 8, channels: int = 3) -> numpy.ndarray:
    """uint8 [N, C, H, W]."""
    return numpy.random.default_rng(1).integers(0, 256, (count, channels, side, side), dtype=numpy.uint8)


def deepzine_file(path: Path, pixels: numpy.ndarray) -> Path:
    """As DeepZine writes it with PyTables, with a smaller size beside."""
    with h5py.File(path, "w") as file:
        file["imagenames"] = numpy.array([[f"pages/book-{row}.png".encode()] for row in range(len(pixels))], dtype="S256")
        levels = {pixels.shape[-1]: pixels, 4: pixels[:, :, ::2, ::2]}
        for side, level in levels.items():
            file[f"data_{side}"] = (level.transpose(0, 2, 3, 1) / 127.5 - 1).astype(numpy.float32)
    return path


def test_deepzines_pictures_come_over_to_the_last_level(tmp_path):
    found = import_hdf5(deepzine_file(tmp_path / "data.hdf5", pictures()), tmp_path / "set")
    assert numpy.array_equal(ImageShards(tmp_path / "set").load_all(), pictures())
    assert (found.pictures, found.side, found.set_aside) == (5, 8, 0)
    rows = read_table(tmp_path / "set/index.parquet").to_pylist()
    assert rows[3] == {"serial": 3, "shard": "shard-00000.zip", "member": member_name(3), "name": "pages/book-3.png"}


def test_a_smaller_size_may_be_asked_for(tmp_path):
    import_here(deepzine_file(tmp_path / "data.hdf5", pictures()), tmp_path / "set", resolution=4)
    assert numpy.array_equal(ImageShards(tmp_path / "set").load_all(), pictures()[:, :, ::2, ::2])


def test_grey_pictures_stay_grey(tmp_path):
    import_here(deepzine_file(tmp_path / "data.h5", pictures(channels=1)), tmp_path / "set")
    assert ImageShards(tmp_path / "set").channels == 1
    assert numpy.array_equal(ImageShards(tmp_path / "set").load_all(), pictures(channels=1))


def test_pictures_that_are_no_numbers_are_set_aside_and_leave_a_gap(tmp_path):
    path = deepzine_file(tmp_path / "data.hdf5", pictures())
    with h5py.File(path, "r+") as file:
        file["data_8"][2, 0, 0, 0] = numpy.nan
    found = import_here(path, tmp_path / "set")
    assert (found.pictures, found.set_aside) == (4, 1)
    assert ImageShards(tmp_path / "set").names == [member_name(serial) for serial in (0, 1, 3, 4)]


def test_what_leaves_in_its_form_comes_back_as_it_was(tmp_path, monkeypatch):
    # Several shards and blocks, so that the seams are looked at, too.
    monkeypatch.setattr(picture_hdf5, "_PER_SHARD", 4)
    monkeypatch.setattr(picture_hdf5, "_BLOCK_BYTES", 2 * 8 * 8 * 3 * 4)
    write_shard(tmp_path / "one.zip", [(row, encode_png(image.transpose(1, 2, 0))) for row, image in enumerate(pictures(11))])
    export({"shard-00000.zip": tmp_path / "one.zip"}, tmp_path / "out.h5", "hdf5-deepzine")
    assert import_here(tmp_path / "out.h5", tmp_path / "set").shards == 3
    assert numpy.array_equal(ImageShards(tmp_path / "set").load_all(), pictures(11))


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda file: file.create_dataset("pages", data=numpy.zeros(3)), "expected data_4, data_8, …, found pages"),
        (lambda file: file.create_dataset("data_8", data=numpy.zeros((2, 8, 6, 3), numpy.float32)), r"is float32 \[2, 8, 6, 3\]; expected float32"),
        (lambda file: file.create_dataset("data_8", data=numpy.zeros((2, 8, 8, 3), numpy.uint8)), r"is uint8 .* expected float32 \[N, 8, 8, 3\]"),
        (lambda file: file.create_group("data_8"), r"data_8 is a group \[\]; expected float32"),
        (lambda file: file.create_dataset("data_8", shape=(0, 8, 8, 3), dtype="float32"), r"is float32 \[0, 8, 8, 3\]"),
        (lambda file: file.create_dataset("data_8", data=numpy.full((2, 8, 8, 3), numpy.nan, numpy.float32)), "no picture that can be used"),
    ],
)
def test_files_that_hold_something_else_are_refused_and_nothing_is_written(tmp_path, fill, words):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        fill(file)
    with pytest.raises(CommandError, match=words):
        import_here(tmp_path / "data.h5", tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]


def test_a_file_compressed_with_blosc_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hdf5plugin", None)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        space = h5py.h5s.create_simple((2, 8, 8, 3))
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((1, 8, 8, 3))
        # Optional, so that a library that has no such filter still writes the chunk, marked as any other.
        settings.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 192, 5, 1, 0))
        data = h5py.h5d.create(file.id, b"data_8", h5py.h5t.IEEE_F32LE, space, settings)
        for row in range(2):
            data.write_direct_chunk((row, 0, 0, 0), b"\0" * 768, filter_mask=0)
    with pytest.raises(CommandError, match=r"Blosc.*install hdf5plugin, or rewrite the file with `ptrepack"):
        import_here(tmp_path / "data.h5", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_command_tells_what_came_over_and_writes_over_nothing(tmp_path, project_root):
    source = deepzine_file(tmp_path / "data.hdf5", pictures())
    answer = figment(project_root, "import", "deepzine-hdf5", str(source), str(tmp_path / "set"))
    assert answer == (0, f"{tmp_path}/set: 5 pictures of 8 x 8 px, RGB, from /data_8\n", "")
    again = figment(project_root, "import", "deepzine-hdf5", str(source), str(tmp_path / "set"))
    assert again.code == 1 and "exists already" in again.err
    missing = figment(project_root, "import", "deepzine-hdf5", str(tmp_path / "none"), str(tmp_path / "other"))
    assert (missing.code, missing.err) == (1, f"figment: {tmp_path}/none: no such file\n")
    (tmp_path / "text").write_text("no HDF5")
    assert "cannot be read as HDF5" in figment(project_root, "import", "deepzine-hdf5", str(tmp_path / "text"), str(tmp_path / "other")).err
