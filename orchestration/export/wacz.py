"""A stored crawl as one WACZ file (WACZ 1.1.1), which replayweb.page and pywb open: the WARC files as they are, and what finds a page in them.

The index is CDXJ in gzip members of 1,024 lines with a second index over these, as py-wacz writes it; lines and keys are those of cdxj-indexer. Equal
crawls give equal bytes: members of the archive are dated 1980, and `created` is when the newest page was fetched.
"""

import gzip
import hashlib
import html
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from formats.surt import surt

_LINES = 1_024
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_HEAD_BYTES = 1 << 16
_SOFTWARE = "Figment"


class WaczError(Exception):
    """The artifact has no WARC files, or one of them cannot be read."""


class _Record(NamedTuple):
    """A stored response. timestamp: 14 digits; key: its address as an index sorts it."""

    key: str
    timestamp: str
    fields: dict[str, str]
    title: str


def is_crawl(files: Mapping[str, Path]) -> bool:
    """Whether an artifact holds WARC files."""
    return any(name.endswith(".warc.gz") for name in files)


def write_wacz(files: Mapping[str, Path], target: Path) -> None:
    """Write the crawl in `files` (relative name -> file). Raises WaczError."""
    warcs = {Path(name).name: path for name, path in sorted(files.items()) if name.endswith(".warc.gz")}
    if not warcs:
        raise WaczError("the artifact holds no WARC files (*.warc.gz); WACZ is for what a crawl stored, such as journal_pages")
    records = sorted(record for name, path in warcs.items() for record in _responses(name, path))
    index, over_index = _index(records)
    resources: list[dict[str, Any]] = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name, path in warcs.items():
            resources.append(_add_file(archive, f"archive/{name}", path))
        for name, content in {"indexes/index.cdx.gz": index, "indexes/index.idx": over_index, "pages/pages.jsonl": _pages(records)}.items():
            resources.append(_add(archive, name, content))
        package = {
            "profile": "data-package",
            "resources": resources,
            "created": _iso(max((record.timestamp for record in records), default="19800101000000")),
            "wacz_version": "1.1.1",
            "software": _SOFTWARE,
        }
        described = json.dumps(package, indent=2).encode()
        _add(archive, "datapackage.json", described)
        _add(archive, "datapackage-digest.json", json.dumps({"path": "datapackage.json", "hash": _sha256(described)}, indent=2).encode())


def _responses(name: str, path: Path) -> Iterator[_Record]:
    for offset, length, content in _members(path):
        head, _, block = content.partition(b"\r\n\r\n")
        of = _headers(head)
        if of.get("warc-type") != "response":
            continue
        http, _, body = block.partition(b"\r\n\r\n")
        answered = _headers(http)
        mime = answered.get("content-type", "unk").partition(";")[0].strip() or "unk"
        fields = {
            "url": of["warc-target-uri"],
            "mime": mime,
            "status": (http.split(b" ", 2)[1:2] or [b"-"])[0].decode("latin-1"),
            "digest": of.get("warc-payload-digest", "-"),
            "length": str(length),
            "offset": str(offset),
            "filename": name,
        }
        timestamp = re.sub(r"\D", "", of["warc-date"])[:14]
        yield _Record(surt(fields["url"]), timestamp, fields, _title(body, answered) if mime == "text/html" else "")


def _members(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, length and content of each gzip member; of a large one its beginning only."""
    with path.open("rb") as stream:
        offset, waiting = 0, b""
        while waiting or (waiting := stream.read(_CHUNK)):
            inflate = zlib.decompressobj(zlib.MAX_WBITS + 16)
            content, length = bytearray(), 0
            while not inflate.eof:
                if not waiting and not (waiting := stream.read(_CHUNK)):
                    raise WaczError(f"{path}: the record at byte {offset:,} is cut off; make the crawl again, or restore the file from DVC's cache")
                try:
                    piece = inflate.decompress(waiting, _CHUNK)
                except zlib.error as error:
                    raise WaczError(f"{path}: the record at byte {offset:,} is damaged ({error}); restore the file from DVC's cache") from None
                content += piece[: max(0, _CHUNK - len(content))]
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                length += len(waiting) - len(rest)
                waiting = rest
            yield offset, length, bytes(content)
            offset += length


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().decode("latin-1").lower(): value.strip().decode("utf-8", errors="replace") for name, _, value in lines}


def _title(body: bytes, answered: Mapping[str, str]) -> str:
    """What the page calls itself; nothing where its beginning is not plain text or gzip."""
    encoding = answered.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS + 16).decompress(body, _HEAD_BYTES)
        except zlib.error:
            return ""
    elif encoding != "identity":
        return ""
    found = _TITLE.search(body[:_HEAD_BYTES])
    return " ".join(html.unescape(found[1].decode("utf-8", errors="replace")).split())[:300] if found else ""


def _index(records: list[_Record]) -> tuple[bytes, bytes]:
    """The compressed index, and the index over its members."""
    lines = sorted(f"{record.key} {record.timestamp} {json.dumps(record.fields)}\n" for record in records)
    index = bytearray()
    over = ['!meta 0 {"format": "cdxj-gzip-1.0", "filename": "index.cdx.gz"}\n']
    for begin in range(0, len(lines), _LINES):
        member = gzip.compress("".join(lines[begin : begin + _LINES]).encode(), mtime=0)
        key, timestamp, _ = lines[begin].split(" ", 2)
        over.append(f"{key} {timestamp} {json.dumps({'offset': len(index), 'length': len(member), 'digest': _sha256(member)})}\n")
        index += member
    return bytes(index), "".join(over).encode()


def _pages(records: list[_Record]) -> bytes:
    """What a reader offers as a list: the pages that were had, the newest of each address."""
    newest = {record.fields["url"]: record for record in records if record.fields["mime"] == "text/html" and record.fields["status"] == "200"}
    lines: list[dict[str, str]] = [{"format": "json-pages-1.0", "id": "pages", "title": "All Pages"}]
    for url, record in newest.items():
        name = hashlib.sha256(f"{url} {record.timestamp}".encode()).hexdigest()[:20]
        lines.append({"id": name, "url": url, "ts": _iso(record.timestamp), "title": record.title or url})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> dict[str, Any]:
    archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
    return {"name": Path(name).name, "path": name, "hash": _sha256(content), "bytes": len(content)}


def _add_file(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), path.stat().st_size
    info = zipfile.ZipInfo(name, _ZIP_DATE)
    info.file_size = size
    with path.open("rb") as source, archive.open(info, "w") as member:
        while piece := source.read(_CHUNK):
            digest.update(piece)
            member.write(piece)
    return {"name": Path(name).name, "path": name, "hash": f"sha256:{digest.hexdigest()}", "bytes": size}


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _iso(timestamp: str) -> str:
    date, time = timestamp[:8], timestamp[8:]
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"
