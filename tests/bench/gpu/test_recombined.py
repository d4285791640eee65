"""Molecules that are made of real ones: new, whole, of the same sizes, and within what the real ones have."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from rdkit import Chem, RDConfig

from bench.gpu import prepare
from bench.gpu.recombined import halves, joined, recombined

LINES = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()[:150]
REAL = list(dict.fromkeys(Chem.CanonSmiles(line.split()[0]) for line in LINES if Chem.MolFromSmiles(line.split()[0])))


def made(seed: int) -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        return list(recombined(REAL, numpy.random.default_rng(seed), pool))


def test_halves_give_the_molecule_back():
    assert sum(map(len, map(halves, REAL))) > 100
    for text in REAL[:40]:
        assert not halves(text) or {joined((left, right)) for _, left, right in halves(text)} == {text}


def test_what_comes_out_is_new_and_whole_and_has_a_size_that_there_was():
    found = made(0)
    assert len(found) >= 50 and len(set(found)) == len(found) and not set(REAL) & set(found)
    assert all(Chem.CanonSmiles(text) == text and "*" not in text for text in found)
    sizes = {Chem.MolFromSmiles(text).GetNumHeavyAtoms() for text in REAL}
    assert {Chem.MolFromSmiles(text).GetNumHeavyAtoms() for text in found} <= sizes
    assert made(0) == found != made(1)


def test_what_is_no_molecule_has_no_halves_and_joins_nothing():
    assert halves("c1ccccc") == [] and halves("C") == []
    assert joined(("[1*]C(C)(C)(C)C", "[1*]C")) is None


def test_no_property_is_beyond_those_of_the_real_ones():
    values = numpy.array([prepare._measured(text)[1] for text in REAL])
    with ThreadPoolExecutor(1) as pool:
        found = prepare._more_like(REAL, values, 5, pool)
        # Of the fewest atoms that any has, and of none.
        assert prepare._more_like(REAL, numpy.full((1, values.shape[1]), -1e9), 5, pool) == {}
    assert len(found) == 5
    for row in found.values():
        assert (values.min(axis=0) <= row).all() and (row <= values.max(axis=0)).all()
