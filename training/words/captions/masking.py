"""What is hidden of a picture, and how well it is filled in: SimMIM (Xie et al. 2022, "SimMIM: A Simple Framework for Masked Image Modeling").

Whole squares of `unit` pixels are hidden, so many of each picture, and the error is the mean absolute one on the hidden pixels alone.
"""

import math
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor, nn

from training.gans.grids import tile
from training.words.examples import WordsError


@dataclass(frozen=True)
class MaskGrid:
    """side_px: of the picture. unit_px: of a square that is hidden or shown whole. patch_px: of the patches that the network is told about."""

    side_px: int
    unit_px: int
    patch_px: int

    def __post_init__(self) -> None:
        if self.unit_px % self.patch_px or self.side_px % self.unit_px or self.side_px == self.unit_px:
            raise WordsError(
                f"squares of {self.unit_px} px cannot be hidden in pictures of {self.side_px} px with patches of {self.patch_px} px; "
                "choose mask_px as a multiple of the patch that divides the picture into several"
            )

    def random_mask(self, ratio: float, random: torch.Generator) -> Tensor:
        """A mask, bool [patches], True = hidden: of the picture's units the share `ratio`, rounded up, but never all of them."""
        side = self.side_px // self.unit_px
        hidden = min(math.ceil(side * side * ratio), side * side - 1)
        units = torch.zeros(side * side, dtype=torch.bool)
        units[torch.randperm(side * side, generator=random)[:hidden]] = True
        repeat = self.unit_px // self.patch_px
        return units.view(side, side).repeat_interleave(repeat, 0).repeat_interleave(repeat, 1).flatten()

    def pixels(self, masks: Tensor) -> Tensor:
        """Masks bool [B, patches] as bool [B, 1, side_px, side_px]."""
        side = self.side_px // self.patch_px
        return masks.view(-1, 1, side, side).repeat_interleave(self.patch_px, 2).repeat_interleave(self.patch_px, 3)


def masked_l1(found: Tensor, pixels: Tensor, hidden: Tensor) -> tuple[Tensor, int]:
    """(sum, number) of the absolute errors of found [B, C, H, W] (or what broadcasts to it) where `hidden`, [B, 1, H, W], is true."""
    errors = (found.float() - pixels.float()).abs() * hidden
    return errors.sum(), int(hidden.sum()) * pixels.shape[1]


def fill_in(model: nn.Module, pixels: Tensor, masks: Tensor) -> Tensor:
    """[B, C, H, W]: every pixel as the model imagines it from the patches that are not hidden."""
    filled: Tensor = model(pixel_values=pixels, bool_masked_pos=masks).reconstruction
    return filled


def visible_means(pixels: Tensor, hidden: Tensor) -> Tensor:
    """[B, C, 1, 1]: the mean of what is visible of each picture and channel, the guess of who knows nothing of pictures."""
    shown = ~hidden
    return (pixels * shown).sum((2, 3), keepdim=True) / shown.sum((2, 3), keepdim=True)


def visible_medians(pixels: Tensor, hidden: Tensor) -> Tensor:
    """[B, C, 1, 1]: their median, which on pictures of white paper is by far the better guess."""
    return pixels.masked_fill(hidden, math.nan).flatten(2).nanmedian(2).values[..., None, None]


def panel(shown: numpy.ndarray, filled: numpy.ndarray, hidden: numpy.ndarray, columns: int) -> numpy.ndarray:
    """Three pictures for each: real, with its hidden squares grey, and these filled in. All uint8 or bool [N, C or 1, P, P]; gives uint8 [H, W, 3].

    columns: pictures in a row, so a third as many triples.
    """
    masked = numpy.where(hidden, 128, shown)
    rows = numpy.stack([shown, masked.astype(numpy.uint8), numpy.where(hidden, filled, shown)], axis=1).reshape(-1, *shown.shape[1:])
    framed = numpy.pad(rows, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=200)
    return tile(framed, columns)
