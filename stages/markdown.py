"""Markdown that holds foreign text safely: every name, SMILES or message that we did not write goes through `escape`."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+.!|~&$-])")
_LONGEST_TEXT = 200


def escape(text: str) -> str:
    """`text` as it is, shown literally by any Markdown reader: no emphasis, links, HTML, table cells or line breaks; at most 200 characters."""
    flat = " ".join(text.split())
    shown = flat if len(flat) <= _LONGEST_TEXT else flat[: _LONGEST_TEXT - 1] + "…"
    return _SPECIAL.sub(lambda match: _ESCAPED.get(match[1], "\\" + match[1]), shown)


# As character references, because a backslash before these is not honoured everywhere.
_ESCAPED = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers. Cells must be escaped already."""
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join([':---', *['---:'] * (len(header) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def counted(what: str, unit: str, counts: Mapping[str, int]) -> str:
    """A table of how many there are of each, most first; names are escaped here."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return table([what, unit], [[escape(name), f"{count:,}"] for name, count in rows])


def png_data_uri(png: Path | bytes) -> str:
    """The picture itself as an address, so that the Markdown needs no file beside it."""
    return "data:image/png;base64," + base64.b64encode(png if isinstance(png, bytes) else png.read_bytes()).decode("ascii")
