r"""Tables of an older scraper: CSV without header, three columns title, image, abstract, and a folder `images` beside it.

    b'Title with \xe2\x80\x93',/cms/10.1021/jacs.2c00343/asset/images/medium/ja2c00343_0005.gif,b'Abstract'

Title and abstract are Python bytes literals (plain text is read as well), rows alternate with blank ones on some systems, '' and 'None' mean missing.
A folder source serves the table and the images, so that they arrive like any other journal. The DOI is inside newer image paths; older names have
none, and such papers are named by their content. Where the images were converted to PNG, `legacy_csv_png` asks for them under that suffix.
"""

import ast
import csv
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.pages.article import paper_links
from assets.papers.pages.facts import doi_in_path, fingerprint, join
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.markup import tolerant
from formats.plain_text import decode, plain_text

_BYTES_LITERAL = re.compile(r"""^[bB](?:'(?:[^'\\\r\n]|\\.)*'|"(?:[^"\\\r\n]|\\.)*")$""", re.DOTALL)
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()-]{0,200}\.(?:gif|png|jpe?g|webp|tiff?)", re.IGNORECASE)
_IMAGES = re.compile(r"/images/")
_MISSING = {"", "None"}


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of a table, whose images keep the names they had on the site; or the links of a folder."""
    return _read(page, suffix="")


@tolerant
def parse_png(page: Page) -> Parsed:
    """As `parse`, for a folder whose images were all converted to PNG."""
    return _read(page, suffix=".png")


def _read(page: Page, *, suffix: str) -> Parsed:
    if page.kind == "index" and not urlsplit(page.url).path.lower().endswith(".csv"):
        return Parsed(links=folder_links(page, kinds={".csv": "api"}, skip_folders=_IMAGES))
    papers: dict[str, Paper] = {}
    links: list[Link] = []
    problems: list[Problem] = []
    # A row that cannot be used is told with its number, and costs only itself.
    for number, row in _rows(page):
        where = f"{page.url} row {number}"
        if isinstance(row, str):
            problems.append(Problem(where, row))
            continue
        try:
            title, abstract = (_cell(row[place]) for place in (0, 2))
        except ValueError as error:
            problems.append(Problem(where, str(error)))
            continue
        image, complaint = _image(row[1], page.url, suffix)
        if complaint:
            problems.append(Problem(where, complaint))
        if not title:
            problems.append(Problem(where, "no title; the row is left out"))
            continue
        doi = doi_in_path(row[1])
        paper = Paper(
            key=doi or f"{page.source}:{fingerprint(title, abstract, image)}",
            url=f"https://doi.org/{doi}" if doi else page.url,
            doi=doi,
            title=title,
            abstract=abstract,
            image_url=image,
        )
        if paper.key not in papers:  # one scrape after another often left the same row twice
            papers[paper.key] = paper
            links += paper_links(paper)
    return Parsed(papers=tuple(papers.values()), links=tuple(links), problems=tuple(problems))


def _rows(page: Page) -> Iterator[tuple[int, list[str] | str]]:
    """(number, cells) of each row that is not blank; a row that cannot be used comes as words about it."""
    # Row by row, so that one that is no CSV costs itself and not the file.
    reader = csv.reader(io.StringIO(decode(page.body, page.content_type), newline=""))
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, f"not CSV: {error}; the row is left out"
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) == 3:
            yield reader.line_num, row
        else:
            yield reader.line_num, f"{len(row)} cells; expected three: title, image, abstract"


def _cell(cell: str) -> str:
    """The text of a cell: a bytes literal in UTF-8, or as it stands. Raises ValueError for a literal that is none."""
    cell = cell.strip()
    if cell in _MISSING:
        return ""
    if not re.match(r"[bB]['\"]", cell):
        return plain_text(cell)
    if not _BYTES_LITERAL.match(cell):
        raise ValueError(f"a cell begins like a bytes literal and is none: {cell[:60]!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that Python does not know
            value = ast.literal_eval(cell)
    except (SyntaxError, ValueError, Warning) as error:
        raise ValueError(f"a cell begins like a bytes literal and is none: {cell[:60]!r} ({type(error).__name__})") from error
    text = plain_text(decode(value))
    return "" if text in _MISSING else text


def _image(cell: str, base: str, suffix: str) -> tuple[str, str]:
    """(address, complaint) of the image: only the last part of the path counts, and only if it looks like an image's name."""
    cell = cell.strip()
    if cell.startswith(("b'", 'b"')):
        cell = cell[2:-1]
    if cell in _MISSING:
        return "", ""
    name = PurePosixPath(unquote(urlsplit(cell).path)).name
    if not _IMAGE_NAME.fullmatch(name):
        return "", f"'{cell[:100]}' does not end in the name of an image; the paper stays without"
    if suffix:
        name = PurePosixPath(name).stem + suffix
    return join(base, f"images/{quote(name)}"), ""
