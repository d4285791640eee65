"""What both players are made of: equalised layers, pixel norm, and the two ways from one resolution to the next."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.progressive.config import ProgressiveConfig

LRELU_SLOPE = 0.2
GAIN = 2**0.5


class Growing(nn.Module):
    """A network that has grown as far as its `config` says; layers beyond are there, and neither computed nor moved.

    share: 0-d buffer, how much the newest layers count: `config.alpha` where recorded turns look for it, while it changes.
    """

    share: Tensor

    def __init__(self, config: ProgressiveConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("share", torch.tensor(config.alpha, dtype=torch.float64), persistent=False)

    def grow(self, px: int, alpha: float) -> None:
        """From now on of `px` pixels a side, the layers of `px` counting `alpha` and those of the side before 1 - `alpha`."""
        if (px, alpha) != (self.config.grown_px, self.config.alpha):
            self.config = dataclasses.replace(self.config, grown_px=px, alpha=alpha)
            self.share.fill_(alpha)

    def blended(self, before: Tensor, new: Tensor) -> Tensor:
        """From `before` (share 0) to `new` (share 1), in the precision of `new`; computed in single precision or better."""
        dtype = torch.promote_types(new.dtype, torch.float32)
        return torch.lerp(before.to(dtype), new.to(dtype), self.share.to(dtype)).to(new.dtype)


class Equalised(nn.Module):
    """A convolution (or at kernel 0 a dense layer) whose weights rest at N(0, 1) and are scaled by gain / √fan-in when used.

    Source: Karras et al. 2018, section 4.1. bias_of: features that share a bias, for a dense layer whose output is maps.
    """

    def __init__(self, in_features: int, out_features: int, *, kernel: int, gain: float = GAIN, bias_of: int = 1) -> None:
        super().__init__()
        shape = (out_features, in_features, kernel, kernel) if kernel else (out_features, in_features)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(out_features // bias_of))
        self.kernel, self.bias_of = kernel, bias_of
        self.scale = gain * self.weight[0].numel() ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if self.kernel:
            return functional.conv2d(x, weight, self.bias, padding=self.kernel // 2)
        return functional.linear(x, weight, self.bias.repeat_interleave(self.bias_of) if self.bias_of > 1 else self.bias)


def lrelu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, LRELU_SLOPE)


def pixel_norm(x: Tensor) -> Tensor:
    """X [B, C, …] divided by its root mean square over C, which is computed in single precision or better. Source: the paper, section 4.2."""
    square = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).square()
    return x * (square.mean(dim=1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


def larger(x: Tensor, factor: int = 2) -> Tensor:
    """X [B, C, H, W] with every pixel repeated: nearest neighbours."""
    return functional.interpolate(x, scale_factor=factor, mode="nearest") if factor > 1 else x


def smaller(x: Tensor) -> Tensor:
    """X [B, C, H, W] at half the side: means of 2 x 2 pixels."""
    return functional.avg_pool2d(x, 2)


def faded(images: Tensor, alpha: float) -> Tensor:
    """Real pictures as D sees them while it grows: from those of half the side (alpha 0) to themselves (alpha 1).

    Source: the paper, section 2: "we interpolate between two resolutions of the real images".
    """
    return images if alpha == 1 else torch.lerp(larger(smaller(images)), images, alpha)
