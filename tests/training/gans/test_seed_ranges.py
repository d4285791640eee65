"""Seeds as people write them, and the latent vectors that belong to them."""

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.gans.seed_ranges import SeedRangeError, latents, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", [0]), ("4-6", [4, 5, 6]), ("0,1,4-6", [0, 1, 4, 5, 6]), (" 3 - 4 , 1", [1, 3, 4]), ("2,2,1-2", [1, 2]), ("7-7", [7])]
)
def test_ranges_include_both_ends(text, seeds):
    assert parse_seeds(text) == seeds


def test_the_seed_range_of_the_first_archive_has_its_fifty_thousand_and_one():
    assert len(parse_seeds("0-50000")) == 50_001


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 40)), min_size=1, max_size=20))
def test_any_ranges_give_each_of_their_seeds_once_and_rising(spans):
    text = ",".join(f"{first}-{first + more}" if more else str(first) for first, more in spans)
    assert parse_seeds(text) == sorted({seed for first, more in spans for seed in range(first, first + more + 1)})


@pytest.mark.parametrize(
    ("text", "message"), [("", "must look like"), ("1-", "must look like"), ("a", "found 'a'"), ("9-3", "write 3-9"), ("4294967296", "largest")]
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(SeedRangeError, match=message):
        parse_seeds(text)


def test_a_seed_is_one_vector_in_any_company():
    alone, together = latents([5], 16), latents([1, 5, 9], 16)
    assert torch.equal(alone[0], together[1])
    assert alone[0].numpy() == pytest.approx(numpy.random.RandomState(5).randn(1, 16)[0].astype(numpy.float32))
