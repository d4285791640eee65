"""Pages of a PDF file. One document is open at a time, in a process of its own: PDFium is not made for threads.

PDFium counts the pages, knows their sizes and reads their texts, whoever draws. A page is drawn at the size that is wanted, never larger and shrunk;
its rotation and crop box are respected by all engines. Hidden optional content and annotations are as each engine shows them.
"""

import io
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw

from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import DECODED_LARGER, Drawn, SetAside, check_pixels, fitted_size, scaled_jpeg

_REASONS = {raw.FPDF_ERR_PASSWORD: "encrypted", raw.FPDF_ERR_SECURITY: "encrypted", raw.FPDF_ERR_FORMAT: "broken"}
_HEADER_WITHIN = 1_024
# Pictures lie at the top of scanned pages, and what is deeper is bounded by memory and time.
_OBJECTS_LOOKED_AT = 64
# What makes the samples of a JPEG in a PDF other than the JPEG's own. Dictionaries of streams lie in the open in every PDF, encrypted or not
# (ISO 32000-1 §7.5.7: no stream is inside an object stream), so that a search of the bytes finds them.
_CHANGES_A_JPEG = re.compile(rb"/(?:(?:SMask|SMaskInData|Mask|ImageMask|Matte|ColorTransform)(?![A-Za-z])|Decode\s*[\[0-9])")
_PIECE_BYTES, _LONGEST_MATCH = 2**24, 256
_NO_PAGES = re.compile(rb"/Count\s+0(?!\d)")
_CHANNELS_OF = {raw.FPDF_COLORSPACE_DEVICEGRAY: "L", raw.FPDF_COLORSPACE_DEVICERGB: "RGB"}
_POINTS_OFF = 0.01
# Of the shorter side of a page, below which it is none; and of the text of a page.
_LEAST_POINTS, _MOST_LETTERS = 16, 100_000


class PdfPages:
    """The pages of the PDF at `path`; a context manager. Raises SetAside for what is no PDF, is encrypted, broken, or has no page."""

    def __init__(self, path: Path, config: BookPagesConfig) -> None:
        self._path, self._config = path, config
        with path.open("rb") as stream:
            head = stream.read(_HEADER_WITHIN)
        if b"%PDF" not in head:
            raise SetAside("not_a_pdf", f"begins with {head[:20]!r}, expected %PDF")
        try:
            self._document = pdfium.PdfDocument(path)
        except pdfium.PdfiumError as error:
            reason = _REASONS.get(error.err_code, "broken")
            # PDFium calls a document without pages a broken one.
            if reason == "broken" and _contains(path, _NO_PAGES):
                reason = "no_pages"
            raise SetAside(reason, f"it cannot be opened: {error}") from None
        if len(self._document) < 1:
            raise SetAside("no_pages", "found a PDF without pages, expected one or more")
        self._has_plain_jpegs = config.scan_shortcut and not _contains(path, _CHANGES_A_JPEG)

    def __len__(self) -> int:
        return len(self._document)

    def draw(self, number: int) -> Drawn:
        """The page of that number, from 1. Raises SetAside."""
        try:
            page = self._document[number - 1]
        except pdfium.PdfiumError as error:
            raise SetAside("broken", f"the page cannot be opened: {error}") from None
        try:
            return self._draw(page, number)
        except pdfium.PdfiumError as error:
            raise SetAside("broken", f"the page cannot be drawn: {error}") from None
        finally:
            page.close()

    def _draw(self, page: pdfium.PdfPage, number: int) -> Drawn:
        width, height = page.get_size()
        if min(width, height) < _LEAST_POINTS:
            words = f"{width:.4g}×{height:.4g} points, the shorter side must have at least {_LEAST_POINTS}"
            raise SetAside("too_small", words)
        for picture in _pictures(page):
            columns, rows = picture.get_px_size()
            check_pixels(columns, rows, self._config)
        size = fitted_size(width, height, self._config)
        text = self._text(page) if self._config.texts else ""
        scan = self._scan(page, size) if self._has_plain_jpegs else None
        if scan:
            return Drawn(scan, "jpeg", text)
        engine = self._config.engine
        return Drawn(_ENGINES[engine](page, self._path, number, size), engine, text)

    def _text(self, page: pdfium.PdfPage) -> str:
        try:
            textpage = page.get_textpage()
        except pdfium.PdfiumError:
            return ""
        try:
            count = textpage.count_chars()
            text = textpage.get_text_range(0, min(count, _MOST_LETTERS)) if count > 0 else ""
        finally:
            textpage.close()
        # Lone halves of surrogate pairs and zeros are no text.
        lines = text.encode("utf-8", "ignore").decode("utf-8").replace("\0", "").splitlines()
        return "\n".join(line.rstrip() for line in lines).strip()[:_MOST_LETTERS]

    def _scan(self, page: pdfium.PdfPage, size: tuple[int, int]) -> Image.Image | None:
        """The one JPEG that the page is, at this size; None for any other page."""
        if raw.FPDFPage_CountObjects(page) != 1 or raw.FPDFPage_GetAnnotCount(page) or page.get_rotation() or raw.FPDFPage_HasTransparency(page):
            return None
        (item,) = page.get_objects(max_depth=1)
        if not isinstance(item, pdfium.PdfImage) or item.get_filters() != ["DCTDecode"]:
            return None
        # Upright, from corner to corner, and not cut off.
        wanted = (page.get_width(), 0, 0, page.get_height(), 0, 0)
        if any(abs(found - expected) > _POINTS_OFF for found, expected in zip(item.get_matrix().get(), wanted, strict=True)):
            return None
        columns, rows = item.get_px_size()
        if page.get_mediabox() != page.get_cropbox() or page.get_mediabox()[:2] != (0, 0) or raw.FPDFPageObj_HasTransparency(item):
            return None
        if raw.FPDFClipPath_CountPaths(raw.FPDFPageObj_GetClipPath(item)) > 0:
            return None
        # Where the decoder could not leave anything out, PDFium is as fast.
        if min(columns / size[0], rows / size[1]) < 2 * DECODED_LARGER:
            return None
        mode = _CHANNELS_OF.get(item.get_metadata().colorspace)
        return _scaled_jpeg(bytes(item.get_data()), (columns, rows), mode, size, grey=self._config.colours == "grey")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._document.close()


def _pictures(page: pdfium.PdfPage) -> Iterator[pdfium.PdfImage]:
    for index in range(min(raw.FPDFPage_CountObjects(page), _OBJECTS_LOOKED_AT)):
        item = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(item) == raw.FPDF_PAGEOBJ_IMAGE:
            yield pdfium.PdfObject(item, page=page, pdf=page.pdf)


def _contains(path: Path, wanted: re.Pattern[bytes]) -> bool:
    """Read in pieces: a file may be larger than all the memory that this process may have."""
    end = b""
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            if wanted.search(end + piece):
                return True
            end = piece[-_LONGEST_MATCH:]
    return False


def _scaled_jpeg(content: bytes, found: tuple[int, int], mode: str | None, size: tuple[int, int], *, grey: bool) -> Image.Image | None:
    """The JPEG at this size, or only its luma; None when it is not what the PDF says of it, or is damaged."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.mode != mode or image.size != found:
                return None
            return scaled_jpeg(image, size, grey=grey)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything on a damaged file; PDFium makes the best of it then
        return None


def _by_pdfium(page: pdfium.PdfPage, path: Path, number: int, size: tuple[int, int]) -> Image.Image:
    del path, number
    width, height = size
    # Four bytes a pixel, of which the last says nothing: Pillow takes such a buffer as it is, and would copy one of three.
    bitmap = pdfium.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGRx, rev_byteorder=True)
    try:
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER)
        return Image.frombuffer("RGBX", size, bitmap.buffer, "raw", "RGBX", 0, 1)
    finally:
        bitmap.close()


def _by_poppler(page: pdfium.PdfPage, path: Path, number: int, size: tuple[int, int]) -> Image.Image:
    from pdf2image import convert_from_path
    from pdf2image.exceptions import PDFInfoNotInstalledError, PDFPageCountError, PDFPopplerTimeoutError, PDFSyntaxError

    # Poppler takes the size of a page before it is turned.
    unturned = size[::-1] if page.get_rotation() in (90, 270) else size
    try:
        drawn = convert_from_path(path, first_page=number, last_page=number, size=unturned, use_cropbox=True)
    except (PDFPageCountError, PDFSyntaxError, PDFPopplerTimeoutError, Image.UnidentifiedImageError, OSError) as error:
        if isinstance(error, PDFInfoNotInstalledError):
            raise
        raise SetAside("broken", f"poppler cannot draw it: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}") from None
    if len(drawn) != 1 or drawn[0].size != size:
        raise SetAside("broken", f"poppler drew {[image.size for image in drawn]}, expected one page of {size}")
    return drawn[0]


def _by_ghostscript(page: pdfium.PdfPage, path: Path, number: int, size: tuple[int, int]) -> Image.Image:
    across, down = (72 * pixels / points for pixels, points in zip(size, page.get_size(), strict=True))
    # -dSAFER is the default since 9.50; older ones need to be told. The page goes to a pipe: nothing is written to disk.
    command = [
        "gs", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dNOPROMPT", "-q", "-sstdout=%stderr", "-sDEVICE=png16m", f"-r{across:.6f}x{down:.6f}",
        "-dUseCropBox", "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4", f"-dFirstPage={number}", f"-dLastPage={number}",
        "-sOutputFile=%stdout", str(path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    try:
        with Image.open(io.BytesIO(done.stdout), formats=["PNG"]) as image:
            drawn = image.convert("RGB")
    except (OSError, SyntaxError):
        drawn = None
    # It rounds sides in its own way.
    if drawn is None or done.returncode or max(abs(drawn.width - size[0]), abs(drawn.height - size[1])) > 1:
        found = f"a picture of {drawn.size}" if drawn else "no picture"
        raise SetAside("broken", f"ghostscript cannot draw it: exit code {done.returncode} and {found}, expected {size}")
    return drawn.resize(size, Image.Resampling.BICUBIC)


_ENGINES: dict[str, Callable[[pdfium.PdfPage, Path, int, tuple[int, int]], Image.Image]] = {
    "pdfium": _by_pdfium,
    "poppler": _by_poppler,
    "ghostscript": _by_ghostscript,
}
# Programs that engines run.
_PROGRAMS = {"poppler": "pdftoppm", "ghostscript": "gs"}


def missing_program(engine: str) -> str | None:
    """The name of the program that the engine needs, when it is not installed."""
    name = _PROGRAMS.get(engine)
    return name if name and shutil.which(name) is None else None


def program_version(engine: str) -> str:
    """What decides the pixels besides this project and its libraries."""
    if engine not in _PROGRAMS:
        return ""
    done = subprocess.run([_PROGRAMS[engine], "-v"], capture_output=True, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")
