"""What both players are made of: equalised dense layers, modulated convolution, and the leaky ReLU between two filters.

Shapes: B pictures, C channels, H x W pixels, margins included. Activations are kept "channels last" in memory: then filtering along either axis is a
matrix product without a copy, and convolutions find the layout that accelerators prefer.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from training.gans.banded import BandedMatrix, Block, along_height, along_width, banded
from training.stylegan3.config import Precision
from training.stylegan3.filters import FilteringMatrices

LRELU_SLOPE = 0.2
LRELU_GAIN = 2**0.5


class LayerFilters(NamedTuple):
    """A layer's filters, as `filters.FilteringMatrices` describes them."""

    up: BandedMatrix
    down_vertical: BandedMatrix
    down_horizontal: BandedMatrix


def layer_filters(matrices: FilteringMatrices, like: Tensor) -> LayerFilters:
    return LayerFilters(*(banded(matrix, like) for matrix in matrices))


def compute_dtype(precision: Precision, *, device: torch.device, weights: torch.dtype) -> torch.dtype:
    """What a layer that may compute in low precision computes in. A CPU keeps the precision of the weights, whatever is asked for."""
    if device.type != "cuda" or precision == "float32":
        return weights
    return torch.bfloat16 if precision == "bfloat16" else torch.float16


def normalise_second_moment(x: Tensor) -> Tensor:
    """Each row of x [B, C] divided by its root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class RunningMean:
    """Moves a buffer of a network towards the mean over a batch: once for a batch, in however many parts and processes that was computed.

    average: the buffer. beta: its decay per batch.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self._total: Tensor | None = None
        self._count = 0

    @torch.no_grad()
    def observe(self, mean: Tensor, count: int) -> None:
        """The mean over `count` more pictures of the batch."""
        total = mean.detach() * count
        self._total = total if self._total is None else self._total + total
        self._count += count

    def take(self) -> Tensor:
        """The sum over the pictures observed and their number, flat; nothing is remembered of them."""
        if self._total is None:
            raise RuntimeError("no picture was observed since the last step of the average")
        taken = torch.cat([self._total.flatten(), self._total.new_full((1,), self._count)])
        self.forget()
        return taken

    def forget(self) -> None:
        """What was observed and not taken: of a step that was broken off."""
        self._total, self._count = None, 0


class Dense(nn.Module):
    """Fully connected layer with equalised learning rate: weights are stored as N(0, 1) / lr_multiplier and scaled when used.

    Source: Karras et al. 2018, section 4.1; learning-rate multiplier: Karras et al. 2019, appendices.
    """

    def __init__(
        self, in_features: int, out_features: int, *, activation: Literal["linear", "lrelu"] = "linear", lr_multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.activation, self.lr_multiplier = activation, lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        # w = ŵ · c with c = 1 / √fan_in (He et al. 2015): every layer learns at the same speed whatever its width.
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
    Source: Karras et al. 2020 (StyleGAN2), equations 1 and 3. Normalising both factors first: Karras et al. 2021, appendices.
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
    # w' = s_i w_ijk (equation 1) acts on input channels, demodulation 1 / √(Σ w'² + ε) (equation 3) on output channels: both move out of the weights.
    scaled = x * (styles * input_gain).to(x.dtype)[:, :, None, None]
    weight = (weight * fan_in**-0.5 if demodulate else weight).to(x.dtype)
    return functional.conv2d(scaled, weight, padding=padding), factor


def filtered_lrelu(x: Tensor, filters: LayerFilters, *, slope: float = LRELU_SLOPE, gain: float = LRELU_GAIN, clamp: float) -> Tensor:
    """Upsample, leaky ReLU times `gain`, clamp to ±clamp, downsample; both filters as matrices.

    x: [B, C, in, in], bias added already. Returns [B, C, out, out]. Differentiable once. Equals `filtered_lrelu_reference`.
    Source: Karras et al. 2021, sections 2 and 3, figure 4.
    """
    up, down_vertical, down_horizontal = filters
    # The gain is positive, so it may come before the leaky ReLU: half of it into each axis.
    matrices = (matrix.to(x.dtype) for matrix in (up.matrix * gain**0.5, down_vertical.matrix, down_horizontal.matrix))
    blocks = tuple((one.blocks, one.transposed_blocks) for one in filters)
    return _FilteredLeakyReLU.apply(x, *matrices, blocks, slope, clamp)


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
    # Zeros between pixels lower the mean by up², which the first filter makes up for.
    sparse = x.new_zeros(B, C, H, up, W, up)
    sparse[:, :, :, 0, :, 0] = x
    y = functional.pad(sparse.reshape(B, C, H * up, W * up), (*padding, *padding))
    y = _filter_valid(y, up_kernel) * up**2
    y = (functional.leaky_relu(y, slope) * gain).clamp(-clamp, clamp)
    return _filter_valid(y, down_kernel)[:, :, ::down, ::down]


def _filter_valid(x: Tensor, kernel: Tensor) -> Tensor:
    kernel = torch.outer(kernel, kernel) if kernel.ndim == 1 else kernel
    channels = x.shape[1]
    # conv2d correlates; a filter is flipped to convolve.
    return functional.conv2d(x, kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1), groups=channels)


_AllBlocks = tuple[tuple[tuple[Block, ...], tuple[Block, ...]], ...]


class _FilteredLeakyReLU(torch.autograd.Function):
    """All of `filtered_lrelu` between its matrices: the backward pass runs the transposed matrices in the opposite order.

    One tensor is remembered, at the highest rate: its signs and sizes say which branch of the leaky ReLU and of the clamp was taken.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, up: Tensor, down_vertical: Tensor, down_horizontal: Tensor, blocks: _AllBlocks, slope: float, clamp: float
    ) -> Tensor:
        (up_blocks, _), (vertical_blocks, _), (horizontal_blocks, _) = blocks
        y = along_width(up, x.permute(0, 2, 3, 1).contiguous(), up_blocks)
        y = along_height(up, y, up_blocks)
        y = functional.leaky_relu_(y, slope).clamp_(-clamp, clamp)
        ctx.save_for_backward(y, up, down_vertical, down_horizontal)
        ctx.blocks, ctx.slope, ctx.clamp = blocks, slope, clamp
        B, out, C = len(y), len(down_horizontal), y.shape[3]
        y = along_height(down_vertical, y, vertical_blocks)
        # Rows are ordered by place, then term: seen as more columns, the horizontal matrix filters and adds the terms up at once.
        y = along_width(down_horizontal, y.view(B, out, -1, C), horizontal_blocks)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, up, down_vertical, down_horizontal = ctx.saved_tensors
        (_, up_blocks), (_, vertical_blocks), (_, horizontal_blocks) = ctx.blocks
        B, middle, _, C = y.shape
        # Backwards: transposed downsampling, the masks of clamp and leaky ReLU by what came out of them, transposed upsampling.
        grad = along_width(down_horizontal.T, grad.permute(0, 2, 3, 1).contiguous(), horizontal_blocks)
        grad = along_height(down_vertical.T, grad.view(B, -1, middle, C), vertical_blocks)
        torch.ops.aten.hardtanh_backward.grad_input(grad, y, -ctx.clamp, ctx.clamp, grad_input=grad)
        torch.ops.aten.leaky_relu_backward.grad_input(grad, y, ctx.slope, True, grad_input=grad)
        grad = along_width(up.T, along_height(up.T, grad, up_blocks), up_blocks)
        return grad.permute(0, 3, 1, 2), None, None, None, None, None, None
