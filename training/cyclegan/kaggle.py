"""What Kaggle's competition "I'm Something of a Painter Myself" takes: one zip of 7,000 to 10,000 RGB pictures of 256 × 256 px, as JPEG files."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy
from PIL import Image

from formats.stored_zip import StoredZipWriter

SIDE_PX = 256
FEWEST, MOST = 7_000, 10_000
JPEG_QUALITY = 95


class TranslateError(Exception):
    """Pictures cannot be translated as asked for. The message says what was found and what to do."""


def check_count(count: int, *, anyway: bool) -> None:
    """Raises TranslateError for fewer or more pictures than Kaggle takes, unless they are wanted anyway."""
    if not FEWEST <= count <= MOST and not anyway:
        raise TranslateError(
            f"{count:,} pictures, but Kaggle takes {FEWEST:,} to {MOST:,}; translate more (of the train split too) or fewer, or ask for the zip "
            "all the same with --any-count (as a parameter: kaggle_any_count: true)"
        )


def jpeg(pixels: numpy.ndarray) -> bytes:
    """uint8 [H, W, 3 or 1] as the bytes of a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, format="JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def write_submission(path: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    """The new zip `path` of (name, JPEG bytes); names without folders."""
    with StoredZipWriter(path) as archive:
        for name, content in pictures:
            archive.add(name, content)
