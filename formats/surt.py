"""Addresses as web archives sort and find them: the Sort-friendly URI Reordering Transform (SURT) that CDXJ indexes use.

By the rules of the Internet Archive's canonicalization: `http://www.Example.com:80/A/b/?z=1&a=2` and `https://example.com/a/b?a=2&z=1` are one key,
`com,example)/a/b?a=2&z=1`.
"""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_WWW = re.compile(r"^www\d*\.")
# Identifiers of a session in a path or a query, by their names and lengths; a page is the same page without them.
_SESSION_IN_PATH = re.compile(r"^(.*/)(\((?:[a-z]\([0-9a-z]{24}\))+\)/|\([0-9a-z]{24}\)/)([^?]+\.aspx.*)$")
_SESSION_IN_QUERY = (
    re.compile(r"^(.*?)(?:jsessionid=[0-9a-z]{32})(?:&(.*))?$"),
    re.compile(r"^(.*?)(?:phpsessid=[0-9a-z]{32})(?:&(.*))?$"),
    re.compile(r"^(.*?)(?:sid=[0-9a-z]{32})(?:&(.*))?$"),
    re.compile(r"^(.*?)(?:aspsessionid[a-z]{8}=[a-z]{24})(?:&(.*))?$"),
    re.compile(r"^(.*?)(?:cfid=[^&]+&cftoken=[^&]+)(?:&(.*))?$"),
)
# What stands unescaped in a key: everything printable but space, `%` and `#`.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "%#")


def surt(url: str) -> str:
    """The key of an http or https address; of anything else the address itself."""
    parts = urlsplit(url.strip())
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        return url
    host = _WWW.sub("", _escaped(_in_ascii(parts.hostname)).strip("."))
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme.lower()]) else f":{parts.port}"
    path = _without_session(_steps(_escaped(parts.path or "/"))).lower()
    query = _sorted(_without_sessions(_escaped(parts.query).lower()))
    return f"{','.join(reversed(host.split('.')))}{port}){path if path == '/' else path.rstrip('/') or '/'}{f'?{query}' if query else ''}"


def _in_ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _escaped(text: str) -> str:
    """Unescaped until nothing is left to unescape, then escaped in the one way that there is."""
    raw = text.encode()
    while (less := unquote_to_bytes(raw)) != raw:
        raw = less
    return quote_from_bytes(raw, safe=_PLAIN)


def _steps(path: str) -> str:
    """The path without `.`, `..` and empty steps."""
    kept: list[str] = []
    for step in path.split("/"):
        if step == "..":
            kept = kept[:-1]
        elif step not in ("", "."):
            kept.append(step)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith(("/", "/.", "/..")) else "")


def _without_session(path: str) -> str:
    found = _SESSION_IN_PATH.match(path.lower())
    return path if found is None else found[1] + found[3]


def _without_sessions(query: str) -> str:
    for pattern in _SESSION_IN_QUERY:
        if found := pattern.match(query):
            query = found[1] + (found[2] or "")
    return query


def _sorted(query: str) -> str:
    """Parameters in the order of their names, then values; one without a value stands before one with."""
    pairs = [pair.partition("=") for pair in query.split("&")]
    return "&".join("".join(pair) for pair in sorted(pairs, key=lambda pair: (pair[0], pair[1], pair[2])))
