"""Write WARC files, read one record by its place, and find where a torn file is whole.

A file is a chain of gzip members, one a record (WARC 1.1, ISO 28500:2017), so that other web-archive tools read it and a record is read by seeking to
it. An exchange (response, then the request that it answers) is appended by one write; nothing is ever changed in place. What a killed program or a
full disk left half-written is the last member only, and `whole_records` ends before it.
"""

import base64
import hashlib
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

# Pages shrink to a fifth at the fastest level already; what is compressed by itself is stored as it is.
_LEVEL = 1
_GZIP = zlib.MAX_WBITS + 16
_CHUNK = 1 << 20
_SLICE = 1 << 16
# Nothing that means well compresses a page in as many pieces.
_MOST_MEMBERS = 10_000
_INCOMPRESSIBLE = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "video/", "audio/", "application/zip", "application/gzip")


# What a request says to be let in is no part of the page, and would be read by whoever reads the file.
_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie"})


class WarcError(Exception):
    """A WARC record is not what its index says, or its file is cut off."""


class Place(NamedTuple):
    """Where a record lies in its file. offset, length: bytes of its gzip member."""

    offset: int
    length: int


@dataclass(frozen=True)
class Exchange:
    """A request and the response to it, as they went over the wire but for transfer encodings, which are undone.

    body: with its content encodings. headers, request_headers: in order, names and values as Latin-1 text.
    """

    url: str
    fetched_at: datetime
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    request_headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    ip_address: str = ""


class FoundRecord(NamedTuple):
    """One whole record found by reading a file through. kind: WARC-Type, and `part` for a response from which another was made."""

    place: Place
    kind: str
    url: str


class WarcWriter:
    """Appends exchanges to one file; a new file begins with a warcinfo record.

    about: the fields of that record (software, http-header-user-agent, …).
    """

    def __init__(self, path: Path, *, about: Mapping[str, str]) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = os.fstat(self._descriptor).st_size
        if self._end == 0:
            self._append(_info_record(about))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def write(self, exchange: Exchange, parts: Iterable[Exchange] = ()) -> Place:
        """Append the exchange; gives the place of its response record.

        parts: what it was made from, where a browser drew it. Raises OSError (disk full …) with the file as it was before.
        """
        # Response and request are one write: whoever finds the first whole finds the second, or the torn tail begins at it.
        drawn, length = _new_id(), 0
        members: list[bytes] = []
        for of, response_id in [(exchange, drawn), *((part, _new_id()) for part in parts)]:
            response = _member(_response_record(of, response_id, made_into="" if of is exchange else drawn), _level(of))
            members += [response, _member(_request_record(of, response_id), _LEVEL)]
            length = length or len(response)
        return Place(self._append(b"".join(members)), length)

    def close(self) -> None:
        os.close(self._descriptor)

    def _append(self, data: bytes) -> int:
        offset, written = self._end, 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:] if written else data)
        except OSError:
            os.ftruncate(self._descriptor, offset)
            raise
        self._end += written
        return offset


def read_exchange(path: Path, place: Place, *, descriptor: int | None = None) -> Exchange:
    """The response record at `place` of the file (without its request).

    descriptor: of the open file, where the caller keeps one. Raises WarcError naming file and place.
    """
    where = f"{path.name} at byte {place.offset:,}"
    try:
        return _parse_response(_read_member(path, place, descriptor))
    except WarcError as error:
        raise WarcError(f"{where}: {error}") from None
    except (zlib.error, ValueError, KeyError) as error:
        raise WarcError(f"{where}: expected a whole gzip member with a WARC response record, found damage ({error})") from None


def whole_records(path: Path, *, start: int = 0) -> Iterator[FoundRecord]:
    """The records from byte `start` on (where one must begin) up to the first that is torn or damaged."""
    return (record for record, _ in _records(path, start))


def requests_with_secrets(path: Path) -> int:
    """How many request records of the file hold a password, a key or a cookie: files of today never do, those of earlier versions may."""
    return sum(record.kind == "request" and not _SECRETS.isdisjoint(_names(block)) for record, block in _records(path, 0))


def cut_torn_tail(path: Path, *, start: int = 0) -> int:
    """Cut the file after its last whole record from byte `start` on; gives how many bytes went."""
    end = start
    for record in whole_records(path, start=start):
        end = sum(record.place)
    torn = path.stat().st_size - end
    if torn:
        os.truncate(path, end)
    return torn


def decode_body(body: bytes, headers: Iterable[tuple[str, str]], *, max_bytes: int | None = None) -> bytes:
    """`body` without the content encodings that `headers` name; an unknown one, and what is under it, stays.

    Raises WarcError when the bytes are not so encoded, or hold more than max_bytes.
    """
    # Content-Encoding lists encodings in the order applied (RFC 9110 §8.4), so they are undone from the last.
    names = [name.strip().lower() for key, value in headers if key.lower() == "content-encoding" for name in value.split(",")]
    for name in reversed([name for name in names if name]):
        if name in {"gzip", "x-gzip", "deflate"}:
            body = _inflate(body, name, max_bytes)
        elif name == "br":
            body = _unbrotli(body, max_bytes)
        elif name != "identity":
            break
    return body


def _inflate(body: bytes, name: str, max_bytes: int | None) -> bytes:
    # "deflate" is zlib's format by RFC 9110, and a bare stream from many servers.
    raw_deflate = name == "deflate" and not (len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0)
    bits = -zlib.MAX_WBITS if raw_deflate else zlib.MAX_WBITS if name == "deflate" else _GZIP
    # Member by member, since gzip bodies may be several, and never more bytes than the room left: a bomb stops here. In slices, since what follows a
    # member is copied at its end: many small ones in one large body would be copied as often as there are members.
    parts: list[bytes] = []
    room = max_bytes
    place, members, stream = 0, 0, zlib.decompressobj(bits)
    view = memoryview(body)
    while place < len(body):
        data = view[place : place + _SLICE]
        try:
            part = stream.decompress(data, 0 if room is None else room + 1)
        except zlib.error as error:
            if members:
                break  # Bytes after the last member are padding, which gzip tools ignore as well.
            raise WarcError(f"the body is not {name}: {error}") from None
        if room is not None:
            room -= len(part)
            if room < 0:
                raise WarcError(f"the body holds more than {max_bytes:,} bytes when decoded")
        parts.append(part)
        place += len(data) - len(stream.unused_data) - len(stream.unconsumed_tail)
        if stream.eof:
            members += 1
            if name == "deflate":
                break
            if members > _MOST_MEMBERS:
                raise WarcError(f"the body is of more than {_MOST_MEMBERS:,} gzip members")
            stream = zlib.decompressobj(bits)
    return b"".join(parts)


def _unbrotli(body: bytes, max_bytes: int | None) -> bytes:
    import brotli  # type: ignore[import-untyped]

    # In steps of _CHUNK, so that a bomb is noticed when it passes max_bytes and not when memory is full.
    stream = brotli.Decompressor()
    parts, size = [], 0
    try:
        part = stream.process(body, output_buffer_limit=_CHUNK)
        while part or not stream.can_accept_more_data():
            parts.append(part)
            size += len(part)
            if max_bytes is not None and size > max_bytes:
                raise WarcError(f"the body holds more than {max_bytes:,} bytes when decoded")
            part = stream.process(b"", output_buffer_limit=_CHUNK)
    except brotli.error as error:
        raise WarcError(f"the body is not br: {error}") from None
    return b"".join(parts)


def _level(exchange: Exchange) -> int:
    headers = {name.lower(): value.lower() for name, value in exchange.headers}
    kind = headers.get("content-type", "")
    return 0 if kind.startswith(_INCOMPRESSIBLE) or headers.get("content-encoding", "identity") != "identity" else _LEVEL


def _member(record: bytes, level: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return stream.compress(record) + stream.flush()


def _new_id() -> str:
    return f"<urn:uuid:{uuid.uuid4()}>"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _digest(data: bytes) -> str:
    # SHA-1 in base 32 is what every other web-archive tool writes and looks up; it guards nothing here.
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode("ascii")


def _record(fields: Iterable[tuple[str, str]], block: bytes) -> bytes:
    head = "WARC/1.1\r\n" + "".join(f"{name}: {_one_line(value)}\r\n" for name, value in fields) + f"Content-Length: {len(block)}\r\n\r\n"
    return b"".join((head.encode("utf-8"), block, b"\r\n\r\n"))


def _one_line(value: str) -> str:
    return value if "\r" not in value and "\n" not in value else " ".join(value.split())


def _http_head(first: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {_one_line(value)}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _info_record(about: Mapping[str, str]) -> bytes:
    block = "".join(f"{name}: {_one_line(value)}\r\n" for name, value in about.items()).encode("utf-8")
    fields = (
        ("WARC-Type", "warcinfo"),
        ("WARC-Record-ID", _new_id()),
        ("WARC-Date", _time(datetime.now(UTC))),
        ("Content-Type", "application/warc-fields"),
    )
    return _member(_record(fields, block), _LEVEL)


def _response_record(exchange: Exchange, record_id: str, *, made_into: str) -> bytes:
    block = _http_head(f"HTTP/1.1 {exchange.status} {_reason(exchange.status)}", exchange.headers) + exchange.body
    fields = [
        ("WARC-Type", "response"),
        ("WARC-Record-ID", record_id),
        ("WARC-Target-URI", exchange.url),
        ("WARC-Date", _time(exchange.fetched_at)),
        ("WARC-Payload-Digest", _digest(exchange.body)),
        ("WARC-Block-Digest", _digest(block)),
        ("Content-Type", "application/http; msgtype=response"),
    ]
    if exchange.ip_address:
        fields.append(("WARC-IP-Address", exchange.ip_address))
    if made_into:
        fields.append(("WARC-Concurrent-To", made_into))
    return _record(fields, block)


def _request_record(exchange: Exchange, response_id: str) -> bytes:
    parts = urlsplit(exchange.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    open_headers = (header for header in exchange.request_headers if header[0].lower() not in _SECRETS)
    block = _http_head(f"{exchange.method} {target} HTTP/1.1", (("Host", parts.netloc), *open_headers))
    fields = (
        ("WARC-Type", "request"),
        ("WARC-Record-ID", _new_id()),
        ("WARC-Target-URI", exchange.url),
        ("WARC-Date", _time(exchange.fetched_at)),
        ("WARC-Concurrent-To", response_id),
        ("WARC-Block-Digest", _digest(block)),
        ("Content-Type", "application/http; msgtype=request"),
    )
    return _record(fields, block)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"


def _read_member(path: Path, place: Place, descriptor: int | None) -> bytes:
    if descriptor is not None:
        data = os.pread(descriptor, place.length, place.offset)
    else:
        with path.open("rb") as file:
            data = os.pread(file.fileno(), place.length, place.offset)
    if len(data) < place.length:
        raise WarcError(f"expected {place.length:,} bytes, found {len(data):,}: the file is cut off")
    stream = zlib.decompressobj(_GZIP)
    record = stream.decompress(data)
    if not stream.eof:
        raise WarcError(f"expected a gzip member of {place.length:,} bytes, found one that does not end there")
    return record


def _split_head(data: bytes) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
    """(first line, fields, rest) of bytes that begin with header lines."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        raise ValueError("no blank line after the headers")
    first, *lines = head.decode("utf-8" if head.startswith(b"WARC/") else "latin-1").split("\r\n")
    fields = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return first, fields, rest


def _record_block(record: bytes) -> tuple[dict[str, str], bytes]:
    """(WARC fields, block) of one record's bytes."""
    first, fields, rest = _split_head(record)
    if not first.startswith("WARC/"):
        raise ValueError(f"expected WARC/1.1, found {first[:40]!r}")
    named = dict(fields)
    length = int(named["Content-Length"])
    if len(rest) != length + 4 or not rest.endswith(b"\r\n\r\n"):
        raise ValueError(f"expected a block of {length:,} bytes, found {len(rest) - 4:,}")
    return named, rest[:length]


def _parse_response(record: bytes) -> Exchange:
    named, block = _record_block(record)
    if named["WARC-Type"] != "response":
        raise ValueError(f"expected a response record, found WARC-Type {named['WARC-Type']}")
    first, headers, body = _split_head(block)
    return Exchange(
        url=named["WARC-Target-URI"],
        fetched_at=datetime.fromisoformat(named["WARC-Date"]),
        status=int(first.split(" ", 2)[1]),
        headers=headers,
        body=body,
        ip_address=named.get("WARC-IP-Address", ""),
    )


def _names(block: bytes) -> set[str]:
    try:
        return {name.lower() for name, _ in _split_head(block)[1]}
    except ValueError:
        return set()


def _records(path: Path, start: int) -> Iterator[tuple[FoundRecord, bytes]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        while start < size and (found := _next_record(file.fileno(), start)) is not None:
            yield found
            start = sum(found[0].place)


def _next_record(descriptor: int, start: int) -> tuple[FoundRecord, bytes] | None:
    """The record and its block."""
    stream, parts, position = zlib.decompressobj(_GZIP), [], start
    while not stream.eof:
        data = os.pread(descriptor, _CHUNK, position)
        if not data:
            return None
        position += len(data)
        try:
            parts.append(stream.decompress(data))
        except zlib.error:
            return None
    # The member ends where inflating stopped; what was read beyond it belongs to the next record.
    end = position - len(stream.unused_data)
    try:
        named, block = _record_block(b"".join(parts))
    except (ValueError, KeyError):
        return None
    kind = named.get("WARC-Type", "")
    if kind == "response" and "WARC-Concurrent-To" in named:
        kind = "part"
    return FoundRecord(Place(start, end - start), kind, named.get("WARC-Target-URI", "")), block
