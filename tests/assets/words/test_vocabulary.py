"""The numbers of words and of pieces."""

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: model)")

from assets.words.vocabulary import VocabularyConfig, build_vocabulary, main
from formats.sentence_grammar import imaginary_sentences
from formats.tables import read_table, table_from_rows, write_table
from formats.text_tables import SENTENCES, SPECIALS, Sentence, TextTableError, load_vocabulary
from stages.params import ParamsError, build_config
from tests.assets.words.papers_folder import all_bytes


def config(**values) -> VocabularyConfig:
    return build_config(VocabularyConfig, values, where="params.yaml: vocabulary")


def sentences(*texts: str, split: str = "train") -> list[Sentence]:
    return [Sentence(str(number), text, split, "some", "CC0-1.0") for number, text in enumerate(texts)]


GRAMMAR = sentences(*(text.lower().replace(",", " ,").replace(".", " .") for text in imaginary_sentences(400, seed=0)))


def test_words_are_numbered_by_count_after_the_specials(tmp_path):
    found = [*sentences("b b a a c", "b <unk> <pad>"), *sentences("a b", "a d d d d d", split="valid")]
    coverage = build_vocabulary(config(), found, tmp_path / "vocabulary")
    rows = read_table(tmp_path / "vocabulary" / "vocabulary.parquet").to_pylist()
    assert [row["word"] for row in rows] == [*SPECIALS, "b", "a", "c"]
    assert [row["count"] for row in rows] == [1, 0, 0, 1, 3, 2, 1]
    assert coverage == {
        "size": 7,
        "train": {"sentences": 2, "covered": 1},
        "valid": {"sentences": 2, "covered": 1},
        "test": {"sentences": 0, "covered": 0},
    }
    assert json.loads((tmp_path / "vocabulary" / "coverage.json").read_text()) == coverage


def test_rare_words_and_words_beyond_the_size_are_unknown(tmp_path):
    found = sentences("a b b c", "b a")
    build_vocabulary(config(min_count=2), found, tmp_path / "one")
    assert load_vocabulary(tmp_path / "one").encode("a b c d").ids == [5, 4, 3, 3]
    build_vocabulary(config(size=5), found, tmp_path / "two")
    assert load_vocabulary(tmp_path / "two").encode("a b c d").ids == [3, 4, 3, 3]


@pytest.mark.parametrize("settings_", [{}, {"kind": "bpe", "size": 120}])
def test_every_sentence_comes_back_from_its_ids(tmp_path, settings_):
    build_vocabulary(config(**settings_), GRAMMAR, tmp_path / "vocabulary")
    tokenizer = load_vocabulary(tmp_path / "vocabulary")
    for sentence in GRAMMAR[:50]:
        ids = tokenizer.encode(sentence.text).ids
        assert tokenizer.decode([1, *ids, 2, 0, 0]) == sentence.text
        assert max(ids) < tokenizer.get_vocab_size() <= 121


@pytest.mark.parametrize("settings_", [{}, {"kind": "bpe", "size": 120}])
def test_plain_transformers_loads_it(tmp_path, settings_):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: model)")
    build_vocabulary(config(**settings_), GRAMMAR, tmp_path / "vocabulary")
    theirs, ours = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "vocabulary"), load_vocabulary(tmp_path / "vocabulary")
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id, theirs.unk_token_id) == (0, 1, 2, 3)
    text = GRAMMAR[0].text
    assert theirs(text)["input_ids"] == ours.encode(text).ids
    assert theirs.decode([1, *ours.encode(text).ids, 2], skip_special_tokens=True) == text
    padded = theirs([text, "the gel"], padding=True)["input_ids"]
    assert len(padded[0]) == len(padded[1])
    assert padded[1][-1] == 0


@given(st.permutations(GRAMMAR[:40]))
@settings(max_examples=5)
def test_equal_sentences_give_equal_words_in_any_order(order):
    def written(found: list[Sentence], name: str, **values) -> dict[str, bytes]:
        build_vocabulary(config(**values), found, Path(name) / "vocabulary")
        return all_bytes(Path(name))

    import tempfile

    with tempfile.TemporaryDirectory() as root:
        assert written(GRAMMAR[:40], f"{root}/a") == written(order, f"{root}/b")
        # Pieces of equal frequency may be joined in another order, but equal sentences in equal order give equal bytes.
        pieces = {"kind": "bpe", "size": 90}
        assert written(GRAMMAR[:40], f"{root}/c", **pieces) == written(GRAMMAR[:40], f"{root}/d", **pieces)


def test_what_leaves_no_vocabulary_is_told(tmp_path):
    with pytest.raises(TextTableError, match="of 2 sentences; expected more, up to size .None.; change size, or min_count .5."):
        build_vocabulary(config(min_count=5), sentences("a b", "b c"), tmp_path / "vocabulary")
    with pytest.raises(TextTableError, match="8 words or characters, with 4 specials, .* expected more, up to size .6."):
        build_vocabulary(config(kind="bpe", size=6), sentences("a b", "b c"), tmp_path / "vocabulary")
    for values, complaint in (
        ({"kind": "bpe"}, "of kind word, null; found 1, None and bpe"),
        ({"size": 4}, "size above 4"),
        ({"min_count": 0}, "min_count must be at least 1"),
    ):
        with pytest.raises(ParamsError, match=complaint):
            config(**values)


def test_the_stage_runs_with_the_demos_section(tmp_path, monkeypatch, capsys):
    root = Path(__file__).resolve().parents[3]
    monkeypatch.chdir(tmp_path)
    assert main(["--params", str(root / "presets" / "demo.yaml")]) == 1
    assert "figment materialize sentences" in capsys.readouterr().err
    (tmp_path / "data" / "sentences").mkdir(parents=True)
    rows = [{"id": one.id, "text": one.text, "split": one.split, "source": "s", "licence": "CC0-1.0"} for one in GRAMMAR]
    write_table(tmp_path / "data" / "sentences" / "sentences-00000.parquet", table_from_rows(SENTENCES, rows))
    assert main(["--params", str(root / "presets" / "demo.yaml")]) == 0
    assert "400 of 400 of train" in capsys.readouterr().err
