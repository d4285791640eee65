"""Read molecules from delimited tables and from SMILES files."""

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from assets.molecules.layouts import Layout, Property, recognise, require_column
from assets.molecules.rows import BadRow, Lines, ReadOptions, Row, SourceError, number

_DELIMITERS = ",;\t|"


def read_csv(stream: BinaryIO, options: ReadOptions, properties: Sequence[Property], *, stem: str) -> Iterator[Row | BadRow]:
    """The rows of a delimited table. `properties` fixes the order of `Row.values`; take it from `csv_columns` of the same file."""
    lines = Lines(stream, encoding=options.encoding)
    header, first = _header(lines, options)
    layout = csv_columns(header, options, stem=stem)
    smiles_at = header.index(layout.smiles_column)
    id_at = header.index(layout.id_column) if layout.id_column else None
    values_at = [header.index(item.column) for item in properties]
    conditions_at = [(header.index(item.column), item.unit) for item in options.conditions.values()]
    # A row without the right number of fields has lost a delimiter somewhere: which of its values are whose, nobody can say.
    for position, record in enumerate(_records(lines, options.delimiter or _sniff(first), first if options.header is False else None)):
        if isinstance(record, BadRow):
            yield record._replace(row=position)
        elif len(record) != len(header):
            yield BadRow(position, ",".join(record)[:200], "number of fields differs from the header")
        else:
            values = tuple([number(record[at]) for at in values_at])
            conditions = tuple([number(record[at]) if unit else record[at].strip() or None for at, unit in conditions_at])
            yield Row(position, record[id_at].strip() if id_at is not None else "", "smiles", record[smiles_at].strip(), values, conditions)


def csv_layout(stream: BinaryIO, options: ReadOptions, *, stem: str) -> Layout:
    """What the header of a delimited table, or the options, say about its columns."""
    header, _ = _header(Lines(stream, encoding=options.encoding), options)
    return csv_columns(header, options, stem=stem)


def csv_columns(header: Sequence[str], options: ReadOptions, *, stem: str) -> Layout:
    """The layout of a table with this header, with what `options` states in place of what is recognised. Raises LayoutError."""
    if options.smiles_column:
        found = Layout("explicit", frozenset(), require_column(options.smiles_column, header, key="smiles_column"))
    else:
        found = recognise(header, stem=stem)
    id_column = require_column(options.id_column, header, key="id_column") if options.id_column else found.id_column
    properties = options.properties or {name: item for name, item in found.properties.items() if item.column in header}
    for name, item in options.properties.items():
        require_column(item.column, header, key=f"properties.{name}.column")
    for name, condition in options.conditions.items():
        require_column(condition.column, header, key=f"conditions.{name}.column")
    return Layout(found.name, found.header, found.smiles_column, id_column, properties, found.role)


def read_smiles(stream: BinaryIO, options: ReadOptions, *, is_smiles: Callable[[str], bool]) -> Iterator[Row | BadRow]:
    """The rows of a SMILES file: `SMILES id` or `id SMILES`, separated by blanks or `delimiter`, with or without a header line.

    is_smiles: judges a field; asked about the first lines only, to find which field holds the SMILES when the options do not say.
    """
    lines = Lines(stream, encoding=options.encoding)
    # The first twenty lines decide which field is the SMILES.
    head = [line for _, line in zip(range(20), lines, strict=False)]
    head_bad = lines.take_bad()
    has_header = options.header if options.header is not None else bool(head) and _is_header(_fields(head[0], options.delimiter))
    if has_header:
        head = head[1:]
    smiles_at = _smiles_field([_fields(line, options.delimiter) for line in head], options, is_smiles)
    position = 0
    for text, reason in head_bad:
        yield BadRow(position, text, reason)
        position += 1
    for line in _chain(head, lines):
        for text, reason in lines.take_bad():
            yield BadRow(position, text, reason)
            position += 1
        fields = _fields(line, options.delimiter)
        if not fields:
            continue
        yield _smiles_row(position, fields, smiles_at)
        position += 1
    for text, reason in lines.take_bad():
        yield BadRow(position, text, reason)
        position += 1


def _smiles_row(position: int, fields: list[str], smiles_at: int) -> Row | BadRow:
    if len(fields) <= smiles_at:
        return BadRow(position, " ".join(fields)[:200], "no field of SMILES in the line")
    others = fields[1:] if smiles_at == 0 else fields[:1]
    return Row(position, others[0] if others else "", "smiles", fields[smiles_at], ())


def _smiles_field(head: list[list[str]], options: ReadOptions, is_smiles: Callable[[str], bool]) -> int:
    if options.smiles_column:
        if not options.smiles_column.isdigit():
            raise SourceError(f"`smiles_column` of a SMILES file is the number of a field from 0, found '{options.smiles_column}'; write 0 or 1")
        return int(options.smiles_column)
    scores = [sum(len(fields) > at and is_smiles(fields[at]) for fields in head) for at in (0, 1)]
    return 1 if scores[1] > scores[0] else 0


def _fields(line: str, delimiter: str) -> list[str]:
    fields = line.split(delimiter or None)
    return [field.strip() for field in fields] if any(field.strip() for field in fields) else []


def _is_header(fields: Sequence[str]) -> bool:
    return any(field.strip('"').casefold() in {"smiles", "canonical_smiles", "psmiles"} for field in fields[:2])


def _header(lines: Lines, options: ReadOptions) -> tuple[list[str], str]:
    """The column names and the first line itself. Without a header the columns are called 0, 1, …"""
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise SourceError("the file is empty; expected a table with a header line")
    record = next(csv.reader([first], delimiter=options.delimiter or _sniff(first)))
    if options.header is False:
        return [str(index) for index in range(len(record))], first
    return [column.strip() for column in record], first


def _records(lines: Lines, delimiter: str, first: str | None) -> Iterator[list[str] | BadRow]:
    """The records of a table, with the lines that cannot be read among them (row numbers are for the caller)."""
    # csv joins lines inside quotes, so the ends that `Lines` takes off are put back.
    reader = csv.reader((line + "\n" for line in _chain([first] if first is not None else [], lines)), delimiter=delimiter)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield BadRow(0, "", f"not a csv record: {'an unclosed quote' if 'limit' in str(error) else 'broken quoting'}")
            continue
        for text, reason in lines.take_bad():
            yield BadRow(0, text, reason)
        if record:
            yield record
    for text, reason in lines.take_bad():
        yield BadRow(0, text, reason)


def _sniff(line: str) -> str:
    bare = "".join(line.split('"')[::2])  # Outside quotes.
    return max(_DELIMITERS, key=bare.count)


def _chain(head: Sequence[str], tail: Iterator[str]) -> Iterator[str]:
    yield from head
    yield from tail
