"""A sheet of pictures, each beside its real title and the one that was written for it."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

_SIDE_PX, _TEXT_PX, _GAP_PX, _FONT_PX = 96, 420, 8, 13
_LINE_CHARACTERS, _MOST_LINES = 56, 3


def draw_sheet(rows: Sequence[tuple[Image.Image, str, str]], path: Path) -> None:
    """A PNG of (picture, real title, written title); long titles are cut. The same rows make the same bytes."""
    # Matplotlib brings a font with letters of many scripts.
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), _FONT_PX)
    step = _SIDE_PX + _GAP_PX
    sheet = Image.new("RGB", (step + _TEXT_PX, max(1, len(rows)) * step), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, real, written) in enumerate(rows):
        top = number * step
        sheet.paste(picture.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS), (0, top))
        pen.text((step, top), _wrapped(real), fill="black", font=font)
        pen.text((step, top + _SIDE_PX // 2), _wrapped(written), fill=(150, 40, 40), font=font)
    sheet.save(path, format="PNG", optimize=True)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _LINE_CHARACTERS, max_lines=_MOST_LINES, placeholder=" …"))
