"""Make sentences of the gathered files: cleaned, cut into words, within lengths, each once, and split by a hash.

python -m assets.words.sentences
"""

import hashlib
import re
import sys
import unicodedata
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from formats.plain_text import decode, letters_of, plain_text
from formats.splits import SplitRule
from formats.tables import columns, read_table, table_from_rows, write_table
from formats.text_tables import SENTENCES, TextTableError
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

# One row for each reason of each source, with the first text that it was.
REJECTED = columns(source=str, reason=str, count=int, example=str)
ROWS_PER_SHARD = 4_096  # in the mean
_UNKNOWN = "<unk>"
# A word with its inner apostrophes and hyphens, letters with a point each (e.g.), a number with its inner points, dashes and points in a row, or one
# sign but the underscores that stand for italics. Vowel signs and accents belong to their letter.
_MARKS = "".join(letter for letter in map(chr, range(0x300, 0x20000)) if unicodedata.category(letter)[0] == "M")
_LETTERS = rf"(?:[^\W_][{_MARKS}\u200c\u200d]*)+"
_WORDS = re.compile(rf"{_UNKNOWN}|\d+(?:[.,]\d+)+|(?:[^\W\d_][{_MARKS}]*\.){{2,}}|{_LETTERS}(?:['’-]{_LETTERS})*|--+|\.\.+|[^\s_]")
# A point behind one letter, or behind one of these, ends no sentence.
_ABBREVIATIONS = "Mr Mrs Ms Dr Prof St Jr Gen Capt vs cf al No Fig Vol"
_TITLES = "".join(rf"(?<!\b{word}\.)" for word in (r"[^\W\d_I]", *_ABBREVIATIONS.split()))
_END_OF_SENTENCE = re.compile(rf"(?:(?<=[.!?…]){_TITLES}|(?<=[.!?…][\"'”’)\]]))\s+(?=[\"'“‘(\[]?[^\W\d_a-z])")


@dataclass(frozen=True)
class SentencesConfig:
    """The section `sentences` of params.yaml.

    lower: small letters only. alphabetic_only: leave out signs and numbers, and all of a text that keeps less than the fraction `min_kept`.
    min_words, max_words: words and signs of a sentence. max_chars: of the text as it came. max_unknown_words: `<unk>`, which WikiText has.
    split: by a hash of the letters of each; its seed draws others.
    """

    lower: bool = True
    alphabetic_only: bool = False
    min_words: int = 3
    max_words: int = 32
    max_chars: int = 2_000
    min_kept: float = 0.8
    max_unknown_words: int = 0
    split: SplitRule = field(default_factory=SplitRule)

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words or not 0 <= self.min_kept <= 1 or self.max_chars < 1 or self.max_unknown_words < 0:
            bounds = "1 <= min_words <= max_words, 0 <= min_kept <= 1, max_unknown_words >= 0 and max_chars >= 1"
            raise ValueError(f"expected {bounds}; found {self}")


def build_sentences(config: SentencesConfig, sources: Path, target: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Write `target` from the folder `sources`, and give (its rows, how many were left out, by reason). Raises TextTableError where none is left."""
    rows: dict[str, dict[str, Any]] = {}
    dropped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source, raw in _raw_texts(sources):
        text, reason = clean_sentence(config, raw)
        id = hashlib.sha256(text.encode()).hexdigest()[:16]
        if reason or id in rows:
            dropped[source["source"], reason or "repeated"].append(" ".join(raw[:200].split()))
            continue
        # Two sentences that differ in signs alone are on one side.
        split = config.split.split_of(letters_of(text) or text)
        row = {"id": id, "text": text, "words": text.count(" ") + 1, "split": split}
        rows[id] = row | {"source": source["source"], "licence": source["licence"]}
    aside = [{"source": source, "reason": reason, "count": len(texts), "example": texts[0]} for (source, reason), texts in sorted(dropped.items())]
    if not any(row["split"] == "train" for row in rows.values()):
        why = "; ".join(f"{row['count']:,} of '{row['source']}': {row['reason']}" for row in aside) or "the sources are empty"
        raise TextTableError(f"{target.name}: no sentence to train on is left: {why}; change these keys of the section {target.name}")
    with OutputFolder(target) as output:
        for number, shard in enumerate(_shards(rows)):
            write_table(output.file(f"{target.name}-{number:05d}.parquet"), table_from_rows(SENTENCES, [rows[id] for id in shard]))
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED, aside))
    return list(rows.values()), Counter(reason for (_, reason), texts in dropped.items() for _ in texts)


def _shards(ids: Iterable[str]) -> list[list[str]]:
    """Ids, in their order, cut where one is a multiple of ROWS_PER_SHARD: what comes in or goes changes the shard that it is in, and no other."""
    shards: list[list[str]] = [[]]
    for id in ids:
        if shards[-1] and int(id, 16) % ROWS_PER_SHARD == 0:
            shards.append([])
        shards[-1].append(id)
    return shards


def clean_sentence(config: SentencesConfig, raw: str) -> tuple[str, str]:
    """(words and signs between single spaces, "" or why it is left out)."""
    if len(raw) > config.max_chars:
        return "", "longer than max_chars"
    found = _WORDS.findall(plain_text(raw))
    words = [word for word in found if word == _UNKNOWN or word.isalpha()] if config.alphabetic_only else found
    faults = {
        "less is left of them than min_kept": len(words) < config.min_kept * len(found),
        "more unknown words than max_unknown_words": words.count(_UNKNOWN) > config.max_unknown_words,
        "fewer words than min_words": len(words) < config.min_words,
        "more words than max_words": len(words) > config.max_words,
    }
    text = " ".join(words)
    return text.lower() if config.lower else text, next((reason for reason, is_so in faults.items() if is_so), "")


def _raw_texts(folder: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """(row of the source, text) of all files, in the order of the sources."""
    if not (folder / "index.parquet").is_file():
        raise TextTableError(f"{folder / 'index.parquet'}: no such file; bring the texts together first: figment materialize {folder.name}")
    for row in (row for row in read_table(folder / "index.parquet").to_pylist() if row["file"]):
        text = decode((folder / row["file"]).read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
        yield from ((row, raw) for raw in _READERS[row["format"]](text) if raw.strip())


def _wikitext(text: str) -> list[str]:
    """Paragraphs without headings; ` @-@ ` and its kin are joined again, as is ` 's`, and a sentence ends at a full stop between spaces."""
    paragraphs = re.sub(r" @([-.,])@ ", r"\1", re.sub(r"^[ \t]*=.*=[ \t]*$", "", text, flags=re.MULTILINE))
    paragraphs = re.sub(r"(?<=\w) (?='(?:s|t|d|m|re|ve|ll)\b)", "", paragraphs)
    return re.split(r"(?<= [.!?])[ \t]+(?=\S)|\n", paragraphs)


def _prose(text: str) -> list[str]:
    """Sentences of paragraphs, of Project Gutenberg's files without what it adds before and behind."""
    own = re.sub(r"(?s:\A.*?)^\*{3} ?START OF TH.*|^\*{3} ?END OF TH(?s:.*)\Z", "", text, flags=re.MULTILINE)
    return [one for part in re.split(r"\n[ \t]*\n", own) for one in _END_OF_SENTENCE.split(" ".join(_joined(part).split()))]


def _joined(text: str) -> str:
    """A word that a line's end divides is one again; its hyphen stays, since it may be its own."""
    return re.sub(r"(?<=[^\W\d_]-)\n[ \t]*(?=[^\W\d_])", "", text)


_READERS: Mapping[str, Callable[[str], Sequence[str]]] = {
    "lines": lambda text: text.split("\n"),
    "fortunes": lambda text: re.split(r"^%%?[ \t]*$", _joined(text), flags=re.MULTILINE),
    "prose": _prose,
    "wikitext": _wikitext,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(TextTableError,))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "sentences", SentencesConfig, overrides=arguments.overrides)
    rows, dropped = build_sentences(config, arguments.data / "sentence_sources", arguments.data / "sentences")
    splits = Counter(row["split"] for row in rows)
    reporter.metadata(rows=len(rows), words=sum(row["words"] for row in rows), splits=dict(splits), rejected_by_reason=dict(dropped))
    kept, aside = (", ".join(f"{count:,} {name}" for name, count in counts.most_common()) or "none" for counts in (splits, dropped))
    reporter.log(f"sentences: {len(rows):,} ({kept}); left out: {aside}")


if __name__ == "__main__":
    sys.exit(main())
