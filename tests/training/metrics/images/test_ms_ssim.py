"""MS-SSIM against an implementation with numpy alone, and as a measure of how alike fakes are."""

import numpy
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images.ms_ssim import mean_pair_similarity, ms_ssim

from .drawn_images import discs, noise


def by_numpy(x, y):
    """Wang et al. 2003 for [C, H, W] in [0, 255], in float64, window by window."""
    result = 1.0
    x, y = x.astype(float), y.astype(float)
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    for scale, weight in enumerate(weights):
        size = min(11, x.shape[1], x.shape[2])
        offsets = numpy.arange(size) - (size - 1) / 2
        line = numpy.exp(-(offsets**2) / (2 * (1.5 * size / 11) ** 2))
        window = numpy.outer(line, line) / line.sum() ** 2
        luminances, contrasts = [], []
        for channel in range(len(x)):
            for top in range(x.shape[1] - size + 1):
                for left in range(x.shape[2] - size + 1):
                    a, b = (image[channel, top : top + size, left : left + size] for image in (x, y))
                    mean_a, mean_b = (window * a).sum(), (window * b).sum()
                    variance_a, variance_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
                    covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                    contrasts.append((2 * covariance + c2) / (variance_a + variance_b + c2))
                    luminances.append((2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * contrasts[-1])
        term = numpy.mean(luminances if scale == len(weights) - 1 else contrasts)
        result *= max(term, 0) ** weight
        half = x.shape[1] // 2
        x, y = (image[:, : 2 * half, : 2 * half].reshape(len(image), half, 2, half, 2).mean(axis=(2, 4)) for image in (x, y))
    return result


@pytest.mark.parametrize("side", [32, 48])
def test_it_agrees_with_an_independent_implementation(side):
    one = discs(3, side=side, seed=0)
    shaken = numpy.clip(one + numpy.random.default_rng(0).normal(0, 30, one.shape), 0, 255).astype(numpy.uint8)
    for other in (shaken, discs(3, side=side, seed=1)):
        found = ms_ssim(torch.from_numpy(one), torch.from_numpy(other)).numpy()
        expected = [by_numpy(a, b) for a, b in zip(one, other, strict=True)]
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)


def test_an_image_is_as_itself_and_the_order_does_not_matter():
    one, other = torch.from_numpy(discs(4, seed=0)), torch.from_numpy(discs(4, seed=1))
    assert ms_ssim(one, one).tolist() == pytest.approx([1] * 4, abs=1e-5)
    assert torch.allclose(ms_ssim(one, other), ms_ssim(other, one), atol=1e-6)


def test_an_image_and_its_negative_are_not_alike_and_no_power_of_a_negative_number_is_taken():
    one = noise(2)
    assert ms_ssim(torch.from_numpy(one), torch.from_numpy(255 - one)).tolist() == [0, 0]


def test_more_noise_is_less_alike():
    one = discs(8)
    random = numpy.random.default_rng(0)
    shaken = [numpy.clip(one + random.normal(0, sigma, one.shape), 0, 255).astype(numpy.uint8) for sigma in (5, 20, 60)]
    values = [float(ms_ssim(torch.from_numpy(one), torch.from_numpy(other)).mean()) for other in shaken]
    assert values == sorted(values, reverse=True)


def test_a_generator_that_repeats_itself_scores_one_and_a_varied_one_less():
    same = numpy.repeat(discs(1), 10, axis=0)
    assert mean_pair_similarity(same, pairs=20).value == pytest.approx(1, abs=1e-5)
    assert mean_pair_similarity(discs(10), pairs=20).value < 0.95


def test_pairs_are_of_different_images_and_drawn_by_the_seed():
    """Of two images there is one pair: was an image paired with itself, the mean would lie above it."""
    two = noise(2)
    found = mean_pair_similarity(two, pairs=30)
    assert found.value == pytest.approx(float(ms_ssim(torch.from_numpy(two[:1]), torch.from_numpy(two[1:]))[0]), rel=1e-5)
    assert mean_pair_similarity(discs(9), pairs=30, seed=1) == mean_pair_similarity(discs(9), pairs=30, seed=1)


def test_the_interval_holds_the_mean_and_n_is_the_number_of_pairs():
    found = mean_pair_similarity(discs(12), pairs=100)
    assert found.low < found.value < found.high
    assert found.n == 100


def test_one_image_makes_no_pair():
    with pytest.raises(ValueError, match="found 1"):
        mean_pair_similarity(discs(1))
