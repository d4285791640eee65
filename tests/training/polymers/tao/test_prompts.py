"""The prompt of a PolyTAO: the published text, tokens, empty places, and what cannot be asked."""

import math
from types import SimpleNamespace

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.descriptors import POLYTAO_DESCRIPTORS
from training.polymers.conditions import MoleculeModelError
from training.polymers.tao.prompts import PUBLISHED, PromptForm

THREE = ("mol_wt", "mol_log_p", "tpsa")
SEEN = numpy.array([[100.2, -1.04, 0.0], [300.0, 4.96, numpy.nan], [250.5, numpy.nan, 90.4]])


def form(style: str) -> PromptForm:
    return PromptForm(THREE, {"mol_log_p": 0.1}, style).fitted(SEEN)  # type: ignore[arg-type]


def test_the_published_prompt_is_fifteen_whole_numbers_in_the_published_order():
    assert PUBLISHED == POLYTAO_DESCRIPTORS and len(PUBLISHED) == 15
    example = [264.28, 19, 0, 4, 1, 0, 1, 0, 0, 0, 4, 0, 6, 5, 1]
    assert PromptForm().asked([dict(zip(PUBLISHED, example, strict=True))]) == ["264,19,0,4,1,0,1,0,0,0,4,0,6,5,1"]


def test_values_are_counted_in_steps_and_missing_ones_leave_their_place_empty():
    assert form("text").texts(SEEN) == ["100,-10,0", "300,50,", "250,,90"]
    assert form("tokens").texts(SEEN) == ["<mol_wt:100><mol_log_p:-10><tpsa:0>", "<mol_wt:300><mol_log_p:50>", "<mol_wt:250><tpsa:90>"]


@pytest.mark.parametrize("style", ["text", "tokens"])
def test_who_wishes_nothing_sends_nothing(style):
    assert form(style).asked([{}, {"tpsa": math.nan}]) == ["", ""]


def test_what_was_seen_is_told_in_the_units_of_the_dataset():
    assert form("text").ranges() == {"mol_wt": (100, 300), "mol_log_p": pytest.approx((-1, 5)), "tpsa": (0, 90)}
    wider = form("text").fitted(numpy.array([[50.0, numpy.nan, numpy.inf]]))
    assert wider.seen == {"mol_wt": (50, 300), "mol_log_p": (-10, 50), "tpsa": (0, 90)}


def test_a_wish_outside_of_what_was_seen_is_the_nearest_token():
    assert form("tokens").asked([{"mol_wt": 1e9}, {"mol_wt": -5}]) == ["<mol_wt:300>", "<mol_wt:100>"]
    assert form("text").asked([{"mol_wt": 1e9}]) == ["1000000000,,"]


def test_a_property_without_any_value_in_training_has_no_token():
    empty = PromptForm(("mol_wt", "gap"), style="tokens").fitted(numpy.array([[3.0, numpy.nan]]))
    assert empty.vocabulary() == ["<mol_wt:3>"] and empty.asked([{"gap": 4, "mol_wt": 3}]) == ["<mol_wt:3>"]


@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=3, max_size=3))
def test_a_prompt_in_text_says_each_wish_to_half_a_step(wished):
    wish = {name: value for name, value in zip(THREE, wished, strict=True) if value is not None}
    (text,) = form("text").asked([wish])
    read = {name: int(word) * (0.1 if name == "mol_log_p" else 1) for name, word in zip(THREE, text.split(","), strict=False) if word}
    assert read == pytest.approx(wish, abs=0.5 + 1e-6)


@settings(max_examples=50)
@given(st.lists(st.floats(100, 300), min_size=1, max_size=4))
def test_every_token_of_a_prompt_of_training_is_in_the_vocabulary(weights):
    values = numpy.array([[weight, numpy.nan, numpy.nan] for weight in weights])
    assert set(form("tokens").texts(values)) <= set(form("tokens").vocabulary())


def test_unknown_and_endless_wishes_are_refused_with_what_there_is():
    with pytest.raises(
        MoleculeModelError, match=r"no property 'mol_wgt' \(did you mean 'mol_wt'\?\); this model was trained with mol_wt, mol_log_p, tpsa"
    ):
        form("text").asked([{"mol_wgt": 3}])
    with pytest.raises(MoleculeModelError, match=r"tpsa is inf, expected a finite number"):
        form("tokens").asked([{"tpsa": math.inf}])


def test_an_outlier_that_would_need_a_million_tokens_is_named():
    with pytest.raises(MoleculeModelError, match=r"mol_wt alone goes from 0 to 1e\+06 by 1; raise steps.mol_wt"):
        PromptForm(THREE, style="tokens").fitted(numpy.array([[0.0, 1, 1], [1e6, 2, 2]])).vocabulary()


def test_a_form_survives_its_configuration_and_a_foreign_one_means_the_published_prompt():
    config = SimpleNamespace()
    config.update = vars(config).update
    form("tokens").into(config)
    assert PromptForm.of(config) == form("tokens")
    assert PromptForm.of(SimpleNamespace()) == PromptForm()
