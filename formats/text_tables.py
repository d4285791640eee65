"""Read the texts of papers, the sentences and their vocabulary: the columns of `paper_texts`, `sentences` and `vocabulary`, and who reads them.

How the tables come to be is written in assets/words.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from formats.tables import columns, read_table

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "valid", "test")
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")  # ids 0, 1, 2, 3

PAPER_TEXTS = columns(
    id=str, serial=int, title=str, abstract=str, language=str, licence=str, journal=str, source=str, doi=str, url=str, image_sha256=str, group=str,
    split=str, tdm_reserved=bool,
)  # fmt: skip

SENTENCES = columns(id=str, serial=int, text=str, words=int, split=str, source=str, licence=str)

VOCABULARY = columns(id=int, word=str, count=int)

COLUMN_DOCS: Mapping[str, str] = {
    "title": "plain Unicode text in NFC, one line; LaTeX is kept as text",
    "abstract": "likewise; null where there is none of a length that is allowed",
    "group": "id of the first of the papers that are one work: duplicates, near-duplicates, translations, those of one title or one picture",
    "split": "train, valid or test, by a hash: of the group of a paper, of the text of a sentence",
    "text": "cleaned words and signs, joined by single spaces",
    "words": "how many they are",
    "count": "how often the word, or the piece, occurs in the sentences of split train",
}

Row = TypeVar("Row")


class TextTableError(Exception):
    """A table of texts, or a vocabulary, is missing, empty or damaged, or was made by another version."""


@dataclass(frozen=True)
class PaperText:
    """A paper's title, and its abstract where it has one. Papers of one `group` are one work and lie in one split."""

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
    """The sentences of `folder`, e.g. data/sentences, in their order; of one split, or of all. Raises TextTableError."""
    return _read(folder, Sentence, split)


def text_shards(folder: Path) -> list[Path]:
    """The Parquet shards of a table of texts, in order: `<folder name>-00000.parquet`, … Raises TextTableError when there is none."""
    shards = sorted(folder.glob(f"{folder.name}-[0-9]*.parquet"))
    if not shards:
        raise TextTableError(f"{folder}: no shard {folder.name}-00000.parquet here; make it first: figment materialize {folder.name}")
    return shards


def read_text_table(folder: Path, names: Sequence[str] | None = None) -> pa.Table:
    """All shards of a table of texts, or its columns of these names. Raises TextTableError."""
    tables = []
    for shard in text_shards(folder):
        try:
            tables.append(read_table(shard, names))
        except (OSError, pa.ArrowException) as error:
            raise TextTableError(f"{shard}: cannot be read ({error}); make it again: figment materialize {folder.name} --force") from None
        if missing := sorted(set(names or ()) - set(tables[-1].column_names)):
            raise TextTableError(f"{shard}: no column {missing[0]}; found {', '.join(tables[-1].column_names)}; make {folder.name} again")
    return pa.concat_tables(tables)


def load_vocabulary(folder: Path) -> "Tokenizer":
    """The tokenizer of `folder`, e.g. data/vocabulary: SPECIALS are its ids 0 to 3. `encode` adds none of them; `decode` leaves them out.

    transformers loads the same folder with `PreTrainedTokenizerFast.from_pretrained`. Raises TextTableError.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TextTableError(f"{path}: no such file; make it first: figment materialize {folder.name}")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for any file it cannot use
        raise TextTableError(f"{path}: no tokenizer.json that can be read ({error}); make {folder.name} again") from None
    ids = tuple(tokenizer.token_to_id(word) for word in SPECIALS)
    if ids != tuple(range(len(SPECIALS))):
        raise TextTableError(f"{path}: expected {', '.join(SPECIALS)} as ids 0 to 3, found {ids}; make {folder.name} again")
    return tokenizer


def _read(folder: Path, kind: type[Row], split: str | None) -> list[Row]:
    if split is not None and split not in SPLITS:
        raise TextTableError(f"no split '{split}'; there are {', '.join(SPLITS)}")
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    # Rows leave Arrow only when they are of the split that is wanted.
    table = read_text_table(folder, names)
    if split is not None:
        table = table.filter(pc.equal(table["split"], split))
    rows: list[dict[str, Any]] = table.to_pylist()
    return [kind(**row) for row in rows]
