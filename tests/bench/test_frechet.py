"""The benchmark of the Frechet distance: both sides agree, and no time is printed when they do not."""

import pytest

pytest.importorskip("scipy.linalg", reason="scipy is not installed (extra: gan)")

from bench import frechet


@pytest.mark.parametrize("ratio", frechet.CASES.values())
def test_both_sides_give_the_same_number(ratio):
    sets = frechet.make_features(24, int(24 * ratio), seed=1)
    result = frechet.compare_case({"ours": frechet.ours(*sets), "scipy": frechet.peer(*sets)}, rounds=1)
    assert result["relative_difference"] < frechet.TOLERANCE
    assert set(result["sides"]) == {"ours", "scipy"}
    assert result["ours_over_scipy"]["median"] > 0


def test_sides_that_differ_are_not_timed():
    result = frechet.compare_case({"ours": lambda: 1.0, "scipy": lambda: 1.001}, rounds=1)
    assert result["sides"] == {}
    assert "ours_over_scipy" not in result


def test_the_inputs_depend_on_the_seed_alone():
    assert all((a == b).all() for a, b in zip(frechet.make_features(8, 5, 3), frechet.make_features(8, 5, 3), strict=True))
