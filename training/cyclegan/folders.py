"""Translate whatever lies in a folder or a zip into a folder of pictures, one by one, each as large as it was.

What is there already is not made again, so the same command goes on where a killed one stopped; translation.json says what made the pictures, and a
folder made otherwise is refused. What is no picture that may be used is set aside, counted and named.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy
from PIL import Image

from formats.image_shards import DamagedImageError, Pack, open_packs
from formats.pictures import MOST_PIXELS, DecodeLimits, Undecodable, decode
from formats.png import encode_png
from stages.files import write_file_atomically
from stages.reporting import Reporter
from training.gans.picture_folder import summary

FACTS = "translation.json"
JPEG_QUALITY = 95
# One's own photographs are larger than what a journal serves; tiles bound the memory of the rest.
_LIMITS = DecodeLimits(max_bytes=1 << 28, max_pixels=MOST_PIXELS, min_side_px=1)
_JPEG = (".jpg", ".jpeg")


class TranslateError(Exception):
    """Pictures cannot be translated as asked for. The message says what was found and what to do."""


def translate_folder(
    source: Path, target: Path, translate: Callable[[numpy.ndarray], numpy.ndarray], *, made_by: Mapping[str, Any], reporter: Reporter
) -> None:
    """Write the pictures of `source` into `target`, each under its name. Raises TranslateError, ImageSetError.

    translate: uint8 [H, W, 1 or 3] to the same of the same size. made_by: what decides the pictures, such as the checksum of the weights.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise TranslateError(f"{target} lies among the pictures of {source}, and would be translated too; choose another --outdir")
    places = [(pack, name) for pack in open_packs(source) for name in pack.picture_names]
    if not places:
        raise TranslateError(f"{source}: no picture in it; expected a folder or a zip of pictures")
    _claim(target, made_by)
    set_aside: list[dict[str, str]] = []
    taken: set[Path] = set()
    made = before = 0
    for pack, name in reporter.progress(places, total=len(places), what="pictures"):
        try:
            path = _place(target, name, taken)
            taken.add(path)
            if path.is_file():
                before += 1
            else:
                picture = translate(_read(pack, name))
                write_file_atomically(path, jpeg(picture) if path.suffix.lower() in _JPEG else encode_png(picture))
                made += 1
        except Undecodable as error:
            set_aside.append({"name": name, "reason": error.reason, "words": error.words})
    _write_facts(target, made_by, set_aside)
    reporter.log(f"{target}: {made:,} pictures translated, {before:,} were there before; {summary(set_aside)}")
    if not made + before:
        raise TranslateError(f"{source}: none of {len(places):,} files is a picture that can be used; {summary(set_aside)}")


def jpeg(pixels: numpy.ndarray) -> bytes:
    """uint8 [H, W, 3 or 1] as the bytes of a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, format="JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def _place(target: Path, name: str, taken: set[Path]) -> Path:
    """A PNG or JPEG keeps its name; `a/b.webp` becomes `a/b.webp.png`."""
    path = target / (name if PurePosixPath(name).suffix.lower() in (".png", *_JPEG) else f"{name}.png")
    if not path.resolve().is_relative_to(target.resolve()):
        raise Undecodable("unsafe_name", "its name leads out of the folder")
    if path in taken:
        raise Undecodable("same_name", f"another picture became {path.name}")
    return path


def _read(pack: Pack, name: str) -> numpy.ndarray:
    try:
        content = pack.read(name)
    except (DamagedImageError, OSError) as error:
        raise Undecodable("unreadable", str(error)) from None
    return numpy.asarray(decode(content, limits=_LIMITS).image)


def _claim(target: Path, made_by: Mapping[str, Any]) -> None:
    """Make an empty folder ours, or refuse one that holds something else, such as pictures of another network."""
    if not (target / FACTS).is_file():
        if target.is_dir() and any(target.iterdir()):
            raise TranslateError(f"{target}: not empty, and not made by this program; choose another --outdir")
        _write_facts(target, made_by, [])
    try:
        found = json.loads((target / FACTS).read_text(encoding="utf-8"))["made_by"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found != made_by:
        raise TranslateError(f"{target}: its pictures were made by another network, way or tiling ({FACTS} says which); choose another --outdir")


def _write_facts(target: Path, made_by: Mapping[str, Any], set_aside: Sequence[Mapping[str, str]]) -> None:
    values = {"made_by": made_by, "set_aside": set_aside}
    write_file_atomically(target / FACTS, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
