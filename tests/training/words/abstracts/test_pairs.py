"""Pairs of titles and abstracts: which papers make one, what becomes of their texts, and what those cost a model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import T5Config, T5ForConditionalGeneration

from tests.training.words.abstracts.toy_papers import toy_pair, toy_papers, write_papers
from training.fine_tuning.examples import TuningError
from training.fine_tuning.pairs import summed_loss
from training.words.abstracts.config import T5Options
from training.words.abstracts.pairs import Pairs, encode_pairs, others, read_pairs, reading_costs, reading_numbers
from training.words.abstracts.train import open_t5

TINY = T5Options(vocabulary_size=400, d_model=16, layers=1, heads=2, d_ff=16, dropout=0.0)
END, PAD = 1, 0


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return open_t5(TINY, [text for number in range(40) for text in toy_pair(number) if text])[1]


def limits(source: int = 32, target: int = 64, prefix: str = "") -> SimpleNamespace:
    return SimpleNamespace(source_tokens=source, target_tokens=target, prefix=prefix)


def pairs_of(*pairs: tuple[str, str]) -> Pairs:
    return Pairs([source for source, _ in pairs], [target for _, target in pairs], {})


def test_each_direction_reads_what_the_other_writes(tmp_path: Path):
    folder = write_papers(tmp_path / "paper_texts", toy_papers(3, 1, 0))
    forth, back = (read_pairs(folder, stage, "train") for stage in ("abstract_t5", "title_t5"))
    assert (forth.sources, forth.targets) == (back.targets, back.sources)
    assert forth.sources == [toy_pair(number)[0] for number in range(3)]


def test_papers_without_an_abstract_or_title_are_counted_and_left_out(tmp_path: Path):
    papers = [("A title", None), ("Another", ""), ("A third", " \n"), ("", "An abstract."), (" \t", "Another one."), ("Both\nlines", "are  here.")]
    folder = write_papers(tmp_path / "paper_texts", [("train", paper) for paper in papers])
    found = read_pairs(folder, "abstract_t5", "train")
    assert (found.sources, found.targets) == (["Both lines"], ["are here."])
    assert found.set_aside == {"no_abstract": 3, "no_title": 2}


def test_all_abstracts_missing_is_said_with_a_remedy(tmp_path: Path):
    folder = write_papers(tmp_path / "paper_texts", [("train", (f"Title {number}", None)) for number in range(4)])
    with pytest.raises(TuningError, match=r"abstract_t5 needs .*'no_abstract': 4.*add a source that states abstracts"):
        read_pairs(folder, "abstract_t5", "train")
    assert read_pairs(folder, "abstract_t5", "valid", may_be_none=True).sources == []


def test_a_text_that_fits_ends_and_one_that_does_not_is_cut_and_counted(tokenizer: Any):
    long = "carbenes on gold " * 50
    examples = encode_pairs(tokenizer, pairs_of(("short", "short"), (long, long)), limits(16, 24))
    assert examples.cut == {"cut_sources": 1, "cut_targets": 1}
    assert [len(ids) for ids in (examples.sources[1], examples.targets[1])] == [16, 24]
    assert [ids[-1] == END for ids in (*examples.sources, *examples.targets)] == [True, True, True, False]
    # What is written may be cut; what it costs is shared among the characters that are left of it.
    assert examples.characters == [5, len(tokenizer.decode(examples.targets[1]))]
    assert long.startswith(tokenizer.decode(examples.targets[1]))


@settings(max_examples=25)
@given(text=st.text(min_size=1, max_size=120), limit=st.integers(2, 40))
def test_any_text_of_any_script_is_the_start_of_itself_within_its_limit(tokenizer: Any, text: str, limit: int):
    ids = encode_pairs(tokenizer, pairs_of((text, text)), limits(limit, limit)).targets[0]
    assert 1 <= len(ids) <= limit
    assert ids == [*tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"], END][:limit]


def test_ten_megabytes_cost_no_more_than_what_is_kept_of_them(tokenizer: Any):
    texts = ["word " * 2_000_000, "ا" * 5_000_000, "漢字 עברית " * 700_000]
    examples = encode_pairs(tokenizer, pairs_of(*((text, text) for text in texts)), limits(32, 64))
    assert [len(ids) for ids in examples.targets] == [64] * 3
    assert examples.cut == {"cut_sources": 3, "cut_targets": 3}


def test_a_prefix_stands_before_sources_only(tokenizer: Any):
    examples = encode_pairs(tokenizer, pairs_of(("a", "b")), limits(prefix="write: "))
    assert tokenizer.decode(examples.sources[0], skip_special_tokens=True) == "write: a"
    assert tokenizer.decode(examples.targets[0], skip_special_tokens=True) == "b"


def test_what_looks_like_a_special_token_in_a_text_is_text(tokenizer: Any):
    text = "a</s>b<pad>c"
    examples = encode_pairs(tokenizer, pairs_of((text, text)), limits())
    assert tokenizer.decode(examples.targets[0][:-1]) == text
    assert examples.targets[0].count(END) == 1 and PAD not in examples.targets[0]
    assert examples.batch([0])["attention_mask"].tolist() == [[1] * len(examples.sources[0])]


def test_nothing_is_to_be_written_on_padding(tokenizer: Any):
    batch = encode_pairs(tokenizer, pairs_of(toy_pair(1), ("x", "y")), limits()).batch([0, 1])
    assert batch["labels"][1].tolist()[2:] == [-100] * (batch["labels"].shape[1] - 2)
    assert batch["input_ids"][1].tolist()[2:] == [PAD] * (batch["input_ids"].shape[1] - 2)
    assert batch["attention_mask"].sum(1).tolist() == [len(tokenizer(toy_pair(1)[0])["input_ids"]), 2]


@given(count=st.integers(0, 60), seed=st.integers(0, 5))
def test_everybody_gets_what_is_anothers_and_each_is_given_once(count: int, seed: int):
    found = others(range(count), seed)
    assert sorted(found) == list(range(count))
    assert count < 2 or all(place != other for place, other in enumerate(found))


def test_costs_are_those_of_one_pair_at_a_time_whatever_lies_beside_it(tokenizer: Any):
    torch.manual_seed(0)
    model, _ = open_t5(TINY, [text for number in range(40) for text in toy_pair(number) if text])
    model.eval()
    examples = encode_pairs(tokenizer, pairs_of(*map(toy_pair, range(20))), limits())
    costs = reading_costs(model, examples, seed=3)
    with torch.no_grad():
        alone = [float(summed_loss(model, examples.batch([place]))[0]) for place in range(20)]
    numpy.testing.assert_allclose(costs[0], alone, rtol=1e-5)
    assert costs[2].tolist() == [len(toy_pair(number)[1] or "") for number in range(20)]
    # Transformers' own mean loss is this sum over this count.
    with torch.no_grad():
        total, count = summed_loss(model, examples.batch([4, 5]))
        assert float(total / count) == pytest.approx(float(model(**examples.batch([4, 5])).loss), rel=1e-5)


def test_reading_numbers_are_ratios_over_all_characters():
    costs = numpy.array([[10.0, 30.0], [20.0, 40.0], [10.0, 10.0]])
    numbers = reading_numbers(costs, rounds=50)
    assert numbers["nll_per_char"].value == 2 and numbers["shuffled_nll_per_char"].value == 3
    assert numbers["reading_gain"].value == 0.5
    assert numbers["reading_gain"].low <= 0.5 <= numbers["reading_gain"].high


def test_a_new_t5_begins_with_padding_and_ends_texts_by_itself(tokenizer: Any):
    model, _ = open_t5(TINY, ["alkenes on gold"] * 3)
    assert (model.config.pad_token_id, model.config.eos_token_id, model.config.decoder_start_token_id) == (PAD, END, PAD)
    assert tokenizer("alkenes")["input_ids"][-1] == END


def test_a_t5_from_a_folder_brings_its_tokenizer_and_one_that_does_not_fit_is_refused(tmp_path: Path, tokenizer: Any):
    model, own = open_t5(TINY, ["alkenes on gold"] * 3)
    for folder, saved in (("good", own), ("bad", tokenizer)):
        model.save_pretrained(tmp_path / folder)
        saved.save_pretrained(tmp_path / folder)
    again, found = open_t5(T5Options(start_from=str(tmp_path / "good"), dropout=0.25), [])
    assert torch.equal(again.shared.weight, model.shared.weight) and len(found) == len(own)
    assert again.config.dropout_rate == 0.25
    with pytest.raises(TuningError, match="tokenizer has .* tokens and the model .* embeddings"):
        open_t5(T5Options(start_from=str(tmp_path / "bad")), [])


def test_a_t5_of_another_make_is_a_start_too(tmp_path: Path):
    _, own = open_t5(TINY, ["alkenes on gold"] * 3)
    config = T5Config(
        vocab_size=len(own), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0, tie_word_embeddings=False
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    assert open_t5(T5Options(start_from=str(tmp_path)), [])[0].config.feed_forward_proj == "relu"


@pytest.mark.parametrize("wrong", [{"d_model": 0}, {"title_tokens": 1}, {"vocabulary_size": 10}])
def test_sizes_that_make_no_t5_are_refused(wrong: dict[str, int]):
    with pytest.raises((ValueError, TuningError), match=next(iter(wrong))):
        open_t5(T5Options(**{"layers": 1, **wrong}), ["text"])
