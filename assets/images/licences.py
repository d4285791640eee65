"""The names of licences, read from the addresses and words by which sources state them."""

import re

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
# The older dedication to the public domain, which has no version.
_CC_DEDICATION = re.compile(r"creativecommons\.org/licen[sc]es/publicdomain\b", re.IGNORECASE)


def spdx(text: str | None) -> str:
    """The SPDX name of a Creative Commons licence named with its version, or ''. Only what is certain: no version, no name."""
    if not text:
        return ""
    if _CC_DEDICATION.search(text):
        return "CC-PDDC"
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
