"""What is hidden of a picture, and how well it is filled in: SimMIM (Xie et al. 2022, "SimMIM: A Simple Framework for Masked Image Modeling").

Whole squares of `unit` pixels are hidden, so many of each picture, and the error is the mean absolute one on the hidden pixels alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
        side, repeat = self.side_px // self.unit_px, self.unit_px // self.patch_px
        units = torch.zeros(side * side, dtype=torch.bool)
        units[torch.randperm(side * side, generator=random)[: min(math.ceil(side * side * ratio), side * side - 1)]] = True
        return units.view(side, side).repeat_interleave(repeat, 0).repeat_interleave(repeat, 1).flatten()

    def pixels(self, masks: Tensor) -> Tensor:
        """Masks bool [B, patches] as bool [B, 1, side_px, side_px]."""
        side = self.side_px // self.patch_px
        return masks.view(-1, 1, side, side).repeat_interleave(self.patch_px, 2).repeat_interleave(self.patch_px, 3)


def masked_l1(found: Tensor, pixels: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """(sum, number) of the absolute errors of found [B, C, H, W] (or what broadcasts to it) where `hidden`, [B, 1, H, W], is true."""
    return ((found.float() - pixels.float()).abs() * hidden).sum(), hidden.sum() * pixels.shape[1]


def fill_in(model: nn.Module, pixels: Tensor, masks: Tensor) -> Tensor:
    """[B, C, H, W]: every pixel as the model imagines it from the patches that are not hidden."""
    filled: Tensor = model(pixel_values=pixels, bool_masked_pos=masks).reconstruction
    return filled


def masked_loss(grid: MaskGrid, model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """SimMIM's: absolute errors on hidden pixels, and their number."""
    pixels, masks = batch["pixel_values"], batch["bool_masked_pos"]
    return masked_l1(fill_in(model, pixels, masks), pixels, grid.pixels(masks))


def guesses(pixels: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Mean and median, each [B, C, 1, 1], of what is visible of each picture and channel: the guesses of who knows nothing of pictures.

    On pictures of white paper the median is by far the better one.
    """
    visible = pixels.masked_fill(hidden, math.nan).flatten(2)
    return {"mean": visible.nanmean(2)[..., None, None], "median": visible.nanmedian(2).values[..., None, None]}
