import pytest
import torch

from training.gans.banded import multiply
from training.stylegan3 import blur
from training.stylegan3.blur import blur_matrix, blur_sigma_px, blurred


def test_the_blur_fades_over_the_first_200_thousand_pictures_at_batch_32():
    assert blur_sigma_px(0, batch_size=32) == 10
    assert blur_sigma_px(100_000, batch_size=32) == pytest.approx(5)
    # Over when it no longer reaches the next pixel.
    assert blur_sigma_px(196_600, batch_size=32) == pytest.approx(0.17) and blur_sigma_px(196_700, batch_size=32) == 0
    assert blur_sigma_px(200_000, batch_size=32) == 0
    assert blur_sigma_px(50_000, batch_size=8) == 0
    assert blur_sigma_px(10**9, batch_size=32) == 0


def test_no_blur_is_the_picture_itself():
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(blurred(images, blur_matrix(8, 0.1)), images)


@pytest.mark.parametrize("side", [8, 64, 1024])
def test_a_narrow_blur_lies_within_the_blocks_of_the_widest(side):
    """Left out of the product is what is zero in every one of them, in the transposed matrix as well."""
    for sigma in (10.0, 9.99, 3.0, 0.2):
        matrix = blur_matrix(side, sigma)
        for blocks, whole in zip(blur._widest_blocks(side), (matrix, matrix.T), strict=True):
            torch.testing.assert_close(multiply(whole, torch.eye(side)[None], blocks)[0], whole)


def test_a_blurred_point_is_a_gaussian_and_a_flat_picture_stays_flat():
    point = torch.zeros(1, 1, 65, 65, dtype=torch.float64)
    point[0, 0, 32, 32] = 1
    spread = blurred(point, blur_matrix(65, 4.0))
    assert spread.sum().item() == pytest.approx(1)
    row = spread.sum(dim=2)[0, 0]
    places = torch.arange(65.0) - 32
    assert (row * places.square()).sum().sqrt().item() == pytest.approx(4, rel=0.03)
    torch.testing.assert_close(blurred(torch.ones(1, 3, 16, 16), blur_matrix(16, 10.0)), torch.ones(1, 3, 16, 16))
