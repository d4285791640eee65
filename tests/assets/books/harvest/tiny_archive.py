"""A little archive on loopback that answers as the Internet Archive does, and can be told to misbehave."""

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.items import Item, read_items
from stages.params import build_config

Handler = http.server.BaseHTTPRequestHandler


def pdf(words: str) -> bytes:
    """Something that begins as a PDF does; a harvest looks no further."""
    return b"%PDF-1.4\n" + words.encode() * 40 + b"\n%%EOF\n"


def open_items(folder: Path) -> list[Item]:
    """The living items of a harvest, each with at least one file."""
    return [item for item in read_items(folder) if item.status == "here"]


@dataclass
class Book:
    """files: by name, (format, bytes). stated: what its metadata say in place of the truth, by file name. updated: seconds since 1970."""

    files: dict[str, tuple[str, bytes]]
    fields: dict[str, Any] = field(default_factory=dict)
    stated: dict[str, dict[str, Any]] = field(default_factory=dict)
    updated: int = 1_000
    is_dark: bool = False
    is_listed: bool = True

    def reply(self, identifier: str) -> dict[str, Any]:
        if self.is_dark:
            return {"is_dark": True, "metadata": {"identifier": identifier}}
        files = [{"name": name, "format": kind, **_sums(content), **self.stated.get(name, {})} for name, (kind, content) in self.files.items()]
        fields = {"identifier": identifier, "mediatype": "texts", "title": f"The {identifier}", "collection": "books", **self.fields}
        return {"files": files, "item_last_updated": self.updated, "metadata": fields}


def _sums(content: bytes) -> dict[str, str]:
    md5, sha1 = hashlib.md5(content, usedforsecurity=False), hashlib.sha1(content, usedforsecurity=False)
    return {"md5": md5.hexdigest(), "sha1": sha1.hexdigest(), "size": str(len(content))}


@dataclass
class TinyArchive:
    """answer: called with the handler and the path of each request; where it gives None, the archive answers as it should."""

    books: dict[str, Book] = field(default_factory=dict)
    url: str = ""
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[Handler, str], object] | None = None
    per_page: int = 3

    def add(self, *names: str, pages: int | None = None) -> None:
        """Items of one PDF each."""
        for name in names:
            fields = {} if pages is None else {"imagecount": str(pages)}
            self.books[name] = Book({f"{name}.pdf": ("Text PDF", pdf(name))}, fields)

    def touch(self, name: str, content: bytes) -> None:
        """Another version of the item's file."""
        book = self.books[name]
        book.files[f"{name}.pdf"] = ("Text PDF", content)
        book.updated += 1_000

    def asked(self, kind: str) -> list[str]:
        """The items of which that (metadata, download) was asked since `forget`, sorted."""
        return sorted(path.split("/")[2] for path in self.requests if path.startswith(f"/{kind}/"))

    def forget(self) -> None:
        self.requests.clear()
        self.ranges.clear()

    def config(self, *, sources: list[dict[str, Any]] | None = None, **values: Any) -> ArchiveItemsConfig:
        """Of this archive as the only source, which is asked for its collection, unless told otherwise."""
        keys = {"max_items", "max_pages", "max_mib", "query", "identifiers", "licence", "collection"}
        own = {key: values.pop(key) for key in keys & set(values)}
        base = {"name": "tiny", "licence": "CC0-1.0", "host": self.url}
        sources = sources or [base | ({} if keys & {"query", "identifiers"} & set(own) else {"collection": "books"}) | own]
        known = {"contact": "me@figment.example", "allow_private_addresses": True, "delay_s": 0.0, "retries": 1, "timeout_s": 5.0}
        return build_config(ArchiveItemsConfig, {**known, **values, "sources": sources}, where="test")

    # The answers.

    def respond(self, handler: Handler) -> None:
        parts = urllib.parse.urlsplit(handler.path)
        path, query = urllib.parse.unquote(parts.path), dict(urllib.parse.parse_qsl(parts.query))
        self.requests.append(path)
        self.headers.append(dict(handler.headers.items()))
        if self.answer is not None and self.answer(handler, path) is not None:
            return
        if path == "/services/search/v1/scrape":
            self.send_json(handler, self.page(query))
        elif path.startswith("/metadata/"):
            book = self.books.get(path.removeprefix("/metadata/"))
            self.send_json(handler, book.reply(path.removeprefix("/metadata/")) if book else {})
        else:
            _, _, identifier, name = path.split("/", 3)
            self.send_file(handler, self.books[identifier].files[name][1])

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        listed = [name for name, book in sorted(self.books.items()) if book.is_listed and not book.is_dark]
        start = int(query.get("cursor", 0))
        shown = listed[start : start + self.per_page]
        items = [{"identifier": name, "oai_updatedate": [str(self.books[name].updated)]} for name in shown]
        more = {"cursor": str(start + self.per_page)} if start + self.per_page < len(listed) else {}
        return {"items": items, "total": len(listed), "count": len(items), **more}

    def send_json(self, handler: Handler, value: Any) -> bool:
        return self.send(handler, json.dumps(value).encode())

    def send_file(self, handler: Handler, content: bytes) -> bool:
        wanted = handler.headers.get("Range")
        if wanted is None:
            return self.send(handler, content)
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        return self.send(handler, content[start:], status=206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")

    def send(self, handler: Handler, body: bytes = b"", *, status: int = 200, length: int | None = None, **headers: str) -> bool:
        """Also says that it was sent, for `answer`."""
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        return True


@contextlib.contextmanager
def serving(archive: TinyArchive) -> Iterator[TinyArchive]:
    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):  # The client had enough.
                archive.respond(self)

        def do_POST(self) -> None:
            self.do_GET()

        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return "Tue, 06 Jan 2026 04:00:00 GMT"

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        archive.url = f"http://127.0.0.1:{running.server_address[1]}"
        yield archive
        running.shutdown()
        thread.join()
