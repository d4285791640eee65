"""Which file of an item to take: the PDF that shows its pages best, or the page images behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from assets.books.harvest.stated import Stated, StatedFile

Kind = Literal["pdf", "jp2_zip"]
JP2_ZIP = "Single Page Processed JP2 ZIP"
# What the bytes of each kind begin with.
MARKS: dict[Kind, str] = {"pdf": "%PDF-", "jp2_zip": "PK\x03\x04"}
# Best first: with a text layer; the scan as it was uploaded; what was made from that scan, compressed once more. Others come after them.
_FORMATS = ("Text PDF", "Image Container PDF", "Additional Text PDF")


@dataclass(frozen=True)
class Choice:
    """The files to take, best first; where none can be taken, why."""

    files: tuple[StatedFile, ...] = ()
    reason: str = ""
    words: str = ""


def choose(stated: Stated, *, prefer: Literal["pdf", "jp2"], files: Literal["best", "all"], max_bytes: int) -> Choice:
    """The best file of an item, or all of the best format. Never a grey derivative, never an encrypted file, never one that is not for everybody."""
    pages = [file for file in stated.files if kind_of(file) is not None]
    open_ones = [file for file in pages if not file.is_private]
    sound = [file for file in open_ones if file.md5]
    small = [file for file in sound if (file.bytes or 0) <= max_bytes]
    if not small:
        return _without(pages, open_ones, sound, max_bytes)

    def rank(file: StatedFile) -> tuple[bool, int]:
        place = _FORMATS.index(file.format) if file.format in _FORMATS else len(_FORMATS)
        return (kind_of(file) == "pdf") == (prefer == "jp2"), place

    # First the kind that is preferred, then the format, then the larger file, which was compressed less.
    ordered = sorted(small, key=lambda file: (rank(file), -(file.bytes or 0), file.name))
    best = [file for file in ordered if rank(file) == rank(ordered[0])]
    return Choice(tuple(best if files == "all" else best[:1]))


def kind_of(file: StatedFile) -> Kind | None:
    """What it would be used as; None for what is no choice whoever may have it."""
    name = file.name.lower()
    if file.format == JP2_ZIP:
        return "jp2_zip"
    if not name.endswith(".pdf") or name.endswith(("_bw.pdf", "_encrypted.pdf", "_lcp.pdf")):
        return None
    return None if "Encrypted" in file.format or "Grayscale" in file.format else "pdf"


def _without(pages: Sequence[StatedFile], open_ones: Sequence[StatedFile], sound: Sequence[StatedFile], max_bytes: int) -> Choice:
    if not pages:
        return Choice(reason="no_pages", words=f"no PDF that can be used and no {JP2_ZIP}")
    if not open_ones:
        return Choice(reason="private", words=f"the archive lends the item, it does not give its {len(pages)} files away")
    if not sound:
        return Choice(reason="no_checksum", words="no md5 is stated of its files, so nothing could vouch for a download")
    least = min(file.bytes or 0 for file in sound)
    return Choice(reason="too_large", words=f"{least:,} bytes at least, expected {max_bytes:,} at most; raise max_file_mib if this is meant")
