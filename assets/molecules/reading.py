"""Read a source file of any supported format as rows."""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from assets.molecules.archives import ArchiveError, ArchiveLimits, open_bytes
from assets.molecules.coordinates import QM7B_PROPERTIES, read_qm7b, read_sdf, read_xyz, xyz_properties
from assets.molecules.layouts import LayoutError, Property
from assets.molecules.rows import BadRow, ReadOptions, Row, SourceError
from assets.molecules.standardize import is_smiles
from assets.molecules.text_files import csv_layout, read_csv, read_smiles

_FORMAT_OF_SUFFIX = {
    ".csv": "csv", ".tsv": "csv", ".smi": "smiles", ".smiles": "smiles", ".ism": "smiles",
    ".sdf": "sdf", ".sd": "sdf", ".mol": "sdf", ".xyz": "xyz", ".mat": "qm7b",
}  # fmt: skip


_LONGEST_TRIED = 1_000


@dataclass(frozen=True)
class SourceFile:
    """One source as the datasets see it: where its bytes are, and how to read them."""

    name: str
    path: Path
    role: str
    licence: str
    origin: str
    options: ReadOptions
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)


def source_properties(source: SourceFile) -> dict[str, Property]:
    """The properties that the source states, by their name in the dataset, in the order of `Row.values`.

    Raises SourceError when the file is no file of its format; for a table, when it has no column of SMILES.
    """
    with _named(source), open_bytes(source.path, member=source.options.member, limits=source.limits) as stream:
        kind = _format(source)
        if source.options.conditions and kind != "csv":
            raise SourceError(f"`conditions` are columns of a table, and this is {kind}; write them and the molecules as csv")
        if kind == "csv":
            return dict(csv_layout(stream, source.options, stem=_inner_name(source).stem).properties)
        if kind == "qm7b":
            return {name: Property(name, unit) for name, unit in QM7B_PROPERTIES.items()}
        if kind == "xyz" and not source.options.properties:
            return xyz_properties(stream)
        return dict(source.options.properties)


def read_rows(source: SourceFile) -> Iterator[Row | BadRow]:
    """Every record of the source, in its order; memory is bounded by one record. Raises SourceError naming the source and the file."""
    # The layout is found in a first look, so that every row has its values in one order from the first on.
    properties = tuple(source_properties(source).values())
    with _named(source), open_bytes(source.path, member=source.options.member, limits=source.limits) as stream:
        kind = _format(source)
        if kind == "csv":
            yield from _starred(read_csv(stream, source.options, properties, stem=_inner_name(source).stem), source.options)
        elif kind == "smiles":
            yield from _starred(read_smiles(stream, source.options, is_smiles=_is_short_smiles), source.options)
        elif kind == "sdf":
            yield from read_sdf(stream, source.options, properties)
        elif kind == "xyz":
            yield from read_xyz(stream, source.options, properties)
        else:
            yield from read_qm7b(stream)


def _starred(rows: Iterator[Row | BadRow], options: ReadOptions) -> Iterator[Row | BadRow]:
    """The rows with `*` for each text that the source writes in its place."""
    if not options.attachment_points:
        return rows
    # `R1` is no part of `R12`, and the longer of two texts is looked for first.
    texts = sorted(options.attachment_points, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(text) + (r"(?!\d)" if text[-1].isdigit() else "") for text in texts))
    return (row._replace(text=pattern.sub("*", row.text)) if isinstance(row, Row) else row for row in rows)


def _is_short_smiles(text: str) -> bool:
    """For telling columns apart: a text of many thousands of characters is not worth a parser's time, nor its stack."""
    return len(text) <= _LONGEST_TRIED and is_smiles(text)


def _format(source: SourceFile) -> str:
    if source.options.format != "auto":
        return source.options.format
    name = _inner_name(source)
    kind = _FORMAT_OF_SUFFIX.get(name.suffix.lower())
    if kind is None:
        raise SourceError(f"the format of '{name}' cannot be told from its name; set `format` to csv, smiles, sdf, xyz or qm7b")
    return kind


def _inner_name(source: SourceFile) -> PurePosixPath:
    """The name that tells the format: the zip member's, else the file's without `.gz` or `.zip`."""
    # By content: archives are downloaded under all kinds of names.
    if zipfile.is_zipfile(source.path):
        with zipfile.ZipFile(source.path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist() if not name.startswith("__MACOSX") and not name.endswith("/")]
        if source.options.member:
            return PurePosixPath(source.options.member)
        return names[0] if len(names) == 1 else PurePosixPath(source.path.name).with_suffix("")
    path = PurePosixPath(source.path.name)
    return path.with_suffix("") if path.suffix.lower() in {".gz", ".zip"} else path


@contextlib.contextmanager
def _named(source: SourceFile) -> Iterator[None]:
    """Say which source and which file an error is about."""
    try:
        yield
    except (SourceError, LayoutError, ArchiveError) as error:
        raise SourceError(f"source '{source.name}' ({source.path.name}): {error}") from error
