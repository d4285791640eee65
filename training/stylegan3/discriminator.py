"""The StyleGAN2 discriminator that StyleGAN3 trains against: residual blocks, minibatch deviation, labels by projection.

Plain differentiable operations only: R1 takes second derivatives. Names in the state dict are those of NVIDIA's snapshots.
Source: Karras et al. 2020 (StyleGAN2), section 4.1 and figure 7; labels: Miyato and Koyama 2018. B pictures, C channels.
"""

import itertools
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.gans.banded import BandedMatrix, banded, downsample_matrix, filter_both_axes
from training.gans.minibatch import minibatch_deviation
from training.stylegan3.config import StyleGAN3Config, discriminator_channels, lowest_low_precision_side
from training.stylegan3.generator import Mapping
from training.stylegan3.layers import LRELU_GAIN, LRELU_SLOPE, Dense, compute_dtype

_BLUR = (1.0, 3.0, 3.0, 1.0)
_HALF_POWER = 0.5**0.5  # Two branches of equal power, each scaled by this, add up to that power.


class Discriminator(nn.Module):
    """Pictures [B, channels, S, S] in [-1, 1], and labels c [B, label_dim] where there are labels, to logits [B, 1]: high means real."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        channels = discriminator_channels(config)
        self.sides = [side for side in channels if side > 4]
        low_precision_from = lowest_low_precision_side(config)
        # From the picture inwards, each block halves the side; only the first takes the picture itself (StyleGAN2, figure 7, "residual").
        for side in self.sides:
            block = Block(
                in_channels=config.channels if side == config.resolution else 0,
                side=side,
                channels=channels[side],
                out_channels=channels[side // 2],
                config=config,
                is_low_precision=side >= low_precision_from,
            )
            self.add_module(f"b{side}", block)
        # Labels are projected onto the last features (Miyato and Koyama 2018, arXiv 1802.05637); without labels there is no mapping network.
        label_width = channels[4] if config.label_dim else 0
        if label_width:
            self.mapping = Mapping(z_dim=0, label_dim=config.label_dim, w_dim=label_width, depth=config.discriminator_map_depth)
        self.b4 = Epilogue(channels[4], label_width=label_width, config=config)

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        x: Tensor | None = None
        for block in self._blocks():
            x = block(x, images)
        assert x is not None, "a discriminator has at least one block"
        return self.b4(x, self.mapping(None, c) if self.config.label_dim else None)

    def freeze(self, layers: int) -> None:
        """Stop training the first `layers` layers, from the picture inwards. Source: Mo et al. 2020, "Freeze the Discriminator"."""
        for layer in itertools.islice(self._layers(), layers):
            layer.requires_grad_(False)

    def _blocks(self) -> Iterator["Block"]:
        return (cast("Block", self.get_submodule(f"b{side}")) for side in self.sides)

    def _layers(self) -> Iterator[nn.Module]:
        for block in self._blocks():
            yield from block.children()
        yield from (self.b4.conv, self.b4.fc, self.b4.out)


class Block(nn.Module):
    """Two convolutions and a linear short cut, halving the side: x [B, C, side, side] → [B, C', side / 2, side / 2].

    The first block has in_channels: it takes the pictures instead of x.
    """

    def __init__(self, *, in_channels: int, side: int, channels: int, out_channels: int, config: StyleGAN3Config, is_low_precision: bool) -> None:
        super().__init__()
        self.precision, self.is_low_precision = config.precision, is_low_precision
        clamp = config.conv_clamp
        if in_channels:
            self.fromrgb = Convolution(in_channels, channels, kernel=1, clamp=clamp)
        self.conv0 = Convolution(channels, channels, kernel=3, clamp=clamp)
        self.conv1 = Convolution(channels, out_channels, kernel=3, halve_side=side, clamp=clamp)
        self.skip = Convolution(channels, out_channels, kernel=1, halve_side=side, activation="linear", has_bias=False, clamp=None)

    def forward(self, x: Tensor | None, images: Tensor) -> Tensor:
        weight = self.conv0.weight
        dtype = compute_dtype(self.precision if self.is_low_precision else "float32", device=images.device, weights=weight.dtype)
        source = images if x is None else x
        source = source.to(dtype=dtype, memory_format=torch.channels_last)
        if x is None:
            source = self.fromrgb(source)
        return self.skip(source, gain=_HALF_POWER) + self.conv1(self.conv0(source), gain=_HALF_POWER)


class Convolution(nn.Module):
    """Equalised convolution, on request of a picture halved by [1, 3, 3, 1], then leaky ReLU (or nothing) and clamp."""

    blur_matrix: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int,
        halve_side: int | None = None,
        activation: Literal["linear", "lrelu"] = "lrelu",
        has_bias: bool = True,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.kernel, self.halves, self.activation, self.clamp = kernel, halve_side is not None, activation, clamp
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if has_bias else None
        blur = np.array(_BLUR) / sum(_BLUR)
        self.register_buffer("resample_filter", torch.as_tensor(np.outer(blur, blur), dtype=torch.float32))
        if halve_side is not None:
            matrix = banded(_halving_blur(blur, halve_side, kernel), self.weight)
            self.register_buffer("blur_matrix", matrix.matrix, persistent=False)
            self._blocks = matrix.blocks, matrix.transposed_blocks

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        # Equalised learning rate: weights are N(0, 1) at rest and scaled by He's constant when used (Karras et al. 2018, section 4.1). A gain behind
        # the leaky ReLU may come before it, as the gain is positive, and so into weights and bias: two passes over the pictures less.
        whole_gain = gain * (LRELU_GAIN if self.activation == "lrelu" else 1.0)
        weight = (self.weight * (whole_gain * self.weight[0].numel() ** -0.5)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * whole_gain).to(x.dtype)
        if self.halves:
            # A 1x1 convolution sees only the pixels that are kept, so that its blur drops the others at once.
            x = filter_both_axes(x, BandedMatrix(self.blur_matrix, *self._blocks))
            x = functional.conv2d(x, weight, bias, stride=2 if self.kernel > 1 else 1)
        else:
            x = functional.conv2d(x, weight, bias, padding=self.kernel // 2)
        if self.activation == "lrelu":
            x = functional.leaky_relu(x, LRELU_SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp * gain, self.clamp * gain)


def _halving_blur(blur: np.ndarray, side: int, kernel: int) -> np.ndarray:
    """Blur along one axis, padded so that the convolution behind it, with stride 2, gives side / 2 places centred on pairs of pixels."""
    pad = (len(blur) + kernel - 2) // 2
    padded = downsample_matrix(blur, length=side + 2 * pad, down=1 if kernel > 1 else 2)
    return padded[:, pad : pad + side]


class Epilogue(nn.Module):
    """x [B, C, 4, 4] and embedded labels [B, width] (None without) to logits [B, 1], in the precision of the weights."""

    def __init__(self, channels: int, *, label_width: int, config: StyleGAN3Config) -> None:
        super().__init__()
        self.mbstd_group = config.mbstd_group
        self.conv = Convolution(channels + 1, channels, kernel=3, clamp=config.conv_clamp)
        self.fc = Dense(16 * channels, channels, activation="lrelu")
        self.out = Dense(channels, label_width or 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        # One more map tells how much the group varies. With labels D(x, c) = φ(x) · embed(c) / √width (Miyato and Koyama 2018, without their ψ).
        x = x.to(self.fc.weight.dtype)
        x = torch.cat([x, minibatch_deviation(x, group=self.mbstd_group)], dim=1)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        if labels is None:
            return x
        return (x * labels).sum(dim=1, keepdim=True) * labels.shape[1] ** -0.5
