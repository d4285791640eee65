"""One picture of many: a grid on white, for people who want to see what a dataset holds."""

from collections.abc import Sequence
from pathlib import Path

import numpy
from PIL import Image

from formats.png import decode_png, encode_png
from formats.stored_zip import StoredZip

_COLUMNS = 8
_CELL_PX = 128
_GAP_PX = 4


def write_contact_sheet(path: Path, members: Sequence[tuple[Path, str]]) -> None:
    """The new PNG `path`: these members of dataset zips in rows of eight, each reduced to at most 128 px."""
    zips = {file: StoredZip(file) for file in {file for file, _ in members}}
    cells = [_reduced(decode_png(zips[file].read(member))) for file, member in members]
    step = max(cell.shape[0] for cell in cells) + _GAP_PX
    columns = min(_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    sheet = numpy.full((rows * step + _GAP_PX, columns * step + _GAP_PX, 3), 208, numpy.uint8)
    for place, cell in enumerate(cells):
        top, left = (place // columns) * step + _GAP_PX, (place % columns) * step + _GAP_PX
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    path.write_bytes(encode_png(sheet))


def _reduced(pixels: numpy.ndarray) -> numpy.ndarray:
    factor = max(1, pixels.shape[0] // _CELL_PX)
    return numpy.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels
