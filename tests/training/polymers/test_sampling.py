"""What every sampling stage does alike, with a sampler that writes down what it was asked for."""

import math

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.polymers.sample_table import SampledMolecule, read_sample_groups
from training.polymers.sampling import NothingToAskForError, OpenModel, SamplesConfig, requests_by_hand, run_sampling

CONFIG = SamplesConfig(unconditional=2, conditional=5, temperatures=(1.0, 0.5), seed=10)
# Of two held-out molecules with a known weight, in the order that the seed draws, over again.
WANTED = [4.0, 2.0, 4.0, 2.0, 4.0]


@pytest.fixture
def data(tmp_path):
    """Five molecules of which three are held out, one of these without a known weight."""
    (tmp_path / "molecules").mkdir()
    split = ["train", "test", "test", "test", "train"]
    columns = {"smiles": ["C", "CC", "CCC", "CO", "CN"], "split_random": split, "split_scaffold": split}
    weights = pa.array([1.0, 2.0, None, 4.0, 5.0], pa.float64())
    pq.write_table(pa.table({**columns, "weight": weights}), tmp_path / "molecules" / "molecules-00000.parquet")
    return tmp_path


def run(data, reporter, config=CONFIG, units=("weight",)):
    """What the sampler was asked for: (weights, temperature, seed) of each group."""
    asked = []

    def sampler(requests, settings):
        asked.append(([request.get("weight") for request in requests], settings.temperature, settings.seed))
        return (SampledMolecule(f"C{settings.seed}", finished=settings.seed % 2 == 0) for _ in requests)

    run_sampling("samples", OpenModel(sampler, dict.fromkeys(units, "Da")), config, data, reporter)
    return asked


def test_every_group_is_asked_for_once_with_a_seed_of_its_own(data, reporter):
    free, wanted = [None, None], WANTED
    assert run(data, reporter) == [(free, 1.0, 10), (wanted, 1.0, 11), (free, 0.5, 12), (wanted, 0.5, 13)]
    assert reporter.facts.pop("molecules_per_s") > 0
    assert reporter.facts == {"rows": 14, "finished": 4}


def test_what_was_asked_for_lies_beside_what_came_of_it(data, reporter):
    run(data, reporter)
    groups = read_sample_groups(data / "samples" / "samples.parquet")
    assert [(group.name, group.smiles[0], len(group.smiles)) for group in groups] == [
        ("unconditional_t1", "C10", 2),
        ("unconditional_t0.5", "C12", 2),
        ("conditional_t1", "C11", 5),
        ("conditional_t0.5", "C13", 5),
    ]
    assert groups[2].requested["weight"].tolist() == WANTED


def test_a_model_without_properties_is_asked_for_free_samples_only(data, reporter):
    assert [requests for requests, _, _ in run(data, reporter, units=())] == [[None, None], [], [None, None], []]


def test_a_held_out_split_without_a_value_is_an_error_with_its_remedy(data, reporter):
    path = data / "molecules" / "molecules-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(3, "weight", pa.array([math.nan] * 5, pa.float64())), path)
    with pytest.raises(NothingToAskForError, match="no molecule of the test split has any of weight; set conditional: 0"):
        run(data, reporter)


@pytest.mark.parametrize("change", [{"unconditional": -1}, {"unconditional": 0, "conditional": 0}, {"temperatures": ()}])
def test_sections_that_ask_for_nothing_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        SamplesConfig(**change)


def test_ranges_by_hand_are_spread_evenly_and_independently_of_each_other():
    asked = requests_by_hand(["weight=100:200", "rings=0:10", "charge=-1"], 101, seed=3)
    weights, rings = ([request[name] for request in asked] for name in ("weight", "rings"))
    assert sorted(weights) == pytest.approx(list(range(100, 201))) and sorted(rings) == pytest.approx([step / 10 for step in range(101)])
    assert abs(numpy.corrcoef(weights, rings)[0, 1]) < 0.3 and {request["charge"] for request in asked} == {-1.0}
    assert asked == requests_by_hand(["weight=100:200", "rings=0:10", "charge=-1"], 101, seed=3)
    assert requests_by_hand([], 2, seed=0) == [{}, {}]


def test_guided_groups_are_twins_of_the_plain_ones_with_the_same_seed(data, reporter):
    config = SamplesConfig(unconditional=2, conditional=5, temperatures=(1.0,), seed=10, guided=True)
    free, wanted = [None, None], WANTED
    assert run(data, reporter, config) == [(free, 1.0, 10), (free, 1.0, 10), (wanted, 1.0, 11), (wanted, 1.0, 11)]
    names = [group.name for group in read_sample_groups(data / "samples" / "samples.parquet")]
    assert names == ["unconditional_t1", "conditional_t1", "conditional_guided_t1", "unconditional_guided_t1"]
