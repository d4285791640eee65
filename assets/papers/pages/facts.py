"""DOIs, dates, licences, languages and addresses, read from what pages write. What is not certain is left empty."""

import hashlib
import re
import urllib.parse
from datetime import date

_DOI = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[^\s\"'<>{}|\\^`]+", re.ASCII)
_DOI_IN_PATH = re.compile(r"/(10\.[0-9]{4,9})/([A-Za-z0-9._()-]+)/")
_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
_ISO = re.compile(r"(?<![0-9/.])([12][0-9]{3})(?:[-/.]([0-9]{1,2}))?(?:[-/.]([0-9]{1,2}))?(?![0-9])", re.ASCII)
_COMPACT = re.compile(r"\b([12][0-9]{3})([01][0-9])([0-3][0-9])\b", re.ASCII)
_DAY_FIRST = re.compile(r"\b(?:([0-3]?[0-9])(?:st|nd|rd|th)?[\s.-]+)?([A-Za-z]{3,9})\.?,?[\s-]+([12][0-9]{3})\b", re.ASCII)
_MONTH_FIRST = re.compile(r"\b([A-Za-z]{3,9})\.?\s+([0-3]?[0-9])(?:st|nd|rd|th)?,?\s+([12][0-9]{3})\b", re.ASCII)
_SLASHED = re.compile(r"\b([0-9]{1,2})[/.]([0-9]{1,2})[/.]([12][0-9]{3})\b", re.ASCII)

_CC_URL = re.compile(r"creativecommons\.org/(licen[sc]es|publicdomain)/([a-z+-]+)/([0-9]\.[0-9])(?:/([a-z]{2,3})\b)?", re.IGNORECASE)
_CC_NAME = re.compile(r"\bCC[\s-]*(BY(?:[\s-]+(?:NC|ND|SA))*|0)[\s-]*(?:v(?:ersion)?\.?\s*)?([1-4]\.[0-9])\b(?![\s-]*[A-Z]{2}\b)", re.IGNORECASE)
_CC_KINDS = {"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"}
_CC_WORDS = [("attribution", "by"), ("noncommercial", "nc"), ("noderiv", "nd"), ("sharealike", "sa")]
_CC_LONG = re.compile(r"Creative Commons[\s:]+(Attribution[A-Za-z\s/-]{0,60}?)\s*\(?([1-4]\.0)\b", re.IGNORECASE)
# The national versions that SPDX lists.
_PORTED_WORDS = """
BY-2.5-AU BY-3.0-AT BY-3.0-AU BY-3.0-DE BY-3.0-IGO BY-3.0-NL BY-3.0-US BY-NC-3.0-DE BY-NC-ND-3.0-DE BY-NC-ND-3.0-IGO BY-NC-SA-2.0-DE BY-NC-SA-2.0-FR
BY-NC-SA-3.0-DE BY-NC-SA-3.0-IGO BY-ND-3.0-DE BY-SA-2.1-JP BY-SA-3.0-AT BY-SA-3.0-DE BY-SA-3.0-IGO
"""
_PORTED = frozenset(_PORTED_WORDS.split())
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_LANGUAGES = {
    "eng": "en",
    "spa": "es",
    "fre": "fr",
    "fra": "fr",
    "por": "pt",
    "ger": "de",
    "deu": "de",
    "ita": "it",
    "rus": "ru",
    "chi": "zh",
    "zho": "zh",
    "jpn": "ja",
}


def doi_in(text: str | None) -> str:
    """The first DOI in a text or address, in lower case, or ''. A query, a fragment and closing punctuation do not belong to it."""
    found = _DOI.search(urllib.parse.unquote(text)) if text else None
    if found is None:
        return ""
    # A DOI may hold nearly anything (ISO 26324), so its end is guessed: before a query or fragment, without closing punctuation,
    # and without a bracket that was opened before it.
    doi = re.split(r"[?#]|&(?:amp;)?[a-z]+=", found[0], maxsplit=1)[0].rstrip(".,;:]*&")
    while doi.endswith(")") and doi.count(")") > doi.count("("):
        doi = doi[:-1].rstrip(".,;:")
    return doi.lower()


def doi_in_path(url: str | None) -> str:
    """The DOI inside an address's path, as in /cms/10.1021/jacs.2c00343/asset/images/…, in lower case, or ''."""
    found = _DOI_IN_PATH.search(urllib.parse.unquote(url)) if url else None
    return f"{found[1]}/{found[2]}".lower() if found else ""


def date_in(text: str | None) -> date | None:
    """The first date in a text. A missing month or day is read as the first one; 03/04/2020 could be either, so it is none."""
    if not text:
        return None
    text = text[:200]
    # The unambiguous first: 20220103 and names of months, before 25/12/2022, before a year that may stand alone.
    for pattern, order in ((_COMPACT, "ymd"), (_MONTH_FIRST, "mdy"), (_DAY_FIRST, "dmy"), (_SLASHED, "??y"), (_ISO, "ymd")):
        if found := pattern.search(text):
            parts = dict(zip(order, found.groups(), strict=False)) if order != "??y" else _slashed(*found.groups())
            if parsed := _date(parts):
                return parsed
    return None


def _slashed(one: str, two: str, year: str) -> dict[str, str | None]:
    if int(one) > 12 or one == two:
        return {"d": one, "m": two, "y": year}
    return {"d": two, "m": one, "y": year} if int(two) > 12 else {}


def _date(parts: dict[str, str | None]) -> date | None:
    month = (parts.get("m") or "1").lower()
    if not month.isdigit():
        named = [place for place, name in enumerate(_MONTHS, start=1) if name.startswith(month)]
        month = str(named[0]) if len(named) == 1 else ""
    try:
        return date(int(parts.get("y") or ""), int(month), int(parts.get("d") or "1"))
    except ValueError:
        return None


def date_of(year: object, month: object = None, day: object = None) -> date | None:
    """A date from its parts, which may be missing or text; None where they make no date."""
    return _date({"y": _word(year), "m": _word(month), "d": _word(day)})


def _word(value: object) -> str | None:
    return str(value).strip() or None if isinstance(value, str | int) and not isinstance(value, bool) else None


def spdx(text: str | None) -> str:
    """The SPDX name of a Creative Commons licence named with its version, or ''. Only what is certain: no version, no name."""
    if not text:
        return ""
    # An address is exact; a short name with a version nearly so; a long name is put together from its words.
    if found := _CC_URL.search(text):
        kind, version, country = found[2].lower(), found[3], (found[4] or "").upper()
        if found[1].lower() == "publicdomain":
            return {"zero1.0": "CC0-1.0", "mark1.0": "CC-PDM-1.0"}.get(kind + version, "")
        return _creative_commons(kind, version, country)
    if found := _CC_NAME.search(text):
        if found[1] == "0":
            return "CC0-1.0" if found[2] == "1.0" else ""
        return _creative_commons(re.sub(r"[\s-]+", "-", found[1].lower()), found[2])
    if found := _CC_LONG.search(text):
        words = re.sub(r"[^a-z]", "", found[1].lower())
        return _creative_commons("-".join(part for word, part in _CC_WORDS if word in words), found[2])
    bare = text.strip().upper().replace(" ", "-")
    return bare if bare == "CC0-1.0" else ""


def _creative_commons(kind: str, version: str, country: str = "") -> str:
    kind = {"by-nd-nc": "by-nc-nd", "by-sa-nc": "by-nc-sa"}.get(kind, kind)
    if kind not in _CC_KINDS or version not in {"1.0", "2.0", "2.5", "3.0", "4.0"}:
        return ""
    name = f"{kind.upper()}-{version}"
    if country and f"{name}-{country}" not in _PORTED:
        return ""
    return f"CC-{name}-{country}" if country else f"CC-{name}"


def language_in(text: str | None) -> str:
    """A language tag in lower case without region: 'en' of 'EN', 'en_GB' and 'eng'; '' for anything else."""
    found = _LANGUAGE.fullmatch((text or "").strip())
    return _LANGUAGES.get(found[1].lower(), found[1].lower()) if found else ""


def join(base: str, href: str | None) -> str:
    """The absolute http address of a link without its fragment, or '' where it is none (data:, mailto:, javascript:, broken …)."""
    href = (href or "").strip()
    if not href or href.startswith("#"):
        return ""
    try:
        url = urllib.parse.urldefrag(urllib.parse.urljoin(base, href)).url
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return ""
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return ""
    return urllib.parse.quote(url, safe="%/:?#[]@!$&'()*+,;=~-._") if not url.isascii() or " " in url else url


def fingerprint(*facts: object) -> str:
    """16 hexadecimal digits that change when one of the facts does."""
    return hashlib.sha256("\x1f".join(str(fact) for fact in facts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
