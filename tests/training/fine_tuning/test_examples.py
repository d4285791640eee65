"""The order in which examples are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fine_tuning.examples import ExampleOrder, TuningError


@given(st.integers(1, 9), st.integers(0, 30), st.booleans(), st.integers(0, 5))
def test_an_epoch_shows_no_example_twice_and_leaves_out_less_than_a_batch(size, more, buckets, seed):
    lengths = [index % 7 + 1 for index in range(size + more)]
    order = ExampleOrder(lengths, size, seed, buckets=buckets)
    for _ in range(3):
        shown = [index for _ in range(len(lengths) // size) for index in order.next()]
        assert len(set(shown)) == len(shown) > len(lengths) - size


@given(st.integers(0, 12), st.booleans())
def test_from_a_saved_place_the_same_batches_follow(place, buckets):
    lengths = list(range(1, 18))
    first, second = (ExampleOrder(lengths, 4, 3, buckets=buckets) for _ in range(2))
    for _ in range(place):
        first.next()
    second.place = first.place
    assert [first.next() for _ in range(9)] == [second.next() for _ in range(9)]


def test_epochs_seeds_and_salts_have_orders_of_their_own():
    def shown(seed: int, salt: int = 0, skip: int = 0) -> tuple[int, ...]:
        order = ExampleOrder([1] * 64, 64, seed, buckets=False)
        order.salt, order.place = salt, skip
        return tuple(order.next())

    assert len({shown(0), shown(1), shown(0, salt=1), shown(0, skip=1)}) == 4


def test_buckets_put_like_lengths_together():
    lengths = [index * 31 % 97 for index in range(320)]

    def spread(*, buckets: bool) -> float:
        order = ExampleOrder(lengths, 8, 0, buckets=buckets)
        batches = [[lengths[index] for index in order.next()] for _ in range(40)]
        return sum(max(batch) - min(batch) for batch in batches) / len(batches)

    assert spread(buckets=True) < 0.2 * spread(buckets=False)


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(TuningError, match="5 examples to learn from are fewer than one batch of 8; lower batch_size"):
        ExampleOrder([1] * 5, 8, 0, buckets=True)
