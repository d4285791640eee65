"""Drawing PDF pages as `book_pages` does, beside pdf2image and plain pypdfium2.

    python -m bench.pdf_pages                               # a minute: 4 pages of each kind
    python -m bench.pdf_pages --scale std --json pdf_pages.json

Sides, each from the file to the pixels of every page, its longer side 1,024 and 512 px:
`figment`   the pages of assets/books/pages (one open document, drawn at size; a scan from its JPEG); its process and its PNGs are measured apart
`one_by_one` pdf2image, a call for each page at 200 dpi, then Pillow's thumbnail: the usual way
`batched`   pdf2image, one call for all pages, at size
`pypdfium2` plain: each page at 200 dpi, then Pillow's thumbnail
`at_size`   plain pypdfium2 at size, which is what a page costs that is no plain scan

Files: a scan (one JPEG of 2544 x 3300 and some 0.6 MB a page), text, and, where ../shared/data is, the Kant scan. Before anything is timed, all
sides must have drawn the same pages: the same size within a pixel, and alike (PSNR of small grey copies; what each has is in the report, and how near
`figment` is to PDFium at full size too). CPU seconds of this process and of its children, sides in fresh order round by round; ratios are of a round.
Aims: scans at most 0.2 of `one_by_one` and 0.55 of `batched`; text 0.05 and 0.5. The sides of pdf2image are left out where poppler is not installed.
"""

import random
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import PIL
import pypdfium2
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import Drawn
from assets.books.pages.pdf import PdfPages
from assets.books.pages.supervising import draw_file
from assets.demo_sites.pdf_writer import PdfSheet, write_pdf
from bench.measuring import ROOT, parser, processor, spread, write_report

SCALES = {"smoke": {"scans": 4, "texts": 8, "rounds": 1}, "std": {"scans": 16, "texts": 32, "rounds": 3}}
SIZES = (1024, 512)
DPI = 200
ALIKE_DB = 18.0
KANT = ROOT.parent / "shared/data/scanned_pdfs/kant_aufklaerung_1784_20p.pdf"
AIMS = {"scan": {"one_by_one": 0.2, "batched": 0.55}, "text": {"one_by_one": 0.05, "batched": 0.5}}
CONFIG = BookPagesConfig(texts=False)

Pictures = list[Image.Image]
Side = Callable[[Path, int], Pictures]


# ---- files ---------------------------------------------------------------------------------------------------------------------------


def scan_pdf(path: Path, pages: int, seed: int = 0) -> Path:
    """Pages of yellowish paper with print, soft and noisy as a scanner sees it; Pillow puts each in as one JPEG, from corner to corner."""
    draw = numpy.random.default_rng(seed)
    sheets = []
    for _ in range(pages):
        sheet = Image.new("RGB", (2544, 3300), (240, 232, 212))
        pen = ImageDraw.Draw(sheet)
        for top in range(300, 3000, 58):
            left = 280
            while left < 2200:
                width = int(draw.integers(20, 160))
                pen.rectangle([left, top, left + width, top + 26], fill=(52, 44, 40))
                left += width + 18
        noisy = numpy.asarray(sheet.filter(ImageFilter.GaussianBlur(1.5))).astype(numpy.int16) + draw.normal(0, 3, (3300, 2544, 1)).astype(
            numpy.int16
        )
        sheets.append(Image.fromarray(noisy.clip(0, 255).astype(numpy.uint8)))
    sheets[0].save(path, "PDF", save_all=True, append_images=sheets[1:], resolution=300, quality=75)
    return path


def text_pdf(path: Path, pages: int, seed: int = 0) -> Path:
    """Pages of Times, forty-six lines each, with a rule at top and bottom."""
    draw = random.Random(seed)
    sheets = [PdfSheet(612, 792) for _ in range(pages)]
    for sheet in sheets:
        for row in range(46):
            sheet.text(72, 80 + 14 * row, "".join(draw.choice("etaoinshrdlucmfw  ,.") for _ in range(92)), 11)
        for height in (62, 732):
            sheet.line([(72, height), (540, height)], 1)
    path.write_bytes(write_pdf(sheets))
    return path


# ---- sides ---------------------------------------------------------------------------------------------------------------------------


def drawn(path: Path, px: int, **settings: Any) -> list[Drawn]:
    with PdfPages(path, replace(CONFIG, page_px=px, **settings)) as pages:
        return [pages.draw(number) for number in range(1, len(pages) + 1)]


def figment(path: Path, px: int) -> Pictures:
    return [page.image for page in drawn(path, px)]


def one_by_one(path: Path, px: int) -> Pictures:
    from pdf2image import convert_from_path, pdfinfo_from_path

    pictures = []
    for number in range(1, pdfinfo_from_path(path)["Pages"] + 1):
        (picture,) = convert_from_path(path, dpi=DPI, first_page=number, last_page=number)
        picture.thumbnail((px, px))
        pictures.append(picture)
    return pictures


def batched(path: Path, px: int) -> Pictures:
    from pdf2image import convert_from_path

    return list(convert_from_path(path, size=px))


def plain_pypdfium2(path: Path, px: int) -> Pictures:
    pictures = []
    document = pypdfium2.PdfDocument(path)
    for page in document:
        picture = page.render(scale=DPI / 72).to_pil()
        picture.thumbnail((px, px))
        pictures.append(picture)
    document.close()
    return pictures


def at_size(path: Path, px: int) -> Pictures:
    document = pypdfium2.PdfDocument(path)
    pictures = [page.render(scale=px / max(page.get_size())).to_pil() for page in document]
    document.close()
    return pictures


def with_process(path: Path, px: int) -> Pictures:
    """What the stage does: a process with limits, PNGs, a zip."""
    with tempfile.TemporaryDirectory() as folder:
        draw_file(path, "pdf", replace(CONFIG, page_px=px), Path(folder) / "drawn.zip")
    return []


def sides() -> dict[str, Side]:
    own: dict[str, Side] = {"figment": figment, "pypdfium2": plain_pypdfium2, "at_size": at_size}
    peers: dict[str, Side] = {"one_by_one": one_by_one, "batched": batched} if shutil.which("pdftoppm") else {}
    return own | peers


# ---- equality, and time --------------------------------------------------------------------------------------------------------------


def psnr(one: Image.Image, other: Image.Image) -> float:
    difference = numpy.asarray(one.convert("RGB"), numpy.float64) - numpy.asarray(other.convert("RGB"), numpy.float64)
    return float(10 * numpy.log10(255**2 / max((difference**2).mean(), 1e-4)))


def check(path: Path, px: int, calls: Mapping[str, Side]) -> dict[str, Any]:
    """Whether all sides draw the same pages; what they differ by. Exits when they do not."""
    found = {name: call(path, px) for name, call in calls.items()}
    ours = found["figment"]
    alike = {}
    for name, pictures in found.items():
        if len(pictures) != len(ours):
            sys.exit(f"DISAGREE: {path.name}: {name} drew {len(pictures)} pages, figment {len(ours)}")
        for number, (mine, theirs) in enumerate(zip(ours, pictures, strict=True), 1):
            if max(abs(mine.width - theirs.width), abs(mine.height - theirs.height)) > 1:
                sys.exit(f"DISAGREE: {path.name}, page {number}: {name} drew {theirs.size}, figment {mine.size}")
        small = [[picture.convert("L").resize((128, 128), Image.Resampling.BOX) for picture in side] for side in (ours, pictures)]
        alike[name] = round(min(map(psnr, *small)), 2)
        if alike[name] < ALIKE_DB:
            sys.exit(f"DISAGREE: {path.name}: a page of {name} has a PSNR of {alike[name]} dB to figment's, expected {ALIKE_DB}")
    engines = sorted({page.engine for page in drawn(path, px)})
    by_pdfium = [page.image for page in drawn(path, px, scan_shortcut=False)]
    differences = [ImageChops.difference(mine.convert("RGB"), page.convert("RGB")) for mine, page in zip(ours, by_pdfium, strict=True)]
    largest = max(int(numpy.asarray(difference).max()) for difference in differences)
    to_pdfium = list(map(psnr, ours, by_pdfium))
    full = {"lowest_psnr_db": round(min(to_pdfium), 2), "median_psnr_db": round(statistics.median(to_pdfium), 2), "largest_difference": largest}
    return {"pages": len(ours), "engines": engines, "alike_db": alike, "to_pdfium_at_size": full}


def cpu_s(call: Side, path: Path, px: int) -> float:
    before = _cpu()
    call(path, px)
    return _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(path: Path, px: int, rounds: int) -> dict[str, Any]:
    calls = sides()
    found = check(path, px, calls)
    timed = calls | {"with_process": with_process}
    order = random.Random(0)
    seconds: list[dict[str, float]] = []
    for _ in range(rounds):
        names = list(timed)
        order.shuffle(names)
        seconds.append({name: cpu_s(timed[name], path, px) for name in names})
    pages = found["pages"]
    ratios = {name: spread([one["figment"] / one[name] for one in seconds], 4) for name in calls if name != "figment"}
    return found | {
        "cpu_ms_per_page": {name: spread([1000 * one[name] / pages for one in seconds], 2) for name in timed},
        "figment_of": ratios,
    }


def show(kind: str, px: int, found: Mapping[str, Any]) -> None:
    print(f"{kind} at {px} px: {found['pages']} pages, {', '.join(found['engines'])}; to PDFium at size: {found['to_pdfium_at_size']}")
    for name, value in found["cpu_ms_per_page"].items():
        ratio = found["figment_of"].get(name)
        aim = AIMS.get(kind, {}).get(name)
        words = f"   figment takes {ratio['median']:.3f} of it" if ratio else ""
        print(f"  {name:<13} {value['median']:8.2f} ms of CPU a page{words}{f' (aim {aim})' if aim and ratio else ''}")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__).parse_args(argv)
    scale = SCALES[arguments.scale]
    if not shutil.which("pdftoppm"):
        print("poppler is not installed (poppler-utils): its sides are left out")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {"scan": scan_pdf(Path(folder) / "scan.pdf", scale["scans"]), "text": text_pdf(Path(folder) / "text.pdf", scale["texts"])}
        for kind, path in (files | ({"kant": KANT} if KANT.is_file() else {})).items():
            for px in SIZES:
                results[f"{kind}@{px}"] = measure(path, px, scale["rounds"])
                show(kind, px, results[f"{kind}@{px}"])
    machine = {"processor": processor(), "pillow": PIL.__version__, "pypdfium2": str(pypdfium2.version.PYPDFIUM_INFO)}
    write_report(arguments.json, {"scale": arguments.scale, "aims": AIMS, "machine": machine, "files": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
