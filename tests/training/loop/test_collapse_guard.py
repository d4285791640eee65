"""The collapse guard: each rule fires at its window and not before, and a wild gradient is known by the ones before it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.loop.collapse_guard import CollapseGuard, GradientWatch, GuardLimits, feature_spread, gradient_norm


def judged(guard: CollapseGuard, name: str, *values: float) -> list[bool]:
    return [guard.judge({name: value}) is not None for value in values]


def test_a_discriminator_that_has_won_is_noticed_in_the_third_report_in_a_row():
    guard = CollapseGuard()
    assert judged(guard, "r_t", 0.96, 0.99, 0.5, 0.96, 0.97, 0.98) == [False, False, False, False, False, True]


def test_a_sign_that_is_not_a_number_counts_as_high():
    assert judged(CollapseGuard(), "r_t", math.nan, math.nan, math.nan) == [False, False, True]


def test_images_all_alike_are_noticed_at_once_by_the_best_spread_or_the_reals():
    guard = CollapseGuard(real_spread=4.0)
    # An untrained generator may spread less than the reals; only falling back below half of the smaller of reals and best is a collapse.
    assert judged(guard, "spread", 0.5, 1.0, 10.0, 2.1, 1.9) == [False, False, False, False, True]


def test_images_that_get_worse_are_noticed_in_the_second_measurement_in_a_row():
    guard = CollapseGuard()
    assert judged(guard, "swd_x1000", 100, 80, 121, 90, 121, 125) == [False, False, False, False, False, True]
    assert "the best (80)" in (guard.judge({"swd_x1000": 200.0}) or "")


def test_a_best_distance_of_zero_or_less_is_no_measure():
    assert judged(CollapseGuard(distance="kid"), "kid", 5, -0.1, 3, 4, 5) == [False] * 5


def test_a_report_without_the_values_is_not_judged():
    guard = CollapseGuard()
    assert guard.judge({"loss": math.nan}) is None and guard.is_clean


def test_what_is_suspect_is_no_state_to_come_back_to():
    guard = CollapseGuard()
    guard.judge({"r_t": 0.99})
    assert not guard.is_clean
    guard.forget_windows()
    assert guard.is_clean and judged(guard, "r_t", 0.99, 0.99) == [False, False]


def test_its_state_comes_back():
    guard, other = CollapseGuard(), CollapseGuard()
    guard.judge({"r_t": 0.99, "spread": 3.0, "swd_x1000": 50.0})
    guard.judge({"r_t": 0.99, "spread": 3.0, "swd_x1000": 80.0})
    other.load_state_dict(guard.state_dict())
    reason = other.judge({"r_t": 0.99, "spread": 1.0, "swd_x1000": 80.0}) or ""
    assert all(words in reason for words in ("knows every real image", "all alike", "get worse"))


@pytest.mark.parametrize("values", [{"sign_windows": 0}, {"distance_windows": 0}, {"distance": 1.0}])
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match="must be"):
        GuardLimits(**values)


@given(st.lists(st.floats(0.5, 2.0), min_size=20, max_size=60), st.floats(0.01, 100))
def test_norms_within_a_factor_of_twenty_are_never_wild_whatever_their_unit(norms, unit):
    watch = GradientWatch()
    assert not any(watch.is_wild(norm * unit) for norm in norms)
    assert watch.is_wild(41 * unit)


def test_the_first_norms_are_not_wild_but_what_is_not_finite_always_is():
    watch = GradientWatch(at_least=3)
    assert [watch.is_wild(norm) for norm in (1, 1e6, 1, math.nan, math.inf, 1e9)] == [False, False, False, True, True, True]


def test_a_lasting_change_of_scale_is_accepted_in_the_end():
    watch = GradientWatch(window=11, at_least=5)
    wild = [watch.is_wild(norm) for norm in [1.0] * 11 + [100.0] * 11]
    assert sum(wild) == 6 and not wild[-1]


def test_the_watch_comes_back():
    watch, other = GradientWatch(at_least=2), GradientWatch(at_least=2)
    watch.is_wild(1.0)
    watch.is_wild(1.0)
    other.load_state_dict(watch.state_dict())
    assert other.is_wild(30.0)


def test_the_spread_is_the_root_mean_square_distance_from_the_mean():
    assert feature_spread(torch.tensor([[0.0, 0.0], [6.0, 8.0]])) == pytest.approx(5.0)
    assert feature_spread(torch.ones(7, 3)) == 0.0


def test_the_norm_of_gradients_is_over_all_that_have_one():
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad, parameters[2].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert gradient_norm(parameters) == pytest.approx(5.0)
    parameters[2].grad[0] = math.nan
    assert math.isnan(gradient_norm(parameters))
