"""One size of the dataset: the right pixels, labels, licences and card; work done once; the same bytes whatever happened before."""

import dataclasses
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import numpy
from hypothesis import given, settings
from PIL import Image
from ruamel.yaml import YAML

from assets.images.dataset import DatasetError
from assets.images.dataset_config import DatasetConfig
from formats.image_shards import ImageShards
from tests.assets.images.originals_folder import SMALL, Picture, build, bytes_of, drawing, plainly, rows_of, write_originals


def start(root, pictures):
    write_originals(root / "data/drawings", pictures)
    return pictures


def test_each_picture_is_padded_and_resized_and_found_by_its_serial_number(tmp_path):
    pictures = start(tmp_path, [Picture(0), Picture(1, drawing(1, width=9, height=64)), Picture(5, drawing(5, width=100, height=30)), Picture(6)])
    build(tmp_path, 32)
    folder = tmp_path / "data/drawing_dataset@32"
    for row, picture in zip(rows_of(folder / "index.parquet"), pictures, strict=True):
        assert (row["serial"], row["sha256"], row["shard"]) == (picture.serial, picture.sha256, f"shard-{picture.serial // 4:05d}.zip")
        with zipfile.ZipFile(folder / row["shard"]) as archive:
            found = numpy.asarray(Image.open(io.BytesIO(archive.read(row["member"]))))
            assert json.loads(archive.read("dataset.json")) == {"labels": None}
        assert numpy.array_equal(found, plainly(picture.content, 32, 64))
    images = ImageShards(folder)
    assert (len(images), images.resolution, images.channels) == (4, 32, 3)
    assert images.names == [f"00000/img0000000{serial}.png" for serial in (0, 1, 5, 6)]


def test_the_largest_size_is_the_padded_picture_itself(tmp_path):
    picture = start(tmp_path, [Picture(0)])[0]
    build(tmp_path, 64)
    pixels = ImageShards(tmp_path / "data/drawing_dataset@64").image(0).transpose(1, 2, 0)
    assert numpy.array_equal(pixels, plainly(picture.content, 64, 64))


def test_pictures_can_be_cut_to_the_square_in_their_middle_and_be_grey(tmp_path):
    pictures = start(tmp_path, [Picture(0, drawing(0, width=70, height=41)), Picture(1, drawing(1, width=20, height=90))])
    build(tmp_path, 32, config=dataclasses.replace(SMALL, fit="crop", colours="grey"))
    images = ImageShards(tmp_path / "data/drawing_dataset@32")
    assert images.channels == 1
    for index, (box, picture) in enumerate(zip([(14, 0, 55, 41), (0, 35, 20, 55)], pictures, strict=True)):
        square = Image.open(io.BytesIO(picture.content)).convert("RGB").crop(box)
        expected = square.resize((32, 32), Image.Resampling.LANCZOS).convert("L")
        assert numpy.array_equal(images.image(index)[0], numpy.asarray(expected))
    card = (tmp_path / "data/drawing_dataset@32/README.md").read_text()
    assert "2 drawings of numbers as grey pictures" in card and "cut to the square in its middle" in card and "cropped" not in card
    with Image.open(tmp_path / "data/drawing_dataset@32/contact_sheet.png") as sheet:
        assert (sheet.mode, sheet.size) == ("RGB", (2 * 36 + 4, 36 + 4))


def test_a_content_that_comes_twice_is_in_the_dataset_twice(tmp_path):
    same = drawing(0)
    start(tmp_path, [Picture(0, same), Picture(1), Picture(2, same), Picture(9, same)])
    for size in (32, 16, 32):
        build(tmp_path, size)
        images = ImageShards(tmp_path / f"data/drawing_dataset@{size}")
        assert len(images) == 4 and numpy.array_equal(images.image(0), images.image(2)) and numpy.array_equal(images.image(0), images.image(3))


def test_datasets_of_two_sources_do_not_meet(tmp_path):
    start(tmp_path, [Picture(0)])
    build(tmp_path, 32)
    assert build(tmp_path, 16, name="other_dataset").work.taken == 0
    assert build(tmp_path, 16).work.taken == 1


def test_pictures_nobody_may_use_are_listed_with_the_reason(tmp_path):
    start(
        tmp_path,
        [Picture(0), Picture(1, licence=None), Picture(2, licence="unknown"), Picture(3, is_secret=True), Picture(4, b"no picture"), Picture(5)],
    )
    facts = build(tmp_path, 32)
    rows = rows_of(tmp_path / "data/drawing_dataset@32/excluded.parquet")
    assert [(row["serial"], row["reason"]) for row in rows] == [
        (1, "licence_unknown"),
        (2, "licence_unknown"),
        (3, "secret"),
        (4, "not_an_image"),
    ]
    assert all(row["words"] and row["place"] == f"p{row['serial']}" for row in rows)
    assert (facts.pictures, dict(facts.excluded)) == (2, {"licence_unknown": 2, "secret": 1, "not_an_image": 1})
    assert build(tmp_path, 32, config=dataclasses.replace(SMALL, allow_unknown_licence=True)).pictures == 4
    assert rows_of(tmp_path / "data/drawing_dataset@32/index.parquet")[1]["licence"] == "unknown"


def test_nothing_left_is_an_error_and_the_previous_output_stays(tmp_path):
    start(tmp_path, [Picture(0)])
    build(tmp_path, 32)
    before = bytes_of(tmp_path / "data/drawing_dataset@32")
    start(tmp_path, [Picture(0, licence=None), Picture(1, is_secret=True)])
    with pytest.raises(DatasetError, match=r"drawing_dataset@32: no picture may be used: licence_unknown \(1\), secret \(1\)"):
        build(tmp_path, 32)
    assert bytes_of(tmp_path / "data/drawing_dataset@32") == before


def test_labels_number_the_albums_by_first_appearance(tmp_path):
    start(tmp_path, [Picture(0, album="Zebra"), Picture(1, album="Ant"), Picture(2, album=None), Picture(5, album="Zebra")])
    build(tmp_path, 32, config=dataclasses.replace(SMALL, labels="album"))
    folder = tmp_path / "data/drawing_dataset@32"
    assert [(row["class"], row["label"]) for row in rows_of(folder / "index.parquet")] == [(0, "Zebra"), (1, "Ant"), (2, "unknown"), (0, "Zebra")]
    with zipfile.ZipFile(folder / "shard-00000.zip") as archive:
        labels = json.loads(archive.read("dataset.json"))["labels"]
    assert labels == [["00000/img00000000.png", 0], ["00000/img00000001.png", 1], ["00000/img00000002.png", 2]]
    assert ImageShards(folder).labels.argmax(axis=1).tolist() == [0, 1, 2, 0]


def test_the_card_counts_licences_and_lists_sources_and_shows_foreign_text_as_text(tmp_path):
    evil = "CC-BY-4.0 <script>alert(1)</script> | [x](http://evil.example)"
    start(tmp_path, [Picture(0), Picture(1, licence=evil, source="blog"), Picture(2), Picture(3, licence=None)])
    build(tmp_path, 32)
    text = (tmp_path / "data/drawing_dataset@32/README.md").read_text()
    _, header, body = text.split("---\n", 2)
    facts = YAML(typ="safe").load(header)
    assert facts["license"] == ["cc-by-4.0", "other"]
    assert facts["tags"] == ["numbers", "stylegan"]
    assert facts["size_categories"] == ["n<1K"] and facts["task_categories"] == ["unconditional-image-generation"]
    for line in (
        "# Drawings at 32 px",
        "licence, source and place",
        "| CC\\-BY\\-4\\.0 | 2 |",
        "| letters | 2 |",
        "| blog | 1 |",
        "| licence\\_unknown | 1 |",
    ):
        assert line in body
    assert "<script>" not in text and "](http" not in body
    with Image.open(tmp_path / "data/drawing_dataset@32/contact_sheet.png") as sheet:
        assert sheet.size == (3 * 36 + 4, 36 + 4)


@pytest.mark.shared_data
def test_real_pictures_keep_their_pixels_and_are_small(tmp_path, shared_data):
    files = sorted(path for path in (shared_data / "journals").rglob("*") if path.suffix.lower() in (".png", ".jpg", ".gif"))[::9]
    pictures = start(tmp_path, [Picture(serial, file.read_bytes()) for serial, file in enumerate(files)])
    config = DatasetConfig(sizes=[256, 128], images_per_shard=1_000)
    facts = build(tmp_path, 256, config=config)
    assert facts.pictures + facts.excluded.total() == len(files) > 30
    images = ImageShards(tmp_path / "data/drawing_dataset@256")
    rows = rows_of(tmp_path / "data/drawing_dataset@256/index.parquet")
    compared = 0
    for index, row in enumerate(rows):
        with Image.open(io.BytesIO(pictures[row["serial"]].content)) as original:
            if original.mode == "RGB" and "transparency" not in original.info and not original.getexif():
                expected = plainly(pictures[row["serial"]].content, 256, 512)
                assert numpy.array_equal(images.image(index).transpose(1, 2, 0), expected)
                compared += 1
    assert compared > 10
    assert facts.bytes < 0.25 * len(images) * 256 * 256 * 3


# One decode feeds all sizes.


def test_the_first_size_decodes_and_the_others_take(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(40)])
    work = [build(tmp_path, size).work for size in (32, 64, 16)]
    assert [(w.decodes, w.resizes, w.encodes, w.taken) for w in work] == [(40, 120, 120, 0), (0, 0, 0, 40), (0, 0, 0, 40)]
    left = [path for path in (tmp_path / ".figment/handover").rglob("*") if path.is_file() and path.name != "locks"]
    assert left == []
    for size in (32, 64, 16):
        start(tmp_path / "alone", [Picture(serial) for serial in range(40)])
        alone = dataclasses.replace(SMALL, sizes=[size])
        assert build(tmp_path / "alone", size, config=alone).work.decodes == 40
        assert bytes_of(tmp_path / f"alone/data/drawing_dataset@{size}") == bytes_of(tmp_path / f"data/drawing_dataset@{size}")


def test_a_broken_picture_is_found_out_once(tmp_path):
    start(tmp_path, [Picture(0), Picture(1, b"broken")])
    assert build(tmp_path, 32).work.decodes == 2
    assert build(tmp_path, 64).work.decodes == 0
    assert build(tmp_path, 32).work.decodes == 0
    assert [row["reason"] for row in rows_of(tmp_path / "data/drawing_dataset@64/excluded.parquet")] == ["not_an_image"]


def test_a_size_whose_output_has_a_picture_is_not_handed_it_again(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(8)])
    for size in (64, 32, 16):
        build(tmp_path, size)
    start(tmp_path, [Picture(serial) for serial in range(10)])
    work = [build(tmp_path, size).work for size in (16, 64, 32)]
    assert [(w.decodes, w.encodes, w.taken) for w in work] == [(2, 6, 0), (0, 0, 2), (0, 0, 2)]
    remove(tmp_path / "data/drawing_dataset@16")
    again = build(tmp_path, 16).work
    assert (again.decodes, again.encodes) == (10, 10)


def remove(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_nothing_is_handed_over_beyond_the_limit(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(64)])
    none = dataclasses.replace(SMALL, handover_mib=0)
    first = build(tmp_path, 32, config=none).work
    assert first.given < 64  # The first chunk finds room; nothing after it does.
    assert build(tmp_path, 64, config=none).work.decodes == 64 - first.given // 2


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "gone"])
def test_a_damaged_handover_is_not_believed(tmp_path, damage):
    start(tmp_path, [Picture(serial) for serial in range(20)])
    build(tmp_path, 32)
    files = [path for path in (tmp_path / ".figment/handover").rglob("*") if path.is_file() and path.name != "locks"]
    for path in files:
        content = path.read_bytes()
        path.unlink()
        if damage != "gone":
            path.write_bytes({"changed": content[:-9] + b"?" + content[-8:], "cut": content[:100], "empty": b""}[damage])
    assert build(tmp_path, 64).work.decodes == 20
    start(tmp_path / "alone", [Picture(serial) for serial in range(20)])
    build(tmp_path / "alone", 64)
    assert bytes_of(tmp_path / "alone/data/drawing_dataset@64") == bytes_of(tmp_path / "data/drawing_dataset@64")


def test_other_settings_take_nothing_over(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(4)])
    build(tmp_path, 32)
    assert build(tmp_path, 64, config=dataclasses.replace(SMALL, resample="box")).work.decodes == 4


def _built_in_its_own_process(root, size, answers):
    facts = build(Path(root), size, workers=2)
    answers.put((size, facts.work.decodes, facts.work.taken))


def test_three_sizes_at_once_decode_each_picture_once(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(400)])
    # Not forked: this process has threads, whose locks a fork would copy as they happen to be held.
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    programs = [context.Process(target=_built_in_its_own_process, args=(str(tmp_path), size, answers)) for size in SMALL.sizes]
    for one in programs:
        one.start()
    found = [answers.get(timeout=120) for _ in programs]
    for one in programs:
        one.join(timeout=60)
        assert one.exitcode == 0
    assert sum(decodes for _, decodes, _ in found) == 400
    assert all(decodes + taken == 400 for _, decodes, taken in found)


# Incremental.


def test_a_new_picture_goes_to_the_tail_and_a_removed_one_rewrites_its_shard_only(tmp_path):
    pictures = start(tmp_path, [Picture(serial) for serial in range(20)])
    build(tmp_path, 32)
    folder = tmp_path / "data/drawing_dataset@32"
    inodes = {path.name: path.stat().st_ino for path in folder.glob("shard-*")}
    start(tmp_path, [*pictures[:9], *pictures[10:], Picture(20)])
    facts = build(tmp_path, 32)
    kept = {path.name for path in folder.glob("shard-*") if inodes.get(path.name) == path.stat().st_ino}
    assert kept == {"shard-00000.zip", "shard-00001.zip", "shard-00003.zip", "shard-00004.zip"}
    assert (facts.work.decodes, facts.work.reused, facts.shards, facts.shards_kept) == (1, 3, 6, 4)


def test_a_build_without_changes_makes_nothing(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(10)])
    build(tmp_path, 32)
    before = {path.name: path.stat().st_ino for path in (tmp_path / "data/drawing_dataset@32").iterdir()}
    facts = build(tmp_path, 32)
    assert dataclasses.asdict(facts.work) == dict.fromkeys(dataclasses.asdict(facts.work), 0)
    assert {path.name: path.stat().st_ino for path in (tmp_path / "data/drawing_dataset@32").iterdir()} == before


def test_a_shard_edited_by_hand_is_made_anew(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(10)])
    build(tmp_path, 32)
    before = bytes_of(tmp_path / "data/drawing_dataset@32")
    path = tmp_path / "data/drawing_dataset@32/shard-00001.zip"
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"!" + content[201:])
    assert build(tmp_path, 32).work.decodes == 4
    assert bytes_of(tmp_path / "data/drawing_dataset@32") == before


def test_a_damaged_original_stops_the_build_and_is_named(tmp_path):
    picture = start(tmp_path, [Picture(0)])[0]
    path = tmp_path / "data/drawings/images-00000.zip"
    path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDAX"))
    with pytest.raises(DatasetError, match=rf"images-00000\.zip: member {picture.sha256}\.png is damaged"):
        build(tmp_path, 32)


_FACTS = st.fixed_dictionaries(
    {
        "licence": st.sampled_from(["CC-BY-4.0", "CC-BY-4.0", "MIT", None]),
        "album": st.sampled_from(["A", "B", None]),
        "secret": st.sampled_from([None, False, True]),
    }
)
_STATE = st.dictionaries(st.integers(0, 14), _FACTS, min_size=1, max_size=10)
_BROKEN = {3, 11}


@settings(max_examples=20)
@given(states=st.lists(_STATE, min_size=2, max_size=4), labels=st.sampled_from([None, "album"]), data=st.data())
def test_any_sequence_of_changes_gives_the_bytes_of_a_build_from_nothing(states, labels, data):
    config = dataclasses.replace(SMALL, labels=labels)

    def attempt(root, state, sizes):
        start(root, [Picture(serial, b"broken" if serial in _BROKEN else None, **facts) for serial, facts in state.items()])
        done = []
        for size in sizes:
            try:
                build(root, size, config=config)
                done.append(size)
            except DatasetError:
                pass
        return done

    # Waiting for the disk after each of hundreds of builds would prove nothing here.
    with tempfile.TemporaryDirectory() as folder, mock.patch("stages.output_folder.sync"):
        root = Path(folder)
        for state in states:
            done = attempt(root / "kept", state, data.draw(st.permutations([64, 32, 16])))
        assert sorted(attempt(root / "fresh", states[-1], [64, 32, 16])) == sorted(done)
        for size in done:
            assert bytes_of(root / f"kept/data/drawing_dataset@{size}") == bytes_of(root / f"fresh/data/drawing_dataset@{size}")


def test_workers_change_nothing(tmp_path):
    for name, workers in (("one", 1), ("many", 5)):
        start(tmp_path / name, [Picture(serial) for serial in range(30)])
        build(tmp_path / name, 32, workers=workers)
    assert bytes_of(tmp_path / "one/data/drawing_dataset@32") == bytes_of(tmp_path / "many/data/drawing_dataset@32")


_DIES_AT_ITS_FOURTH_SHARD = """
import dataclasses, os, signal
from pathlib import Path
from assets.images import dataset
from tests.assets.images.originals_folder import SMALL, build

write_shard, calls = dataset.write_shard, []

def deadly(*arguments):
    calls.append(arguments)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    write_shard(*arguments)

dataset.write_shard = deadly
build(Path(), 64, config=dataclasses.replace(SMALL, images_per_shard=64))
"""


def test_a_program_killed_in_the_middle_leaves_nothing_in_the_way(tmp_path):
    start(tmp_path, [Picture(serial) for serial in range(600)])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    killed = subprocess.run([sys.executable, "-c", _DIES_AT_ITS_FOURTH_SHARD], cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "data/drawing_dataset@64").exists()
    config = dataclasses.replace(SMALL, images_per_shard=64)
    # What it had handed over of 4 x 64 pictures is taken; its own size is lost.
    assert [build(tmp_path, size, config=config).work.decodes for size in (32, 64, 16)] == [600 - 256, 256, 0]
    start(tmp_path / "fresh", [Picture(serial) for serial in range(600)])
    for size in (16, 32, 64):
        build(tmp_path / "fresh", size, config=config)
        assert bytes_of(tmp_path / f"fresh/data/drawing_dataset@{size}") == bytes_of(tmp_path / f"data/drawing_dataset@{size}")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sizes": []}, "sizes must name some"),
        ({"sizes": [64, 64]}, "each once"),
        ({"sizes": [48]}, "48 is not a power of two"),
        ({"sizes": [1024]}, "1024 is not"),
        ({"images_per_shard": 0}, "images_per_shard"),
        ({"handover_mib": -1}, "handover_mib"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        DatasetConfig(**values)
