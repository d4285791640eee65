"""The benchmark of a training step: both sides learn the same, and differences are not timed."""

import pytest
import torch

from bench.pggan_step import Plain, check, compare, make

SIZES = {"data_px": 16, "width": (32, 8), "batch": 4}
CPU = torch.device("cpu")


@pytest.mark.parametrize(("px", "alpha"), [(4, 1.0), (8, 0.5)])
def test_both_sides_take_the_same_steps_and_are_counted(px, alpha):
    row = compare(px, alpha, rounds=1, steps=1, device=CPU, **SIZES)
    assert row["ours_ms_step"] > 0 and row["plain_ms_step"] > 0
    assert 0 < row["ours_operators"] < row["plain_operators"] and 0 < row["ours_gflop"] <= row["plain_gflop"]


def test_sides_that_differ_are_not_timed():
    ours = make(8, 0.5, device=CPU, **SIZES)
    plain = Plain(ours)
    with torch.no_grad():
        plain.d.blocks[1].conv0.bias += 0.5
    with pytest.raises(SystemExit, match="no speed is reported"):
        check(ours, plain, 8)
