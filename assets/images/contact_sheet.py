"""One picture of many, for people who want to see what a folder of pictures holds."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy
from PIL import Image

from formats.pictures import NO_LIMITS, decode
from formats.png import decode_png, encode_png
from formats.stored_zip import StoredZip, StoredZips
from formats.tables import read_table

_COLUMNS = 8
_CELL_PX = 128
_GAP_PX = 4
_ORIGINALS, _ORIGINAL_PX = 24, 96


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
    """uint8 [H, W, 3], from RGB or grey."""
    colours = numpy.broadcast_to(pixels, (*pixels.shape[:2], 3))
    factor = max(1, pixels.shape[0] // _CELL_PX)
    return numpy.asarray(Image.fromarray(colours).reduce(factor)) if factor > 1 else colours


def sheet_of_originals(folder: Path) -> bytes:
    """A small PNG of up to 24 of the originals gathered in `folder`, evenly spaced, each padded with white."""
    index = read_table(folder / "index.parquet", ["shard", "member"]).to_pylist()
    chosen = index if len(index) <= _ORIGINALS else [index[place * len(index) // _ORIGINALS] for place in range(_ORIGINALS)]
    sheet = Image.new("RGB", (_COLUMNS * _ORIGINAL_PX, -(-len(chosen) // _COLUMNS) * _ORIGINAL_PX), (255, 255, 255))
    zips = StoredZips(folder)
    for place, row in enumerate(chosen):
        cell = decode(zips.read(row["shard"], row["member"]), limits=NO_LIMITS).image
        cell.thumbnail((_ORIGINAL_PX - _GAP_PX, _ORIGINAL_PX - _GAP_PX))
        left, top = place % _COLUMNS * _ORIGINAL_PX, place // _COLUMNS * _ORIGINAL_PX
        sheet.paste(cell, (left + (_ORIGINAL_PX - cell.width) // 2, top + (_ORIGINAL_PX - cell.height) // 2))
    stream = io.BytesIO()
    sheet.quantize(128).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
