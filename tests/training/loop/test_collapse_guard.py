"""The collapse guard: each rule fires after its time and not before, and a wild gradient is known by the ones before it."""

import io
import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.loop.collapse_guard import CollapseGuard, GradientWatch, GuardLimits, feature_spread, gradient_norm


def judged(guard: CollapseGuard, name: str, *values: float, every: int = 4000) -> list[bool]:
    """Whether each value, reported every so many images, is a collapse."""
    return [guard.judge({name: value}, every * number) is not None for number, value in enumerate(values, start=1)]


@pytest.mark.parametrize("every", [2, 16, 1000, 4000])
def test_a_discriminator_that_has_won_is_noticed_by_the_mean_over_twelve_kimg_however_often_it_is_reported(every):
    signs = [0.98, *(0.97 if number % 2 else 1.0 for number in range(24_000 // every))]
    assert judged(CollapseGuard(), "r_t", *signs, every=every).index(True) == 12_000 / every
    signs = [0.98, *(0.93 if number % 2 else 1.0 for number in range(24_000 // every))]
    assert not any(judged(CollapseGuard(), "r_t", *signs, every=every))


def test_a_discriminator_that_wins_while_it_is_watched_is_noticed_within_twice_that_time():
    signs = [0.5 if number * 1000 <= 20_000 else 0.995 for number in range(1, 60)]
    assert 20 + 12 <= judged(CollapseGuard(), "r_t", *signs, every=1000).index(True) + 1 <= 20 + 24


def test_one_report_on_many_images_counts_for_as_many():
    assert judged(CollapseGuard(), "r_t", 0.99, 0.99, every=40_000) == [False, True]


def test_a_sign_that_is_not_a_number_counts_as_high():
    assert judged(CollapseGuard(), "r_t", *[math.nan] * 4) == [False, False, False, True]


def test_a_discriminator_that_takes_some_fakes_for_real_has_not_won():
    guard = CollapseGuard()
    assert all(guard.judge({"r_t": 1.0, "fake_sign": -0.9}, 4000 * number) is None for number in range(1, 101))
    assert "fake_sign -0.990 below -0.98" in (guard.judge({"r_t": 1.0, "fake_sign": -0.99}, 500_000) or "")


def test_while_the_augmentation_grows_stronger_it_is_only_overfitting():
    guard = CollapseGuard(GuardLimits(sign_kimg=1))
    p = [min(1.0, 0.0025 * number) for number in range(1, 600)]
    found = [guard.judge({"r_t": 0.99, "p": strength}, 64 * number) for number, strength in enumerate(p, start=1)]
    # It is at its strongest from the 400th report on, and the first one judged is 1000 images later.
    assert [reason is not None for reason in found].index(True) == 400 + math.ceil(1000 / 64) - 1
    assert not any(found[:400])


def test_a_strength_that_differs_in_its_last_digit_has_not_risen():
    guard = CollapseGuard()
    found = [guard.judge({"r_t": 0.99, "p": sum([0.2] * steps) / steps}, 4000 * steps) for steps in range(1, 6)]
    # Twelve thousand images after the first report.
    assert [reason is not None for reason in found] == [False, False, False, True, False]


def test_images_all_alike_are_noticed_at_once_by_the_best_spread_or_the_reals():
    guard = CollapseGuard(real_spread=4.0)
    # An untrained generator may spread less than the reals; only falling back below half of the smaller of reals and best is a collapse.
    assert judged(guard, "spread", 0.5, 1.0, 10.0, 2.1, 1.9) == [False, False, False, False, True]


@pytest.mark.parametrize(("every", "after"), [(500_000, 1), (200_000, 1), (150_000, 1), (40_000, 4)])
def test_images_that_stay_worse_for_a_hundred_and_fifty_kimg_are_noticed_at_the_second_measurement_at_the_earliest(every, after):
    guard = CollapseGuard()
    assert judged(guard, "swd_x1000", 100, 80, 121, 90, *[121] * 8, every=every).index(True) == 4 + after
    assert "the best (80)" in (guard.judge({"swd_x1000": 200.0}, 20 * every) or "")


def test_a_best_distance_of_zero_or_less_is_no_measure():
    assert judged(CollapseGuard(distance="kid"), "kid", 5, -0.1, 3, 4, 5, every=200_000) == [False] * 5


def test_a_report_without_the_values_is_not_judged():
    guard = CollapseGuard()
    assert guard.judge({"loss": math.nan}, 100_000) is None and guard.is_clean


def test_what_is_suspect_is_no_state_to_come_back_to():
    guard = CollapseGuard()
    guard.judge({"r_t": 0.99}, 4000)
    guard.judge({"r_t": 0.99}, 8000)
    assert not guard.is_clean
    guard.forget_windows()
    # The images of the way that was left do not count, however many there were.
    assert guard.is_clean and judged(guard, "r_t", 0.99, 0.99, 0.99) == [False] * 3
    assert not guard.is_clean


def test_its_state_comes_back():
    guard, other = CollapseGuard(), CollapseGuard()
    guard.judge({"r_t": 0.99, "spread": 3.0, "swd_x1000": 50.0}, 0)
    guard.judge({"r_t": 0.99, "spread": 3.0, "swd_x1000": 80.0}, 4000)
    buffer = io.BytesIO()
    torch.save(guard.state_dict(), buffer)
    other.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    reason = other.judge({"r_t": 0.99, "spread": 1.0, "swd_x1000": 80.0}, 154_000) or ""
    assert all(words in reason for words in ("knows every image", "all alike", "get worse"))


@pytest.mark.parametrize("values", [{"sign_mean": 1.5}, {"sign_kimg": 0}, {"distance_kimg": -1}, {"distance": 1.0}])
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError, match="must (be|lie)"):
        GuardLimits(**values)


@given(st.lists(st.floats(0.5, 2.0), min_size=20, max_size=60), st.floats(0.01, 100))
def test_norms_within_a_factor_of_twenty_are_never_wild_whatever_their_unit(norms, unit):
    watch = GradientWatch()
    assert not any(watch.is_wild(torch.tensor(norm * unit)) for norm in norms)
    assert watch.is_wild(torch.tensor(41 * unit))


def test_the_first_norms_are_not_wild_but_what_is_not_finite_always_is():
    watch = GradientWatch(at_least=3)
    assert [watch.is_wild(torch.tensor(norm)) for norm in (1, 1e6, 1, math.nan, math.inf, 1e9)] == [False, False, False, True, True, True]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_the_reference_is_twenty_times_the_median_of_the_last_norms(norms):
    watch = GradientWatch(window=7, at_least=3)
    for place, norm in enumerate(norms):
        before = norms[max(0, place - 7) : place]
        assert bool(watch.is_wild(torch.tensor(norm, dtype=torch.float64))) == (place >= 3 and norm > 20 * statistics.median(before))
    assert watch.state_dict() == norms[-7:]


def test_a_lasting_change_of_scale_is_accepted_in_the_end():
    watch = GradientWatch(window=11, at_least=5)
    wild = [watch.is_wild(torch.tensor(norm)) for norm in [1.0] * 11 + [100.0] * 11]
    assert sum(wild) == 6 and not wild[-1]


def test_the_watch_comes_back():
    watch, other = GradientWatch(at_least=2), GradientWatch(at_least=2)
    watch.is_wild(torch.tensor(1.0))
    watch.is_wild(torch.tensor(1.0))
    other.load_state_dict(watch.state_dict())
    assert other.is_wild(torch.tensor(30.0))


def test_the_spread_is_the_root_mean_square_distance_from_the_mean():
    assert feature_spread(torch.tensor([[0.0, 0.0], [6.0, 8.0]])) == pytest.approx(5.0)
    assert feature_spread(torch.ones(7, 3)) == 0.0


def test_the_norm_of_gradients_is_over_all_that_have_one():
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad, parameters[2].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert gradient_norm(parameters) == pytest.approx(5.0)
    parameters[2].grad[0] = math.nan
    assert math.isnan(gradient_norm(parameters))


def test_when_a_network_has_grown_what_was_best_before_does_not_count():
    def judge(guard: CollapseGuard, px: list[int]) -> list[bool]:
        distances = [1.0, 9.0, 9.0, 9.0]
        return [guard.judge({"px": side, "swd_x1000": far}, 100_000 * n) is not None for n, (side, far) in enumerate(zip(px, distances, strict=True))]

    assert judge(CollapseGuard(), [4, 8, 8, 8]) == [False, False, False, True]
    assert judge(CollapseGuard(era="px"), [4, 8, 8, 8]) == [False] * 4
    # Within an era it judges as always, and an era outlasts a resume.
    assert judge(CollapseGuard(era="px"), [4, 4, 4, 4]) == [False, False, False, True]
    guard, again = CollapseGuard(era="px"), CollapseGuard(era="px")
    assert guard.judge({"px": 4, "spread": 5.0}, 0) is None
    again.load_state_dict(guard.state_dict())
    assert "all alike" in again.judge({"px": 4, "spread": 1.0}, 1) and again.judge({"px": 8, "spread": 1.0}, 2) is None
