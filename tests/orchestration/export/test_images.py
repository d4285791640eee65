"""A set of pictures in other people's forms, read by programs that know nothing of ours."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("h5py", reason="h5py is not installed (extra: images)")

import h5py
import numpy
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from ruamel.yaml import YAML

from formats.image_shards import ImageShards, member_name, shard_name, write_shard
from formats.png import encode_png
from orchestration.cli.export import _format_of
from orchestration.export.copying import ExportError, export

_SERIALS = (0, 1, 3, 4, 6)
_CARD = """---
pretty_name: Pictures
license:
- cc-by-4.0
---
# Pictures

![The first pictures](contact_sheet.png)

## Files

- `shard-*.zip`

## Licences

| licence | pictures |
"""


def pictures():
    return numpy.random.default_rng(0).integers(0, 256, (len(_SERIALS), 8, 8, 3), dtype=numpy.uint8)


def image_set(folder: Path, *, labels: dict[int, int] | None = None) -> dict[str, Path]:
    """The files of an artifact by relative path; named in the cache's way, so that nothing can lean on real names."""
    folder.mkdir()
    rows = []
    for number in range(3):
        members = [(serial, encode_png(image)) for serial, image in zip(_SERIALS, pictures(), strict=True) if serial // 3 == number]
        write_shard(folder / f"c{number}", members, labels)
        rows += [
            {"serial": serial, "shard": shard_name(number), "member": member_name(serial), "licence": "CC-BY-4.0", "paper_ids": [f"p{serial}", "x"]}
            | ({"class": labels[serial], "label": f"journal {labels[serial]}"} if labels else {})
            for serial, _ in members
        ]
    texts = [(name, pa.string()) for name in ("shard", "member", "label", "licence")]
    schema = pa.schema([("serial", pa.int64()), *texts, ("class", pa.int64()), ("paper_ids", pa.list_(pa.string()))])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "c7")
    (folder / "c8").write_text(_CARD)
    (folder / "c9").write_bytes(encode_png(pictures()[0]))
    names = {shard_name(number): f"c{number}" for number in range(3)} | {"index.parquet": "c7", "README.md": "c8", "contact_sheet.png": "c9"}
    return {relative: folder / name for relative, name in names.items()}


LABELS = {0: 1, 1: 0, 3: 1, 4: 2, 6: 0}


@pytest.fixture
def files(tmp_path):
    return image_set(tmp_path / "plain")


@pytest.fixture
def labelled(tmp_path):
    return image_set(tmp_path / "labelled", labels=LABELS)


def pixels_of(content: bytes) -> numpy.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return numpy.array(image)


def check_card(text: str) -> None:
    assert "cc-by-4.0" in text and "## Licences" in text
    assert "shard-*.zip" not in text and "contact_sheet" not in text


def test_one_stylegan_zip_keeps_numbers_and_labels(labelled, tmp_path):
    export(labelled, tmp_path / "out.zip", "stylegan")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = archive.namelist()
        assert names == [*(member_name(serial) for serial in _SERIALS), "README.md", "dataset.json"]
        assert json.loads(archive.read("dataset.json"))["labels"] == [[member_name(serial), LABELS[serial]] for serial in _SERIALS]
        found = [pixels_of(archive.read(name)) for name in names[:-2]]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        check_card(archive.read("README.md").decode())
    assert numpy.array_equal(numpy.stack(found), pictures())
    assert ImageShards(tmp_path / "out.zip").labels.argmax(axis=1).tolist() == list(LABELS.values())


def test_a_folder_of_pngs_is_a_dataset_folder(files, tmp_path):
    export(files, tmp_path / "out", "png")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000", "README.md", "dataset.json", "index.parquet"]
    assert json.loads((tmp_path / "out/dataset.json").read_text()) == {"labels": None}
    assert numpy.array_equal(ImageShards(tmp_path / "out").load_all(), pictures().transpose(0, 3, 1, 2))
    check_card((tmp_path / "out/README.md").read_text())


def test_webdataset_samples_lie_side_by_side(labelled, tmp_path):
    export(labelled, tmp_path / "out", "webdataset")
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as archive:
            keys = []
            for member in archive:
                key, _, ending = member.name.partition(".")
                samples.setdefault(key, {})[ending] = archive.extractfile(member).read()
                keys.append(key)
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
            assert keys == sorted(keys), "the parts of a sample follow each other"
    assert list(samples) == [f"img{serial:08d}" for serial in _SERIALS]
    assert numpy.array_equal(numpy.stack([pixels_of(sample["png"]) for sample in samples.values()]), pictures())
    assert [int(sample["cls"]) for sample in samples.values()] == list(LABELS.values())
    assert json.loads(samples["img00000003"]["json"]) == {"label": 1, "licence": "CC-BY-4.0", "paper_ids": ["p3", "x"], "serial": 3}
    check_card((tmp_path / "out/README.md").read_text())


def test_hdf5_has_every_resolution_as_progressive_gan_reads_them(labelled, tmp_path):
    export(labelled, tmp_path / "out.h5", "hdf5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert sorted(file) == ["data1x1", "data2x2", "data4x4", "data8x8"]
        expected = pictures().transpose(0, 3, 1, 2).astype(numpy.float32)
        while True:
            side = expected.shape[-1]
            found = file[f"data{side}x{side}"]
            assert (found.dtype, found.compression, found.compression_opts) == (numpy.uint8, "gzip", 4)
            assert numpy.array_equal(found[:], numpy.rint(expected).astype(numpy.uint8))
            if side == 1:
                break
            expected = (expected[:, :, ::2, ::2] + expected[:, :, 1::2, ::2] + expected[:, :, ::2, 1::2] + expected[:, :, 1::2, 1::2]) / 4
        check_card(file.attrs["card"])
    labels = numpy.load(tmp_path / "out-labels.npy")
    assert labels.dtype == numpy.float32 and labels.argmax(axis=1).tolist() == list(LABELS.values())


def test_deepzine_finds_every_size_and_the_names(files, tmp_path):
    export(files, tmp_path / "out.hdf5", "hdf5-deepzine")
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert sorted(file) == ["data_4", "data_8", "imagenames"]
        assert (file["imagenames"].dtype, file["imagenames"].shape) == (numpy.dtype("S256"), (len(_SERIALS), 1))
        assert [name.decode() for name in file["imagenames"][:, 0]] == [member_name(serial) for serial in _SERIALS]
        full, half = file["data_8"][:], file["data_4"][:]
        assert full.dtype == numpy.float32 and numpy.allclose(full, pictures() / 127.5 - 1, atol=1e-6)
        assert numpy.allclose(half, full.reshape(-1, 4, 2, 4, 2, 3).mean(axis=(2, 4)), atol=1e-6)
        check_card(file.attrs["card"])


def test_huggingface_rows_hold_pictures_and_declare_their_features(labelled, tmp_path):
    export(labelled, tmp_path / "out", "huggingface")
    paths = sorted((tmp_path / "out/data").iterdir())
    assert [path.name for path in paths] == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    rows = table.to_pylist()
    assert numpy.array_equal(numpy.stack([pixels_of(row["image"]["bytes"]) for row in rows]), pictures())
    assert [(row["serial"], row["label"], row["licence"]) for row in rows] == [(serial, LABELS[serial], "CC-BY-4.0") for serial in _SERIALS]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": ["journal 0", "journal 1", "journal 2"], "_type": "ClassLabel"}
    assert features["paper_ids"] == {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"}
    text = (tmp_path / "out/README.md").read_text()
    header = YAML(typ="safe").load(text.split("---\n")[1])
    assert header["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}]
    check_card(text)


def test_hugging_faces_own_library_opens_the_folder(labelled, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the library `datasets` is not installed")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    export(labelled, tmp_path / "out", "huggingface")
    found = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert numpy.array_equal(numpy.array(found[2]["image"]), pictures()[2])
    assert found.features["label"].names == ["journal 0", "journal 1", "journal 2"]


def test_vectors_stay_vectors_in_every_form(tmp_path):
    vectors = {serial: [float(serial), 0.5] for serial in _SERIALS}
    files = image_set(tmp_path / "set")
    for number in range(3):
        members = [(serial, encode_png(image)) for serial, image in zip(_SERIALS, pictures(), strict=True) if serial // 3 == number]
        files[shard_name(number)].unlink()
        write_shard(files[shard_name(number)], members, vectors)
    export(files, tmp_path / "out.h5", "hdf5")
    assert numpy.load(tmp_path / "out-labels.npy").tolist() == list(vectors.values())
    export(files, tmp_path / "hub", "huggingface")
    rows = [row for path in sorted((tmp_path / "hub/data").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [row["label"] for row in rows] == list(vectors.values())
    export(files, tmp_path / "out.zip", "stylegan")
    assert ImageShards(tmp_path / "out.zip").labels.tolist() == list(vectors.values())


def test_without_an_index_and_a_card_the_pictures_still_leave(files, tmp_path):
    bare = {relative: path for relative, path in files.items() if relative.endswith(".zip")}
    for format in ("stylegan", "png", "webdataset", "huggingface", "hdf5"):
        export(bare, tmp_path / f"bare-{format}.h5", format)
    assert len(ImageShards(tmp_path / "bare-png.h5")) == len(_SERIALS)


@pytest.mark.parametrize("format", ["stylegan", "png", "webdataset", "hdf5", "huggingface"])
def test_grey_pages_leave_in_one_channel_with_their_item(tmp_path, format):
    grey, folder = pictures()[..., :1], tmp_path / "pages"
    folder.mkdir()
    write_shard(folder / "c0", [(serial, encode_png(image.copy())) for serial, image in zip(_SERIALS, grey, strict=True)])
    rows = [{"shard": shard_name(0), "member": member_name(serial), "page_id": f"book/a.pdf/{serial}", "item_id": "book"} for serial in _SERIALS]
    pq.write_table(pa.Table.from_pylist(rows), folder / "c1")
    export({shard_name(0): folder / "c0", "index.parquet": folder / "c1"}, tmp_path / "out", format)
    expected = grey.transpose(0, 3, 1, 2)
    if format in ("stylegan", "png"):
        assert numpy.array_equal(ImageShards(tmp_path / "out").load_all(), expected)
    elif format == "hdf5":
        with h5py.File(tmp_path / "out") as file:
            assert numpy.array_equal(file["data8x8"][:], expected) and file["data1x1"].shape == (5, 1, 1, 1)
    elif format == "webdataset":
        with tarfile.open(tmp_path / "out/shard-00000.tar") as archive:
            found = [pixels_of(archive.extractfile(member).read()) for member in archive if member.name.endswith(".png")]
        assert numpy.array_equal(numpy.stack(found), grey[..., 0])
    else:
        found = pq.read_table(tmp_path / "out/data/train-00000-of-00001.parquet").to_pylist()
        assert numpy.array_equal(numpy.stack([pixels_of(row["image"]["bytes"]) for row in found]), grey[..., 0])
        assert [(row["page_id"], row["item_id"]) for row in found] == [(row["page_id"], "book") for row in rows]


def bytes_below(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path.parent)).partition("/")[2]: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()} or {
        "": path.read_bytes()
    }


@pytest.mark.parametrize("format", ["stylegan", "png", "webdataset", "hdf5", "hdf5-deepzine", "huggingface"])
def test_the_same_set_gives_the_same_bytes(labelled, tmp_path, format):
    export(labelled, tmp_path / "one", format)
    export(dict(reversed(labelled.items())), tmp_path / "two", format)
    assert bytes_below(tmp_path / "one") == bytes_below(tmp_path / "two")


def test_nothing_is_written_over_and_nothing_half_stays(files, labelled, tmp_path):
    (tmp_path / "there-labels.npy").write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"there-labels\.npy: exists already"):
        export(files, tmp_path / "there.h5", "hdf5")
    shard = files["shard-00002.zip"]
    shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDAX"))
    before = set(tmp_path.iterdir())
    for format in ("stylegan", "png", "webdataset", "hdf5", "huggingface"):
        with pytest.raises(ExportError, match=r"member 00000/img00000006\.png is damaged"):
            export(files, tmp_path / "out", format)
    assert set(tmp_path.iterdir()) == before


def test_what_has_no_pictures_says_so(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ExportError, match=r"no pictures in this artifact \(its files: a\.txt\)"):
        export({"a.txt": tmp_path / "a.txt"}, tmp_path / "out.zip", "stylegan")


def test_the_ending_of_the_destination_chooses_the_form(files):
    table = {"rows.parquet": Path("x")}
    assert [_format_of(Path(name), files) for name in ("a.zip", "a.h5", "a.hdf5", "a")] == ["stylegan", "hdf5", "hdf5", "folder"]
    assert [_format_of(Path(name), table) for name in ("a.zip", "a.csv", "a.png")] == ["zip", "csv", "folder"]
