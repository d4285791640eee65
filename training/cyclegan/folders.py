"""Translate whatever lies in a folder or a zip into a folder of pictures, one by one, each as large as it was.

What is there already is not made again, so the same command goes on where a killed one stopped; translation.json says what made the pictures, and a
folder made otherwise is refused. What is no picture that may be used is set aside, counted and named.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy
from PIL import Image, ImageOps

from formats.image_shards import DamagedImageError, Pack, open_packs
from formats.pictures import MOST_PIXELS, DecodeLimits, Undecodable, decode
from formats.png import encode_png
from stages.files import write_file_atomically
from stages.reporting import Reporter
from training.cyclegan.generator import Generator
from training.cyclegan.kaggle import SIDE_PX, TranslateError, jpeg
from training.cyclegan.tiles import Tiling, translate_picture
from training.gans.picture_folder import summary
from training.loop.devices import Devices

FACTS = "translation.json"
# One's own photographs are larger than what a journal serves; tiles bound the memory of the rest.
_LIMITS = DecodeLimits(max_bytes=1 << 28, max_pixels=MOST_PIXELS, min_side_px=1)
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Translation:
    """made_by: what decides the pictures, such as the checksum of the weights. kaggle: every picture as a JPEG of 256 × 256 px."""

    generator: Generator
    made_by: Mapping[str, Any]
    tiling: Tiling
    devices: Devices
    kaggle: bool = False

    def target_name(self, name: str) -> str:
        """A PNG or JPEG keeps its name; `a/b.webp` becomes `a/b.webp.png`, so that two never take one name."""
        suffix = PurePosixPath(name).suffix.lower()
        if self.kaggle:
            return name if suffix in _JPEG else f"{name}.jpg"
        return name if suffix in (".png", *_JPEG) else f"{name}.png"

    def make(self, content: bytes, target_name: str) -> bytes:
        """The translated picture's file. Raises Undecodable."""
        picture = decode(content, limits=_LIMITS).image
        if self.kaggle:
            picture = ImageOps.fit(picture, (SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        made = translate_picture(self.generator, numpy.asarray(picture), self.tiling, self.devices)
        if self.kaggle and made.shape[2] == 1:
            made = made.repeat(3, axis=2)
        return jpeg(made) if target_name.lower().endswith(_JPEG) else encode_png(made)


def translate_folder(translation: Translation, source: Path, target: Path, reporter: Reporter) -> list[Path]:
    """Write into `target` and give the files of all pictures in order, made now or before. Raises TranslateError, ImageSetError."""
    if target.resolve().is_relative_to(source.resolve()):
        raise TranslateError(f"{target} lies among the pictures of {source}, and would be translated too; choose another --outdir")
    places = [(pack, name) for pack in open_packs(source) for name in pack.picture_names]
    if not places:
        raise TranslateError(f"{source}: no picture in it; expected a folder or a zip of pictures")
    _claim(target, translation)
    set_aside: list[dict[str, str]] = []
    files: list[Path] = []
    made = 0
    for pack, name in reporter.progress(places, total=len(places), what="pictures"):
        try:
            path = _inside(target, translation.target_name(name))
            if not path.is_file():
                write_file_atomically(path, translation.make(_read(pack, name), path.name))
                made += 1
        except Undecodable as error:
            set_aside.append({"name": name, "reason": error.reason, "words": error.words})
        else:
            files.append(path)
    _write_facts(target, translation, set_aside)
    reporter.log(f"{target}: {made:,} pictures translated, {len(files) - made:,} were there before; {summary(set_aside)}")
    if not files:
        raise TranslateError(f"{source}: none of {len(places):,} files is a picture that can be used; {summary(set_aside)}")
    return files


def submission_members(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    """For `write_submission`: numbered, because files of two folders may have one name."""
    return ((f"{number:05d}-{path.stem}.jpg", path.read_bytes()) for number, path in enumerate(files))


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Undecodable("unsafe_name", "its name leads out of the folder")
    return path


def _read(pack: Pack, name: str) -> bytes:
    try:
        return pack.read(name)
    except (DamagedImageError, OSError) as error:
        raise Undecodable("unreadable", str(error)) from None


def _claim(target: Path, translation: Translation) -> None:
    """Make an empty folder ours, or refuse one that holds something else, such as pictures of another network."""
    if not (target / FACTS).is_file():
        if target.is_dir() and any(target.iterdir()):
            raise TranslateError(f"{target}: not empty, and not made by this program; choose another --outdir")
        _write_facts(target, translation, [])
    try:
        made_by = json.loads((target / FACTS).read_text(encoding="utf-8"))["made_by"]
    except (ValueError, KeyError, TypeError):
        made_by = None
    if made_by != translation.made_by:
        raise TranslateError(f"{target}: its pictures were made by another network, way or tiling ({FACTS} says which); choose another --outdir")


def _write_facts(target: Path, translation: Translation, set_aside: list[dict[str, str]]) -> None:
    values = {"made_by": translation.made_by, "set_aside": set_aside}
    write_file_atomically(target / FACTS, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
