"""Phases by images seen: exact switches, steady alphas, tables by resolution."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.progressive.config import sides
from training.progressive.schedule import Growth, GrowthSchedule, value_at

PAPER = GrowthSchedule(1024, 600_000, 600_000)


def test_the_published_schedule():
    assert PAPER.at(0) == Growth(0, 4, 1.0, 0, 600_000, is_new=True)
    assert PAPER.at(599_999) == Growth(0, 4, 1.0, 0, 600_000, is_new=False)
    assert PAPER.at(600_000) == Growth(1, 8, 0.0, 600_000, 1_200_000, is_new=True)
    assert PAPER.at(900_000) == Growth(1, 8, 0.5, 600_000, 1_200_000, is_new=False)
    assert PAPER.at(1_200_000) == Growth(2, 8, 1.0, 1_200_000, 1_800_000, is_new=False)
    # Of twelve million pictures the last 2.4 million are of the finished size.
    assert PAPER.begin_of_last == 9_600_000
    assert PAPER.at(12_000_000) == Growth(16, 1024, 1.0, PAPER.begin_of_last, None, is_new=False)


@given(st.sampled_from([4, 8, 16, 64]), st.integers(1, 50), st.integers(0, 50), st.integers(0, 600))
def test_every_picture_belongs_to_one_phase_and_sides_only_grow(resolution, stable, fade, images):
    schedule = GrowthSchedule(resolution, stable, fade)
    now, then = schedule.at(images), schedule.at(images + 1)
    assert now.begin <= images and (now.end is None or images < now.end) and now.px in sides(resolution)
    assert now.px <= then.px <= 2 * now.px and then.phase >= now.phase
    assert (now.end is None) == (now.px == resolution and now.phase % 2 == 0)
    # A side is new at one picture only: that after which the phase before it is over, to the picture.
    assert then.is_new == (then.px > now.px)
    if then.is_new:
        assert now.end == images + 1 == then.begin and then.alpha == (0.0 if fade else 1.0)
    if now.phase % 2:
        assert now.alpha == (images - now.begin) / fade
    else:
        assert now.alpha == 1.0


def test_a_table_says_what_holds_from_a_side_on():
    table = {32: 64, 64: 32, 512: 4}
    assert [value_at(px, 128, table) for px in sides(1024)] == [128, 128, 128, 64, 32, 32, 32, 4, 4]
    assert value_at(8, 0.5, {}) == 0.5


@pytest.mark.parametrize("images", [0, 7, 10**9])
def test_four_pixels_are_one_endless_phase(images):
    assert GrowthSchedule(4, 10, 10).at(images) == Growth(0, 4, 1.0, 0, None, is_new=images == 0)
