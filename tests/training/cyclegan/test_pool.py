"""The pool of earlier fakes: what it gives back, how often, and that it is restored to the bit."""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.cyclegan.pool import ImagePool
from training.loop.seeding import generator


def numbered(first: int, count: int) -> torch.Tensor:
    """Pictures that are their own numbers."""
    return torch.arange(first, first + count).float().view(-1, 1, 1, 1)


def test_until_it_is_full_it_gives_back_what_it_is_given():
    pool = ImagePool(5)
    assert torch.equal(pool.mix(numbered(0, 3), generator(0)), numbered(0, 3))
    # The fourth and the fifth fill it; from the sixth on it chooses.
    assert torch.equal(pool.mix(numbered(3, 2), generator(1)), numbered(3, 2)) and len(pool.kept) == 5


@given(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 99))
def test_every_picture_is_shown_kept_or_replaced_and_none_is_invented(size, batches, seed):
    pool, given_so_far, shown_so_far = ImagePool(size), [], []
    for number, count in enumerate(batches):
        fakes = numbered(len(given_so_far), count)
        given_so_far += fakes.flatten().tolist()
        shown = pool.mix(fakes, generator(seed, number))
        assert shown.shape == fakes.shape
        shown_so_far += shown.flatten().tolist()
        kept = [float(picture) for picture in pool.kept]
        assert len(kept) == min(size, len(given_so_far)) and len(set(kept)) == len(kept)
        # What is neither in the pool nor was shown can only have been lost, and nothing is lost.
        assert set(shown_so_far) | set(kept) == set(given_so_far)


def test_once_full_half_of_what_is_shown_is_earlier_ones():
    pool = ImagePool(50)
    pool.mix(numbered(0, 50), generator(0))
    earlier = 0
    for number in range(400):
        shown = pool.mix(numbered(50 + number, 1), generator(1, number))
        earlier += float(shown) != 50 + number
    assert 160 < earlier < 240


def test_no_pool_shows_the_newest():
    pool = ImagePool(0)
    assert torch.equal(pool.mix(numbered(0, 3), generator(0)), numbered(0, 3)) and pool.kept == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_pictures_that_are_not_numbers_never_come_back(bad):
    pool = ImagePool(4)
    fakes = numbered(0, 2)
    fakes[1] = bad
    assert not pool.mix(fakes, generator(0)).isfinite().all() and pool.kept == []


def test_it_keeps_pictures_as_they_were_and_goes_on_bit_by_bit_from_a_file():
    one, other = ImagePool(4), ImagePool(4)
    fakes = numbered(0, 4)
    one.mix(fakes, generator(0))
    fakes += 100
    assert [float(picture) for picture in one.kept] == [0, 1, 2, 3]
    buffer = io.BytesIO()
    torch.save(one.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for number in range(10):
        shown = [pool.mix(numbered(10 + number, 2), generator(7, number)) for pool in (one, other)]
        assert torch.equal(*shown)
    assert all(torch.equal(a, b) for a, b in zip(one.kept, other.kept, strict=True))
