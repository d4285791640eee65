"""Letters that old pages draw as pictures, written as letters: an é made of `/entityImage/?text=0065,0301`, a ∼ of `…/entities/223C.gif`."""

import re
from html.entities import html5
from urllib.parse import unquote, urlsplit

from lxml import etree

# Code points in a query or as the file's name, or the name of an HTML entity before an underscore.
_CODES = re.compile(r"[0-9a-f]{4,5}(?:,[0-9a-f]{4,5}){0,3}", re.IGNORECASE)
_ENTITY_NAME = re.compile(r"\[?([A-Za-z]{2,10})\]?")


def spell_glyphs(root: etree._Element) -> None:
    """Put the letter that a picture draws behind the picture, where `text_of` finds it; what is no such picture stays as it is."""
    for picture in root.iter("img"):
        address = picture.get("src") or ""
        if "entit" in address and (letters := _letters(address, picture.get("alt") or "")):
            picture.tail = letters + (picture.tail or "")


def _letters(address: str, words: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    folder, _, name = parts.path.rpartition("/")
    if folder.lower().endswith("/entityimage"):
        return _characters(unquote(parts.query).removeprefix("text="))
    if not folder.lower().endswith("/entities"):
        return ""
    if letters := _characters(name.partition(".")[0]):
        return letters
    named = _ENTITY_NAME.fullmatch(words.strip())
    return next((html5[f"{entity};"] for entity in (named[1] if named else "", name.partition("_")[0]) if f"{entity};" in html5), "")


def _characters(codes: str) -> str:
    if not _CODES.fullmatch(codes):
        return ""
    letters = "".join(chr(int(code, 16)) for code in codes.split(",") if int(code, 16) < 0x110000)
    return letters if letters.isprintable() else ""
