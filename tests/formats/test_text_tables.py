"""Tables of texts, read back."""

from pathlib import Path

import pytest

from formats.tables import table_from_rows, write_table
from formats.text_tables import PAPER_TEXTS, SENTENCES, PaperText, TextTableError, load_vocabulary, read_paper_texts, read_sentences

PAPER = {"id": "p", "serial": 3, "title": "A title", "licence": "CC0-1.0", "group": "p", "split": "valid"}


def papers(folder: Path, *shards: list[dict]) -> Path:
    folder.mkdir()
    for number, rows in enumerate(shards):
        write_table(folder / f"{folder.name}-{number:05d}.parquet", table_from_rows(PAPER_TEXTS, rows))
    return folder


def test_papers_come_by_serial_with_nulls_where_nothing_is_known(tmp_path):
    folder = papers(tmp_path / "paper_texts", [PAPER], [{**PAPER, "id": "q", "serial": 7, "split": "train"}])
    assert read_paper_texts(folder, split="valid") == [PaperText("p", 3, "A title", None, None, "CC0-1.0", None, None, "p", "valid")]
    assert [paper.id for paper in read_paper_texts(folder)] == ["p", "q"]


def test_sentences_of_one_split(tmp_path):
    folder = tmp_path / "sentences"
    folder.mkdir()
    rows = [{"id": str(n), "text": f"word {n}", "split": "test" if n else "train", "source": "s", "licence": "MIT"} for n in range(3)]
    write_table(folder / "sentences-00000.parquet", table_from_rows(SENTENCES, rows))
    assert [sentence.text for sentence in read_sentences(folder, split="test")] == ["word 1", "word 2"]


def test_what_is_missing_or_damaged_is_said_with_what_to_do(tmp_path):
    with pytest.raises(TextTableError, match="figment materialize paper_texts"):
        read_paper_texts(tmp_path / "paper_texts")
    folder = papers(tmp_path / "sentences", [PAPER])
    with pytest.raises(TextTableError, match="no split 'dev'; there are train, valid, test"):
        read_sentences(folder, split="dev")
    with pytest.raises(TextTableError, match="no column text"):
        read_sentences(folder)
    (folder / "sentences-00000.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(TextTableError, match="cannot be read"):
        read_sentences(folder)


@pytest.mark.parametrize("content", ["", "{}", '{"model": 1}'])
def test_a_vocabulary_that_is_none_is_refused(tmp_path, content):
    with pytest.raises(TextTableError, match="No such file"):
        load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TextTableError, match=r"no tokenizer.json that can be read"):
        load_vocabulary(tmp_path)
