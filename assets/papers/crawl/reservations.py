"""What a site says of text and data mining: the TDM Reservation Protocol (W3C community group, 2022) in its three forms.

A header or a meta element speaks for one response; /.well-known/tdmrep.json speaks for the whole host, where a response says nothing itself.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

WELL_KNOWN = "/.well-known/tdmrep.json"
_META = re.compile(rb"""<meta[^>]{0,100}?name\s*=\s*["']?tdm-reservation["']?[^>]{0,100}?content\s*=\s*["']?([01])""", re.IGNORECASE)
_HEAD_BYTES = 32_768
_MOST_RULES = 1_000


@dataclass(frozen=True)
class Reservation:
    """One rule of a host. location: a path that may hold `*` for anything and end with `$`, as in robots.txt."""

    location: str
    is_reserved: bool

    def covers(self, path: str) -> bool:
        """Whether the rule is about that path (with its query)."""
        # Each part between asterisks has to occur, in order and as early as it can: what is left over decides about the final `$`.
        parts = self.location.removesuffix("$").split("*")
        if not path.startswith(parts[0]):
            return False
        place = len(parts[0])
        for part in parts[1:]:
            found = path.find(part, place)
            if found < 0:
                return False
            place = found + len(part)
        if not self.location.endswith("$"):
            return True
        return path.endswith(parts[-1]) and (len(parts) > 1 or place == len(path))


def read_reservations(body: bytes) -> tuple[Reservation, ...]:
    """The rules of a tdmrep.json, in order; what is not a rule is left out."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    rules = said[:_MOST_RULES] if isinstance(said, list) else ()
    return tuple(
        Reservation(str(rule["location"]), str(rule["tdm-reservation"]) == "1")
        for rule in rules
        if isinstance(rule, dict) and isinstance(rule.get("location"), str) and str(rule.get("tdm-reservation")) in {"0", "1"}
    )


def is_reserved(url: str, headers: Mapping[str, str], body: bytes, rules: tuple[Reservation, ...]) -> bool | None:
    """Whether mining of a response is reserved; None where its site does not say.

    headers: names in lower case. rules: of its host; the first that covers the address counts.
    """
    # The nearer word counts: the response's header, its page, then the host's file.
    if (header := headers.get("tdm-reservation", "").strip()) in {"0", "1"}:
        return header == "1"
    if "html" in headers.get("content-type", "") and (meta := _META.search(body[:_HEAD_BYTES])):
        return meta[1] == b"1"
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return next((rule.is_reserved for rule in rules if rule.covers(path)), None)
