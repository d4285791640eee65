"""The columns of `papers` and `toc_images`, and what each means. A text that nobody states is null."""

from collections.abc import Mapping
from datetime import date

import pyarrow as pa

from assets.images.columns import FOUND
from formats.tables import columns

PAPERS = columns(
    id=str, serial=int, doi=str, journal=str, volume=str, issue=str, pages=str, date=date, title=str, abstract=str, image_url=str, image_sha256=str,
    caption=str, licence=str, url=str, source=str, language=str, translation_of=str, near_duplicate_of=str, tdm_reserved=bool, first_crawl=int,
    first_seen=date, last_changed=date, status=str,
)  # fmt: skip

IMAGES = columns(
    sha256=str, serial=int, is_live=bool, paper_ids=list[str], licence=str, source=str, url=str, first_crawl=int, first_seen=date, journal=str,
    tdm_reserved=bool,
)  # fmt: skip

WITHDRAWN = columns(id=str, serial=int, doi=str, reason=str, why=str, since=date, image_sha256=str)

REJECTED_PAPERS = columns(source=str, where=str, id=str, crawl=int, reason=str, words=str)

TOC_IMAGES = pa.schema([*FOUND, *columns(licence=str, journal=str, year=int, paper_ids=list[str], source=str, first_crawl=int, tdm_reserved=bool)])

REJECTED_IMAGES = columns(sha256=str, serial=int, source=str, where=str, paper_ids=list[str], reason=str, words=str)

COLUMN_DOCS: Mapping[str, str] = {
    "id": "paper: 16 hexadecimal digits from its DOI, or from source and key where it had none when it came",
    "serial": "rank by (first_crawl, id or sha256) among all that ever came, withdrawn ones included; a removal leaves a gap",
    "doi": "lower case, without prefix",
    "journal": "name of the journal, as stated",
    "volume": "as stated",
    "issue": "as stated",
    "pages": "as stated: a range, or an article number",
    "date": "of publication",
    "title": "plain Unicode text; LaTeX is kept as text",
    "abstract": "plain Unicode text; LaTeX is kept as text",
    "image_url": "address of the table-of-contents picture",
    "image_sha256": "SHA-256 of the picture as it was served last; null where none is stored",
    "caption": "what stands below the picture; null where nobody states it",
    "licence": "SPDX identifier or what the page says; the source's where it says nothing; `unknown` otherwise",
    "url": "where the paper, or the picture, is to be seen",
    "source": "name of the source in params.yaml that is believed first",
    "language": "as stated",
    "translation_of": "id of the paper this one translates; the name its page gives where that paper is not among these",
    "near_duplicate_of": "id of the earlier paper whose title and abstract this one nearly repeats",
    "tdm_reserved": "whether a page or the picture reserves text and data mining; null where nothing is said",
    "first_crawl": "number of the crawl in which it was first told of or shown",
    "first_seen": "day of that crawl",
    "last_changed": "day of the last crawl in which any column before it changed, duplicates apart",
    "status": "published; retracted and deleted papers are in withdrawn.parquet",
    "sha256": "SHA-256 of the file as it was served",
    "is_live": "whether a paper that is not withdrawn shows it",
    "paper_ids": "the papers that show it, by serial",
    "reason": "why it was withdrawn or set aside, in one word",
    "why": "the same in the source's words, or in those of the request",
    "since": "day from which it counts as withdrawn",
    "where": "the address, key or place it is about",
    "crawl": "number of the crawl that stored what was set aside",
    "words": "what was found, and what was expected",
    "shard": "name of the zip file",
    "member": "name inside it",
    "format": "of the file, by content",
    "mode": "how the file stores pixels, as Pillow calls it",
    "width": "pixels, upright",
    "height": "pixels, upright",
    "decoded_as": "every step from the file to 8-bit RGB",
    "year": "of publication of the first paper that shows it",
}
