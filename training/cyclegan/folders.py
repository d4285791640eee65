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

from formats.image_shards import DamagedImageError, open_packs
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
    made = before = 0
    files: list[Path] = []
    for pack, name in reporter.progress(places, total=len(places), what="pictures"):
        path = target / translation.target_name(name)
        if not path.resolve().is_relative_to(target.resolve()):
            set_aside.append({"name": name, "reason": "unsafe_name", "words": "its name leads out of the folder"})
            continue
        if path.is_file():
            before += 1
        else:
            try:
                write_file_atomically(path, translation.make(pack.read(name), path.name))
                made += 1
            except Undecodable as error:
                set_aside.append({"name": name, "reason": error.reason, "words": error.words})
                continue
            except DamagedImageError as error:
                set_aside.append({"name": name, "reason": "unreadable", "words": str(error)})
                continue
        files.append(path)
    _write_facts(target, translation, set_aside)
    reporter.log(f"{target}: {made:,} pictures translated, {before:,} were there before; {summary(set_aside)}")
    if not files:
        raise TranslateError(f"{source}: none of {len(places):,} files is a picture that can be used; {summary(set_aside)}")
    return files


def submission_members(files: list[Path], folder: Path) -> Iterator[tuple[str, bytes]]:
    """For `write_submission`: the folders of a file become part of its name."""
    return (("_".join(path.relative_to(folder).parts), path.read_bytes()) for path in files)


def _claim(target: Path, translation: Translation) -> None:
    """Make the folder ours, or refuse one that holds pictures of another network."""
    facts = target / FACTS
    if not facts.is_file():
        _write_facts(target, translation, [])
        return
    try:
        made_by = json.loads(facts.read_text(encoding="utf-8"))["made_by"]
    except (ValueError, KeyError, TypeError):
        made_by = None
    if made_by != translation.made_by:
        raise TranslateError(f"{target}: its pictures were made by another network, way or tiling ({facts} says which); choose another --outdir")


def _write_facts(target: Path, translation: Translation, set_aside: list[dict[str, str]]) -> None:
    values = {"made_by": translation.made_by, "set_aside": set_aside}
    write_file_atomically(target / FACTS, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
