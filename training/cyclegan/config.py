"""What the four networks of a CycleGAN are built from, and the arithmetic of their sizes."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from training.loop.bounds import at_least

Upsample = Literal["transposed", "resize"]
Padding = Literal["zeros", "reflect"]

_KERNEL = 4  # of the discriminator's convolutions, all of them padded by 1


@dataclass(frozen=True)
class CycleGANConfig:
    """Constructor arguments of both generators and both discriminators; saved as config.json beside the weights. Defaults are the paper's at 256 px.

    There are two domains of pictures, A and B. G_A makes B from A, and D_A judges B; G_B makes A from B, and D_B judges A.

    domain_a, domain_b: what the pictures are, in a word. resolution: side in pixels of the squares that were trained on; generators take other sizes.
    net_g: resnet_9blocks (also 6, or any number) or unet_256 (also 128, or any power of two: the side at which its deepest level is one pixel).
    ngf, ndf: channels of the first layer. upsample: "transposed" convolutions, or "resize" (nearest neighbours, then a convolution), which cannot
    leave a checkerboard. n_layers_d: layers of stride 2 in a discriminator before its last hidden one, whose stride is d_last_stride. d_padding: of
    its convolutions. d_sigmoid: its output is a probability; otherwise it is as it is.
    """

    domain_a: str = "A"
    domain_b: str = "B"
    resolution: int = 256
    channels_a: int = 3
    channels_b: int = 3
    net_g: str = "resnet_9blocks"
    ngf: int = 64
    upsample: Upsample = "transposed"
    ndf: int = 64
    n_layers_d: int = 3
    d_last_stride: int = 1
    d_padding: Padding = "zeros"
    d_sigmoid: bool = False

    def __post_init__(self) -> None:
        for name, known in (("upsample", get_args(Upsample)), ("d_padding", get_args(Padding)), ("d_last_stride", (1, 2))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, found {getattr(self, name)!r}")
        at_least(self, 1, "resolution", "channels_a", "channels_b", "ngf", "ndf", "n_layers_d")
        side = _number("unet_", self.net_g, "")
        if self.blocks is None and (side is None or side < 4 or side & (side - 1)):
            raise ValueError(f"net_g must be such as resnet_9blocks, resnet_6blocks, unet_256 or unet_128, found {self.net_g!r}")

    @property
    def blocks(self) -> int | None:
        """Residual blocks; None in a U-Net."""
        return _number("resnet_", self.net_g, "blocks")

    @property
    def levels(self) -> int:
        """Times a generator halves its picture."""
        return 2 if self.blocks is not None else int(self.net_g.removeprefix("unet_")).bit_length() - 1

    @property
    def multiple(self) -> int:
        """Both sides of a picture must be multiples of it: 4, and with a U-Net its own side."""
        return 2**self.levels

    @property
    def d_strides(self) -> tuple[int, ...]:
        """Of the discriminator's hidden layers."""
        return (*[2] * self.n_layers_d, self.d_last_stride)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the patch that one number of the discriminator speaks of. Isola et al. 2017: 70."""
        field = _KERNEL
        for stride in reversed(self.d_strides):
            field = (field - 1) * stride + _KERNEL
        return field

    def check_side(self, side: int) -> None:
        """Raises ValueError, with the remedy, when neither generators nor discriminators could be trained on squares of `side` pixels."""
        if side % self.multiple:
            raise ValueError(
                f"{self.net_g} takes sides that are multiples of {self.multiple} px, found {side} px; choose another resolution or net_g"
            )
        # Statistics of a single number have no spread: hidden layers of D need more than one place, the residual blocks of G too.
        least = 2
        for stride in reversed(self.d_strides):
            least = (least - 1) * stride + _KERNEL - 2
        least = max(least, 2 * self.multiple if self.blocks is not None else self.multiple)
        if side < least:
            raise ValueError(f"these networks need squares of at least {least} px, found {side} px; raise the resolution, or lower n_layers_d")


def _number(before: str, text: str, after: str) -> int | None:
    found = re.fullmatch(rf"{before}([1-9]\d*){after}", text)
    return int(found[1]) if found else None
