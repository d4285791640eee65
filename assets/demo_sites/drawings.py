"""Table-of-contents pictures of the imaginary journal, drawn by Pillow in every file format and colour mode that such pictures come in.

The same bytes on every machine with the same Pillow: whole-number coordinates, Pillow's own font, and a PNG compression that does not depend on
how a processor searches for matches. Drawn at twice the size and reduced, which is what makes the lines smooth.
"""

import functools
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Image as PilImage

Colour = tuple[int, int, int]
Point = tuple[int, int]

# One after the other, by paper number: what a stack of such pictures is made of.
_KINDS = (
    "gif", "jpeg", "png", "gif", "png_alpha", "jpeg", "gif_animated", "png_palette", "gif", "jpeg_grey", "png",
    "jpeg", "gif_transparent", "png_grey_alpha", "jpeg_cmyk", "gif", "png_grey", "jpeg_rotated", "png", "png_16bit", "png_palette_alpha", "gif",
    "jpeg",
)  # fmt: skip
_RLE = 3  # zlib's run-length strategy
_LABELS = ("O", "N", "S", "OH", "NH", "Br", "F", "R", "Ph", "OMe", "B", "Si")
_OVER_ARROWS = ("hope", "cat.", "heat", "light", "tea", "Pd", "[O]", "time", "12 h", "-78 C", "irony", "?")


@dataclass(frozen=True)
class Picture:
    """body: empty where the picture is missing."""

    body: bytes
    content_type: str


@dataclass(frozen=True)
class _Palette:
    paper: Colour
    paper_end: Colour
    ink: Colour
    accents: tuple[Colour, ...]


_PALETTES = (
    _Palette((255, 255, 255), (255, 255, 255), (30, 30, 36), ((200, 40, 50), (30, 90, 180), (20, 140, 90))),
    _Palette((255, 255, 255), (226, 240, 252), (18, 40, 78), ((240, 120, 30), (0, 128, 168), (120, 60, 160))),
    _Palette((255, 250, 235), (252, 226, 190), (80, 38, 20), ((190, 60, 30), (40, 110, 100), (230, 170, 40))),
    _Palette((16, 22, 48), (52, 30, 92), (240, 244, 255), ((255, 196, 64), (90, 220, 220), (255, 110, 150))),
    _Palette((236, 250, 240), (196, 230, 214), (16, 60, 44), ((220, 80, 90), (60, 150, 60), (70, 90, 170))),
    _Palette((255, 255, 255), (250, 234, 242), (70, 20, 60), ((190, 40, 110), (110, 70, 190), (240, 150, 60))),
    _Palette((244, 246, 248), (206, 214, 224), (36, 44, 54), ((10, 110, 190), (230, 80, 50), (120, 130, 140))),
    _Palette((8, 48, 56), (10, 92, 96), (236, 250, 246), ((250, 216, 90), (255, 130, 90), (130, 230, 170))),
)


def kind_of(number: int) -> str:
    return _KINDS[(number * 7) % len(_KINDS)]


def extension_of(number: int) -> str:
    """gif, jpeg or png."""
    return kind_of(number).partition("_")[0]


def draw(seed: int, number: int, *, label: str, scene: str = "", tone: int | None = None, fault: str = "") -> Picture:
    """The picture of paper `number`. scene: a name in SCENES; tone: equal ones have equal colours; without them, chosen by the number.

    fault: missing, html, too_small, one_pixel or truncated; it then is what readers have to set aside.
    """
    extension = extension_of(number)
    content_type = f"image/{extension}"
    if fault == "missing":
        return Picture(b"", content_type)
    if fault == "html":
        return Picture(b"<!doctype html>\n<html><head><title>Picture</title></head><body><p>The picture is resting.</p></body></html>\n", "text/html")
    if fault in {"too_small", "one_pixel"}:
        side = (1, 1) if fault == "one_pixel" else (24, 16)
        return Picture(_saved(Image.new("RGB", side, (200, 40, 50)), extension), content_type)
    body = _encoded(kind_of(number), _Scene(Random(f"picture {seed} {number}"), label, scene, tone))
    return Picture(body[: len(body) * 2 // 5] if fault == "truncated" else body, content_type)


def _encoded(kind: str, scene: "_Scene") -> bytes:
    if kind == "gif_animated":
        frames = [_as_palette(scene.render(step)) for step in range(4)]
        target = io.BytesIO()
        frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=400, loop=0)
        return target.getvalue()
    image = scene.render()
    if kind == "gif":
        return _saved(_as_palette(image), "gif")
    # The kinds differ in what readers get wrong: palettes with a transparent entry, alpha, 16 bits, CMYK, and EXIF that asks to be turned.
    if kind in {"gif_transparent", "png_palette_alpha"}:
        small = _as_palette(image)
        # The corner's colour is that of the paper, at least there.
        return _saved(small, kind.partition("_")[0], transparency=small.getpixel((0, 0)))
    if kind == "png_palette":
        return _saved(_as_palette(image), "png")
    if kind in {"png_alpha", "png_grey_alpha"}:
        grey = image.convert("L")
        alpha = _vignette(image.size)
        return _saved(Image.merge("LA", (grey, alpha)) if kind == "png_grey_alpha" else Image.merge("RGBA", (*image.split(), alpha)), "png")
    if kind == "png_16bit":
        grey = image.convert("L")
        return _saved(Image.frombytes("I;16", grey.size, Image.merge("LA", (grey, grey)).tobytes()), "png")
    if kind in {"png_grey", "jpeg_grey"}:
        return _saved(image.convert("L"), kind.partition("_")[0])
    if kind == "jpeg_cmyk":
        return _saved(image.convert("CMYK"), "jpeg")
    if kind == "jpeg_rotated":
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned a quarter clockwise before it is shown
        return _saved(image.transpose(Image.Transpose.ROTATE_90), "jpeg", exif=exif)
    return _saved(image, kind)


def _saved(image: PilImage, extension: str, **options: object) -> bytes:
    target = io.BytesIO()
    settings: dict = {"jpeg": {"quality": 88}, "png": {"compress_type": _RLE}, "gif": {}}[extension]
    image.save(target, extension.upper(), **settings, **options)
    return target.getvalue()


def _as_palette(image: PilImage) -> PilImage:
    return image.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


@functools.lru_cache(maxsize=4)
def _vignette(size: tuple[int, int]) -> PilImage:
    """Opaque with a soft edge."""
    width, height = size
    edge = Image.new("L", (width // 8, height // 8), 0)
    ImageDraw.Draw(edge).rectangle((1, 1, width // 8 - 2, height // 8 - 2), fill=255)
    return edge.resize(size, Image.Resampling.BICUBIC)


class _Scene:
    """What a picture shows; drawn again for every frame from the same choices. Coordinates are those of the doubled picture."""

    def __init__(self, random: Random, label: str, scene: str, tone: int | None) -> None:
        self.random = random
        # What is given is drawn all the same, so that everything else is as it would be without it.
        palette = random.choice(_PALETTES)
        self.palette = palette if tone is None else _PALETTES[tone % len(_PALETTES)]
        self.width, self.height = 2 * random.choice((240, 260, 280, 300, 320, 360, 400, 500)), 2 * random.choice((120, 140, 160, 180, 200, 220))
        motif = random.choice(("reaction", *SCENES))
        self.motif = SCENES[scene or motif]
        self.seed = random.random()
        self.label = label if random.random() < 0.6 else ""

    def render(self, step: int = 0) -> PilImage:
        """In RGB. step: of an animation; what moves has moved on."""
        image = _gradient(self.palette.paper, self.palette.paper_end, (self.width, self.height))
        # A generator of its own from the same seed: every frame of an animation makes the same choices.
        canvas = _Canvas(ImageDraw.Draw(image), Random(f"scene {self.seed}"), self.palette, self.width, self.height - 44 * bool(self.label), step)
        self.motif(canvas)
        if self.label:
            canvas.pen.rectangle((0, canvas.height, self.width, self.height), fill=self.palette.paper_end)
            canvas.text((self.width // 2, self.height - 28), self.label, size=26)
        return image.reduce(2)


@dataclass
class _Canvas:
    """A pen with a palette. height: what is left above the label."""

    pen: ImageDraw.ImageDraw
    random: Random
    palette: _Palette
    width: int
    height: int
    step: int

    @property
    def ink(self) -> Colour:
        return self.palette.ink

    def accent(self) -> Colour:
        return self.random.choice(self.palette.accents)

    def text(self, at: Point, words: str, *, size: int, fill: Colour | None = None) -> None:
        self.pen.text(at, words, font=font_of(size), fill=fill or self.ink, anchor="mm")

    def arrow(self, start: Point, end: Point, *, fill: Colour | None = None, width: int = 6) -> None:
        colour = fill or self.ink
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        neck = _around(end, -4 * width, angle)
        self.pen.line([start, neck], fill=colour, width=width)
        self.pen.polygon([end, _around(neck, 2 * width, angle + math.pi / 2), _around(neck, 2 * width, angle - math.pi / 2)], fill=colour)

    def ball(self, at: Point, radius: int, colour: Colour) -> None:
        """A sphere lit from the upper left."""
        for ring in range(8):
            share = ring / 8
            size, shift = round(radius * (1 - share)), round(radius * share * 0.35)
            centre = (at[0] - shift, at[1] - shift)
            shade = _mixed(_mixed(colour, (0, 0, 0), 0.25), (255, 255, 255), share * 0.85)
            self.disc(centre, size, shade)

    def disc(self, at: Point, radius: int, fill: Colour, *, outline: Colour | None = None, width: int = 1) -> None:
        self.pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=fill, outline=outline, width=width)

    def ring(
        self, at: Point, radius: int, sides: int, *, turn: float = -math.pi / 2, double: bool = True, colour: Colour | None = None
    ) -> list[Point]:
        """A ring of a skeletal formula; gives its corners."""
        corners = [_around(at, radius, turn + 2 * math.pi * corner / sides) for corner in range(sides)]
        ink = colour or self.ink
        self.pen.line([*corners, corners[0], corners[1]], fill=ink, width=5, joint="curve")
        if double:
            inner = [_around(at, radius * 3 // 4, turn + 2 * math.pi * corner / sides) for corner in range(sides)]
            for corner in range(0, sides - 1, 2):
                self.pen.line([inner[corner], inner[corner + 1]], fill=ink, width=4)
        return corners

    def molecule(self, at: Point, radius: int) -> None:
        """One, two or three fused rings with a few substituents, centred about `at`."""
        count = self.random.choice((1, 1, 2, 2, 3))
        wide = round(radius * math.sqrt(3))
        ink = self.ink
        for place in range(count):
            centre = (at[0] + round((place - (count - 1) / 2) * wide), at[1])
            sides = 6 if count > 1 else self.random.choice((5, 6, 6, 7))
            corners = self.ring(centre, radius, sides, double=self.random.random() < 0.7)
            # Substituents stand on corners, except towards the ring beside this one.
            for corner in self.random.sample(range(sides), 2):
                away = math.atan2(corners[corner][1] - centre[1], corners[corner][0] - centre[0])
                if 0 < place < count - 1 or (count > 1 and abs(math.cos(away)) > 0.6 and (math.cos(away) > 0) == (place == 0)):
                    continue  # towards the next ring
                end = _around(corners[corner], radius * 3 // 5, away)
                self.pen.line([corners[corner], end], fill=ink, width=5)
                self.text(_around(end, radius // 3, away), self.random.choice(_LABELS), size=max(18, radius // 2), fill=self.accent())


def _around(at: Point, radius: float, angle: float) -> Point:
    return round(at[0] + radius * math.cos(angle)), round(at[1] + radius * math.sin(angle))


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def _gradient(top: Colour, bottom: Colour, size: tuple[int, int]) -> PilImage:
    if top == bottom:
        return Image.new("RGB", size, top)
    column = Image.new("RGB", (1, 32))
    column.putdata([_mixed(top, bottom, row / 31) for row in range(32)])
    return column.resize(size, Image.Resampling.BILINEAR)


@functools.lru_cache(maxsize=16)
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, laid out the plain way whatever else the machine has."""
    font = ImageFont.load_default(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        font = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font


def _reaction(canvas: _Canvas) -> None:
    middle, radius = canvas.height // 2, min(canvas.height // 5, canvas.width // 14)
    canvas.molecule((canvas.width // 5, middle), radius)
    canvas.arrow((canvas.width * 2 // 5, middle), (canvas.width * 3 // 5, middle), fill=canvas.accent())
    canvas.text((canvas.width // 2, middle - 30), canvas.random.choice(_OVER_ARROWS), size=28)
    canvas.text((canvas.width // 2, middle + 28), f"{canvas.random.randrange(31, 99)}%", size=22, fill=canvas.accent())
    canvas.molecule((canvas.width * 4 // 5, middle), radius)


def _spectrum(canvas: _Canvas) -> None:
    left, bottom, right, top = 60, canvas.height - 50, canvas.width - 40, 30
    # A sum of Lorentzians h / (1 + ((x - x₀) / w)²), drawn three times, each a little further to the right.
    peaks = [(canvas.random.uniform(0.1, 0.9), canvas.random.uniform(0.02, 0.09), canvas.random.uniform(0.3, 1.0)) for _ in range(4)]
    for layer in range(3):
        shift = 0.06 * layer + 0.04 * canvas.step
        shape: list[Point] = []
        for place in range(0, 101, 2):
            x = place / 100
            y = sum(height / (1 + ((x - at - shift) / width) ** 2) for at, width, height in peaks) / 2.2
            shape.append((round(left + x * (right - left)), round(bottom - layer * 14 - min(y, 1.0) * (bottom - top - 40))))
        colour = canvas.palette.accents[layer]
        if layer == 0:
            canvas.pen.polygon([(left, bottom), *shape, (right, bottom)], fill=_mixed(colour, canvas.palette.paper, 0.6))
        canvas.pen.line(shape, fill=colour, width=5, joint="curve")
    canvas.arrow((left, bottom), (left, top - 10), width=4)
    canvas.arrow((left, bottom), (right + 20, bottom), width=4)
    canvas.text(
        ((left + right) // 2, bottom + 26), canvas.random.choice(("wavelength / nm", "time / Tuesdays", "energy / eV", "dose / cups")), size=22
    )


def _particles(canvas: _Canvas) -> None:
    for _ in range(canvas.random.randrange(9, 18)):
        radius = canvas.random.randrange(14, max(20, canvas.height // 6))
        at = (
            canvas.random.randrange(radius, canvas.width - radius),
            canvas.random.randrange(radius, max(radius + 1, canvas.height - radius)) - 6 * canvas.step,
        )
        canvas.ball(at, radius, canvas.accent())


def _framework(canvas: _Canvas) -> None:
    radius = max(26, canvas.height // 7)
    wide, tall = round(radius * math.sqrt(3)), radius * 3 // 2
    node, linker = canvas.accent(), canvas.accent()
    corners: set[Point] = set()
    # Hexagons in a honeycomb: every other row is shifted by half a ring.
    for row in range(canvas.height // tall + 1):
        for column in range(canvas.width // wide + 1):
            at = (column * wide + (row % 2) * wide // 2, row * tall)
            corners.update(canvas.ring(at, radius, 6, double=False, colour=_mixed(linker, canvas.palette.paper, 0.25)))
    for corner in sorted(corners):
        canvas.disc(corner, 8, node)
    for _ in range(3):
        at = (canvas.random.randrange(canvas.width), canvas.random.randrange(canvas.height) + 8 * canvas.step)
        canvas.ball(at, radius // 2, canvas.accent())


def _cycle(canvas: _Canvas) -> None:
    centre, radius = (canvas.width // 2, canvas.height // 2), canvas.height * 2 // 5 - 10
    stations = canvas.random.randrange(3, 6)
    turn = 2 * math.pi / stations
    for place in range(stations):
        colour = canvas.palette.accents[place % 3]
        begin, end = -90 + math.degrees(place * turn) + 16, -90 + math.degrees((place + 1) * turn) - 20
        box = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
        canvas.pen.arc(box, round(begin), round(end), fill=colour, width=8)
        tip = _around(centre, radius, math.radians(end + 10))
        canvas.arrow(_around(centre, radius, math.radians(end - 2)), tip, fill=colour, width=7)
    for place in range(stations):
        canvas.ball(_around(centre, radius, place * turn - math.pi / 2 + canvas.step * 0.2), 20, canvas.palette.accents[place % 3])
    canvas.text(centre, canvas.random.choice(("Pd", "Fe", "i-Ni", "Cu", "tea", "Au", "?")), size=44)
    _beside(canvas, radius)


def _energies(canvas: _Canvas) -> None:
    count = canvas.random.randrange(4, 7)
    wide = (canvas.width - 80) // count
    levels = [canvas.random.randrange(40, max(41, canvas.height - 60)) for _ in range(count)]
    previous: Point | None = None
    for place, level in enumerate(levels):
        left = 40 + place * wide
        right = left + wide * 3 // 5
        colour = canvas.palette.accents[place % 3]
        if previous:
            canvas.pen.line([previous, (left, level)], fill=_mixed(canvas.ink, canvas.palette.paper, 0.5), width=3)
        canvas.pen.line([(left, level), (right, level)], fill=colour, width=9)
        canvas.text(((left + right) // 2, level + 24), f"{canvas.random.randrange(-30, 40)}.{canvas.random.randrange(10)}", size=20)
        previous = (right, level)
    canvas.arrow((20, canvas.height - 16), (20, 24), width=4)


def _links(canvas: _Canvas) -> None:
    radius, count = canvas.height * 2 // 7, canvas.random.randrange(2, 5)
    across = radius * 5 // 4
    left = canvas.width // 2 - across * (count - 1) // 2
    for half in (True, False):
        for place in range(count):
            at = (left + place * across, canvas.height // 2 + (10 if place % 2 else -10))
            box = (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)
            # The right sides once more, after the left ones: each link lies over one neighbour and under the other.
            begin, end = (0, 360) if half else (270, 360)
            canvas.pen.arc(box, begin, end, fill=canvas.palette.accents[place % 3], width=22)


def _flask(canvas: _Canvas) -> None:
    middle, bottom, top = canvas.width // 2, canvas.height - 24, 30
    half, neck = canvas.height // 3, canvas.height // 12
    shoulder = top + canvas.height // 4
    liquid = canvas.accent()
    share = 0.45
    level = round(shoulder + (bottom - shoulder) * share)
    inside = round(neck + (half - neck) * share)
    canvas.pen.polygon([(middle - inside, level), (middle + inside, level), (middle + half, bottom), (middle - half, bottom)], fill=liquid)
    outline = [
        (middle - neck, top),
        (middle - neck, shoulder),
        (middle - half, bottom),
        (middle + half, bottom),
        (middle + neck, shoulder),
        (middle + neck, top),
    ]
    canvas.pen.line(outline, fill=canvas.ink, width=7, joint="curve")
    for bubble in range(9):
        at = (middle + canvas.random.randrange(-inside, inside), canvas.random.randrange(top - 10, bottom - 16) - 10 * canvas.step)
        canvas.disc(at, canvas.random.randrange(5, 15), _mixed(canvas.palette.accents[bubble % 3], (255, 255, 255), 0.4), outline=canvas.ink, width=2)
    _beside(canvas, half)


def _beside(canvas: _Canvas, half: int) -> None:
    """A molecule on either side of what stands in the middle, where there is room. half: of the width of that."""
    room = canvas.width // 2 - half - 40
    radius = min(canvas.height // 9, room // 6)
    if radius >= 16:
        for side in (-1, 1):
            canvas.molecule((canvas.width // 2 + side * (half + 40 + room // 2), canvas.height // 2), radius)


SCENES: Mapping[str, Callable[[_Canvas], None]] = {
    "reaction": _reaction, "spectrum": _spectrum, "particles": _particles, "framework": _framework, "cycle": _cycle, "energies": _energies,
    "links": _links, "flask": _flask,
}  # fmt: skip
