"""What decides the page images: the section `book_pages` of params.yaml."""

from dataclasses import dataclass
from typing import Literal

Engine = Literal["pdfium", "poppler", "ghostscript"]
Colours = Literal["as_is", "grey", "rgb"]
# Pillow refuses to open more.
_MOST_PIXELS = 178_956_970


@dataclass(frozen=True)
class BookPagesConfig:
    """The section `book_pages` of params.yaml.

    page_px:          the longer side of every page image; the aspect is kept.
    engine:           who draws PDF pages, never chosen by what is installed: that would decide bytes.
    scan_shortcut:    a page that is one JPEG and nothing else is that JPEG, decoded at a smaller scale; see docs/books.md for how close that is.
    colours:          as_is stores a page as grey where all its pixels are, else as RGB; grey and rgb make them alike.
    drop_blank:       set nearly white pages aside: at most `blank_ink` of the pixels are darker than `blank_level` of 255.
    texts:            keep what the PDF says is written on a page.
    min_side_px:      shorter side of a page image, and of a scan in a zip.
    max_pages:        of a file, further ones are set aside; also the serial numbers that a file has, so changing it moves all pages.
    max_scan_pixels:  of a picture on a page, or of one in a zip.
    max_output_mib:   of the page images of a file together.
    memory_mib:       address space of the process that draws.
    seconds_per_page: of CPU; a page that takes longer is set aside.
    seconds_per_file: of the clock; the rest of the file is set aside, and tried again by the next build.
    images_per_shard: serial numbers of a zip file.
    """

    page_px: int = 1024
    engine: Engine = "pdfium"
    scan_shortcut: bool = True
    colours: Colours = "as_is"
    drop_blank: bool = True
    blank_level: int = 245
    blank_ink: float = 0.0002
    texts: bool = True
    min_side_px: int = 32
    max_pages: int = 2_000
    max_scan_pixels: int = 150_000_000
    max_output_mib: int = 2_048
    memory_mib: int = 1_024
    seconds_per_page: int = 20
    seconds_per_file: float = 3_600.0
    images_per_shard: int = 1_000

    def __post_init__(self) -> None:
        if not 16 <= self.page_px <= 8_192:
            raise ValueError(f"page_px must lie between 16 and 8,192, found {self.page_px}")
        if not 0 <= self.blank_level <= 255 or not 0 <= self.blank_ink <= 1:
            raise ValueError(f"blank_level must lie between 0 and 255 and blank_ink between 0 and 1, found {self.blank_level} and {self.blank_ink}")
        if self.max_scan_pixels > _MOST_PIXELS:
            raise ValueError(f"max_scan_pixels must be at most {_MOST_PIXELS:,}, found {self.max_scan_pixels:,}")
        if self.memory_mib < 256:
            raise ValueError(f"memory_mib must be at least 256, found {self.memory_mib}: the libraries alone take 160 MiB of address space")
        for name in ("min_side_px", "max_pages", "max_scan_pixels", "max_output_mib", "seconds_per_page", "seconds_per_file", "images_per_shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
