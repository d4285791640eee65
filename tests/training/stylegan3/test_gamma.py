"""The default gamma is the published one where there is one."""

import pytest

from training.stylegan3.gamma import default_gamma
from training.stylegan3.options import StyleGAN3Options


@pytest.mark.parametrize(("resolution", "gamma"), [(128, 0.5), (256, 2), (512, 8), (1024, 32)])
def test_at_batch_32_it_is_the_published_table(resolution, gamma):
    assert default_gamma(resolution, 32) == gamma


@pytest.mark.parametrize("resolution", [16, 64, 256])
def test_four_times_for_twice_the_resolution_and_more_for_a_smaller_batch(resolution):
    assert default_gamma(2 * resolution, 32) == 4 * default_gamma(resolution, 32)
    assert default_gamma(resolution, 8) == 4 * default_gamma(resolution, 32)


def test_what_is_given_wins_and_null_takes_the_rule():
    assert StyleGAN3Options(gamma=8.0).resolved_gamma(256) == 8.0
    assert StyleGAN3Options(gamma=0.0).resolved_gamma(256) == 0.0
    assert StyleGAN3Options(gamma=None, batch=32).resolved_gamma(256) == 2.0


@pytest.mark.parametrize("wrong", [(0, 32), (128, 0)])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        default_gamma(*wrong)
