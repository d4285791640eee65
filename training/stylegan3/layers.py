"""What both players are made of: equalised dense layers, modulated convolution, and the leaky ReLU between two filters.

Shapes: B pictures, C channels, H x W pixels, margins included. Activations are kept "channels last" in memory: then filtering along either axis is a
matrix product without a copy, and convolutions find the layout that accelerators prefer.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from training.stylegan3.config import Precision

LRELU_SLOPE = 0.2
LRELU_GAIN = 2**0.5


def compute_dtype(precision: Precision, *, device: torch.device, weights: torch.dtype) -> torch.dtype:
    """What a layer that may compute in low precision computes in. A CPU keeps the precision of the weights, whatever is asked for."""
    if device.type != "cuda" or precision == "float32":
        return weights
    return torch.bfloat16 if precision == "bfloat16" else torch.float16


def normalise_second_moment(x: Tensor) -> Tensor:
    """Each row of x [B, C] divided by its root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Dense(nn.Module):
    """Fully connected layer with equalised learning rate: weights are stored as N(0, 1) / lr_multiplier and scaled when used.

    Source: Karras et al. 2018, section 4.1; learning-rate multiplier: Karras et al. 2019, appendix C.
    """

    def __init__(
        self, in_features: int, out_features: int, *, activation: Literal["linear", "lrelu"] = "linear", lr_multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.activation, self.lr_multiplier = activation, lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        gain = self.lr_multiplier * self.weight.shape[1] ** -0.5
        x = functional.linear(x, self.weight * gain, self.bias * self.lr_multiplier)
        return functional.leaky_relu(x, LRELU_SLOPE) * LRELU_GAIN if self.activation == "lrelu" else x


def modulated_convolution(
    x: Tensor, weight: Tensor, styles: Tensor, *, padding: int, demodulate: bool, input_gain: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Convolve every picture with its own weights, without making those weights: (result [B, O, H', W'], factor [B, O] still to be applied, or None).

    x: [B, C, H, W]. weight: [O, C, k, k]. styles: [B, C]. input_gain: scalar. Picture b's own weights are weight * styles[b], each filter of them
    divided by its norm with `demodulate`, times input_gain. Scaling input channels before, and output channels after, one shared convolution is the
    same, exactly. Sums are in float32, the convolution in the precision of x.
    Source: Karras et al. 2020 (StyleGAN2), equations 1 and 3. Normalising both factors first: Karras et al. 2021, appendix D.
    """
    fan_in = weight[0].numel()
    factor = None
    if demodulate:
        # Styles share one normalisation over the whole batch; demodulation cancels it but for its epsilon.
        weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        styles = styles * styles.square().mean().rsqrt()
        squared_norm = styles.square() @ weight.square().sum(dim=(2, 3)).T
        # 1 / sqrt(fan_in) moves from the factor into the weights, where it keeps the convolution's output near 1.
        factor = ((squared_norm + 1e-8) / fan_in).rsqrt()
    scaled = x * (styles * input_gain).to(x.dtype)[:, :, None, None]
    weight = (weight * fan_in**-0.5 if demodulate else weight).to(x.dtype)
    return functional.conv2d(scaled, weight, padding=padding), factor


def filtered_lrelu(
    x: Tensor, *, up: Tensor, down_vertical: Tensor, down_horizontal: Tensor, slope: float = LRELU_SLOPE, gain: float = LRELU_GAIN, clamp: float
) -> Tensor:
    """Upsample, leaky ReLU times `gain`, clamp to ±clamp, downsample; filters as matrices (`filters.FilteringMatrices`).

    x: [B, C, in, in], bias added already. Returns [B, C, out, out]. Differentiable once. Equals `filtered_lrelu_reference`.
    Source: Karras et al. 2021, figure 4a and appendix D.
    """
    B, C, _, _ = x.shape
    middle, out = len(up), len(down_horizontal)
    # The gain is positive, so it may come before the leaky ReLU: half of it into each axis.
    up = (up * gain**0.5).to(x.dtype)
    y = x.permute(0, 2, 3, 1)
    y = _along_height(up, _along_width(up, y))
    y = _LeakyClamp.apply(y, slope, clamp)
    y = _along_height(down_vertical.to(x.dtype), y)
    # Rows are (place, term): seen as more columns, the horizontal matrix filters and adds the terms up at once.
    y = _along_width(down_horizontal.to(x.dtype), y.reshape(B, out, -1, C))
    assert y.shape[2] == out, f"{tuple(y.shape)} after {middle} rows, expected {out}"
    return y.permute(0, 3, 1, 2)


def filtered_lrelu_reference(
    x: Tensor,
    *,
    up_kernel: Tensor,
    down_kernel: Tensor,
    up: int,
    down: int,
    padding: tuple[int, int],
    bias: Tensor | None = None,
    slope: float = LRELU_SLOPE,
    gain: float = LRELU_GAIN,
    clamp: float,
) -> Tensor:
    """The same, step by step as it is defined: bias, zeros between pixels, pad or crop, filter, leaky ReLU, clamp, filter, keep every down-th pixel.

    x: [B, C, H, W]. up_kernel, down_kernel: [taps] (applied along both axes) or [taps, taps]. bias: [C]. Slow; a definition and a test oracle.
    """
    B, C, H, W = x.shape
    if bias is not None:
        x = x + bias[:, None, None]
    sparse = x.new_zeros(B, C, H, up, W, up)
    sparse[:, :, :, 0, :, 0] = x
    y = functional.pad(sparse.reshape(B, C, H * up, W * up), (*padding, *padding))
    y = _filter_valid(y, up_kernel) * up**2
    y = (functional.leaky_relu(y, slope) * gain).clamp(-clamp, clamp)
    return _filter_valid(y, down_kernel)[:, :, ::down, ::down]


def filter_both_axes(x: Tensor, matrix: Tensor) -> Tensor:
    """The matrix along both axes of every channel; differentiable any number of times. x: [B, C, in, in] → [B, C, out, out]."""
    matrix = matrix.to(x.dtype)
    return _along_width(matrix, _along_height(matrix, x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def _filter_valid(x: Tensor, kernel: Tensor) -> Tensor:
    kernel = torch.outer(kernel, kernel) if kernel.ndim == 1 else kernel
    channels = x.shape[1]
    # conv2d correlates; a filter is flipped to convolve.
    return functional.conv2d(x, kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1), groups=channels)


def _along_width(matrix: Tensor, x: Tensor) -> Tensor:
    """x: [B, H, W, C] → [B, H, W', C]."""
    return torch.matmul(matrix, x)


def _along_height(matrix: Tensor, x: Tensor) -> Tensor:
    """x: [B, H, W, C] → [B, H', W, C]."""
    B, H, W, C = x.shape
    return torch.matmul(matrix, x.reshape(B, H, W * C)).view(B, -1, W, C)


class _LeakyClamp(torch.autograd.Function):
    """Leaky ReLU and clamp in place, remembering one tensor for both: the sign and the size of the result say which branch was taken."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, slope: float, clamp: float) -> Tensor:
        y = functional.leaky_relu_(x, slope).clamp_(-clamp, clamp)
        ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.slope, ctx.clamp = slope, clamp  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors  # type: ignore[attr-defined]
        grad = torch.ops.aten.hardtanh_backward(grad, y, -ctx.clamp, ctx.clamp)  # type: ignore[attr-defined]
        return torch.ops.aten.leaky_relu_backward(grad, y, ctx.slope, True), None, None  # type: ignore[attr-defined]
