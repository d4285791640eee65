"""Read molecules from SDF and multi-molecule XYZ files, and QM7b, which holds no structures but Coulomb matrices that can be inverted."""

import io
import json
import math
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy

from assets.molecules.layouts import XYZ_PROPERTIES, Property
from assets.molecules.rows import BadRow, Lines, ReadOptions, Row, SourceError, number
from stages.bounded import BoundedReader, Bounds, Refused, RefusedError

MAX_RECORD_LINES = 20_000
MAX_ATOMS = 2_000
MAX_MAT_BYTES = 64 * 2**20
_MAT_BOUNDS = Bounds(memory_mib=1_024, cpu_s=60)

# Montavon et al. 2013, "Machine learning of molecular electronic properties in chemical compound space", in the order of the file.
QM7B_PROPERTIES = {
    "ae_pbe0": "kcal/mol",
    "emax_zindo": "eV",
    "imax_zindo": "atomic units",
    "homo_zindo": "eV",
    "lumo_zindo": "eV",
    "e1_zindo": "eV",
    "ip_zindo": "eV",
    "ea_zindo": "eV",
    "homo_pbe0": "eV",
    "lumo_pbe0": "eV",
    "homo_gw": "eV",
    "lumo_gw": "eV",
    "p_pbe0": "angstrom3",
    "p_scs": "angstrom3",
}
_SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F", 14: "Si", 15: "P", 16: "S", 17: "Cl", 35: "Br", 53: "I"}
_BOHR_PER_ANGSTROM = 1.0 / 0.529177210903


def read_sdf(stream: BinaryIO, options: ReadOptions, properties: Sequence[Property]) -> Iterator[Row | BadRow]:
    """The records of an SDF file; properties are its data items, the id is the title line or the data item `id_column`."""
    lines = Lines(stream, encoding=options.encoding)
    # Records end with $$$$; one that never ends is held to MAX_RECORD_LINES, and its rest is skipped.
    record: list[str] = []
    position = 0
    for line in lines:
        if line.startswith("$$$$"):
            yield _sdf_row(position, record, options, properties, damaged=bool(lines.take_bad()))
            position, record = position + 1, []
        elif len(record) <= MAX_RECORD_LINES:
            record.append(line)
    if any(line.strip() for line in record):
        yield _sdf_row(position, record, options, properties, damaged=bool(lines.take_bad()))


def _sdf_row(position: int, record: list[str], options: ReadOptions, properties: Sequence[Property], *, damaged: bool) -> Row | BadRow:
    title = record[0].strip() if record else ""
    if damaged or len(record) > MAX_RECORD_LINES:
        return BadRow(position, title[:200], "record holds a line that is no text" if damaged else f"record longer than {MAX_RECORD_LINES:,} lines")
    end = next((index for index, line in enumerate(record) if line.startswith("M  END")), None)
    if end is None:
        return BadRow(position, title[:200], "no M  END line in the record")
    data = _data_items(record[end + 1 :])
    values = tuple(number(data.get(item.column, "")) for item in properties)
    return Row(position, data.get(options.id_column, "") if options.id_column else title, "molblock", "\n".join(record[: end + 1]) + "\n", values)


def _data_items(lines: Sequence[str]) -> dict[str, str]:
    """`> <NAME>` lines and the first line of each value."""
    items = {}
    for index, line in enumerate(lines[:-1]):
        if line.startswith(">") and "<" in line:
            items[line[line.index("<") + 1 :].partition(">")[0]] = lines[index + 1].strip()
    return items


def read_xyz(stream: BinaryIO, options: ReadOptions, properties: Sequence[Property]) -> Iterator[Row | BadRow]:
    """The molecules of a multi-molecule XYZ file. A comment is `key=value …` or JSON; a `smiles` in it is preferred to the coordinates."""
    lines = Lines(stream, encoding=options.encoding)
    position, is_lost = 0, False
    for line in lines:
        if not line.strip():
            continue
        if not line.strip().isdigit() or not 0 < int(line) <= MAX_ATOMS:
            if position == 0:
                raise SourceError(f"line {lines.position}: expected a number of atoms up to {MAX_ATOMS:,}, found {line[:40]!r}; is this XYZ?")
            # A damaged record: skip on to what looks like the beginning of the next one.
            if not is_lost:
                yield BadRow(position, line[:200], "expected a number of atoms")
                position += 1
            is_lost = True
            continue
        is_lost = False
        comment = next(lines, "")
        atoms = [next(lines, "") for _ in range(int(line))]
        yield _xyz_row(position, comment, atoms, options, properties)
        position += 1
    if position == 0:
        raise SourceError("the file is empty; expected an XYZ file")


def _xyz_row(position: int, comment: str, atoms: list[str], options: ReadOptions, properties: Sequence[Property]) -> Row | BadRow:
    facts = comment_facts(comment)
    name = facts.get(options.id_column or "id", "")
    values = tuple(number(facts.get(item.column, "")) for item in properties)
    if facts.get(options.smiles_column or "smiles"):
        return Row(position, name, "smiles", facts[options.smiles_column or "smiles"], values)
    block = [_atom(line) for line in atoms]
    if None in block:
        return BadRow(position, comment[:200], "an atom line is not `symbol x y z`")
    return Row(position, name, "xyz", "\n".join([str(len(block)), "", *map(str, block)]) + "\n", values)


def _atom(line: str) -> str | None:
    parts = line.split()
    if len(parts) < 4 or not parts[0].isalpha() or any(number(part) is None for part in parts[1:4]):
        return None
    return f"{parts[0]} {' '.join(f'{float(part):.6f}' for part in parts[1:4])}"


def comment_facts(comment: str) -> dict[str, str]:
    """The comment line of an XYZ record as text by key."""
    if comment.lstrip().startswith("{"):
        try:
            facts = json.loads(comment)
        except ValueError:
            return {}
        return {str(key): str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}
    return {key: value for key, equals, value in (word.partition("=") for word in comment.split()) if equals}


def xyz_properties(stream: BinaryIO) -> dict[str, Property]:
    """The known properties that the first comment of an XYZ file carries."""
    lines = Lines(stream)
    next(lines, "")
    facts = comment_facts(next(lines, ""))
    return {name: item for name, item in XYZ_PROPERTIES.items() if item.column in facts}


def read_qm7b(stream: BinaryIO) -> Iterator[Row | BadRow]:
    """The 7,211 molecules of QM7b from `qm7b.mat`; values are its 14 properties in the order of QM7B_PROPERTIES.

    The file has Coulomb matrices and no structures. The matrices give elements and distances, those give coordinates up to a mirror image.
    It is read by a process with bounds: a few bytes of such a file can ask for gigabytes. Raises SourceError.
    """
    content = stream.read(MAX_MAT_BYTES + 1)
    if len(content) > MAX_MAT_BYTES:
        raise SourceError(f"larger than {MAX_MAT_BYTES:,} bytes; qm7b.mat has about 16 million")
    with tempfile.NamedTemporaryFile(suffix=".mat") as file, BoundedReader(f"{__name__}:open_qm7b", None, _MAT_BOUNDS) as reader:
        file.write(content)
        file.flush()
        (rows,) = reader.read([file.name])
    if isinstance(rows, Refused):
        raise SourceError(f"{rows.words}; expected qm7b.mat from quantum-machine.org")
    for position, (block, values) in enumerate(rows):
        if block is None:
            yield BadRow(position, "", "not a Coulomb matrix of known elements")
        else:
            yield Row(position, f"qm7b/{position:04d}", "distances", block, tuple(values))


def open_qm7b(_: None) -> Callable[[str], list]:
    """What reads such a file, for a process with bounds: (XYZ block or None, values) of each molecule."""

    def read(path: str) -> list:
        matrices, values = _load_qm7b(Path(path).read_bytes())
        finite = ([float(value) if math.isfinite(value) else None for value in row] for row in values)
        return [[coulomb_to_xyz(matrix), row] for matrix, row in zip(matrices, finite, strict=True)]

    return read


def coulomb_to_xyz(matrix: numpy.ndarray) -> str | None:
    """An XYZ block (Å) of the molecule with this Coulomb matrix, or None when it is no such matrix.

    matrix: [N, N] in atomic units (distances in bohr), zero-padded: C_ii = Z^2.4 / 2, C_ij = Z_i Z_j / |R_i - R_j|. Source: Rupp et al. 2012.
    """
    # The diagonal gives the elements: Z = (2 C_ii)^(1 / 2.4).
    diagonal = numpy.diag(matrix).astype(float)
    present = diagonal > 0
    charges = (2.0 * diagonal[present]) ** (1 / 2.4)
    numbers = numpy.rint(charges).astype(int)
    if not len(numbers) or numpy.abs(charges - numbers).max() > 0.05 or any(int(value) not in _SYMBOLS for value in numbers):
        return None
    # The rest gives the distances: |R_i - R_j| = Z_i Z_j / C_ij, from bohr to ångström.
    repulsion = matrix[numpy.ix_(present, present)].astype(float)
    off_diagonal = ~numpy.eye(len(numbers), dtype=bool)
    if (repulsion[off_diagonal] <= 0).any():
        return None
    distances = numpy.zeros_like(repulsion)
    distances[off_diagonal] = (numpy.outer(numbers, numbers) / numpy.where(off_diagonal, repulsion, 1.0))[off_diagonal] / _BOHR_PER_ANGSTROM
    positions = positions_from_distances(distances)
    atoms = [f"{_SYMBOLS[int(z)]} {x:.4f} {y:.4f} {w:.4f}".replace("-0.0000", "0.0000") for z, (x, y, w) in zip(numbers, positions, strict=True)]
    return "\n".join([str(len(atoms)), "", *atoms]) + "\n"


def positions_from_distances(distances: numpy.ndarray) -> numpy.ndarray:
    """Coordinates [N, 3] with these pairwise distances [N, N], up to rotation and mirror image, by classical multidimensional scaling.

    Each axis is turned so that its largest coordinate is positive, so that equal input gives equal output.
    """
    # B = -½ J D² J with J = I - 1/N is the Gram matrix of the centred points; its three largest eigenvectors, times √λ, are coordinates
    # (classical scaling; Torgerson 1952).
    N = len(distances)
    centering = numpy.eye(N) - 1.0 / N
    values, vectors = numpy.linalg.eigh(-0.5 * centering @ (distances**2) @ centering)
    positions = numpy.zeros((N, 3))
    for axis, index in enumerate(numpy.argsort(values)[::-1][:3]):
        column = vectors[:, index] * math.sqrt(max(values[index], 0.0))
        positions[:, axis] = column * (1.0 if column[numpy.abs(column).argmax()] >= 0 else -1.0)
    return positions


def _load_qm7b(content: bytes) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(X [N, A, A], T [N, 14]). Shapes are read before the data, so a wrong file is refused without being loaded. Raises RefusedError."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    # What broken bytes lead scipy into, found by breaking ten thousand files (docs/LOG.md).
    damage = (MatReadError, zlib.error, OSError, ValueError, TypeError, LookupError, NameError, NotImplementedError)
    try:
        _check_shapes({name: shape for name, shape, _ in whosmat(io.BytesIO(content))})
        loaded = loadmat(io.BytesIO(content), variable_names=["X", "T"])
    except damage as error:
        raise RefusedError("broken", f"not a whole MATLAB v5 file ({type(error).__name__})") from None
    return loaded["X"], loaded["T"]


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    X, T = shapes.get("X", ()), shapes.get("T", ())
    # The 14 properties of T have no names in the file: their number is what tells QM7b from QM7.
    if len(X) != 3 or X[1] != X[2] or X[1] > 64 or (X[0], len(QM7B_PROPERTIES)) != T:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())[:100] or "none"
        raise RefusedError("other", f"not QM7b: expected variables X [N, A, A] and T [N, {len(QM7B_PROPERTIES)}], found {found}")
