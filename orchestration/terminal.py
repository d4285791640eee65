"""Words on a terminal: colours only where someone looks, tables that line up, one moving line while something long goes on."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal, TextIO

Colour = Literal["red", "green", "yellow", "blue", "dim", "bold"]
_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
_REDRAW_S = 0.1


def is_colourful(stream: TextIO) -> bool:
    """Whether colours are welcome: on a terminal, unless NO_COLOR (no-color.org) or TERM=dumb says otherwise."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    """`text` in that colour, or as it is where colours are not welcome."""
    return f"\033[{_CODES[colour]}m{text}\033[0m" if is_colourful(stream or sys.stdout) else text


def table(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> list[str]:
    """Lines of left-aligned columns under their headings, without trailing blanks."""
    everything = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in everything) for column in range(len(headings))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def local_time(seconds: float | None) -> str:
    """Unix seconds as local date and time to the minute, or a dash."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds is not None else "-"


def utc_time(seconds: float | None) -> str | None:
    """Unix seconds as an ISO 8601 time in UTC, for JSON."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds is not None else None


def short_id(id: str | None) -> str:
    """The first eight characters, enough to recognise an id; a dash for none."""
    return id[:8] if id else "-"


def plural(count: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def human_bytes(count: float) -> str:
    """`3.2 MB`, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


class MovingLine:
    """One line on standard error that says how far a long job is; silent where nobody looks."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_shown = self._stream.isatty()
        self._drawn_at = 0.0

    @property
    def is_shown(self) -> bool:
        """Whether somebody looks."""
        return self._is_shown

    def say(self, text: str) -> None:
        """Replace the line, at most ten times a second; what does not fit on it is left away."""
        # Redrawing costs a system call a time: a fast job must not wait for its own progress.
        now = time.monotonic()
        if self._is_shown and now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            # One column is left free: a cursor behind the last one wraps on some terminals, and the line could not be taken back.
            columns = shutil.get_terminal_size().columns - 1
            shown = text if len(text) <= columns else f"{text[: columns - 1]}…"
            print(f"\r\033[K{shown}", end="", file=self._stream, flush=True)

    def clear(self) -> None:
        """Leave no trace of it; the next words are drawn at once."""
        if self._is_shown and self._drawn_at:
            print("\r\033[K", end="", file=self._stream, flush=True)
            self._drawn_at = 0.0
