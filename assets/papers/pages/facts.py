"""DOIs, dates, languages and addresses, read from what pages write. What is not certain is left empty."""

import hashlib
import re
import urllib.parse
from datetime import date
from functools import lru_cache

_DOI = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[^\s\"'<>{}|\\^`]+", re.ASCII)
_AFTER_DOI = re.compile(r"[?#]|&(?:amp;)?[a-z]+=")
_DOI_IN_PATH = re.compile(r"/(10\.[0-9]{4,9})/([A-Za-z0-9._()-]+)/")
# A path from the root without anything that joining would change: by far the most links of a list.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~()-]*)+/?")
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]{1,200}(?:/[A-Za-z0-9._~()-]*)+(?:\?[A-Za-z0-9._~&=%()-]*)?")
_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
_ISO = re.compile(r"(?<![0-9/.])([12][0-9]{3})(?:[-/.]([0-9]{1,2}))?(?:[-/.]([0-9]{1,2}))?(?![0-9])", re.ASCII)
_COMPACT = re.compile(r"\b([12][0-9]{3})([01][0-9])([0-3][0-9])\b", re.ASCII)
_DAY_FIRST = re.compile(r"\b(?:([0-3]?[0-9])(?:st|nd|rd|th)?[\s.-]+)?([A-Za-z]{3,9})\.?,?[\s-]+([12][0-9]{3})\b", re.ASCII)
_MONTH_FIRST = re.compile(r"\b([A-Za-z]{3,9})\.?\s+([0-3]?[0-9])(?:st|nd|rd|th)?,?\s+([12][0-9]{3})\b", re.ASCII)
_SLASHED = re.compile(r"\b([0-9]{1,2})[/.]([0-9]{1,2})[/.]([12][0-9]{3})\b", re.ASCII)
# How open-access journals worded their licence before they linked to it. CC0 and the older dedication have one version each.
_LICENSED = r"\b(?:article|work|paper)\b[^.]{0,120}\bunder (?:the |a )?(?:terms of (?:the|a) )?(?:terms of )?Creative Commons\s+"
_LICENCE_WORDS = (
    (re.compile(_LICENSED + r"Attribution\s+(?:\(CC[ -]BY\)\s+)?Licen[cs]e(?!\s*\(?[0-9])", re.IGNORECASE), "CC-BY"),
    (re.compile(_LICENSED + r"(?:CC0|Zero)\b", re.IGNORECASE), "CC0-1.0"),
    (re.compile(_LICENSED + r"Public\s+Domain\s+(?:Declaration|Dedication)", re.IGNORECASE), "CC-PDDC"),
)
_SHORT_LICENCE = re.compile(r"cc[\s-]*(0|by(?:[\s-]+(?:nc|nd|sa))*)", re.IGNORECASE)
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
    if not text or ("10." not in text and "%" not in text):
        return ""
    found = _DOI.search(urllib.parse.unquote(text))
    if found is None:
        return ""
    # A DOI may hold nearly anything (ISO 26324), so its end is guessed: before a query or fragment, without closing punctuation,
    # and without a bracket that was opened before it.
    doi = _AFTER_DOI.split(found[0], maxsplit=1)[0].rstrip(".,;:]*&")
    while doi.endswith(")") and doi.count(")") > doi.count("("):
        doi = doi[:-1].rstrip(".,;:")
    return doi.lower()


def doi_in_path(url: str | None) -> str:
    """The DOI inside an address's path, as in /cms/10.1021/jacs.2c00343/asset/images/…, in lower case, or ''."""
    found = _DOI_IN_PATH.search(urllib.parse.unquote(url)) if url else None
    return f"{found[1]}/{found[2]}".lower() if found else ""


@lru_cache(maxsize=4096)
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


def language_in(text: str | None) -> str:
    """A language tag in lower case without region: 'en' of 'EN', 'en_GB' and 'eng'; '' for anything else."""
    found = _LANGUAGE.fullmatch((text or "").strip())
    return _LANGUAGES.get(found[1].lower(), found[1].lower()) if found else ""


def licence_in_words(text: str) -> str:
    """The licence that a sentence such as 'distributed under the terms of the Creative Commons Attribution License' names, or ''.

    CC-BY without a version is what such a sentence says: no SPDX name, since the version is not known, and still a licence that is.
    """
    return next((name for pattern, name in _LICENCE_WORDS if pattern.search(text)), "")


def licence_by_name(text: str) -> str:
    """The licence that a registry names in short, as in 'cc by-nc' and 'cc-by': without a version, since it gives none; '' for other words."""
    found = _SHORT_LICENCE.fullmatch(text.strip())
    if found is None:
        return "CC-PDDC" if text.strip().lower() == "public-domain" else ""
    return "CC0-1.0" if found[1] == "0" else "CC-" + re.sub(r"[\s-]+", "-", found[1].upper())


def join(base: str, href: str | None) -> str:
    """The absolute http address of a link without its fragment, or '' where it is none (data:, mailto:, javascript:, broken …)."""
    href = (href or "").strip()
    if not href or href.startswith("#"):
        return ""
    if _PLAIN_PATH.fullmatch(href) and (root := _root_of(base)):
        return root + href
    if _PLAIN_URL.fullmatch(href):
        return href
    try:
        url = urllib.parse.urldefrag(urllib.parse.urljoin(base, href)).url
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return ""
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return ""
    return urllib.parse.quote(url, safe="%/:?#[]@!$&'()*+,;=~-._") if not url.isascii() or " " in url else url


@lru_cache(maxsize=64)
def _root_of(base: str) -> str:
    """Scheme and host of an address, to which a path from the root is appended; '' where it takes more than that."""
    try:
        parts = urllib.parse.urlsplit(base)
        _ = parts.port
    except ValueError:
        return ""
    is_plain = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.netloc.isascii() and parts.netloc.isprintable()
    return f"{parts.scheme}://{parts.netloc}" if is_plain and " " not in parts.netloc else ""


def fingerprint(*facts: object) -> str:
    """16 hexadecimal digits that change when one of the facts does."""
    return hashlib.sha256("\x1f".join(str(fact) for fact in facts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
