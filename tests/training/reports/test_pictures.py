"""Charts: the same bytes for the same input, whatever their titles hold."""

import numpy
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem or gan)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from training.reports.pictures import draw_panels


def test_three_panels_stand_in_a_row_and_their_bytes_are_the_same_each_time(tmp_path):
    panels = {f"panel {index}": lambda axes: axes.plot([0, 1], [1, 0]) for index in range(4)}
    for name in ("one.png", "two.png"):
        draw_panels(panels, tmp_path / name, nothing="no panel")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert (picture.width, picture.height, picture.mode, picture.text) == (780, 520, "P", {})


@pytest.mark.parametrize("title", ["$\\frac{1}{2", "<b>", "a_b^c", "x" * 300])
def test_a_foreign_title_cannot_break_a_panel(tmp_path, title):
    draw_panels({title: lambda axes: axes.plot([0, 1], [1, 0])}, tmp_path / "panel.png", nothing="no panel")
    with Image.open(tmp_path / "panel.png") as picture:
        assert len(numpy.unique(numpy.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 2


def test_nothing_to_draw_is_a_picture_that_says_so(tmp_path):
    draw_panels({}, tmp_path / "nothing.png", nothing="no property was requested")
    draw_panels({}, tmp_path / "other.png", nothing="no valid molecule")
    assert (tmp_path / "nothing.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    with Image.open(tmp_path / "nothing.png") as picture:
        dark = numpy.asarray(picture.convert("L")) < 128
    assert 0 < dark.mean() < 0.1
