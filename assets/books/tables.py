"""The columns of `archive_items` and `book_pages`, and what each means. What nobody states is null."""

from collections.abc import Mapping
from datetime import date

import pyarrow as pa

from assets.images.columns import FOUND
from formats.tables import columns

# Of `archive_items`: every item that was ever harvested, the dark ones as tombstones, and the files that are here.
ITEMS = columns(
    identifier=str, serial=int, title=str, creators=list[str], date=str, languages=list[str], collections=list[str], imagecount=int, licence=str,
    licence_url=str, source=str, url=str, item_updated=int, first_harvest=int, first_seen=date, last_changed=date, status=str, words=str,
    last_file=int,
)  # fmt: skip
FILES = columns(identifier=str, serial=int, name=str, kind=str, format=str, bytes=int, md5=str, sha1=str, sha256=str, path=str)
REJECTED_ITEMS = columns(source=str, identifier=str, name=str, reason=str, words=str)

# Of `book_pages`: pages that are here, what is written on them, those set aside, the files they are from, and items that must not be used any more.
PAGES = pa.schema([*FOUND, *columns(page_id=str, item_id=str, file=str, page=int, licence=str, source=str, engine=str, first_seen=date)])
PAGE_TEXTS = columns(page_id=str, item_id=str, page=int, text=str)
REJECTED_PAGES = columns(sha256=str, serial=int, page_id=str, item_id=str, file=str, page=int, licence=str, source=str, reason=str, words=str)
PAGE_FILES = columns(item_id=str, file=str, serial=int, sha256=str, kind=str, pages=int, drawn=int, set_aside=int)
WITHDRAWN_ITEMS = columns(id=str, serial=int, reason=str, why=str, since=date)

COLUMN_DOCS: Mapping[str, str] = {
    "identifier": "of the item, as the archive calls it",
    "item_id": "the same, in the tables of what is made from items",
    "id": "the same, in the list of withdrawn items",
    "serial": "number among all items, files or pages that ever came; it never changes, a removal leaves a gap",
    "creators": "as stated, one or several",
    "date": "as stated: of publication, in any form",
    "licence": "SPDX identifier of `licence_url`, or the source's where the item states none; `unknown` otherwise",
    "licence_url": "as stated",
    "source": "name of the source in params.yaml that asked for the item first",
    "imagecount": "images of the book as it was scanned, as stated",
    "url": "where the item is to be seen",
    "item_updated": "seconds since 1970: the archive's own time of the item's last change",
    "first_harvest": "number of the harvest in which it came first",
    "first_seen": "day of that harvest",
    "last_changed": "day of the last harvest in which what is stated of it, or its file, changed",
    "status": "here; dark: the archive shows it no more; left: no source asks for it; both without their files; without_file: none is of use",
    "last_file": "highest number that a file of the item ever had, so that no other gets it",
    "words": "what was found, and what was expected",
    "name": "of the file, as the archive calls it",
    "kind": "pdf or jp2_zip",
    "format": "of the file, as the archive calls it; of a page image, by content",
    "path": "of the file inside the folder of the artifact, from its content",
    "page_id": "`identifier/name of the file/number of the page`",
    "file": "name of the file in the archive that the page is from",
    "page": "number in its file, from 1",
    "engine": "what drew the page: jpeg (the scan itself), pdfium, poppler, ghostscript or jp2",
    "pages": "of the file, as it states; 0 when it cannot be opened",
    "drawn": "pages of the file that are here",
    "set_aside": "pages of the file that were set aside one by one; a row of rejected.parquet without a page speaks of the whole file or its rest",
    "text": "what the file says is written on the page, one line a line",
    "reason": "why it was withdrawn or set aside, in one word",
    "why": "the same in words",
    "since": "day from which it counts as withdrawn",
}
