"""PDF files and zips of scans, written byte by byte: well-behaved ones, and such as nobody should have to open."""

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy
from PIL import Image, ImageDraw

LETTER = (612, 792)


@dataclass
class Page:
    """A page: its drawing commands, boxes and turn, and the streams it names."""

    content: bytes = b""
    size: tuple[float, float] = LETTER
    entries: str = ""
    images: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)


def text_page(*lines: str, size: tuple[float, float] = LETTER, entries: str = "", colour: str = "0 0 0") -> Page:
    """Lines of Helvetica, and a bar near the upper left corner, so that a page is never blank and its turn is seen."""
    words = "".join(f"BT /F1 24 Tf 72 {size[1] - 200 - 40 * row:g} Td ({line}) Tj ET\n" for row, line in enumerate(lines))
    bar = f"{colour} rg {0.05 * size[0]:g} {0.85 * size[1]:g} {0.3 * size[0]:g} {0.1 * size[1]:g} re f\n"
    return Page((bar + "0 0 0 rg\n" + words).encode(), size, entries)


def scan_page(
    picture: bytes, pixels: tuple[int, int], *, size: tuple[float, float] = LETTER, image: str = "/ColorSpace /DeviceRGB /Filter /DCTDecode",
    entries: str = "", matrix: str | None = None, behind: bytes = b"",
) -> Page:  # fmt: skip
    """A page that is one picture from corner to corner; `image` are entries of its dictionary, `behind` further drawing commands."""
    placed = matrix or f"{size[0]:g} 0 0 {size[1]:g} 0 0"
    head = f"/Type /XObject /Subtype /Image /Width {pixels[0]} /Height {pixels[1]} /BitsPerComponent 8 {image}"
    return Page(f"q {placed} cm /Im Do Q\n".encode() + behind, size, entries, {"Im": (head, picture)})


def pdf(*pages: Page, trailer: str = "", count: int | None = None, kids: str | None = None, extra: Sequence[bytes] = ()) -> bytes:
    """The file. count, kids: what the page tree says, where it is to lie. extra: further objects, numbered from 4 on."""
    objects: dict[int, bytes] = {1: b"<< /Type /Catalog /Pages 2 0 R >>", 3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"}
    objects |= dict(enumerate(extra, 4))
    number = 4 + len(extra)
    places = []
    for page in pages:
        names = []
        for name, (head, body) in page.images.items():
            objects[number] = stream(head, body)
            names.append(f"/{name} {number} 0 R")
            number += 1
        resources = f"<< /Font << /F1 3 0 R >> /XObject << {' '.join(names)} >> >>" if "/Resources" not in page.entries else ""
        box = f"/MediaBox [0 0 {page.size[0]:g} {page.size[1]:g}]" if "/MediaBox" not in page.entries else ""
        objects[number] = stream("", page.content)
        said = f"/Resources {resources}" if resources else ""
        objects[number + 1] = f"<< /Type /Page /Parent 2 0 R {box} {said} /Contents {number} 0 R {page.entries} >>".encode()
        places.append(number + 1)
        number += 2
    listed = " ".join(f"{place} 0 R" for place in places) if kids is None else kids
    objects[2] = f"<< /Type /Pages /Kids [{listed}] /Count {len(pages) if count is None else count} >>".encode()
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = {}
    for key in sorted(objects):
        offsets[key] = len(out)
        out += f"{key} 0 obj\n".encode() + objects[key] + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offsets[key]:010d} 00000 n \n".encode() for key in sorted(offsets))
    out += f"trailer\n<< /Size {len(offsets) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def stream(head: str, body: bytes) -> bytes:
    """An object that is a stream; `head` are entries of its dictionary."""
    return f"<< {head} /Length {len(body)} >>\nstream\n".encode() + body + b"\nendstream"


def packed(zeros: int, *, unit: bytes = b" ") -> bytes:
    """So many bytes, deflated to a thousandth."""
    packer = zlib.compressobj(9)
    block = unit * (1 << 20)
    parts = [packer.compress(block) for _ in range(zeros >> 20)]
    return b"".join([*parts, packer.flush()])


ENCRYPTED = "/Encrypt << /Filter /Standard /V 1 /R 2 /O (" + "o" * 32 + ") /U (" + "u" * 32 + ") /P -4 >> /ID [(0123456789abcdef) (0123456789abcdef)]"


def drawing(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Something like a printed page on yellowish paper: lines of words, noise."""
    random = numpy.random.default_rng(seed)
    paper = Image.new("RGB", (width, height), (244, 236, 214))
    pen = ImageDraw.Draw(paper)
    for top in range(height // 10, height * 9 // 10, max(12, height // 40)):
        left = width // 10
        while left < width * 8 // 10:
            length = int(random.integers(width // 60 + 2, width // 12 + 4))
            pen.rectangle([left, top, left + length, top + max(2, height // 100)], fill=(40, 30, 25))
            left += length + max(3, width // 80)
    noisy = numpy.asarray(paper).astype(int) + random.normal(0, 4, (height, width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(numpy.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The bytes of a picture file."""
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 85} if kind == "JPEG" and not options else options))
    return out.getvalue()


def scans(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()
