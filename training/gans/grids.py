"""Many small pictures side by side in one: snapshots, galleries, frames of videos; and the names and the index of snapshots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy
import torch
from torch import Tensor

RowT = TypeVar("RowT")

# As the published programs lay out their snapshots: about 8K, at least 7 by 4 and at most 32 by 32 pictures.
_WIDTH_PX, _HEIGHT_PX = 7680, 4320
# Of the corner of a snapshot that fits on a page beside others.
_CORNER_WIDTH_PX, _CORNER_HEIGHT_PX = 1024, 512


def default_grid(resolution: int) -> tuple[int, int]:
    """(columns, rows) of a snapshot of square pictures of `resolution` pixels."""
    return min(max(_WIDTH_PX // resolution, 7), 32), min(max(_HEIGHT_PX // resolution, 4), 32)


def to_uint8(images: Tensor) -> Tensor:
    """Generator output in about [-1, 1] as uint8: 127.5·x + 128, cut to [0, 255]."""
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def tile(images: numpy.ndarray, columns: int) -> numpy.ndarray:
    """Pictures uint8 [N, C, H, W] (C is 1 or 3) as one uint8 [rows·H, columns·W, 3], row by row; places left over are white."""
    N, C, H, W = images.shape
    rows = -(-N // columns)
    places = numpy.full((rows * columns, C, H, W), 255, dtype=numpy.uint8)
    places[:N] = images
    picture = places.reshape(rows, columns, C, H, W).transpose(0, 3, 1, 4, 2).reshape(rows * H, columns * W, C)
    return picture.repeat(3, axis=2) if C == 1 else picture


def corner(picture: numpy.ndarray, resolution: int) -> numpy.ndarray:
    """The first whole pictures of `resolution` px of a tiled one, about 1024 by 512 px of them, at least one."""
    width, height = (max(1, side // resolution) * resolution for side in (_CORNER_WIDTH_PX, _CORNER_HEIGHT_PX))
    return picture[:height, :width]


def evenly(rows: Sequence[RowT], most: int) -> list[RowT]:
    """At most so many of the rows, the first and the last among them, the others as evenly between them as may be. most: 2 or more."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]


def save_picture(path: Path, picture: numpy.ndarray) -> None:
    """uint8 [H, W, 3] as a PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="PNG")


def load_picture(path: Path) -> numpy.ndarray:
    """uint8 [H, W, 3] of a PNG written by `save_picture`."""
    from PIL import Image

    with Image.open(path) as picture:
        return numpy.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class SnapshotIndex:
    """What snapshots/index.json of a trained model says."""

    columns: int
    rows: int
    psi: float
    resolution: int
    seed: int
    snapshots: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> "SnapshotIndex":
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "snapshots": tuple(values["snapshots"])})


def snapshot_name(images: int, *, every_images: int, total_images: int) -> str:
    """fakes000040 for the snapshot due at 40 kimg. A cadence or an end that is no whole kimg puts thousandths behind: fakes000002_500.

    An iteration steps over the exact multiple of `every_images`, and the name is that of the multiple; the last one's is that of the budget.
    """
    due = total_images if images >= total_images else images - images % every_images
    kimg, rest = divmod(due, 1000)
    return f"fakes{kimg:06d}" + (f"_{rest:03d}" if rest else "")
