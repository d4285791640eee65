"""What needs no network: it answers as a model would, and the same each time."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.molecule_tables import MoleculeTable
from training.polymers.bakeoff.baselines import Baselines, NGram
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.sample_table import SampleGroup

TEXTS = ["CCO", "CCN", "CCC", "CClC"]


def group(**requested):
    number = len(next(iter(requested.values()))) if requested else 5
    return SampleGroup("conditional" if requested else "unconditional", 1.0, ("",) * number, 0, {k: numpy.array(v) for k, v in requested.items()})


def baselines(properties, names=("a", "b"), **changes):
    table = MoleculeTable(TEXTS, numpy.array(properties, dtype=float), names, {})
    return Baselines(table, BakeoffConfig(ngram=3, **changes))


def test_the_nearest_molecule_is_that_in_standard_deviations_of_each_property():
    # In plain numbers the third would be nearest; the second property varies a hundred times as much.
    found = baselines([[0, 0], [1, 300], [2, 100], [3, 200]]).answer("nearest", group(a=[1.0], b=[210.0]))
    assert found.smiles == ("CCN",)


def test_a_property_that_is_not_asked_for_does_not_count_and_a_missing_one_is_the_mean():
    several = baselines([[0, numpy.nan], [1, 1], [2, 5], [9, 9]])
    assert several.answer("nearest", group(a=[2.1], b=[numpy.nan])).smiles == ("CCC",)
    assert several.answer("nearest", group(b=[5.0, 1.2])).smiles == ("CCO", "CCN")
    assert several.answer("nearest", group()) is None


def test_random_molecules_are_of_the_training_split_and_the_same_each_time():
    one, other = (baselines(numpy.zeros((4, 2))).answer("random", group()) for _ in range(2))
    assert set(one.smiles) <= set(TEXTS) and one == other and len(one.smiles) == 5


def test_an_n_gram_writes_what_its_texts_allow_and_at_temperature_0_the_likeliest():
    model = NGram(["ab", "ab", "ac"], 2, list)
    random = numpy.random.default_rng(0)
    written = {model.write(random, temperature=1.0, most_tokens=9)[0] for _ in range(50)}
    assert written == {"ab", "ac"}
    assert {model.write(random, temperature=0, most_tokens=9)[0] for _ in range(5)} == {"ab"}


def test_tokens_come_as_often_as_they_were_counted():
    model, random = NGram(["a"] * 30 + ["b"] * 10, 2, list), numpy.random.default_rng(1)
    share = numpy.mean([model.write(random, temperature=1.0, most_tokens=3)[0] == "a" for _ in range(2000)])
    assert share == pytest.approx(0.75, abs=0.03)
    share = numpy.mean([model.write(random, temperature=0.5, most_tokens=3)[0] == "a" for _ in range(2000)])
    assert share == pytest.approx(0.9, abs=0.03)


@given(st.lists(st.text("ab", max_size=6), min_size=1, max_size=6), st.integers(1, 4))
def test_every_n_gram_of_what_is_written_stood_in_a_text(texts, order):
    seen = {text[place : place + order] for text in texts for place in range(len(text))}
    written, ended = NGram(texts, order, list).write(numpy.random.default_rng(0), temperature=1.0, most_tokens=8)
    assert all(written[place : place + order] in seen for place in range(len(written) - order + 1))
    assert ended or len(written) == 8
