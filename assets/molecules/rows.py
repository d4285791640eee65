"""What every reader yields: rows that still have to be parsed, and rows that cannot be; and the lines both are made of."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple

from assets.molecules.layouts import Condition, Property

# How the text of a row describes the molecule. "distances": an XYZ block rebuilt from distances, its handedness is arbitrary.
Form = Literal["smiles", "molblock", "xyz", "distances"]


class SourceError(Exception):
    """A source file cannot be read as what it is said to be."""


class Row(NamedTuple):
    """One record to parse. row: its position from 0. id: the record's own name, or "".

    values, conditions: in the order of the source's properties and conditions.
    """

    row: int
    id: str
    form: Form
    text: str
    values: tuple[float | None, ...]
    conditions: tuple[float | str | None, ...] = ()


class BadRow(NamedTuple):
    """One record that cannot even be read; it is set aside with the reason."""

    row: int
    text: str
    reason: str


@dataclass(frozen=True)
class ReadOptions:
    """How to read one source file; empty or null means: find out.

    format:        csv, smiles, sdf, xyz, qm7b or auto.
    member:        the member of a zip.
    delimiter:     of csv and smiles files.
    encoding:      tried for a line that is not UTF-8.
    header:        whether the first line names the columns; a csv without header has columns "0", "1", …
    smiles_column, id_column: names, or numbers as text where there is no header.
    properties:    the source's numbers by the name they get in the dataset; replaces what a known layout says.
    conditions:    what a row's numbers were measured at (csv only), by the name it gets in the dataset: numbers where a unit is stated, else texts.
    attachment_points: what stands for `*` in this source's SMILES, such as `[Po]` or `R1`.
    """

    format: Literal["auto", "csv", "smiles", "sdf", "xyz", "qm7b"] = "auto"
    member: str = ""
    delimiter: str = ""
    encoding: str = "utf-8"
    header: bool | None = None
    smiles_column: str = ""
    id_column: str = ""
    properties: dict[str, Property] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    attachment_points: list[str] = field(default_factory=list)


class Lines:
    """The decoded lines of a byte stream, without their ends. Lines that are too long or not text are set aside, and memory stays bounded.

    `position` counts all lines seen; `take_bad` gives the lines set aside since it was last asked, as (text, reason).
    """

    def __init__(self, stream: BinaryIO, *, encoding: str = "utf-8", max_line_bytes: int = 100_000) -> None:
        self._stream, self._encoding, self._max_line_bytes = stream, encoding, max_line_bytes
        self._bad: list[tuple[str, str]] = []
        self._byte = 0
        self.position = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            start = self._byte
            line = self._stream.readline(self._max_line_bytes + 1)
            if not line:
                raise StopIteration
            self._byte += len(line)
            self.position += 1
            # A file without line ends would be one line of its whole size.
            if len(line) > self._max_line_bytes:
                self._skip_rest(line)
                continue
            text = self._decode(line.removeprefix(codecs.BOM_UTF8) if start == 0 else line, start)
            if text is not None:
                return text.rstrip("\r\n")

    def take_bad(self) -> list[tuple[str, str]]:
        bad, self._bad = self._bad, []
        return bad

    def _skip_rest(self, line: bytes) -> None:
        start = line[:200].decode("utf-8", "replace")
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(self._max_line_bytes)
            self._byte += len(line)
        self._bad.append((start, f"line longer than {self._max_line_bytes:,} bytes"))

    def _decode(self, line: bytes, start: int) -> str | None:
        if start == 0 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise SourceError("byte 0 begins UTF-16 text; save the file as UTF-8")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            # The first line that is no UTF-8 tells of a file in another encoding; a later one, of one bad line.
            if self.position == 1 and self._encoding == "utf-8":
                raise SourceError(
                    f"byte {error.start} (0x{line[error.start]:02x}) of the first line is not UTF-8; save the file as UTF-8, or set `encoding`"
                ) from None
        try:
            if self._encoding != "utf-8":
                return line.decode(self._encoding)
        except UnicodeDecodeError:
            pass  # Neither encoding fits: the line is set aside just below.
        except LookupError:
            raise SourceError(f"encoding '{self._encoding}' is unknown to Python; write its name as in the list of codecs, such as latin-1") from None
        self._bad.append((line[:200].decode("utf-8", "replace").rstrip("\r\n"), f"not {self._encoding} text"))
        return None


def number(text: str) -> float | None:
    """`text` as a finite float; None for an empty cell, `nan`, or what is no number."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python alone reads `1_000` as a number.
    return value if -1e308 < value < 1e308 and "_" not in text else None
