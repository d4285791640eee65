"""Byte-level BPE: any text comes back, the same texts give the same tokenizer, and pads are no ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.training.words.toy_titles import grammar_titles
from training.fine_tuning.examples import TuningError
from training.words.word_tokenizers import CAUSAL, END, PAD, train_bpe, wrapped

TOKENIZER = train_bpe(grammar_titles(60), 300, CAUSAL, template=f"{END} $A")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"], skip_special_tokens=True) == text


def test_the_same_texts_give_the_same_tokenizer():
    again = train_bpe(grammar_titles(60), 300, CAUSAL, template=f"{END} $A")
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str() and len(again) == 300


def test_special_tokens_come_first_and_a_text_begins_with_the_end_of_the_one_before():
    assert (TOKENIZER.bos_token_id, TOKENIZER.eos_token_id, TOKENIZER.pad_token_id) == (0, 0, 1)
    assert TOKENIZER("Synthesis")["input_ids"][0] == 0 and TOKENIZER("")["input_ids"] == [0]


def test_a_loaded_tokenizer_does_the_same(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    title = "Oxidation of silk: é, 中, \U0001f600"
    assert loaded(title)["input_ids"] == TOKENIZER(title)["input_ids"] and loaded.pad_token == PAD


def test_wrapping_adds_what_is_missing_and_keeps_the_ids_of_the_rest():
    bare = train_bpe(grammar_titles(60), 300, {"eos_token": END})
    again = wrapped(bare.backend_tokenizer, CAUSAL, template=f"{END} $A")
    assert len(again) == 301 and again.pad_token_id == 300 and again.eos_token_id == 0


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(TuningError, match="vocabulary_size must be at least 258.*found 200"):
        train_bpe(["a"], 200, CAUSAL)
