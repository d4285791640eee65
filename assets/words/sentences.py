"""Make sentences of the gathered files: cleaned, cut into words, within lengths, each once, and split by a hash.

python -m assets.words.sentences
"""

import hashlib
import re
import sys
import unicodedata
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from formats.plain_text import decode, letters_of, plain_text
from formats.splits import SplitRule
from formats.tables import columns, read_table, table_from_rows, write_table
from formats.text_tables import SENTENCES, TextTableError
from stages.markdown import counted, escape, table
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

# One row for each reason of each source, with the first text that it was.
REJECTED = columns(source=str, reason=str, count=int, example=str)
_UNKNOWN = "<unk>"
_END_OF_SENTENCE = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"'”’)\]]))\s+(?=[\"'“‘(\[]?[^\W\d_a-z])")


@dataclass(frozen=True)
class SentencesConfig:
    """The section `sentences` of params.yaml.

    lower: small letters only. alphabetic_only: leave out signs and numbers, as the first text GAN did.
    min_words, max_words: of a sentence, signs included. max_chars: of the text as it came. Others are left out.
    min_kept: fraction of a sentence's words and signs that must be left after cleaning (`minProp` of the first text GAN).
    max_unknown_words: a sentence with more `<unk>`, which WikiText has, is left out.
    max_sentences: the first of them, in the order of the sources; null: all.
    split: fractions of the sentences, by a hash of their letters; its seed draws others. rows_per_shard: texts as they came in a Parquet shard.
    """

    lower: bool = True
    alphabetic_only: bool = False
    min_words: int = 3
    max_words: int = 32
    max_chars: int = 2_000
    min_kept: float = 0.8
    max_unknown_words: int = 0
    max_sentences: int | None = None
    split: SplitRule = field(default_factory=SplitRule)
    rows_per_shard: int = 100_000

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(f"min_words and max_words must be in order, and at least 1; found {self.min_words} and {self.max_words}")
        for name in ("max_chars", "rows_per_shard", "max_sentences"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        if not 0 <= self.min_kept <= 1 or self.max_unknown_words < 0:
            raise ValueError(f"min_kept must be from 0 to 1 and max_unknown_words at least 0, found {self.min_kept} and {self.max_unknown_words}")


def build_sentences(config: SentencesConfig, sources: Path, target: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the folder `target` from `sentence_sources` in the folder `sources`, and give (its rows, rows of what was left out).

    Raises TextTableError where there is no source, or no sentence is left, saying what dropped them and what to change.
    """
    rows: dict[str, dict[str, Any]] = {}
    dropped: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for serial, (source, raw) in enumerate(_raw_texts(sources)):
        text, reason = clean_sentence(config, raw)
        id = hashlib.sha256(text.encode()).hexdigest()[:16]
        if reason or id in rows:
            key = (source["source"], reason or "repeated")
            dropped[key] += 1
            examples.setdefault(key, " ".join(raw[:200].split()))
            continue
        # Two sentences that differ in signs alone are on one side.
        split = config.split.split_of(letters_of(text) or text)
        words = text.count(" ") + 1
        rows[id] = {
            "id": id,
            "serial": serial,
            "text": text,
            "words": words,
            "split": split,
            **{name: source[name] for name in ("source", "licence")},
        }
        if len(rows) == config.max_sentences:
            break
    aside = [{"source": key[0], "reason": key[1], "count": dropped[key], "example": examples[key]} for key in sorted(dropped)]
    if not any(row["split"] == "train" for row in rows.values()):
        why = "; ".join(f"{row['count']:,} of '{row['source']}': {row['reason']}" for row in aside) or "the sources are empty"
        raise TextTableError(f"{target.name}: no sentence to train on is left: {why}; change these keys of the section {target.name}")
    with OutputFolder(target) as output:
        for shard in sorted({row["serial"] // config.rows_per_shard for row in rows.values()}):
            members = [row for row in rows.values() if row["serial"] // config.rows_per_shard == shard]
            write_table(output.file(f"{target.name}-{shard:05d}.parquet"), table_from_rows(SENTENCES, members))
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED, aside))
    return list(rows.values()), aside


def clean_sentence(config: SentencesConfig, raw: str) -> tuple[str, str]:
    """(words and signs between single spaces, "" or why it is left out)."""
    if len(raw) > config.max_chars:
        return "", "longer than max_chars"
    found = _words().findall(plain_text(raw))
    words = [word for word in found if word == _UNKNOWN or word.isalpha()] if config.alphabetic_only else found
    faults = {
        "less is left of them than min_kept": len(words) < config.min_kept * len(found),
        "more unknown words than max_unknown_words": words.count(_UNKNOWN) > config.max_unknown_words,
        "fewer words than min_words": len(words) < config.min_words,
        "more words than max_words": len(words) > config.max_words,
    }
    text = " ".join(words)
    return text.lower() if config.lower else text, next((reason for reason, is_so in faults.items() if is_so), "")


@cache
def _words() -> re.Pattern[str]:
    """A word with its inner apostrophes and hyphens, a number with its inner points, or one sign. Vowel signs and accents belong to their letter."""
    marks = "".join(letter for letter in map(chr, range(0x300, 0x20000)) if unicodedata.category(letter)[0] == "M")
    letters = rf"(?:[^\W_][{marks}\u200c\u200d]*)+"
    return re.compile(rf"{_UNKNOWN}|\d+(?:[.,]\d+)+|{letters}(?:['’-]{letters})*|\S")


def _raw_texts(folder: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """(row of the source, text) of all files, in the order of the sources."""
    if not (folder / "index.parquet").is_file():
        raise TextTableError(f"{folder / 'index.parquet'}: no such file; bring the texts together first: figment materialize {folder.name}")
    for row in (row for row in read_table(folder / "index.parquet").to_pylist() if row["file"]):
        path = folder / row["file"]
        if not path.is_file():
            raise TextTableError(f"{path}: no such file, though the index names it; make it again: figment materialize {folder.name} --force")
        text = decode(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
        yield from ((row, raw) for raw in _READERS[row["format"]](text) if raw.strip())


def _prose(text: str) -> Iterator[str]:
    return (sentence for paragraph in re.split(r"\n[ \t]*\n", text) for sentence in _END_OF_SENTENCE.split(" ".join(paragraph.split())))


def _wikitext(text: str) -> Iterator[str]:
    """Paragraphs without headings; ` @-@ ` and its kin are joined again, and a sentence ends at a full stop between spaces."""
    for line in text.split("\n"):
        if not re.fullmatch(r"\s*=.*=\s*", line):
            yield from re.split(r"(?<= [.!?])\s+(?=\S)", re.sub(r" @([-.,])@ ", r"\1", line.strip()))


_READERS: Mapping[str, Callable[[str], Iterator[str]]] = {
    "lines": lambda text: iter(text.split("\n")),
    "fortunes": lambda text: iter(re.split(r"^%%?[ \t]*$", text, flags=re.MULTILINE)),
    "prose": _prose,
    "wikitext": _wikitext,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(TextTableError,))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "sentences", SentencesConfig, overrides=arguments.overrides)
    rows, aside = build_sentences(config, arguments.data / "sentence_sources", arguments.data / "sentences")
    splits, reasons = Counter(row["split"] for row in rows), Counter[str]()
    for row in aside:
        reasons[row["reason"]] += row["count"]
    reporter.metadata(rows=len(rows), words=sum(row["words"] for row in rows), splits=dict(splits), rejected_by_reason=dict(reasons))
    kept, gone = (", ".join(f"{count:,} {name}" for name, count in counts.most_common()) or "none" for counts in (splits, reasons))
    reporter.log(f"sentences: {len(rows):,} ({kept}); left out: {gone}")
    for split in sorted({"valid", "test"} - set(splits)):
        reporter.log(f"ATTENTION: no sentence of {len(rows):,} is of split {split}; raise split.{split}_fraction, or bring more")
    reporter.markdown("set_aside", counted("reason", "sentences", reasons))
    reporter.markdown("examples", table(["sentence", "split"], [[escape(row["text"]), row["split"]] for row in rows[-8:]]))


if __name__ == "__main__":
    sys.exit(main())
