"""Read the texts of papers, the sentences and their vocabulary, as assets/words makes them: `paper_texts`, `sentences` and `vocabulary`."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from formats.tables import columns, read_table

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "valid", "test")
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")  # ids 0, 1, 2, 3

# group: id of the first of the papers that are one work: duplicates, near-duplicates, translations, those of one title or one picture.
PAPER_TEXTS = columns(
    id=str, serial=int, title=str, abstract=str, language=str, licence=str, journal=str, source=str, doi=str, url=str, image_sha256=str, group=str,
    split=str, tdm_reserved=bool,
)  # fmt: skip
SENTENCES = columns(id=str, text=str, words=int, split=str, source=str, licence=str)
VOCABULARY = columns(id=int, word=str, count=int)  # count: how often it occurs in the sentences of split train


class TextTableError(Exception):
    """A table of texts, or a vocabulary, is missing, empty or damaged, or was made by another version."""


@dataclass(frozen=True)
class PaperText:
    """Plain text in one line each. Papers of one `group` are one work and lie in one split."""

    id: str
    serial: int
    title: str
    abstract: str | None
    language: str | None
    licence: str
    journal: str | None
    image_sha256: str | None
    group: str
    split: str


@dataclass(frozen=True)
class Sentence:
    """A cleaned sentence: its words and signs, joined by single spaces."""

    id: str
    text: str
    split: str
    source: str
    licence: str


def read_paper_texts(folder: Path, *, split: str | None = None) -> list[PaperText]:
    """The papers of `folder`, e.g. data/paper_texts, by serial; of one split, or of all. Raises TextTableError."""
    return _read(folder, PaperText, split)


def read_sentences(folder: Path, *, split: str | None = None) -> list[Sentence]:
    """The sentences of `folder`, e.g. data/sentences, in the order of their sources; of one split, or of all. Raises TextTableError."""
    return _read(folder, Sentence, split)


def read_text_table(folder: Path, names: Sequence[str] | None = None) -> pa.Table:
    """All shards of a table of texts, or its columns of these names. Raises TextTableError."""
    shards = sorted(folder.glob(f"{folder.name}-[0-9]*.parquet"))
    if not shards:
        raise TextTableError(f"{folder}: no shard {folder.name}-00000.parquet here; make it first: figment materialize {folder.name}")
    try:
        table = pa.concat_tables([read_table(shard, names) for shard in shards])
    except (OSError, pa.ArrowException) as error:
        raise TextTableError(f"{folder}: cannot be read ({error}); make it again: figment materialize {folder.name} --force") from None
    if missing := sorted(set(names or ()) - set(table.column_names)):
        raise TextTableError(f"{folder}: no column {missing[0]}; found {', '.join(table.column_names)}; make {folder.name} again")
    return table


def load_vocabulary(folder: Path) -> "Tokenizer":
    """The tokenizer of `folder`, e.g. data/vocabulary. `encode` adds no special; `decode` leaves them out. Raises TextTableError."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for any file it cannot use
        raise TextTableError(f"{folder}: no tokenizer.json that can be read ({error}); make it: figment materialize {folder.name}") from None
    if (ids := [tokenizer.token_to_id(word) for word in SPECIALS]) != [0, 1, 2, 3]:
        raise TextTableError(f"{folder}: expected {', '.join(SPECIALS)} as ids 0 to 3, found {ids}; make {folder.name} again")
    return tokenizer


def _read(folder: Path, kind: Any, split: str | None) -> list[Any]:
    if split is not None and split not in SPLITS:
        raise TextTableError(f"no split '{split}'; there are {', '.join(SPLITS)}")
    # Rows leave Arrow some at a time. Its own way to choose them would load pandas, a quarter of a second.
    table = read_text_table(folder, [field.name for field in dataclasses.fields(kind)])
    return [kind(**row) for batch in table.to_batches(4096) for row in batch.to_pylist() if split is None or row["split"] == split]
