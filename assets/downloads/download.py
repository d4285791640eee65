"""Download one file over http or https: streamed, resumed, capped, verified, and never from inside one's own network unless that is allowed.

A parameter file may come from somebody else, so an address in it must not reach services that only this machine can see: every address a name
resolves to is judged before connecting, the connection goes to the very address that was judged, and each redirect is judged again.
Proxies of the environment are not used, because a proxy would resolve the name once more by itself.
"""

import hashlib
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from stages.addresses import is_public

_CHUNK_BYTES = 2**18
_USER_AGENT = "figment"
_RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_S = 60.0


class DownloadError(Exception):
    """The file could not be fetched: refused address, error status, too large, or the wrong bytes."""


class ForbiddenAddressError(DownloadError):
    """The address lies inside a private network, or is not http(s)."""


@dataclass(frozen=True)
class DownloadRules:
    """max_bytes: larger files are refused. retries: attempts after the first. first_wait_s doubles with each retry."""

    max_bytes: int = 2 * 2**30
    timeout_s: float = 60.0
    retries: int = 4
    first_wait_s: float = 1.0
    allow_private_addresses: bool = False


def download(url: str, target: Path, *, sha256: str | None, rules: DownloadRules, log: Callable[[str], None] = lambda _: None) -> str:
    """Fetch `url` into the file `target`, and give its SHA-256.

    What an interrupted attempt left in `target` is continued, also in a later run: with a Range request when the server supports it. Where no
    sha256 is given nothing could tell that the two halves belong together, so then an old beginning is dropped.
    Raises DownloadError; a wrong checksum removes the file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if sha256 is None:
        target.unlink(missing_ok=True)
    for attempt in range(rules.retries + 1):
        try:
            _continue(url, target, rules)
            return _verify(url, target, sha256)
        except _TransientError as error:
            if attempt == rules.retries:
                raise DownloadError(f"{url}: {error}, after {attempt + 1} attempts; try again later") from None
            wait_s = min(error.wait_s or rules.first_wait_s * 2**attempt, _LONGEST_WAIT_S)
            log(f"{url}: {error}; trying again in {wait_s:.0f} s")
            time.sleep(wait_s)
    raise AssertionError("the loop returns or raises")


class _TransientError(Exception):
    """Worth another attempt. wait_s: what the server asked for, or None."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def _continue(url: str, target: Path, rules: DownloadRules) -> None:
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})  # noqa: S310 - the opener knows http(s) only
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with _opener(rules).open(request, timeout=rules.timeout_s) as response:
            _store(url, response, target, have if response.status == 206 else 0, rules)
    except urllib.error.HTTPError as error:
        _judge_status(url, error, target, have)
    except ForbiddenAddressError:
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, ForbiddenAddressError):
            raise error.reason from None
        raise _TransientError(f"cannot be reached ({error.reason})") from None
    except (http.client.HTTPException, OSError) as error:
        raise _TransientError(f"the connection broke ({error or type(error).__name__})") from None


def _store(url: str, response: Any, target: Path, start: int, rules: DownloadRules) -> None:
    expected = response.headers.get("Content-Length")
    total = start + int(expected) if expected and expected.isdigit() else None
    _check_size(url, total or 0, rules)
    with target.open("r+b" if start else "wb") as stream:
        stream.seek(start)
        stream.truncate()
        written = start
        while chunk := response.read(_CHUNK_BYTES):
            written += len(chunk)
            _check_size(url, written, rules)
            stream.write(chunk)
    if total is not None and written < total:
        raise _TransientError(f"the connection ended after {written:,} of {total:,} bytes")


def _check_size(url: str, size: int, rules: DownloadRules) -> None:
    if size > rules.max_bytes:
        raise DownloadError(f"{url}: larger than {rules.max_bytes:,} bytes, which is the limit; raise max_download_mib if this is meant")


def _judge_status(url: str, error: urllib.error.HTTPError, target: Path, have: int) -> None:
    if error.code == 416 and have:
        # Nothing follows what we have: either it is complete, which the checksum will tell, or it is something else, so begin again.
        target.unlink()
        raise _TransientError("the server has nothing after what was fetched before", wait_s=0.01)
    if error.code in _RETRIED_STATUSES:
        asked = error.headers.get("Retry-After", "") if error.headers else ""
        raise _TransientError(f"status {error.code}", wait_s=float(asked) if asked.isdigit() else None)
    raise DownloadError(f"{url}: status {error.code} ({error.reason}); see whether the address still holds the file")


def _verify(url: str, target: Path, sha256: str | None) -> str:
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 is not None and found != sha256.lower():
        size = target.stat().st_size
        target.unlink()
        raise DownloadError(
            f"{url}: checksum mismatch: {size:,} bytes with sha256 {found}, expected {sha256.lower()}; the file changed at its source or was "
            "tampered with: look at it, and only then pin the new sha256"
        )
    return found


def _opener(rules: DownloadRules) -> urllib.request.OpenerDirector:
    """An opener for http and https alone, whose connections go through `_connect`."""
    opener = urllib.request.OpenerDirector()
    for handler in (_Redirects(), _Http(rules), _Https(rules), urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()):
        opener.add_handler(handler)
    opener.add_handler(urllib.request.UnknownHandler())
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 8

    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in {"http", "https"}:
            raise ForbiddenAddressError(f"{req.full_url}: redirects to {newurl[:200]}, which is not http or https")
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if redirected is not None and req.has_header("Range"):
            redirected.add_header("Range", req.get_header("Range") or "")
        return redirected


class _Http(urllib.request.HTTPHandler):
    def __init__(self, rules: DownloadRules) -> None:
        super().__init__()
        self._rules = rules

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_guarded(http.client.HTTPConnection, self._rules), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, rules: DownloadRules) -> None:
        super().__init__()
        self._rules = rules

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_guarded(http.client.HTTPSConnection, self._rules), req)


def _guarded(kind: type[http.client.HTTPConnection], rules: DownloadRules) -> Any:
    def connection(host: str, **options: Any) -> http.client.HTTPConnection:
        made = kind(host, **options)
        # TLS still checks the certificate against the name: only how the socket is opened changes.
        made._create_connection = lambda address, timeout, _=None: _connect(address, timeout, rules)  # type: ignore[attr-defined]
        return made

    return connection


def _connect(address: tuple[str, int], timeout: float, rules: DownloadRules) -> socket.socket:
    """Connect to the first address of the host that answers, all of them having been judged."""
    host, port = address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not rules.allow_private_addresses and not is_public(str(place[0])):
            raise ForbiddenAddressError(
                f"{host}: resolves to {place[0]}, which is not a public address; set allow_private_addresses: true if the server is your own"
            )
    problem: OSError | None = None
    for family, kind, protocol, _, place in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(place)
            return connection
        except OSError as error:
            connection.close()
            problem = error
    raise problem or OSError(f"{host}: no address found")
