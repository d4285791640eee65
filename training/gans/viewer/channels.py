"""A layer's activations as a picture: one tile a channel, blue below zero, dark at zero, orange above."""

import numpy

COLUMNS = 8
MOST_CHANNELS = 64
_MOST_TILE_PX = 128
_GAP_PX = 2
# A channel's colours end at three times its root mean square.
_REACH = 3.0
_ANCHORS = numpy.array([[168, 220, 255], [47, 127, 214], [12, 14, 19], [226, 104, 43], [255, 226, 168]], dtype=float)
_COLOURS = numpy.stack([numpy.interp(numpy.linspace(0, 4, 256), numpy.arange(5), anchor) for anchor in _ANCHORS.T], axis=1).astype(numpy.uint8)


def channel_sheet(activations: numpy.ndarray) -> numpy.ndarray:
    """uint8 [H', W', 3] of activations [C, H, W]: COLUMNS tiles a row, made smaller by areas; one channel alone stays as large as it is."""
    C, H, W = activations.shape
    tiles = activations if C == 1 else _smaller(activations, -(-max(H, W) // _MOST_TILE_PX))
    scale = numpy.sqrt(numpy.square(tiles, dtype=numpy.float64).mean(axis=(1, 2), keepdims=True)) * _REACH
    shades = numpy.clip(tiles / numpy.where(scale > 0, scale, 1), -1, 1)
    coloured = _COLOURS[numpy.round((shades + 1) * 127.5).astype(numpy.uint8)]
    if C == 1:
        return coloured[0]
    # Transparent gaps would need a fourth channel: they are as dark as zero.
    height, width = coloured.shape[1] + _GAP_PX, coloured.shape[2] + _GAP_PX
    rows = -(-C // COLUMNS)
    sheet = numpy.empty((rows * height, COLUMNS * width, 3), numpy.uint8)
    sheet[:] = _COLOURS[128]
    for place, tile in enumerate(coloured):
        top, left = place // COLUMNS * height, place % COLUMNS * width
        sheet[top : top + height - _GAP_PX, left : left + width - _GAP_PX] = tile
    return sheet


def _smaller(activations: numpy.ndarray, times: int) -> numpy.ndarray:
    C, H, W = activations.shape
    whole = activations[:, : H // times * times, : W // times * times]
    return whole.reshape(C, H // times, times, W // times, times).mean(axis=(2, 4))
