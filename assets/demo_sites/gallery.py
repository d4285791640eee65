"""A gallery that does not exist: paintings and photographs in one zip with the folders trainA, trainB, testA and testB, A the paintings.

Among them is what real collections have: a grey photograph, one that is there twice, one that is nearly the same as one of another split, a file
that breaks off, a PNG, and many sizes.
"""

import functools
import hashlib
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, time

from PIL.Image import Image as PilImage

from assets.demo_sites.catalogue import FIRST_DAY
from assets.demo_sites.exchange import Request, Response, error_page, text
from assets.demo_sites.scenes import painting, photograph

GALLERY_HOST = "gallery.imaginary-letters.example"
ZIP_PATH = "/downloads/imaginary2photo.zip"
SUMS_PATH = "/downloads/SHA256SUMS"
_TOP = "imaginary2photo"
_TRAIN, _TEST = 40, 8
_DAY = datetime.combine(FIRST_DAY, time(4), UTC)
_README = "Paintings (A) and photographs (B) of places that do not exist. Made by a program; CC0-1.0.\n"


class ImaginaryGallery:
    """Serves the zip, its SHA-256, and a page that leads to both."""

    hosts = (GALLERY_HOST,)

    def now(self) -> datetime:
        return _DAY

    def respond(self, request: Request) -> Response:
        if request.path == "/robots.txt":
            return text("User-agent: *\nDisallow:\n")
        if request.path == "/":
            return text(f'<!doctype html>\n<title>Gallery</title>\n<p>{_README}<a href="{ZIP_PATH}">All</a>\n', "text/html; charset=utf-8")
        if request.path == ZIP_PATH:
            return Response(gallery_zip(), "application/zip", last_modified=_DAY, has_ranges=True)
        if request.path == SUMS_PATH:
            return text(f"{hashlib.sha256(gallery_zip()).hexdigest()}  {ZIP_PATH.rpartition('/')[2]}\n", last_modified=_DAY)
        return error_page(404, "This picture has not been imagined.")


@functools.cache
def gallery_zip() -> bytes:
    """Every picture, in the layout that CycleGAN's own data sets have."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, body in {"README.txt": _README.encode(), **_pictures()}.items():
            archive.writestr(zipfile.ZipInfo(f"{_TOP}/{name}", (1980, 1, 1, 0, 0, 0)), body)
    return target.getvalue()


def _pictures() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    draw: dict[str, Callable[[str], PilImage]] = {"A": painting, "B": photograph}
    for domain, make in draw.items():
        for number in range(_TRAIN + _TEST):
            split = "train" if number < _TRAIN else "test"
            files[f"{split}{domain}/{number:05d}.jpg"] = _saved(make(str(number)))
    files["trainA/00007.png"] = _saved(painting("7"), "PNG")
    del files["trainA/00007.jpg"]
    files["trainB/00005.jpg"] = _saved(photograph("5").convert("L"))
    files["trainB/00011.jpg"] = files["trainB/00010.jpg"]
    files[f"testB/{_TRAIN + 1:05d}.jpg"] = _saved(photograph("12"), quality=60)
    files["trainA/00023.jpg"] = files["trainA/00023.jpg"][:700]
    return dict(sorted(files.items()))


def _saved(image: PilImage, format: str = "JPEG", *, quality: int = 90) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **({"quality": quality} if format == "JPEG" else {"compress_type": 3}))
    return target.getvalue()
