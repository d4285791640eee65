import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.gans.banded import band_blocks, banded, downsample_matrix, filter_both_axes, upsample_matrix


def naive_upsample(kernel, x, up, padding):
    sparse = np.zeros(len(x) * up)
    sparse[::up] = x
    low, high = padding
    sparse = np.pad(sparse, (max(low, 0), max(high, 0)))[max(-low, 0) :]
    sparse = sparse[: len(sparse) - max(-high, 0)]
    return up * np.convolve(sparse, kernel, mode="valid")


@given(taps=st.integers(1, 24), length=st.integers(12, 30), up=st.integers(1, 4), low=st.integers(-9, 12), high=st.integers(-9, 12))
def test_upsampling_as_a_matrix_equals_zeros_padding_and_convolution(taps, length, up, low, high):
    random = np.random.default_rng(taps + length)
    kernel, x = random.normal(size=taps), random.normal(size=length)
    if length * up + low + high < taps:
        with pytest.raises(ValueError, match="nothing is left"):
            upsample_matrix(kernel, length=length, up=up, padding=(low, high))
        return
    matrix = upsample_matrix(kernel, length=length, up=up, padding=(low, high))
    np.testing.assert_allclose(matrix @ x, naive_upsample(kernel, x, up, (low, high)), atol=1e-12)


@given(taps=st.integers(1, 24), length=st.integers(24, 60), down=st.integers(1, 4))
def test_downsampling_as_a_matrix_equals_convolution_and_every_nth_sample(taps, length, down):
    random = np.random.default_rng(taps + length)
    kernel, x = random.normal(size=taps), random.normal(size=length)
    np.testing.assert_allclose(downsample_matrix(kernel, length=length, down=down) @ x, np.convolve(x, kernel, mode="valid")[::down], atol=1e-12)


@given(taps=st.integers(1, 24), length=st.integers(100, 400), down=st.integers(1, 4), is_transposed=st.booleans())
def test_blocks_hold_all_of_a_matrix_but_zeros(taps, length, down, is_transposed):
    matrix = downsample_matrix(np.ones(taps), length=length, down=down)
    matrix = matrix.T if is_transposed else matrix
    blocks = band_blocks(matrix)
    rest = matrix.copy()
    for rows, columns in blocks:
        rest[slice(*rows), slice(*columns)] = 0
    assert not rest.any()
    assert [blocks[0].rows[0], *(block.rows[1] for block in blocks)] == [*(block.rows[0] for block in blocks), len(matrix)]


@pytest.mark.parametrize("block", [128, 8])
def test_filtering_both_axes_can_be_differentiated_twice(block, monkeypatch):
    monkeypatch.setattr("training.gans.banded._BLOCK", block)
    torch.manual_seed(0)
    x = torch.randn(2, 2, 30, 30, dtype=torch.float64, requires_grad=True)
    matrix = banded(downsample_matrix(np.array([1.0, 2.0, 3.0]), length=30, down=2), x)
    assert (len(matrix.blocks) > 1) == (block == 8)
    torch.testing.assert_close(filter_both_axes(x, matrix), matrix.matrix @ x @ matrix.matrix.T)
    assert torch.autograd.gradgradcheck(lambda x: filter_both_axes(x, matrix) ** 3, (x,), fast_mode=True)
