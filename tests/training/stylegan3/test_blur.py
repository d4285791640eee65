import pytest
import torch

from training.stylegan3.blur import blur_sigma_px, gaussian_blur


def test_the_blur_fades_over_the_first_200_thousand_pictures_at_batch_32():
    assert blur_sigma_px(0, batch_size=32) == 10
    assert blur_sigma_px(100_000, batch_size=32) == pytest.approx(5)
    assert blur_sigma_px(200_000, batch_size=32) == 0
    assert blur_sigma_px(50_000, batch_size=8) == 0
    assert blur_sigma_px(10**9, batch_size=32) == 0


def test_no_blur_returns_the_pictures_themselves():
    images = torch.randn(1, 3, 8, 8)
    assert gaussian_blur(images, 0.0) is images


def test_a_blurred_point_is_a_gaussian_and_a_flat_picture_stays_flat():
    point = torch.zeros(1, 1, 65, 65, dtype=torch.float64)
    point[0, 0, 32, 32] = 1
    blurred = gaussian_blur(point, 4.0)
    assert blurred.sum().item() == pytest.approx(1)
    row = blurred.sum(dim=2)[0, 0]
    places = torch.arange(65.0) - 32
    assert (row * places.square()).sum().sqrt().item() == pytest.approx(4, rel=0.03)
    torch.testing.assert_close(gaussian_blur(torch.ones(1, 3, 16, 16), 10.0), torch.ones(1, 3, 16, 16))
