"""The names of snapshots, and the index that others read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.gans.snapshot_index import SnapshotIndex, snapshot_name


@pytest.mark.parametrize(
    ("images", "every", "batch", "total", "name"),
    [
        (0, 40_000, 32, 5_000_000, "fakes000000"),
        (40_000, 40_000, 32, 5_000_000, "fakes000040"),
        # An iteration steps over the multiple; the name is that of the multiple.
        (80_016, 40_000, 32, 5_000_000, "fakes000080"),
        (5_000_000, 40_000, 32, 5_000_000, "fakes005000"),
        # The end between two snapshots has the budget's name.
        (50_016, 40_000, 32, 50_000, "fakes000050"),
        (2_504, 500, 8, 25_000, "fakes000002_500"),
    ],
)
def test_a_snapshot_has_its_kimg_in_six_digits(images, every, batch, total, name):
    assert snapshot_name(images, every_images=every, batch=batch, total_images=total) == name


@given(st.integers(1, 64), st.integers(64, 5_000), st.integers(1_000, 100_000))
def test_names_rise_and_never_repeat(batch, every, total):
    names, images = ["fakes000000"], 0
    while images < total:
        before, images = images, images + batch
        if images // every != before // every or images >= total:
            names.append(snapshot_name(images, every_images=every, batch=batch, total_images=total))
    assert names == sorted(set(names))


def test_the_index_is_read_back(tmp_path):
    layout = {"columns": 3, "rows": 2, "psi": 1.0, "resolution": 16, "seed": 0}
    (tmp_path / "index.json").write_text(json.dumps({**layout, "snapshots": [{"images": 0, "file": "fakes000000.png", "metrics": {}}]}))
    index = SnapshotIndex.read(tmp_path / "index.json")
    assert index.columns == 3 and index.snapshots[0]["file"] == "fakes000000.png"
