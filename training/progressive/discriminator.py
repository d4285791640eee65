"""The discriminator: the generator's mirror image, with average pooling. Source: Karras et al. 2018, sections 2 to 4, table 2."""

import torch
from torch import Tensor, nn

from training.gans.minibatch import minibatch_deviation
from training.progressive.config import SMALLEST_PX, ProgressiveConfig
from training.progressive.layers import Equalised, Growing, lrelu, smaller


class Discriminator(Growing):
    """Pictures [B, channels, grown_px, grown_px], about [-1, 1], to logits [B, 1]: high means real. Of both losses: no sigmoid, no bounds."""

    def __init__(self, config: ProgressiveConfig) -> None:
        super().__init__(config)
        filters = config.filters
        self.from_rgb = nn.ModuleList(Equalised(config.channels, maps, kernel=1) for maps in filters)
        # Place 0 is that of the last block, at 4 px: places are those of the generator's blocks.
        self.blocks = nn.ModuleList(
            LastBlock(maps, config.mbstd_group) if level == 0 else Block(maps, filters[level - 1]) for level, maps in enumerate(filters)
        )

    def forward(self, images: Tensor, sets: int = 1) -> Tensor:
        """sets: so many equal parts of the batch, such as reals and fakes, are judged side by side; each has a variety of its own."""
        level = self.config.level
        x = lrelu(self.from_rgb[level](images))
        for place in range(level, 0, -1):
            x = self.blocks[place](x)
            if place == level and self.config.alpha < 1:
                x = self.blended(lrelu(self.from_rgb[level - 1](smaller(images))), x)
        return self.blocks[0](x, sets)


class Block(nn.Module):
    """x [B, C, S, S] → [B, C', S / 2, S / 2]: two convolutions, then means of 2 x 2."""

    def __init__(self, maps: int, after: int) -> None:
        super().__init__()
        self.conv0 = Equalised(maps, maps, kernel=3)
        self.conv1 = Equalised(maps, after, kernel=3)

    def forward(self, x: Tensor) -> Tensor:
        return smaller(lrelu(self.conv1(lrelu(self.conv0(x)))))


class LastBlock(nn.Module):
    """x [B, C, 4, 4] → logits [B, 1], in the precision of the weights: with one map of how much the pictures differ."""

    def __init__(self, maps: int, mbstd_group: int) -> None:
        super().__init__()
        self.mbstd_group = mbstd_group
        self.conv = Equalised(maps + 1, maps, kernel=3)
        self.dense = Equalised(maps * SMALLEST_PX**2, maps, kernel=0)
        self.out = Equalised(maps, 1, kernel=0, gain=1.0)

    def forward(self, x: Tensor, sets: int) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.out.weight.dtype)
            deviation = torch.cat([minibatch_deviation(part, group=self.mbstd_group) for part in x.chunk(sets)])
            x = torch.cat([x, deviation], dim=1)
            return self.out(lrelu(self.dense(lrelu(self.conv(x)).flatten(1))))
