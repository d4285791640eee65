"""The map that tells a discriminator how much the pictures of a group differ."""

import pytest
import torch

from training.gans.minibatch import minibatch_deviation


def test_pictures_of_a_group_that_are_alike_show_no_deviation():
    x = torch.randn(2, 5, 4, 4)
    alike = x.repeat(4, 1, 1, 1)  # Pictures b, b + 2, b + 4 and b + 6 are a group.
    torch.testing.assert_close(minibatch_deviation(alike, group=4), torch.full((8, 1, 4, 4), 1e-4))


def test_deviation_is_the_mean_standard_deviation_of_the_group():
    x = torch.randn(8, 5, 4, 4)
    maps = minibatch_deviation(x, group=4)
    for b in (0, 1):
        expected = (x[b::2].var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(maps[b::2], expected.expand(4, 1, 4, 4))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 6, 7])
def test_any_batch_can_be_grouped(batch):
    assert minibatch_deviation(torch.randn(batch, 2, 4, 4), group=4).shape == (batch, 1, 4, 4)
