"""Sentences: how texts are read, cleaned, left out and split."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from assets.words import sentence_sources, sentences
from assets.words.sentences import SentencesConfig, build_sentences, clean_sentence
from formats.tables import read_table
from formats.text_tables import Sentence, TextTableError, read_sentences
from stages.params import ParamsError, build_config
from stages.reporting import Reporter
from tests.assets.words.papers_folder import all_bytes

FEW = "fewer words than min_words"


def config(**values) -> SentencesConfig:
    return build_config(SentencesConfig, values, where="params.yaml: sentences")


def gather(root: Path, texts: dict[str, bytes], format: str = "lines") -> Path:
    """`sentence_sources` of one source a text, in their order."""
    sources = []
    for name, content in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        sources.append({"name": name, "kind": "local", "path": str(root / name), "format": format, "licence": "CC0-1.0"})
    made = build_config(sentence_sources.SentenceSourcesConfig, {"sources": sources}, where="test")
    sentence_sources.gather_sentences(made, root / "sentence_sources", figment=root / ".figment", reporter=Reporter())
    return root / "sentence_sources"


def built(root: Path, content: bytes | dict[str, bytes], format: str = "lines", **values) -> list[Sentence]:
    values = {"min_words": 1, "split": {"valid_fraction": 0, "test_fraction": 0}, **values}
    build_sentences(config(**values), gather(root, content if isinstance(content, dict) else {"one": content}, format), root / "sentences")
    return read_sentences(root / "sentences")


def texts(found: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in found]


def reasons(root: Path) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in read_table(root / "sentences" / "rejected.parquet").to_pylist()}


# Words.


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("Don't cut well-known words, please!", "don't cut well-known words , please !"),
        ("It costs $3.50 or 1,000 €.", "it costs $ 3.50 or 1,000 € ."),
        ("<i>E. coli</i> &amp; yeast", "e . coli & yeast"),
        ("the <unk> of <pad> <end>", "the <unk> of < pad > < end >"),
        ("हिन्दी में लिखा", "हिन्दी में लिखा"),
        ("שָׁלוֹם עולם", "שָׁלוֹם עולם"),
        ("cafe\u0301 na\u00efve", "café naïve"),
        ("_Snake_case_ x^2", "snake case x ^ 2"),
        ("He left -- e.g. to the U.S.A... or so...", "he left -- e.g. to the u.s.a. .. or so ..."),
    ],
)
def test_texts_are_cut_into_words_and_signs(raw, words):
    assert clean_sentence(config(max_unknown_words=1, min_words=1), raw) == (words.replace("café", "caf\u00e9"), "")


def test_letters_alone_and_capitals_are_ways_to_clean():
    assert clean_sentence(config(alphabetic_only=True, min_kept=0.5), "Two, or 2 Things.") == ("two or things", "")
    assert clean_sentence(config(lower=False), "Two, or 2 Things.") == ("Two , or 2 Things .", "")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("one two", FEW),
        ("", FEW),
        ("\u202e\u200b", FEW),
        ("a b c d e f", "more words than max_words"),
        ("a b c - 1 2 3 4", "less is left of them than min_kept"),
        ("a <unk> c", "more unknown words than max_unknown_words"),
        ("x" * 10_000_000, "longer than max_chars"),
    ],
)
def test_what_is_left_out_has_a_reason_that_names_the_key(raw, reason):
    assert clean_sentence(config(max_words=5, alphabetic_only=True), raw)[1] == reason


@given(st.text(max_size=60), st.booleans())
@example("\u0130.\u0130.", True)
@example("a.b.\u0301 _x_ --- ....", True)
def test_cleaning_what_is_clean_changes_nothing(raw, lower):
    limits = config(lower=lower, min_words=1, max_words=99, max_unknown_words=9)
    text, _ = clean_sentence(limits, raw)
    again, _ = clean_sentence(limits, text)
    assert again == text or len(again) < len(text) + 3  # Signs that meet again may be one entity.
    assert text == " ".join(text.split())


# Formats.


def test_fortunes_are_read_in_windows_1252_and_in_utf8(tmp_path):
    entries = "A naïve “quote”,\n   in two lines.\n%\n\n%\nAnother one\n%%\nLast one\r\n"
    expected = ["a naïve “ quote ” , in two lines .", "another one", "last one"]
    assert texts(built(tmp_path / "a", entries.encode("cp1252"), "fortunes")) == expected
    assert texts(built(tmp_path / "b", entries.encode(), "fortunes")) == expected
    assert texts(built(tmp_path / "c", entries.encode("utf-16"), "fortunes")) == expected


def test_wikitext_is_cut_into_sentences_without_headings(tmp_path):
    text = " \n = Homarus gammarus = \n \n It is blue @-@ green , 1 @.@ 5 cm long . It is related to the <unk> lobster .\n = = D = = \n Its 's End\n"
    found = built(tmp_path, text.encode(), "wikitext", max_unknown_words=1)
    assert texts(found) == ["it is blue-green , 1.5 cm long .", "it is related to the <unk> lobster .", "its's end"]


def test_prose_is_cut_into_sentences_across_its_lines(tmp_path):
    text = 'One sentence\ngoes on here. "Another?" Yes: e.g. this one.\n\nA new paragraph'
    assert texts(built(tmp_path, text.encode(), "prose")) == [
        "one sentence goes on here .",
        '" another ? "',
        "yes : e.g. this one .",
        "a new paragraph",
    ]


def test_titles_and_initials_end_no_sentence_and_a_divided_word_is_one(tmp_path):
    text = "Dr. J. Smith (cf. Fig. 2) met Mr.\nJones of well-\n  known St. Ives. So did I. Then rain.\n\n1850-\n1900"
    found = built(tmp_path, text.encode(), "prose", max_words=40)
    assert texts(found) == ["dr . j . smith ( cf . fig . 2 ) met mr . jones of well-known st . ives .", "so did i .", "then rain .", "1850 - 1900"]
    assert texts(built(tmp_path, b"A word is di-\nvided.\n%\nAnother", "fortunes")) == ["a word is di-vided .", "another"]


def test_of_a_gutenberg_file_the_book_alone_is_read(tmp_path):
    text = "The EBook\r\n\r\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\r\n\r\nCall me so.\r\n\r\n*** END OF THE PROJECT ***\r\nLicence."
    assert texts(built(tmp_path, text.encode(), "prose")) == ["call me so ."]


# The table.


def test_each_sentence_is_once_with_its_first_source_and_all_else_is_counted(tmp_path):
    found = built(tmp_path, {"a": b"The gel melts.\nthe  GEL melts .\nno\n", "b": b"The gel melts.\nThe film glows.\n"}, min_words=3)
    assert [(sentence.text, sentence.source) for sentence in found] == [("the gel melts .", "a"), ("the film glows .", "b")]
    rows = read_table(tmp_path / "sentences" / "rejected.parquet").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("a", FEW, 1, "no"),
        ("a", "repeated", 1, "the GEL melts ."),
        ("b", "repeated", 1, "The gel melts."),
    ]


def test_nothing_left_is_an_error_that_says_what_to_change(tmp_path):
    with pytest.raises(TextTableError, match=r"no sentence to train on is left: 2 of 'one': fewer words than min_words; .* section sentences"):
        built(tmp_path, b"one\ntwo\n", min_words=3)
    with pytest.raises(TextTableError, match="the sources are empty"):
        built(tmp_path, b"\n\n")
    with pytest.raises(TextTableError, match="figment materialize nowhere"):
        build_sentences(config(), tmp_path / "nowhere", tmp_path / "sentences")
    assert not (tmp_path / "sentences").exists()


def test_sentences_that_differ_in_signs_alone_are_on_one_side(tmp_path):
    lines = "".join(f"a gel of number {number}{sign}\n" for number in range(200) for sign in ("", ".", " !", " , so ?".replace("so ", "")))
    found = built(tmp_path, lines.encode(), split={"valid_fraction": 0.3, "test_fraction": 0.3})
    sides: dict[str, set[str]] = {}
    for sentence in found:
        sides.setdefault(" ".join(filter(str.isalnum, sentence.text.split())), set()).add(sentence.split)
    assert len(sides) == 200
    assert all(len(side) == 1 for side in sides.values())
    assert 30 < Counter(next(iter(side)) for side in sides.values())["valid"] < 90


@given(st.lists(st.lists(st.sampled_from(["The gel melts.", "A film!", "no", "Some gels melt.", "1 2 3"]), max_size=8), min_size=2, max_size=3))
@settings(max_examples=10)
def test_what_was_there_before_decides_nothing(versions):
    with TemporaryDirectory() as name:
        values = {"min_words": 1, "split": {"valid_fraction": 0, "test_fraction": 0}}
        for number, lines in enumerate(versions):
            content = "\n".join(["Always here.", *lines]).encode()
            built(Path(name, "kept"), content, **values)
            built(Path(name, f"new{number}"), content, **values)
            assert all_bytes(Path(name, "kept", "sentences")) == all_bytes(Path(name, f"new{number}", "sentences"))


@pytest.mark.parametrize("other", [[], ["A sentence that is new."]])
def test_a_line_that_changes_or_goes_rewrites_its_own_shard_alone(tmp_path, monkeypatch, other):
    monkeypatch.setattr(sentences, "ROWS_PER_SHARD", 20)
    lines = [f"The gel of number {number} melts." for number in range(300)]
    shards = []
    for version in (lines, [*lines[:150], *other, *lines[151:]]):
        found = built(tmp_path, "\n".join(version).encode())
        assert len(found) == len(version)
        shards.append({path.read_bytes() for path in tmp_path.glob("sentences/sentences-*.parquet")})
    assert len(shards[0]) > 8
    # Two where the line was the first of its shard, or has become the first of one.
    assert 1 <= len(shards[0] - shards[1]) <= 2


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"min_words": 9, "max_words": 3}, "expected 1 <= min_words <= max_words, .* found .*min_words=9"),
        ({"max_chars": 0}, "max_chars >= 1; found .*max_chars=0"),
        ({"min_kept": 1.5}, "0 <= min_kept <= 1, .*min_kept=1.5"),
        ({"max_unknown_words": -1}, "max_unknown_words >= 0 .*max_unknown_words=-1"),
    ],
)
def test_what_the_section_cannot_mean_is_refused(values, complaint):
    with pytest.raises(ParamsError, match=complaint):
        config(**values)


def test_the_stages_run_with_the_demos_sections(tmp_path, monkeypatch, capsys):
    root = Path(__file__).resolve().parents[3]
    monkeypatch.chdir(tmp_path)
    arguments = ["--params", str(root / "presets" / "demo.yaml")]
    assert sentence_sources.main(arguments) == 0
    assert sentences.main(arguments) == 0
    assert "sentences: 4,000 (" in capsys.readouterr().err
    assert sentences.main([*arguments, "--set", "min_kept=2"]) == 2


CAPTIONS = "a bicycle replica with a clock as the front wheel.\na room with blue walls and a white sink and door.\na black honda motorcycle\n"


def test_captions_are_sentences(tmp_path):
    """The small twin of the real ones."""
    assert len(built(tmp_path, CAPTIONS.encode(), min_words=3)) == 3


@pytest.mark.shared_data
def test_captions_of_texygen_and_wikitext_are_sentences(shared_data, tmp_path):
    captions = (shared_data / "text" / "image_coco.txt").read_bytes()
    found = built(tmp_path, captions, min_words=3, max_words=32)
    assert len(found) + sum(reasons(tmp_path).values()) == 10_000
    assert len(found) > 9_900
    paragraphs = (shared_data / "text" / "wikitext2_valid.txt").read_bytes()[:200_000]
    found = built(tmp_path, paragraphs, "wikitext", min_words=3, max_unknown_words=0)
    assert len(found) > 300
    assert not any("<unk>" in text or "@-@" in text or text.startswith("=") for text in texts(found))
