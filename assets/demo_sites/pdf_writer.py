"""A small writer of PDF files (ISO 32000-1): pages of text and drawings in the standard fonts, and pages that are one JPEG, as scans are.

Nothing is compressed and nothing is dated, so that the same pages make the same bytes everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.demo_sites.page_layout import Points

_NARROW, _WIDE = frozenset("iljftrI.,;:'!|()[]-/ "), frozenset("mwMW%@—")
_PLAIN = str.maketrans("₀₁₂₃₄₅₆₇₈₉−π", "0123456789-p")


class PdfSheet:
    """A page of PDF operators. font: one of the fourteen that every reader has."""

    def __init__(self, width: float = 432, height: float = 612, *, font: str = "Times-Roman", rotate: int = 0) -> None:
        self.width, self.height, self.font, self.rotate = width, height, font, rotate
        self.operators: list[str] = []
        self.lines: list[str] = []
        self.scan: tuple[bytes, tuple[int, int], str] | None = None

    def measure(self, words: str, size: float) -> float:
        """About as wide as the font's own tables say; nothing here depends on more."""
        em = sum(0.28 if letter in _NARROW else 0.79 if letter in _WIDE else 0.68 if letter.isupper() else 0.47 for letter in words)
        return em * size * (1.08 if self.font == "Helvetica" else 1.0)

    def text(self, x: float, y: float, words: str, size: float, *, fill: float = 0) -> None:
        gaps = words.count(" ")
        spread = (fill - self.measure(words, size)) / gaps if fill and gaps else 0
        self.operators.append(f"BT /F1 {size:.1f} Tf {spread:.2f} Tw {x:.1f} {self.height - y:.1f} Td ({_escaped(words)}) Tj ET")
        self.lines.append(words)

    def line(self, points: Points, width: float = 0.8) -> None:
        self.operators.append(f"{width:.1f} w {self._path(points)} S")

    def shape(self, points: Points, grey: float) -> None:
        self.operators.append(f"{grey:.2f} g {self._path(points)} f 0 g")

    def put_scan(self, jpeg: bytes, size: tuple[int, int], mode: str, *, lines: Sequence[str] = ()) -> None:
        """Cover the page with a JPEG. lines: what is read on it, put there invisibly as text recognition does."""
        self.scan, self.lines = (jpeg, size, mode), list(lines)
        self.operators = [f"q {self.width:.1f} 0 0 {self.height:.1f} 0 0 cm /Scan Do Q"]
        self.operators += [f"BT 3 Tr /F1 8 Tf 40 {self.height - 50 - 11 * row:.1f} Td ({_escaped(line)}) Tj ET" for row, line in enumerate(lines)]

    def _path(self, points: Points) -> str:
        placed = [f"{x:.1f} {self.height - y:.1f}" for x, y in points]
        return " ".join([f"{placed[0]} m", *(f"{place} l" for place in placed[1:])])


def write_pdf(sheets: Sequence[PdfSheet], *, title: str = "", is_locked: bool = False) -> bytes:
    """A PDF 1.4 file. is_locked: it says that it is encrypted with a password that nobody has."""
    objects = _Objects([])
    pages, info = objects.add(""), objects.add(f"<< /Title ({_escaped(title)}) >>")
    fonts: dict[str, int] = {}
    kids = []
    for sheet in sheets:
        if sheet.font not in fonts:
            fonts[sheet.font] = objects.add(f"<< /Type /Font /Subtype /Type1 /BaseFont /{sheet.font} /Encoding /WinAnsiEncoding >>")
        images = ""
        if sheet.scan:
            jpeg, (width, height), mode = sheet.scan
            space = "/DeviceGray" if mode == "L" else "/DeviceRGB"
            facts = f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace {space} /BitsPerComponent 8 /Filter /DCTDecode"
            images = f" /XObject << /Scan {objects.stream(jpeg, facts)} 0 R >>"
        content = objects.stream("\n".join(sheet.operators).encode("cp1252", "replace"))
        turned = f" /Rotate {sheet.rotate}" if sheet.rotate else ""
        kids.append(
            objects.add(
                f"<< /Type /Page /Parent {pages} 0 R /MediaBox [0 0 {sheet.width:.1f} {sheet.height:.1f}]{turned} "
                f"/Resources << /Font << /F1 {fonts[sheet.font]} 0 R >>{images} >> /Contents {content} 0 R >>"
            )
        )
    objects.bodies[pages - 1] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] /Count {len(kids)} >>".encode()
    root = objects.add(f"<< /Type /Catalog /Pages {pages} 0 R >>")
    lock = ""
    if is_locked:
        # No password makes these sums: readers must give up (7.6.3.4).
        told = objects.add(f"<< /Filter /Standard /V 1 /R 2 /P -64 /O <{'5e' * 32}> /U <{'a7' * 32}> >>")
        lock = f" /Encrypt {told} 0 R /ID [<{'00' * 16}> <{'00' * 16}>]"
    return objects.file(f"/Root {root} 0 R /Info {info} 0 R{lock}")


@dataclass
class _Objects:
    bodies: list[bytes]

    def add(self, body: str | bytes) -> int:
        """The number of the new object."""
        self.bodies.append(body.encode("cp1252", "replace") if isinstance(body, str) else body)
        return len(self.bodies)

    def stream(self, content: bytes, facts: str = "") -> int:
        return self.add(f"<< {facts} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream")

    def file(self, trailer: str) -> bytes:
        parts, places, size = [b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"], [], 15
        for number, body in enumerate(self.bodies, 1):
            places.append(size)
            parts.append(b"%d 0 obj\n%b\nendobj\n" % (number, body))
            size += len(parts[-1])
        table = "".join(f"{place:010d} 00000 n \n" for place in places)
        parts.append(f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(places) + 1} {trailer} >>\n".encode())
        parts.append(f"startxref\n{size}\n%%EOF\n".encode())
        return b"".join(parts)


def _escaped(words: str) -> str:
    return words.translate(_PLAIN).replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
