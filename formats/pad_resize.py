"""Give a picture at several square sizes: padded to a white square, or the square in its middle; stretched only where `squash` asks for it.

The canvas is `canvas_px` wide and high, or as large as the picture's longer side where that is more. The picture lies in its middle; an odd margin
leaves the extra pixel at the right and at the bottom. With LANCZOS the result is, pixel for pixel, Pillow's resize of the whole canvas, at the cost
of the picture alone: white stays exactly white where a filter sees nothing else, so only the pixels that what is not white reaches are computed.

Why that is exact: the scale is canvas / size, with a power of two below, so that a cut at whole output pixels moves every filter's centre by a number
that floats hold exactly, and the coefficients stay the same bits; the cut leaves a filter's whole support on each side. Pillow filters a square
canvas across, rounds to 8 bits, then filters down; a tall cut it would filter down first, so the two passes are asked for one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy
from PIL import Image, ImageChops

Fit: TypeAlias = Literal["pad", "crop", "squash"]
Resample: TypeAlias = Literal["lanczos", "box"]

_LANCZOS_REACH = 3.0  # output pixels on each side of a centre
# Pillow keeps a box in floats of 24 bits: place and fraction must fit. Beyond (32,768 px at 512), the whole axis is computed.
_EXACT_IN_BOX = 1 << 24
_WHITE = (255, 255, 255)


def canvas_side(width: int, height: int, canvas_px: int) -> int:
    """Side of the white square that a picture of this size is put on."""
    return max(canvas_px, width, height)


def fit_and_resize(image: Image.Image, sizes: Sequence[int], *, fit: Fit, canvas_px: int, resample: Resample = "lanczos") -> dict[int, numpy.ndarray]:
    """`pad_and_resize`, `crop_and_resize` or `squash`; the last two need no canvas."""
    if fit == "crop":
        return crop_and_resize(image, sizes, resample=resample)
    if fit == "squash":
        return squash(image, sizes, resample=resample)
    return pad_and_resize(image, sizes, canvas_px=canvas_px, resample=resample)


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """The picture with its longer side brought to `side`, by LANCZOS; a larger one as it is."""
    longer = max(image.size)
    if longer >= side:
        return image
    return image.resize((max(1, round(image.width * side / longer)), max(1, round(image.height * side / longer))), Image.Resampling.LANCZOS)


def pad_and_resize(image: Image.Image, sizes: Sequence[int], *, canvas_px: int = 512, resample: Resample = "lanczos") -> dict[int, numpy.ndarray]:
    """By size, the padded picture as uint8 [size, size, 3].

    image: RGB. sizes: powers of two, none larger than `canvas_px`. resample: `lanczos`, exactly Pillow's; or `box`, the mean
    of the area: faster, softer, and other pixels, so never a silent stand-in.
    """
    if image.mode != "RGB":
        raise ValueError(f"the picture must be RGB, found {image.mode}")
    for size in sizes:
        if size < 1 or size & (size - 1) or size > canvas_px:
            raise ValueError(f"a size must be a power of two of at most canvas_px = {canvas_px}, found {size}")
    side = canvas_side(*image.size, canvas_px)
    left, top = (side - image.width) // 2, (side - image.height) // 2
    if resample == "box":
        return {size: _by_box(image, size, side, left, top) for size in sizes}
    # Edges of the picture that are white themselves are canvas. All of it white: one pixel stands for it.
    content = ImageChops.invert(image).getbbox() or (0, 0, 1, 1)
    if content != (0, 0, *image.size):
        image, left, top = image.crop(content), left + content[0], top + content[1]
    cuts = {size: _Cut.around(left, left + image.width, side, size) for size in sizes if size < side}
    # White to the left and right as far as the widest filter looks, once for all sizes.
    first = min((cut.first for cut in cuts.values()), default=0)
    end = max((cut.first + cut.width for cut in cuts.values()), default=0)
    strip = _on_white(image, (end - first, image.height), (left - first, 0)) if cuts else image
    return {size: _shrunk(strip, size, side, first, cuts[size], top) if size in cuts else _padded(image, side, left, top) for size in sizes}


def crop_and_resize(image: Image.Image, sizes: Sequence[int], *, resample: Resample = "lanczos") -> dict[int, numpy.ndarray]:
    """By size, the square in the middle of an RGB picture as uint8 [size, size, 3]; an odd margin loses the extra pixel right or below."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return {size: numpy.asarray(square.resize((size, size), Image.Resampling[resample.upper()])) for size in sizes}


def squash(image: Image.Image, sizes: Sequence[int], *, resample: Resample = "lanczos") -> dict[int, numpy.ndarray]:
    """By size, the whole RGB picture made as wide as it is high, as uint8 [size, size, 3]: what is round becomes oval."""
    return {size: numpy.asarray(image.resize((size, size), Image.Resampling[resample.upper()])) for size in sizes}


def _padded(image: Image.Image, side: int, left: int, top: int) -> numpy.ndarray:
    out = numpy.full((side, side, 3), 255, numpy.uint8)
    out[top : top + image.height, left : left + image.width] = numpy.asarray(image)
    return out


def _shrunk(strip: Image.Image, size: int, side: int, first: int, across: "_Cut", top: int) -> numpy.ndarray:
    """strip: the picture's rows, white beside it, from the canvas's column `first` on; `top` is the canvas's row where they begin."""
    height = strip.height
    # Pass one, across: as many rows as the picture has, and only the columns that its content reaches.
    left, right = (edge + across.first - first for edge in across.box)
    narrow = strip.resize((across.out_width, height), Image.Resampling.LANCZOS, box=(left, 0, right, height))
    # Pass two, down, of what pass one gave in 8 bits.
    down = _Cut.around(top, top + height, side, size)
    block = _on_white(narrow, (across.out_width, down.width), (0, top - down.first))
    block = block.resize((across.out_width, down.out_width), Image.Resampling.LANCZOS, box=(0, down.box[0], across.out_width, down.box[1]))
    out = numpy.full((size, size, 3), 255, numpy.uint8)
    out[down.out_first : down.out_first + down.out_width, across.out_first : across.out_first + across.out_width] = numpy.asarray(block)
    return out


@dataclass(frozen=True)
class _Cut:
    """The part of one axis that must be computed: output pixels [out_first, + out_width), made from canvas pixels [first, + width)."""

    first: int
    width: int
    out_first: int
    out_width: int
    box: tuple[float, float]

    @classmethod
    def around(cls, start: int, end: int, side: int, size: int) -> "_Cut":
        """What the content [start, end) of a canvas of `side` pixels reaches at `size` pixels. One pixel more on each side than the filter needs."""
        if side * size > _EXACT_IN_BOX:
            return cls(0, side, 0, size, (0, side))
        # Output pixel i is centred at (i + ½) · scale and sees three lobes, so 3 · scale canvas pixels, to each side.
        scale = side / size
        reach = _LANCZOS_REACH * scale
        out_first = max(0, int((start - reach) / scale) - 1)
        out_end = min(size, int((end + reach) / scale) + 2)
        first = max(0, int(out_first * scale - reach) - 1)
        last = min(side, int(out_end * scale + reach) + 2)
        box = (out_first * scale - first, out_end * scale - first)
        return cls(first, last - first, out_first, out_end - out_first, box)


def _on_white(image: Image.Image, size: tuple[int, int], place: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    canvas = Image.new("RGB", size, _WHITE)
    canvas.paste(image, place)
    return canvas


def _by_box(image: Image.Image, size: int, side: int, left: int, top: int) -> numpy.ndarray:
    canvas = _on_white(image, (side, side), (left, top))
    small = canvas.reduce(side // size) if side % size == 0 else canvas.resize((size, size), Image.Resampling.BOX)
    return numpy.asarray(small)
