"""Adaptive discriminator augmentation (ADA): random changes of what D sees, strong enough against overfitting, too rare to leak into the fakes.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 2 and appendix B. Every change happens with
probability p, independently for every picture; all randomness comes from the generator that is passed in. A picture that nothing happened to is
returned bit for bit.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from training.gans.banded import BandedMatrix, banded, filter_both_axes, upsample_matrix

Preset = Literal["text", "bgc", "bg", "none"]

# Low-pass filter of the symlet with six vanishing moments (Daubechies 1992, "Ten Lectures on Wavelets", table 6.3, by another normalisation).
_SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
    0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip


@dataclass(frozen=True)
class AugmentConfig:
    """Which changes, and how strong. A change's first number multiplies p (0: never); strengths are the paper's, of `bgc`.

    xint, xfrac: translation by whole pixels (uniform, up to xint_max of the side) and by fractions (normal). scale: by 2^normal, one for both axes;
    aniso: opposite for the two. rotate: uniform, up to rotate_max half turns, before and after aniso. Colours: brightness is added (normal), contrast
    multiplies by 2^normal, lumaflip inverts lightness, hue turns up to hue_max half turns, saturation multiplies colour by 2^normal.
    """

    xflip: float = 0
    rotate90: float = 0
    xint: float = 0
    xint_max: float = 0.125
    scale: float = 0
    scale_std: float = 0.2
    rotate: float = 0
    rotate_max: float = 1.0
    aniso: float = 0
    aniso_std: float = 0.2
    xfrac: float = 0
    xfrac_std: float = 0.125
    brightness: float = 0
    brightness_std: float = 0.2
    contrast: float = 0
    contrast_std: float = 0.5
    lumaflip: float = 0
    hue: float = 0
    hue_max: float = 1.0
    saturation: float = 0
    saturation_std: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")

    @property
    def changes_geometry(self) -> bool:
        return any((self.xflip, self.rotate90, self.xint, self.scale, self.rotate, self.aniso, self.xfrac))

    @property
    def changes_colour(self) -> bool:
        return any((self.brightness, self.contrast, self.lumaflip, self.hue, self.saturation))


_BG = AugmentConfig(xflip=1, rotate90=1, xint=1, scale=1, rotate=1, aniso=1, xfrac=1)
PRESETS: dict[Preset, AugmentConfig] = {
    # Pictures with writing, on white: mirrored or turned letters and inverted or tinted paper would leak into the fakes.
    "text": AugmentConfig(xint=1, scale=1, scale_std=0.1, brightness=1, brightness_std=0.1, contrast=1, contrast_std=0.25),
    "bg": _BG,
    "bgc": replace(_BG, brightness=1, contrast=1, lumaflip=1, hue=1, saturation=1),
    "none": AugmentConfig(),
}


def augment_preset(name: Preset, **changes: Any) -> AugmentConfig:
    """A named set of changes, with single values replaced: `augment_preset("text", saturation=1)`. Raises ValueError for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"no augmentation preset '{name}'; there are {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


class Augment(nn.Module):
    """images [B, C, H, W] in [-1, 1], C = 1 or 3, to images of the same shape. Differentiable twice with respect to images, as R1 needs.

    p: buffer, 0-d; the probability of every change. Above 1 it is 1.
    """

    p: Tensor

    def __init__(self, config: AugmentConfig, *, p: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("p", torch.tensor(float(p)))

    def forward(self, images: Tensor, generator: torch.Generator | None = None, *, rows: slice = slice(None), batch: int | None = None) -> Tensor:
        """generator: on any device; None is the global one. It is advanced by the same amount whatever p is.

        rows, batch: the images are these rows of a batch of so many, and change as they would among all of it.
        """
        draw = _Draw(self.p, images, generator, rows, batch if batch is not None else len(images))
        if self.config.changes_geometry:
            images = self._move(images, draw)
        if self.config.changes_colour:
            images = self._recolour(images, draw)
        return images

    def _move(self, images: Tensor, draw: "_Draw") -> Tensor:
        """Pixel blitting, then general geometric changes, as one affine map (appendix B, its figure of the whole pipeline)."""
        config = self.config
        B, _, _, W = images.shape
        # Each factor takes a place of the output to where its content comes from; the first change stands leftmost.
        inverse = torch.eye(3, device=images.device).expand(B, 3, 3)
        # What moves whole pixels: mirroring, quarter turns, translation.
        mirrored = draw.when(config.xflip, torch.floor(draw.uniform() * 2), 0)
        inverse = inverse @ _scaling(1 - 2 * mirrored, torch.ones_like(mirrored))
        quarters = draw.when(config.rotate90, torch.floor(draw.uniform() * 4), 0)
        inverse = inverse @ _rotation(quarters * (math.pi / 2))
        shift = draw.when(config.xint, (draw.uniform(2) * 2 - 1) * config.xint_max, 0)
        inverse = inverse @ _translation(-torch.round(shift * W))
        # What needs resampling. One zoom for both axes, its logarithm normal, so that twice as large is as likely as half.
        zoom = draw.when(config.scale, torch.exp2(draw.normal() * config.scale_std), 1)
        inverse = inverse @ _scaling(1 / zoom, 1 / zoom)
        # Rotations before and after the anisotropic scaling make its axis any axis; together they happen with probability p.
        angle = draw.when(config.rotate, (draw.uniform() * 2 - 1) * math.pi * config.rotate_max, 0, is_one_of_two=True)
        inverse = inverse @ _rotation(angle)
        stretch = draw.when(config.aniso, torch.exp2(draw.normal() * config.aniso_std), 1)
        inverse = inverse @ _scaling(1 / stretch, stretch)
        angle = draw.when(config.rotate, (draw.uniform() * 2 - 1) * math.pi * config.rotate_max, 0, is_one_of_two=True)
        inverse = inverse @ _rotation(angle)
        shift = draw.when(config.xfrac, draw.normal(2) * config.xfrac_std, 0)
        inverse = inverse @ _translation(-shift * W)
        # A picture that nothing happened to is not even filtered.
        is_moved = (inverse != torch.eye(3, device=images.device)).flatten(1).any(dim=1)
        return torch.where(is_moved[:, None, None, None], warp(images, inverse), images)

    def _recolour(self, images: Tensor, draw: "_Draw") -> Tensor:
        """Changes of colour as one affine map of (R, G, B, 1) for each picture (appendix B)."""
        config = self.config
        B, channels, _, _ = images.shape
        if channels not in (1, 3):
            raise ValueError(f"colours of 1 or 3 channels can be changed, found {channels}")
        unit = torch.eye(4, device=images.device)
        # `white` projects onto the axis of greys: lightness is turned over along it (a Householder reflection), hue turns and saturation stretches
        # about it.
        white = _grey_axis(images.device)
        white = white.T @ white
        matrix = unit.expand(B, 4, 4)
        added = draw.when(config.brightness, draw.normal() * config.brightness_std, 0)
        matrix = _translation(added[:, None].expand(B, 3)) @ matrix
        factor = draw.when(config.contrast, torch.exp2(draw.normal() * config.contrast_std), 1)
        matrix = torch.diag_embed(torch.stack([factor, factor, factor, torch.ones_like(factor)], dim=1)) @ matrix
        flipped = draw.when(config.lumaflip, torch.floor(draw.uniform() * 2), 0)
        matrix = (unit - 2 * white * flipped[:, None, None]) @ matrix
        # Grey pictures have neither hue nor saturation; they are drawn all the same, so that a seed means the same changes for both.
        angle = draw.when(config.hue, (draw.uniform() * 2 - 1) * math.pi * config.hue_max, 0)
        factor = draw.when(config.saturation, torch.exp2(draw.normal() * config.saturation_std), 1)
        if channels == 3:
            matrix = _turn_about_grey(angle) @ matrix
            matrix = (white + (unit - white) * factor[:, None, None]) @ matrix
            linear, constant = matrix[:, :3, :3], matrix[:, :3, 3:]
        else:
            # A grey picture has the colour (v, v, v), and keeps the mean of what becomes of it.
            linear, constant = matrix[:, :3, :3].sum(dim=2).mean(dim=1)[:, None, None], matrix[:, :3, 3:].mean(dim=1, keepdim=True)
        is_changed = (matrix != unit).flatten(1).any(dim=1)
        changed = (linear.to(images.dtype) @ images.flatten(2) + constant.to(images.dtype)).view_as(images)
        return torch.where(is_changed[:, None, None, None], changed, images)


class _Draw:
    """Random numbers for some rows of a batch, drawn for all of it: as many whatever p is, on the generator's device first."""

    def __init__(self, p: Tensor, images: Tensor, generator: torch.Generator | None, rows: slice, batch: int) -> None:
        self._rows, self._batch, self._device = rows, batch, images.device
        self._generator = generator
        self._source = images.device if generator is None else generator.device
        self._p = p.to(images.device, torch.float32).clamp(0, 1)

    def uniform(self, *shape: int) -> Tensor:
        """[B, *shape] in [0, 1)."""
        return self._random(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        return self._random(torch.randn, shape)

    def when(self, multiplier: float, value: Tensor, neutral: float, *, is_one_of_two: bool = False) -> Tensor:
        """`value` with probability p times multiplier, else `neutral`. is_one_of_two: two such draws together happen with that probability."""
        probability = (self._p * multiplier).clamp(max=1)
        if is_one_of_two:
            # Neither of two happens with (1 - q)^2 = 1 - p.
            probability = 1 - (1 - probability).sqrt()
        happens = (self.uniform() < probability).view(-1, *[1] * (value.ndim - 1))
        return torch.where(happens, value, torch.full_like(value, neutral))

    def _random(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return draw(self._batch, *shape, generator=self._generator, device=self._source)[self._rows].to(self._device)


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Move pictures by affine maps, at twice their resolution so that nothing aliases; beyond the border they continue as in a mirror.

    images: [B, C, H, W]. inverse: [B, 3, 3], from places of the output to places of the input, in pixels from the centre.
    Upsampling and downsampling with an orthogonal wavelet's filter undo each other exactly where nothing moves.
    """
    # Differs from paper: pictures are mirrored about their border, not about the centres of their border pixels, which needs no padded copy.
    B, _, H, W = images.shape
    if H != W:
        raise ValueError(f"pictures must be square, found {H} x {W}")

    # Up: the wavelet's low-pass filter at twice the rate, so that the bilinear samples between pixels are good ones.
    up, down = _resampling(H, images.device, images.dtype)
    fine = filter_both_axes(images, up)
    # The places that the filter on the way down will look at, in pixels of the original from the centre. The wavelet is not quite symmetric: it puts
    # what it filters a little aside, and expects it there on the way down.
    count = down.matrix.shape[1]
    aside = _delay() / 2
    place = (torch.arange(count, device=images.device, dtype=torch.float32) + 0.5 - count / 2) / 2 - aside
    place = torch.stack([place.expand(count, count), place[:, None].expand(count, count), torch.ones(count, count, device=images.device)], dim=2)
    # Where each of these places takes its content from; a triangle wave folds places outside back in.
    source = (place.view(1, -1, 3) @ inverse[:, :2].transpose(1, 2)).view(B, count, count, 2)
    mirrored = H - (torch.remainder(source + H / 2, 2 * H) - H).abs() - H / 2
    # grid_sample counts from -1 to 1 between the outer edges of the border pixels.
    moved = _GridSample.apply(fine, ((mirrored + aside) * (2 / H)).to(images.dtype))
    return filter_both_axes(moved, down)


def _delay() -> float:
    """How far the wavelet's filter moves slowly varying content, in its own samples; 0 for a symmetric one."""
    kernel = np.array(_SYM6)
    return float((np.arange(len(kernel)) * kernel).sum() / kernel.sum()) - (len(kernel) - 1) / 2


@functools.lru_cache(maxsize=8)
def _resampling(side: int, device: torch.device, dtype: torch.dtype) -> tuple[BandedMatrix, BandedMatrix]:
    # Also what is first asked for in inference mode may later be needed for gradients.
    with torch.inference_mode(mode=False):
        up, down = (banded(matrix, torch.empty((), device=device, dtype=dtype)) for matrix in _resampling_matrices(side))
    return up, down


def _resampling_matrices(side: int) -> tuple[np.ndarray, np.ndarray]:
    """(up [2 side, side], with the picture mirrored at its border; down [side, 2 side + 10], for a picture five pixels larger on each side)."""
    kernel = np.array(_SYM6) / math.sqrt(2)
    taps = len(kernel)
    reach = taps // 2
    # Zeros in front and behind put the even-length filter's centre between the two new pixels of every old one.
    wide = upsample_matrix(kernel, length=side + 2 * reach, up=2, padding=(taps // 2, taps // 2 - 1))[2 * reach : 2 * (reach + side)]
    up = np.zeros((2 * side, side))
    places = np.arange(-reach, side + reach) % (2 * side)
    np.add.at(up.T, np.where(places < side, places, 2 * side - 1 - places), wide.T)
    # The transpose of upsampling, without mirrors: row j holds the filter reversed, at 2 j.
    down = np.zeros((side, 2 * side + taps - 2))
    for row in range(side):
        down[row, 2 * row : 2 * row + taps] = kernel
    return up, down


class _GridSample(torch.autograd.Function):
    """Bilinear sampling as a linear map of the picture, differentiable any number of times in it; places carry no gradient.

    torch's own cannot be differentiated twice, but the derivative of a linear map is its adjoint, and the adjoint's is the map itself.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.shape = images.shape
        return torch.ops.aten.grid_sampler_2d(images, places, _BILINEAR, _REFLECTION, False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return _GridSampleAdjoint.apply(grad, places, ctx.shape), None


class _GridSampleAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(places)
        unused = grad.new_empty(shape)  # Its values matter for the gradient of the places only, which is not asked for.
        return torch.ops.aten.grid_sampler_2d_backward(grad, unused, places, _BILINEAR, _REFLECTION, False, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return _GridSample.apply(grad, places), None, None


_BILINEAR, _REFLECTION = 0, 2  # aten's numbers of the two modes


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    """[B], [B] → [B, 3, 3]."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _rotation(angle: Tensor) -> Tensor:
    """[B] → [B, 3, 3]."""
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _translation(shift: Tensor) -> Tensor:
    """[B, n] → [B, n + 1, n + 1]."""
    B, n = shift.shape
    matrix = torch.eye(n + 1, device=shift.device, dtype=shift.dtype).repeat(B, 1, 1)
    matrix[:, :n, n] = shift
    return matrix


@functools.lru_cache(maxsize=8)
def _grey_axis(device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return torch.tensor([[1.0, 1.0, 1.0, 0.0]], device=device) / math.sqrt(3)


@functools.lru_cache(maxsize=8)
def _cross_product_with_grey(device: torch.device, dtype: torch.dtype) -> Tensor:
    axis = 1 / math.sqrt(3)
    with torch.inference_mode(mode=False):
        return torch.tensor([[0.0, -axis, axis], [axis, 0.0, -axis], [-axis, axis, 0.0]], device=device, dtype=dtype)


def _turn_about_grey(angle: Tensor) -> Tensor:
    """Rotation of colours about the axis of greys: [B] → [B, 4, 4]. Source: Rodrigues' formula."""
    cross = _cross_product_with_grey(angle.device, angle.dtype)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    turn = torch.eye(3, device=angle.device, dtype=angle.dtype) + sin * cross + (1 - cos) * (cross @ cross)
    matrix = torch.eye(4, device=angle.device, dtype=angle.dtype).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = turn
    return matrix
