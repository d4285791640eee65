"""The benchmark of the image dataset: all sides make the same pixels, the work is counted, and differences end it."""

import random

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import numpy

from bench import image_dataset, plain_dataset_tool
from formats.image_shards import ImageShards


@pytest.fixture(scope="module")
def pictures():
    draw = random.Random(0)
    return [image_dataset.make_picture(draw) for _ in range(8)]


def test_both_sides_make_the_same_pixels(pictures, tmp_path):
    sides = image_dataset.Sides(tmp_path, pictures, None, None)
    checked = sides.check()
    assert checked["figment_bytes"] < checked["tool_bytes"] / 2
    assert len(ImageShards(tmp_path / "data/toc_dataset@128")) == 8


def test_a_difference_ends_the_benchmark(pictures, tmp_path, monkeypatch):
    sides = image_dataset.Sides(tmp_path, pictures, None, None)
    original = ImageShards.image
    monkeypatch.setattr(sides, "figment", lambda: 0.0)
    monkeypatch.setattr(sides, "tool", lambda: 0.0)
    monkeypatch.setattr(sides, "pad", lambda: 0.0)
    plain_dataset_tool.pad(tmp_path / "originals", tmp_path / "padded", image_dataset.CANVAS_PX)
    config = image_dataset.TocDatasetConfig(sizes=list(image_dataset.SIZES), images_per_shard=1_000)
    for size in image_dataset.SIZES:
        image_dataset._build(size, config, tmp_path)
        plain_dataset_tool.make_zip(tmp_path / "padded", tmp_path / f"tool-{size}.zip", size)
    sides.check()
    monkeypatch.setattr(ImageShards, "image", lambda self, index: original(self, index) ^ numpy.uint8("shard" in str(self._packs[0].path)))
    with pytest.raises(SystemExit, match="DISAGREE: at 256 px 8 of 8 pictures differ"):
        sides.check()


def test_the_work_of_a_change_is_counted(pictures, tmp_path):
    found = image_dataset.measure_delta(pictures, tmp_path)
    assert found["one_percent_new"]["work"]["decodes"] == 1
    assert found["one_removed"]["work"]["encodes"] == 0
    checked = {"figment_bytes": 1, "tool_bytes": 10}
    rounds, starts = [{"figment": 1.0, "pad": 2.0, "tool": 2.0}], [{"figment": 0.5, "pad": 0.1, "tool": 0.1}]
    result = image_dataset.report(checked, rounds, starts, found, 8, "a plain script")
    assert (result["ratios"]["cpu_of_tool"]["median"], result["ratios"]["cpu_of_pad_and_tool"]["median"]) == (0.5, 0.25)
    # What starting costs is taken off both sides: 0.5 of 1.9 seconds, for the same five pictures.
    assert result["ratios"]["cpu_of_tool_beyond_start"]["median"] == 0.2632
    assert result["cpu_ms_per_picture"]["figment"] == 100 and result["cpu_ms_to_start"]["figment"] == 500
    assert set(result["machine"]) >= {"processor", "isal", "ISA-L", "pillow zlib", "pillow zlib_ng"} and result["machine"]["processor"]
