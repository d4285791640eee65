"""An archive of items and their files that answers as the Internet Archive does: search, metadata, details and downloads.

https://archive.org/developers/: `/services/search/v1/scrape` (cursors; by POST, too), `/advancedsearch.php`, `/metadata/<id>`,
`/download/<id>/<file>` (ranges, entity tags) and `/details/<id>`. What an archive holds is told by its items: books.py makes some up,
archive_folder.py finds them on disk.
"""

import base64
import functools
import hashlib
import html
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from assets.demo_sites.archive_search import SearchError, matcher
from assets.demo_sites.exchange import Request, Response, error_page, text

_PER_PAGE = 5  # items to a page of search results, so that even a small archive has several pages
_JSON = "application/json; charset=utf-8"
_TYPES = {"pdf": "application/pdf", "zip": "application/zip", "txt": "text/plain; charset=utf-8", "xml": "application/xml", "jpg": "image/jpeg"}


@dataclass(frozen=True)
class ItemFile:
    """format: as the archive calls it, `Text PDF` for example. source: original, derivative or metadata. updated: seconds since 1970.

    facts: what its entry in the metadata says besides.
    """

    name: str
    format: str
    source: str
    updated: int
    read: Callable[[], bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def entry(self) -> dict[str, Any]:
        """What the metadata says of it. Numbers are text there."""
        body = self.read()
        md5, sha1 = hashlib.md5(body, usedforsecurity=False).hexdigest(), hashlib.sha1(body, usedforsecurity=False).hexdigest()
        sums = {"md5": md5, "crc32": f"{zlib.crc32(body):08x}", "sha1": sha1}
        told = {"name": self.name, "source": self.source, "format": self.format, "mtime": str(self.updated), "size": str(len(body))}
        return {**self.facts, **told, **sums}


@dataclass(frozen=True)
class Item:
    """metadata: fields with one text or a list of them, as somebody typed them. updated: of its last change, seconds since 1970.

    is_dark: the archive shows it no more; only that there was something can be had. saved: a whole answer that is given instead of one made here.
    """

    identifier: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[ItemFile, ...] = ()
    updated: int = 0
    is_dark: bool = False
    saved: Mapping[str, Any] | None = None

    @functools.cached_property
    def all_files(self) -> dict[str, ItemFile]:
        """By name, with the `_meta.xml` and `_files.xml` that every item has."""
        fields = [(name, value) for name, stated in self.metadata.items() for value in (stated if isinstance(stated, list) else [stated])]
        meta = "".join(f"  <{name}>{escape(str(value))}</{name}>\n" for name, value in fields)
        names = "".join(f'  <file name="{escape(file.name)}" source="{file.source}"/>\n' for file in self.files)
        own = []
        for root, body in (("metadata", meta), ("files", names)):
            content = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>\n{body}</{root}>\n'.encode()
            name = f"{self.identifier}_{root.replace('metadata', 'meta')}.xml"
            own.append(ItemFile(name, "Metadata", "original", self.updated, functools.partial(bytes, content)))
        return {file.name: file for file in sorted((*self.files, *own), key=lambda file: file.name)}

    @functools.cached_property
    def entries(self) -> list[dict[str, Any]]:
        entries = {name: dict(file.entry) for name, file in self.all_files.items()}
        # The list of files cannot hold its own size and sums.
        listed = entries[f"{self.identifier}_files.xml"]
        entries[listed["name"]] = {name: listed[name] for name in ("name", "source", "format", "md5")} | {"summation": "md5"}
        return list(entries.values())

    @functools.cached_property
    def found_by(self) -> dict[str, Any]:
        """The fields that a search looks at and tells."""
        stamp = datetime.fromtimestamp(self.updated, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {**self.metadata, "identifier": self.identifier, "oai_updatedate": [stamp]}


class ArchiveSite:
    """Serves `items`, by identifier. day: what its clock says."""

    takes_posts = True

    def __init__(self, items: Sequence[Item], *, hosts: tuple[str, ...], day: datetime) -> None:
        self.items = {item.identifier: item for item in items}
        self.hosts = hosts
        self._day = day

    def now(self) -> datetime:
        return self._day

    def respond(self, request: Request) -> Response:
        place, _, rest = request.path.strip("/").partition("/")
        if request.path == "/robots.txt":
            return text("User-agent: *\nDisallow:\n")
        if request.path == "/services/search/v1/scrape":
            return self._scrape(request.query)
        if request.path == "/advancedsearch.php":
            return self._advanced(request.query)
        if place == "metadata":
            return _json(self._metadata(rest.partition("/")[0]))
        identifier, _, name = rest.partition("/")
        item = self.items.get(identifier)
        if place not in {"details", "download"} or item is None or (name and place == "details"):
            return error_page(404, "The archive has nothing by this name. Its items are found at /advancedsearch.php?q=mediatype:texts.")
        if item.is_dark:
            return error_page(403, "This item is not available any more.")
        return self._file(item, name) if name else _page_of(item)

    def _file(self, item: Item, name: str) -> Response:
        file = item.all_files.get(name)
        if file is None:
            return error_page(404, "The item has no file by this name.")
        kind = _TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        changed = datetime.fromtimestamp(file.updated, UTC)
        return Response(file.read(), kind, etag=f'"{file.entry["md5"]}"', last_modified=changed, has_ranges=True)

    def _metadata(self, identifier: str) -> dict[str, Any]:
        """The answer of `/metadata`; `{}` where nothing has that name, as the archive says it."""
        item = self.items.get(identifier)
        if item is None or item.saved is not None:
            return dict(item.saved or {}) if item else {}
        host, folder = self.hosts[0], f"/{zlib.crc32(identifier.encode()) % 36}/items/{identifier}"
        place = {"created": int(self._day.timestamp()), "d1": host, "d2": host, "dir": folder}
        if item.is_dark:
            return {**place, "is_dark": True, "item_last_updated": item.updated, "metadata": {"identifier": identifier}, "server": host}
        size = sum(int(entry.get("size", 0)) for entry in item.entries)
        contents = {"files": item.entries, "files_count": len(item.entries), "item_last_updated": item.updated, "item_size": size}
        uniq = zlib.crc32(f"{identifier} {item.updated}".encode())
        return {**place, **contents, "metadata": dict(item.metadata), "server": host, "uniq": uniq, "workable_servers": [host]}

    def _scrape(self, query: Mapping[str, str]) -> Response:
        try:
            found = self._found(query)
            start, count = _place(query.get("cursor", "")), min(_PER_PAGE, max(1, int(query.get("count", _PER_PAGE))))
        except ValueError as error:
            return _json({"error": f"[{type(error).__name__}] {error}", "errorType": "RequestParseException"}, status=400)
        if query.get("total_only") == "true":
            return _json({"items": [], "count": 0, "total": len(found)})
        fields = [name for name in query.get("fields", "").split(",") if name]
        page = [_told(item, ["identifier", *fields]) for item in found[start : start + count]]
        is_last = start + count >= len(found)
        return _json({"items": page, "count": len(page), "total": len(found), **({} if is_last else {"cursor": _cursor(start + count)})})

    def _advanced(self, query: Mapping[str, str]) -> Response:
        """Also `fl[0]`, `fl[1]` … as the client numbers them; of plain `fl[]` only the last one is heard, or several with commas between them."""
        try:
            found = self._found(query)
            rows, page = int(query.get("rows", 50)), max(1, int(query.get("page", 1)))
        except ValueError as error:
            return _json({"error": str(error)}, status=400)
        fields = [part for name, value in query.items() if name.startswith("fl") for part in value.split(",")]
        start = (page - 1) * rows
        docs = [_told(item, fields or list(item.found_by)) for item in found[start : start + rows]]
        header = {"status": 0, "QTime": 1, "params": {"query": query.get("q", ""), "rows": str(rows), "start": start}}
        return _json({"responseHeader": header, "response": {"numFound": len(found), "start": start, "docs": docs}})

    def _found(self, query: Mapping[str, str]) -> list[Item]:
        """In the order of their identifiers, or by the first of `sorts`; raises SearchError."""
        if not query.get("q", "").strip():
            raise SearchError("the query `q` is empty")
        fits = matcher(query["q"])
        shown = [item for _, item in sorted(self.items.items()) if not item.is_dark and item.saved is None and fits(item.found_by)]
        sort = (query.get("sorts") or query.get("sort[0]") or "").split(",")[0].split()
        if sort:
            shown.sort(key=lambda item: str(item.found_by.get(sort[0], "")), reverse=sort[-1] == "desc")
        return shown


def _told(item: Item, fields: Sequence[str]) -> dict[str, Any]:
    return {name: item.found_by[name] for name in dict.fromkeys(fields) if name in item.found_by}


def _page_of(item: Item) -> Response:
    title = html.escape(str(item.metadata.get("title", item.identifier)))
    links = "".join(f'<li><a href="/download/{item.identifier}/{quote(name)}">{html.escape(name)}</a></li>\n' for name in item.all_files)
    head = f"<!doctype html>\n<html><head><meta charset=utf-8><title>{title}</title></head>\n"
    return Response(f"{head}<body><h1>{title}</h1>\n<ul>\n{links}</ul></body></html>\n".encode())


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"after {place}".encode()).decode()


def _place(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        word, _, place = base64.urlsafe_b64decode(cursor.encode()).decode("latin-1").partition(" ")
    except ValueError:
        word = place = ""
    if word != "after" or not (place.isascii() and place.isdigit()):
        raise SearchError("this cursor was not given out here")
    return int(place)


def _json(value: object, *, status: int = 200) -> Response:
    return text(json.dumps(value, ensure_ascii=False), _JSON, status=status)
