"""Coulomb matrices turn back into the molecules they were made of."""

import io
import itertools

import numpy
import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from rdkit import Chem
from rdkit.Chem import rdDistGeom

from assets.molecules.coordinates import QM7B_PROPERTIES, coulomb_to_xyz, positions_from_distances
from assets.molecules.reading import read_rows, source_properties
from assets.molecules.standardize import Standardized, Standardizer
from tests.assets.molecules.building import SMALL, build, rejected_of, rows_of, source

_BOHR_PER_ANGSTROM = 1.8897261246
_MOLECULES = ["C", "CCO", "C#N", "c1ccccc1", "CC(C)=O", "CC(N)=O", "c1ccoc1", "C1CC1", "CSC", "CC#CC", "NCC(=O)O", "C=CC=O"]


def _coulomb(smiles: str) -> numpy.ndarray:
    """The Coulomb matrix of an embedded molecule."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=7)
    return _coulomb_of([atom.GetAtomicNum() for atom in molecule.GetAtoms()], molecule.GetConformer().GetPositions())


def _coulomb_of(numbers: list[int], positions: numpy.ndarray, size: int = 23) -> numpy.ndarray:
    """The Coulomb matrix [size, size] in atomic units, zero-padded, of atoms at positions [N, 3] in Å: as Rupp et al. define it."""
    charges, positions = numpy.array(numbers, dtype=float), positions * _BOHR_PER_ANGSTROM
    distances = numpy.linalg.norm(positions[:, None] - positions[None], axis=-1)
    matrix = numpy.outer(charges, charges) / numpy.where(distances == 0, 1, distances)
    numpy.fill_diagonal(matrix, 0.5 * charges**2.4)
    padded = numpy.zeros((size, size))
    padded[: len(matrix), : len(matrix)] = matrix
    return padded


def test_distances_give_back_positions_up_to_rotation_and_mirror_image():
    positions = numpy.random.default_rng(0).normal(size=(9, 3))
    distances = numpy.linalg.norm(positions[:, None] - positions[None], axis=-1)
    rebuilt = positions_from_distances(distances)
    assert numpy.allclose(numpy.linalg.norm(rebuilt[:, None] - rebuilt[None], axis=-1), distances)


@pytest.mark.parametrize("matrix", [numpy.zeros((4, 4)), numpy.eye(4) * 100.0, -numpy.eye(3), numpy.array([[36.858, 0.0], [0.0, 0.5]])])
def test_what_is_no_coulomb_matrix_gives_nothing(matrix):
    assert coulomb_to_xyz(matrix) is None


@pytest.fixture(scope="module")
def qm7b(tmp_path_factory) -> bytes:
    """A file laid out as qm7b.mat, of a dozen molecules and one matrix that is none."""
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed (extra: chem)")
    matrices = numpy.stack([*map(_coulomb, _MOLECULES), numpy.eye(23)]).astype(numpy.float32)
    values = numpy.arange(len(matrices) * len(QM7B_PROPERTIES), dtype=numpy.float32).reshape(len(matrices), -1)
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, {"X": matrices, "T": values, "names": numpy.array(list(QM7B_PROPERTIES))}, do_compression=True)
    return buffer.getvalue()


def test_qm7b_gives_molecules_with_fourteen_named_properties(tmp_path, qm7b):
    file = source(tmp_path / "qm7b.mat", content=qm7b)
    assert {name: item.unit for name, item in source_properties(file).items()} == QM7B_PROPERTIES
    build(tmp_path, [file])
    rows = rows_of(tmp_path / "molecules")
    expected = {Chem.CanonSmiles(smiles) for smiles in _MOLECULES}
    assert {row["smiles"] for row in rows} == expected
    first = next(row for row in rows if row["smiles"] == "C")
    assert [first[name] for name in QM7B_PROPERTIES] == list(range(14))
    assert first["source_ids"] == ["qm7b:qm7b/0000"]
    assert [row["reason"] for row in rejected_of(tmp_path / "molecules")] == ["not a Coulomb matrix of known elements"]


def test_reading_qm7b_twice_gives_the_same_text(tmp_path, qm7b):
    file = source(tmp_path / "qm7b.mat", content=qm7b)
    assert list(read_rows(file)) == list(read_rows(file))


def test_no_handedness_is_claimed_where_only_distances_are_known(tmp_path):
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed (extra: chem)")
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, {"X": _coulomb("C[C@H](N)O")[None], "T": numpy.zeros((1, 14))})
    build(tmp_path, [source(tmp_path / "qm7b.mat", content=buffer.getvalue())])
    assert [row["smiles"] for row in rows_of(tmp_path / "molecules")] == ["CC(N)O"]


@pytest.mark.shared_data
def test_real_qm7_geometries_come_back_from_their_matrices_as_the_same_molecules(shared_data):
    table = Chem.GetPeriodicTable()
    standardizer = Standardizer(SMALL.rules(stars=0))
    for row in itertools.islice(read_rows(source(shared_data / "molecules/qm/qm7_7101.xyz")), 0, 7_101, 20):
        atoms = [line.split() for line in row.text.splitlines()[2:]]
        matrix = _coulomb_of([table.GetAtomicNumber(atom[0]) for atom in atoms], numpy.array([[float(x) for x in atom[1:]] for atom in atoms]))
        direct, inverted = standardizer.many([("xyz", row.text), ("distances", coulomb_to_xyz(matrix.astype(numpy.float32)))])
        assert _without_handedness(direct) == _without_handedness(inverted), row.id


def _without_handedness(result: Standardized | str) -> str:
    return result if isinstance(result, str) else Chem.CanonSmiles(result.smiles.replace("@", ""))
