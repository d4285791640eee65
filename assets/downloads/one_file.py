"""Download one file: streamed, resumed, capped in size and time, and verified by every checksum that is known."""

import contextlib
import hashlib
import http.client
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from assets.downloads.guarded_http import (
    DownloadError,
    ForbiddenAddressError,
    Secret,
    TooLargeError,
    UnavailableError,
    WrongBytesError,
    open_guarded,
)
from assets.downloads.hosts import Hosts, seconds_asked

_PIECE_BYTES = 2**18
_RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_NOTHING_MORE = 416
# At once, because nothing is amiss with the server.
_AGAIN_S = 0.01
Result = TypeVar("Result")


@dataclass(frozen=True)
class DownloadRules:
    """What all downloads of a stage keep to.

    max_bytes: larger files are refused. timeout_s: without an answer, or with less than least_bytes_per_s. retries: attempts after the first.
    first_wait_s: doubles with each retry. longest_wait_s: a server that asks to wait longer is left alone.
    at_once: files under way; at_once_per_host, pause_s: and at one host, with a pause between the beginnings of two requests.
    trusted: `host:port` of servers of our own, which may lie anywhere. secret: shown to the hosts that it names, and to no other.
    """

    max_bytes: int = 2 * 2**30
    timeout_s: float = 60.0
    retries: int = 4
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    least_bytes_per_s: int = 100
    at_once: int = 4
    at_once_per_host: int = 2
    pause_s: float = 0.2
    allow_private_addresses: bool = False
    user_agent: str = "figment"
    trusted: frozenset[str] = frozenset()
    secret: Secret | None = None

    def hosts(self) -> Hosts:
        """Turns at hosts by these rules, to be shared by what is downloaded side by side."""
        return Hosts(at_once=self.at_once_per_host, pause_s=self.pause_s, longest_wait_s=self.longest_wait_s)


@dataclass(frozen=True)
class Wanted:
    """A file to fetch, and where to. checksums: hexadecimal digits by the name that hashlib knows, such as sha256, md5, sha1. bytes: where known.

    mark: what must stand in its first KiB, such as %PDF-; a page of HTML in its place is told as that, rather than as a wrong checksum.
    """

    url: str
    target: Path
    checksums: Mapping[str, str] = field(default_factory=dict)
    bytes: int | None = None
    mark: str = ""


def download(
    wanted: Wanted,
    rules: DownloadRules,
    *,
    hosts: Hosts | None = None,
    log: Callable[[str], None] = lambda _: None,
    size_now: Callable[[int], None] = lambda _: None,
) -> str:
    """Fetch the file, and give its SHA-256.

    What an interrupted attempt left in the target is continued, also in a later run: with a Range request when the server supports it. Where no
    checksum is given nothing could tell that two halves belong together, so then an old beginning is dropped, and one of this call continued only if
    the server vouches that the file is the same. A complete file that is there already costs no request.
    hosts: shared by downloads side by side. size_now: is told how much of the file is there.
    Raises DownloadError; a wrong checksum removes the file.
    """
    target = wanted.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if not wanted.checksums:
        target.unlink(missing_ok=True)
    elif target.exists() and _complaint(wanted, found := _digests(wanted)) is None:
        size_now(target.stat().st_size)
        return found["sha256"]
    transfer = _Transfer(wanted, rules, hosts or rules.hosts(), size_now)
    patiently(wanted.url, rules, transfer.hosts, transfer.run, log=log)
    return _verified(wanted)


def patiently(url: str, rules: DownloadRules, hosts: Hosts, attempt: Callable[[], Result], *, log: Callable[[str], None] = lambda _: None) -> Result:
    """What `attempt` gives, made in the host's turn, and again while it raises TransientError. Raises UnavailableError when that is often enough."""
    host = urlsplit(url).netloc
    # A host that is slow or asks for patience is left alone between two attempts, by everybody who shares `hosts`.
    for number in range(rules.retries + 1):
        try:
            with hosts.turn(host):
                result = attempt()
        except TransientError as error:
            wait_s = min(rules.first_wait_s * 2**number, rules.longest_wait_s) if error.wait_s is None else error.wait_s
            hosts.hold(host, wait_s)
            if number == rules.retries or wait_s > rules.longest_wait_s:
                hosts.note(host, is_well=False)
                asked = f", and its server asks to wait {wait_s:,.0f} s" if wait_s > rules.longest_wait_s else ""
                raise UnavailableError(f"{url}: {error}{asked}, after {number + 1} attempts; try again later") from None
            log(f"{url}: {error}; trying again in {wait_s:.0f} s")
        else:
            hosts.note(host, is_well=True)
            return result
    raise AssertionError("the loop returns or raises")


class TransientError(Exception):
    """Worth another attempt. wait_s: what the server asked for, or None."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class NothingMoreError(DownloadError):
    """The server has nothing behind the first byte that was asked for."""


@contextlib.contextmanager
def opened(url: str, headers: Mapping[str, str], rules: DownloadRules, *, method: str = "GET", body: bytes | None = None) -> Iterator[Any]:
    """The answer of a server to one attempt, not compressed. Raises TransientError when it is worth another, else DownloadError."""
    headers = {"User-Agent": rules.user_agent, "Accept-Encoding": "identity", **headers}
    try:
        answer = open_guarded(
            url,
            headers,
            timeout_s=rules.timeout_s,
            allow_private_addresses=rules.allow_private_addresses,
            trusted=rules.trusted,
            secret=rules.secret,
            method=method,
            body=body,
        )
    except urllib.error.HTTPError as error:
        with error:
            raise _judged(url, error) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ForbiddenAddressError):
            raise error.reason from None
        raise TransientError(f"cannot be reached ({error.reason})") from None
    except (http.client.HTTPException, OSError) as error:
        raise TransientError(f"the connection broke ({error or type(error).__name__})") from None
    with answer:
        yield answer


def _judged(url: str, error: urllib.error.HTTPError) -> Exception:
    """What an error status means."""
    if error.code in _RETRIED_STATUSES:
        return TransientError(f"status {error.code}", wait_s=seconds_asked(error.headers.get("Retry-After", "")))
    kind = NothingMoreError if error.code == _NOTHING_MORE else DownloadError
    # Its server chose these words, which go into logs and tables.
    reason = " ".join("".join(letter if letter.isprintable() else " " for letter in str(error.reason)).split())[:100]
    return kind(f"{url}: status {error.code} ({reason}); see whether the address still holds the file")


@dataclass
class _Transfer:
    """The attempts at one file. validator: by what the server knows the version of the file of which a part is here; empty when it does not say."""

    wanted: Wanted
    rules: DownloadRules
    hosts: Hosts
    size_now: Callable[[int], None]
    validator: str = ""

    def run(self) -> None:
        """Fetch what is missing. Raises TransientError when it is worth another attempt, else DownloadError."""
        url, target = self.wanted.url, self.wanted.target
        # A beginning is of use only if something will tell that the rest belongs to it: a checksum afterwards, or the server beforehand.
        have = target.stat().st_size if target.exists() else 0
        headers = {}
        if have and not (self.wanted.checksums or self.validator):
            have = 0
        if have:
            headers["Range"] = f"bytes={have}-"
        if have and not self.wanted.checksums:
            headers["If-Range"] = self.validator  # Another version of the file is sent whole.
        try:
            with opened(url, headers, self.rules) as answer:
                self._store(answer, have if answer.status == 206 else 0)
        except NothingMoreError:
            if not have:
                raise
            # Nothing follows what we have, and it is not the file, which was looked at before: begin again.
            target.unlink()
            raise TransientError("the server has nothing after what was fetched before", wait_s=_AGAIN_S) from None

    def _store(self, answer: Any, start: int) -> None:
        """Write the body behind the first `start` bytes of the target."""
        target = self.wanted.target
        if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            target.unlink()
            raise TransientError("the server sent another part than was asked for", wait_s=_AGAIN_S)
        self.validator = _strong_validator(answer.headers)
        announced = answer.headers.get("Content-Length", "")
        total = start + int(announced) if announced.isdigit() else None
        self._check_size(total or 0)
        with target.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            written = start
            for piece in pieces_of(answer, self.rules, self.hosts):
                written += len(piece)
                self._check_size(written)
                stream.write(piece)
                self.size_now(written)
        if total is not None and written < total:
            raise TransientError(f"the connection ended after {written:,} of {total:,} bytes")

    def _check_size(self, size: int) -> None:
        """size: of what is here or announced."""
        url, expected = self.wanted.url, self.wanted.bytes
        if size > self.rules.max_bytes:
            raise TooLargeError(f"{url}: larger than {self.rules.max_bytes:,} bytes, which is the limit; raise it if this is meant")
        if expected is not None and size > expected:
            raise TooLargeError(f"{url}: {size:,} bytes, expected {expected:,}; the file changed at its source: ask its source again what there is")


def pieces_of(answer: Any, rules: DownloadRules, hosts: Hosts) -> Iterator[bytes]:
    """The body as it comes; a server that lets it trickle is not waited for, because each single read would be in time."""
    began, received = time.monotonic(), 0
    while True:
        hosts.refuse_if_stopped()
        try:
            piece = answer.read1(_PIECE_BYTES)
        except (http.client.HTTPException, OSError) as error:
            raise TransientError(f"the connection broke ({error or type(error).__name__})") from None
        if not piece:
            return
        yield piece
        received += len(piece)
        if (seconds := time.monotonic() - began) > rules.timeout_s:
            if received < rules.least_bytes_per_s * seconds:
                raise TransientError(f"only {received:,} bytes came in {seconds:,.0f} s")
            began, received = time.monotonic(), 0


def _strong_validator(headers: Any) -> str:
    """The ETag by which If-Range may continue; a weak one does not speak of bytes."""
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') else ""


def _digests(wanted: Wanted) -> dict[str, str]:
    """SHA-256 of the file, and what else is asked for, reading it once."""
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *wanted.checksums}}
    with wanted.target.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            for hasher in hashers.values():
                hasher.update(piece)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def _complaint(wanted: Wanted, found: Mapping[str, str]) -> str | None:
    """What of the file is not as it must be; None when all is."""
    size = wanted.target.stat().st_size
    if wanted.bytes is not None and size != wanted.bytes:
        return f"{size:,} bytes, expected {wanted.bytes:,}; the file changed at its source: ask its source again what there is"
    for name, expected in wanted.checksums.items():
        if found[name] != expected.lower():
            return (
                f"checksum mismatch: {size:,} bytes with {name} {found[name]}, expected {expected.lower()}; the file changed at its source or was "
                f"tampered with: look at it, and only then pin the new {name}"
            )
    return None


def _other_kind(wanted: Wanted) -> str | None:
    with wanted.target.open("rb") as stream:
        head = stream.read(1024)
    if wanted.mark.encode("latin-1") in head:
        return None
    is_page = head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html"))
    return f"it is not the kind of file that was asked for: it begins {'as a page of HTML' if is_page else 'otherwise'}, without {wanted.mark!r}"


def _verified(wanted: Wanted) -> str:
    found = _digests(wanted)
    complaint = _other_kind(wanted) or _complaint(wanted, found)
    if complaint is not None:
        wanted.target.unlink()
        raise WrongBytesError(f"{wanted.url}: {complaint}")
    return found["sha256"]
