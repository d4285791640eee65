import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from training.stylegan3.filters import filtering_matrices, kaiser_sinc, radial_kaiser_jinc
from training.stylegan3.layers import (
    Dense,
    compute_dtype,
    filtered_lrelu,
    filtered_lrelu_reference,
    layer_filters,
    modulated_convolution,
    normalise_second_moment,
)


def per_picture_convolution(x, weight, styles, *, padding, demodulate, input_gain):
    """The definition: every picture has its own weights, convolved one by one."""
    if demodulate:
        weight = weight / weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        styles = styles / styles.square().mean().sqrt()
    own = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        own = own / (own.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    own = own * input_gain
    result = functional.conv2d(x.reshape(1, -1, *x.shape[2:]), own.flatten(0, 1), padding=padding, groups=len(x))
    return result.view(len(x), -1, *result.shape[2:])


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_activations_equals_convolving_every_picture_with_its_own_weights(kernel, demodulate):
    torch.manual_seed(0)
    x = torch.randn(4, 5, 9, 9, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 5, kernel, kernel, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    settings = {"padding": kernel - 1, "demodulate": demodulate, "input_gain": torch.tensor(0.7, dtype=torch.float64)}
    result, factor = modulated_convolution(x, weight, styles, **settings)
    result = result if factor is None else result * factor[:, :, None, None]
    expected = per_picture_convolution(x, weight, styles, **settings)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(expected)
    gradients = [torch.autograd.grad(y, (x, weight, styles), upstream) for y in (result, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_demodulated_convolution_keeps_the_size_of_its_input():
    torch.manual_seed(0)
    x, weight, styles = torch.randn(8, 32, 16, 16), torch.randn(32, 32, 3, 3) * 7, torch.randn(8, 32) * 100
    result, factor = modulated_convolution(x, weight, styles, padding=0, demodulate=True, input_gain=torch.ones(()))
    assert factor is not None
    assert (result * factor[:, :, None, None]).std().item() == pytest.approx(1, rel=0.1)
    assert result.std().item() == pytest.approx(1, rel=0.3)  # In range for half precision, before the factor too.


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    up=st.integers(1, 4),
    down=st.integers(1, 4),
    up_taps=st.integers(1, 16),
    down_taps=st.integers(1, 16),
    low=st.integers(-7, 9),
    high=st.integers(-7, 9),
    is_radial=st.booleans(),
    clamp=st.sampled_from([0.5, 256.0]),
)
def test_the_fast_path_equals_the_definition(seed, up, down, up_taps, down_taps, low, high, is_radial, clamp):
    size = 16
    if size * up + low + high - up_taps + 1 < down_taps:
        return
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, size, size, generator=random, dtype=torch.float64)
    bias = torch.randn(3, generator=random, dtype=torch.float64)
    up_kernel = torch.randn(up_taps, generator=random, dtype=torch.float64)
    down_kernel = torch.randn(*([down_taps] * (2 if is_radial else 1)), generator=random, dtype=torch.float64)
    expected = filtered_lrelu_reference(
        x, up_kernel=up_kernel, down_kernel=down_kernel, up=up, down=down, padding=(low, high), bias=bias, clamp=clamp
    )
    filters = fast_filters(up_kernel, down_kernel, size=size, up=up, down=down, padding=(low, high))
    torch.testing.assert_close(filtered_lrelu(x + bias[:, None, None], filters, clamp=clamp), expected, rtol=1e-11, atol=1e-11)


def fast_filters(up_kernel, down_kernel, *, size, up, down, padding):
    matrices = filtering_matrices(up_kernel.numpy(), down_kernel.numpy(), in_size=size, up=up, down=down, padding=padding, tolerance=1e-15)
    return layer_filters(matrices, up_kernel)


@pytest.mark.parametrize("is_radial", [False, True])
@pytest.mark.parametrize(("up", "padding"), [(2, (9, 8)), (4, (-6, -9)), (2, (-11, -12))])
def test_the_fast_path_equals_the_definition_with_the_filters_of_the_network(up, padding, is_radial):
    torch.manual_seed(0)
    rate = 32 * up
    up_kernel = torch.from_numpy(kaiser_sinc(6 * up, cutoff=6, width=20, rate=rate))
    design = radial_kaiser_jinc if is_radial else kaiser_sinc
    down_kernel = torch.from_numpy(np.ascontiguousarray(design(12, cutoff=8, width=12, rate=rate)))
    x = torch.randn(2, 3, 38, 38, dtype=torch.float64, requires_grad=True)
    fast = filtered_lrelu(x, fast_filters(up_kernel, down_kernel, size=38, up=up, down=2, padding=padding), clamp=1.5)
    slow = filtered_lrelu_reference(x, up_kernel=up_kernel, down_kernel=down_kernel, up=up, down=2, padding=padding, clamp=1.5)
    torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-11)
    upstream = torch.randn_like(slow)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (fast, slow))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("is_radial", [False, True])
def test_filtering_in_blocks_gives_the_same_result(is_radial, monkeypatch):
    monkeypatch.setattr("training.gans.banded._BLOCK", 16)
    torch.manual_seed(0)
    up_kernel = torch.from_numpy(kaiser_sinc(12, cutoff=6, width=20, rate=64))
    down_kernel = torch.from_numpy((radial_kaiser_jinc if is_radial else kaiser_sinc)(12, cutoff=8, width=12, rate=64))
    filters = fast_filters(up_kernel, down_kernel, size=36, up=2, down=2, padding=(9, 8))
    assert min(len(filters.up.blocks), len(filters.down_vertical.blocks), len(filters.down_vertical.transposed_blocks)) > 1
    x = torch.randn(2, 2, 36, 36, dtype=torch.float64, requires_grad=True)
    fast = filtered_lrelu(x, filters, clamp=1.5)
    slow = filtered_lrelu_reference(x, up_kernel=up_kernel, down_kernel=down_kernel, up=2, down=2, padding=(9, 8), clamp=1.5)
    torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-11)
    upstream = torch.randn_like(slow)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (fast, slow))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_the_gradient_of_the_fast_path_is_that_of_finite_differences():
    torch.manual_seed(0)
    kernel = torch.from_numpy(kaiser_sinc(12, cutoff=2, width=12, rate=32))
    filters = fast_filters(kernel, kernel, size=8, up=2, down=2, padding=(9, 8))
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: filtered_lrelu(x, filters, clamp=1.0), (x,))


def test_memory_layout_does_not_change_the_result():
    torch.manual_seed(0)
    kernel = torch.from_numpy(kaiser_sinc(12, cutoff=2, width=12, rate=32))
    filters = fast_filters(kernel, kernel, size=12, up=2, down=2, padding=(9, 8))
    x = torch.randn(2, 5, 12, 12, dtype=torch.float64)
    rows, channels_last = (
        filtered_lrelu(x.contiguous(memory_format=layout), filters, clamp=256.0) for layout in (torch.contiguous_format, torch.channels_last)
    )
    torch.testing.assert_close(rows, channels_last)


def test_the_input_of_the_fast_path_is_left_as_it_was():
    torch.manual_seed(0)
    ones = torch.ones(1, dtype=torch.float64)
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    before = x.clone()
    filtered_lrelu(x, fast_filters(ones, ones, size=8, up=1, down=1, padding=(0, 0)), clamp=0.1)
    assert torch.equal(x, before)


def test_a_dense_layer_begins_with_unit_output_whatever_its_learning_rate():
    torch.manual_seed(0)
    x = torch.randn(512, 256)
    for lr_multiplier in (1.0, 0.01):
        layer = Dense(256, 256, lr_multiplier=lr_multiplier)
        assert layer(x).std().item() == pytest.approx(1, rel=0.05)
        assert layer.weight.std().item() == pytest.approx(1 / lr_multiplier, rel=0.05)
    activated = Dense(256, 256, activation="lrelu")(x)
    assert activated.square().mean().sqrt().item() == pytest.approx(1, rel=0.05)


def test_a_bias_starts_at_the_value_asked_for():
    assert torch.equal(Dense(4, 3, bias=1.0, lr_multiplier=0.01)(torch.zeros(1, 4)), torch.ones(1, 3))


def test_normalised_rows_have_unit_mean_square():
    x = normalise_second_moment(torch.randn(5, 64) * 30)
    torch.testing.assert_close(x.square().mean(dim=1), torch.ones(5))


def test_a_processor_without_acceleration_keeps_the_precision_of_the_weights():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for precision in ("auto", "float32", "float16", "bfloat16"):
        assert compute_dtype(precision, device=cpu, weights=torch.float64) is torch.float64
    assert compute_dtype("auto", device=cuda, weights=torch.float32) is torch.float16
    assert compute_dtype("bfloat16", device=cuda, weights=torch.float32) is torch.bfloat16
    assert compute_dtype("float32", device=cuda, weights=torch.float32) is torch.float32
