"""Small landscapes and still lives, as photographs (gradients, soft shapes, grain) and as paintings of the same kinds of scene by brush strokes.

What tells the two apart is what a translation between them has to learn: a palette of few warm colours, strokes that follow a direction, canvas.
"""

import functools
import math
from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter
from PIL.Image import Image as PilImage

Colour = tuple[int, int, int]
_GREENS, _STONES = ((64, 104, 52), (88, 120, 60), (48, 84, 64), (120, 128, 64)), ((120, 112, 104), (92, 88, 92), (150, 140, 124))
_FRUITS = ((196, 52, 40), (228, 140, 40), (132, 160, 52), (232, 196, 72), (112, 48, 88))
_SKIES = (((92, 140, 204), (212, 226, 240)), ((60, 92, 152), (244, 190, 132)), ((130, 144, 160), (206, 208, 206)), ((28, 40, 84), (200, 110, 100)))
# Twelve colours of a box of paints.
_PAINTS = (
    (36, 40, 72), (52, 84, 140), (120, 160, 190), (206, 214, 200), (240, 226, 170), (222, 172, 76),
    (190, 104, 52), (140, 52, 44), (84, 96, 48), (132, 148, 84), (92, 72, 60), (176, 150, 124),
)  # fmt: skip


def photograph(seed: str) -> PilImage:
    """In RGB, 64 to 96 px a side."""
    random = Random(f"photograph {seed}")
    image = _scene(random).filter(ImageFilter.GaussianBlur(random.choice((1, 2)))).reduce(2)
    noise = Image.frombytes("L", image.size, random.randbytes(image.width * image.height)).point([118 + level // 13 for level in range(256)])
    return ImageChops.overlay(image, Image.merge("RGB", (noise, noise, noise)))


def painting(seed: str) -> PilImage:
    """In RGB, 64 to 96 px a side."""
    random = Random(f"painting {seed}")
    scene = _scene(random)
    canvas = Image.new("RGB", scene.size, random.choice(((196, 176, 140), (176, 152, 124), (206, 196, 170))))
    pen, pixels = ImageDraw.Draw(canvas), scene.load()
    assert pixels is not None
    lean = random.uniform(0, math.pi)
    # Broad strokes first, finer ones over them.
    for count, length, width in ((420, 20, 11), (900, 13, 6)):
        for _ in range(count):
            x, y = random.randrange(scene.width), random.randrange(scene.height)
            angle = lean + math.sin(x / 29) + math.cos(y / 23) + random.uniform(-0.3, 0.3)
            reach = (round(length / 2 * math.cos(angle)), round(length / 2 * math.sin(angle)))
            shift = random.randint(-14, 14)
            red, green, blue = _mixed(_nearest_paint(pixels[x, y]), pixels[x, y], 0.2)  # type: ignore[arg-type]
            pen.line((x - reach[0], y - reach[1], x + reach[0], y + reach[1]), fill=(red + shift, green + shift, blue + shift // 2), width=width)
    return canvas.reduce(2)


def _scene(random: Random) -> PilImage:
    width, height = 2 * random.choice((64, 72, 80, 96)), 2 * random.choice((64, 72, 80, 96))
    image = Image.new("RGB", (width, height))
    random.choice(_SCENES)(random, image)
    return image


def _hills(random: Random, image: PilImage) -> None:
    width, height = image.size
    top, bottom = random.choice(_SKIES)
    _paint_down(image, 0, height, top, bottom)
    pen = ImageDraw.Draw(image)
    _disc(pen, random.randrange(width), random.randrange(height // 5, height // 3), width // 14, _mixed(bottom, (255, 250, 230), 0.8))
    for layer in range(4):
        colour = _mixed(bottom, random.choice(_GREENS), 0.35 + 0.2 * layer)
        often, shift, rise = random.uniform(1, 3), random.uniform(0, 6), height * random.uniform(0.04, 0.1)
        base = height * (0.42 + 0.13 * layer)
        crest = [(x, round(base + rise * math.sin(often * 2 * math.pi * x / width + shift))) for x in range(0, width + 4, 4)]
        pen.polygon([*crest, (width, height), (0, height)], fill=colour)
    for _ in range(random.randrange(0, 5)):
        x, y, size = random.randrange(width), random.randrange(height * 2 // 3, height), random.randrange(10, 24)
        pen.line((x, y, x, y - size), fill=(70, 52, 40), width=4)
        _disc(pen, x, y - size, size // 2, _mixed(random.choice(_GREENS), (20, 30, 20), 0.3))


def _sea(random: Random, image: PilImage) -> None:
    width, height = image.size
    top, bottom = random.choice(_SKIES)
    horizon = round(height * random.uniform(0.4, 0.6))
    _paint_down(image, 0, horizon, top, bottom)
    _paint_down(image, horizon, height, _mixed(bottom, (40, 80, 110), 0.5), _mixed(top, (16, 40, 64), 0.6))
    pen = ImageDraw.Draw(image)
    x, light = random.randrange(width // 4, width * 3 // 4), _mixed(bottom, (255, 248, 226), 0.75)
    _disc(pen, x, horizon - height // 8, width // 16, light)
    for row in range(horizon + 4, height, 7):
        half = random.randrange(4, 8 + (row - horizon) // 4)
        pen.line((x - half, row, x + half, row), fill=light, width=2)
    for _ in range(random.randrange(1, 3)):
        at, size = random.randrange(width), random.randrange(10, 26)
        pen.polygon([(at, horizon - size), (at, horizon + 2), (at + size * 2 // 3, horizon + 2)], fill=(236, 230, 216))
        pen.polygon(
            [(at - size // 2, horizon + 3), (at + size, horizon + 3), (at + size * 2 // 3, horizon + 9), (at - 2, horizon + 9)], fill=(84, 48, 36)
        )


def _table(random: Random, image: PilImage) -> None:
    width, height = image.size
    wall, wood = random.choice(_STONES), random.choice(((132, 88, 56), (160, 116, 80), (96, 68, 60)))
    _paint_down(image, 0, height, _mixed(wall, (230, 220, 200), 0.3), _mixed(wall, (20, 20, 30), 0.3))
    edge = round(height * random.uniform(0.58, 0.7))
    _paint_down(image, edge, height, _mixed(wood, (255, 240, 210), 0.2), _mixed(wood, (20, 10, 10), 0.3))
    pen = ImageDraw.Draw(image)
    x, jar = random.randrange(width // 4, width * 3 // 4), random.choice(((68, 96, 132), (180, 160, 130), (92, 116, 96)))
    for slice_ in range(12):
        shade = _mixed(_mixed(jar, (255, 255, 255), 0.4), _mixed(jar, (0, 0, 0), 0.5), slice_ / 11)
        left = x - width // 9 + slice_ * width // 54
        pen.rectangle((left, edge - height // 4, left + width // 50, edge + height // 10), fill=shade)
    _disc(pen, x, edge - height // 4, width // 8, random.choice(_GREENS))
    for _ in range(random.randrange(3, 7)):
        at, size, colour = random.randrange(width // 8, width * 7 // 8), random.randrange(9, 17), random.choice(_FRUITS)
        y = edge + random.randrange(4, height // 5)
        pen.ellipse((at - size, y + size // 2, at + size + 6, y + size + 4), fill=_mixed(wood, (0, 0, 0), 0.5))
        for ring in range(6):
            shade = _mixed(_mixed(colour, (0, 0, 0), 0.3), (255, 245, 225), ring / 8)
            _disc(pen, at - ring * size // 16, y - ring * size // 14, size - ring * size // 7, shade)


_SCENES: tuple[Callable[[Random, PilImage], None], ...] = (_hills, _sea, _table)


@functools.lru_cache(maxsize=65_536)
def _nearest_paint(colour: Colour) -> Colour:
    return min(_PAINTS, key=lambda paint: sum((one - other) ** 2 for one, other in zip(paint, colour, strict=True)))


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def _disc(pen: ImageDraw.ImageDraw, x: int, y: int, radius: int, fill: Colour) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _paint_down(image: PilImage, start: int, end: int, top: Colour, bottom: Colour) -> None:
    pen = ImageDraw.Draw(image)
    for row in range(start, end):
        pen.line((0, row, image.width, row), fill=_mixed(top, bottom, (row - start) / max(1, end - start - 1)))
