"""What the archive states of an item, in our words: its metadata are strings or lists, numbers are texts, and anything may be missing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_LONGEST = 1000
_HEX = {"md5": re.compile(r"[0-9a-f]{32}"), "sha1": re.compile(r"[0-9a-f]{40}")}


class StatedError(Exception):
    """The archive's answer is not what it says of an item."""


@dataclass(frozen=True)
class StatedFile:
    """A file of an item that may hold pages. md5, sha1: in lower case, empty where none is stated. bytes: None likewise."""

    name: str
    format: str
    bytes: int | None
    md5: str
    sha1: str
    is_private: bool


@dataclass(frozen=True)
class Stated:
    """is_dark: the archive says that it shows the item no more. is_empty: it says nothing at all, as of what was never there.

    pages: images of the book as it was scanned. updated: seconds since 1970. files: those that may hold pages.
    """

    identifier: str
    is_dark: bool = False
    is_empty: bool = False
    title: str = ""
    creators: tuple[str, ...] = ()
    date: str = ""
    languages: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    licence_url: str = ""
    pages: int | None = None
    updated: int | None = None
    files: tuple[StatedFile, ...] = ()

    @property
    def is_gone(self) -> bool:
        return self.is_dark or self.is_empty

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Of what `dataclasses.asdict` made of one, through JSON."""
        lists = {name: tuple(values[name]) for name in ("creators", "languages", "collections")}
        return cls(**{**values, **lists, "files": tuple(StatedFile(**file) for file in values["files"])})


def read_reply(identifier: str, reply: object) -> Stated:
    """The answer to a question for the metadata of that item. Raises StatedError where it is another kind of answer, or about another item."""
    if not isinstance(reply, dict):
        raise StatedError(f"expected an object, found {type(reply).__name__}")
    if not reply or _is_true(reply.get("is_dark")):
        return Stated(identifier, is_dark=bool(reply), is_empty=not reply)
    metadata = reply.get("metadata")
    if not isinstance(metadata, dict):
        raise StatedError(f"expected metadata, found {'the error ' + _text(reply['error']) if 'error' in reply else 'none'}")
    if (other := _text(metadata.get("identifier", identifier))) != identifier:
        raise StatedError(f"expected the item that was asked for, found '{other[:100]}'")
    entries = reply["files"] if isinstance(reply.get("files"), list) else []
    # One of each name, whatever the archive lists.
    files = {file.name: file for entry in entries if (file := _file(entry))}
    return Stated(
        identifier,
        title=_text(metadata.get("title")),
        creators=_texts(metadata.get("creator")),
        date=_text(metadata.get("date")),
        languages=_texts(metadata.get("language")),
        collections=_texts(metadata.get("collection")),
        licence_url=(*_texts(metadata.get("licenseurl")), "")[0],
        pages=_number(metadata.get("imagecount")),
        updated=_number(reply.get("item_last_updated")),
        files=tuple(files.values()),
    )


def _file(entry: object) -> StatedFile | None:
    """The file of an entry, None where it holds no pages or has a name that cannot be asked for."""
    if not isinstance(entry, dict):
        return None
    name, kind = entry.get("name"), _text(entry.get("format"))
    if not isinstance(name, str) or not ("PDF" in kind or "JP2 ZIP" in kind or name.lower().endswith(".pdf")):
        return None
    # A name is only ever part of an address; one that leads elsewhere there, or cannot be written, is nobody's file.
    if not name.isprintable() or len(name) > _LONGEST or any(part in {"", ".", ".."} for part in name.split("/")):
        return None
    sums = {key: digest if form.fullmatch(digest := _text(entry.get(key)).lower()) else "" for key, form in _HEX.items()}
    return StatedFile(name, kind, _number(entry.get("size")), **sums, is_private=_is_true(entry.get("private")))


def _texts(value: object) -> tuple[str, ...]:
    found = (_text(one) for one in (value if isinstance(value, list) else [value])[:_LONGEST])
    return tuple(text for text in found if text)


def _text(value: object) -> str:
    """One line; of several values those that say something, joined."""
    if isinstance(value, list):
        return "; ".join(_texts(value))[:_LONGEST]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    words = str(value)[: 4 * _LONGEST]
    return " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())[:_LONGEST]


def _number(value: object) -> int | None:
    text = _text(value)
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _is_true(value: object) -> bool:
    return value == 1 or (isinstance(value, str) and value.lower() in {"true", "1"})
