"""The vocabulary of the sentences to train on, of whole words or of pieces, as a tokenizer that plain transformers loads.

python -m assets.words.vocabulary
"""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from formats.tables import table_from_rows, write_table
from formats.text_tables import SPECIALS, SPLITS, VOCABULARY, Sentence, TextTableError, load_vocabulary, read_sentences
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNKNOWN = SPECIALS[3]
_SETTINGS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    **dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIALS, strict=True)),
}


@dataclass(frozen=True)
class VocabularyConfig:
    """The section `vocabulary` of params.yaml.

    kind:      word, or bpe: pieces of words, joined from single characters in the order that saves most (Sennrich et al. 2016).
    min_count: a word, or a pair of pieces, that is rarer in the sentences to train on is none.
    size:      at most so many words or pieces, the most frequent ones, specials included; null = all, of kind word only.
    """

    kind: Literal["word", "bpe"] = "word"
    min_count: int = 1
    size: int | None = None

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ValueError(f"min_count must be at least 1, found {self.min_count}")
        if self.size is None and self.kind == "bpe":
            raise ValueError("size is null; pieces would be joined until each word is one: give a number, such as 4000")
        if self.size is not None and self.size <= len(SPECIALS):
            raise ValueError(f"size must be above {len(SPECIALS)}, the number of specials; found {self.size}")


def build_vocabulary(config: VocabularyConfig, sentences: Sequence[Sentence], target: Path) -> dict[str, Any]:
    """Write the folder `target`: tokenizer.json, tokenizer_config.json, vocabulary.parquet and coverage.json; give what the last one says.

    coverage.json: size, and for each split how many sentences there are, and how many of them have no unknown word.
    Raises TextTableError where no word is frequent enough, or there are more different characters than `size` allows.
    """
    texts = {split: [sentence.text for sentence in sentences if sentence.split == split] for split in SPLITS}
    tokenizer = (_words if config.kind == "word" else _pieces)(config, texts["train"])
    tokenizer.add_special_tokens(list(SPECIALS))
    size = tokenizer.get_vocab_size()
    if size == len(SPECIALS):
        raise TextTableError(f"{target.name}: no word of {len(texts['train']):,} sentences comes {config.min_count:,} times; lower min_count")
    if config.size is not None and size > config.size:
        raise TextTableError(f"{target.name}: size is {config.size:,}, but characters and specials alone are {size:,}; raise it, or use kind: word")
    encoded = {split: [one.ids for one in tokenizer.encode_batch_fast(texts[split], add_special_tokens=False)] for split in SPLITS}
    unknown = SPECIALS.index(_UNKNOWN)
    coverage = {split: {"sentences": len(rows), "covered": sum(unknown not in ids for ids in rows)} for split, rows in encoded.items()}
    counts = Counter(id for ids in encoded["train"] for id in ids)
    with OutputFolder(target) as output:
        output.file("tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        output.write_json("tokenizer_config.json", _SETTINGS)
        rows = [{"id": id, "word": tokenizer.id_to_token(id), "count": counts[id]} for id in range(size)]
        write_table(output.file("vocabulary.parquet"), table_from_rows(VOCABULARY, rows))
        output.write_json("coverage.json", {"size": size, **coverage})
    return {"size": size, **coverage}


def _words(config: VocabularyConfig, texts: Sequence[str]) -> "Tokenizer":
    from tokenizers import Tokenizer, models, pre_tokenizers

    counts = Counter(word for text in texts for word in text.split(" ") if word not in SPECIALS)
    # By count and then by letters, so that equal sentences give equal ids in whatever order they come.
    frequent = sorted((word for word, count in counts.items() if count >= config.min_count), key=lambda word: (-counts[word], word))
    kept = frequent[: None if config.size is None else config.size - len(SPECIALS)]
    tokenizer = Tokenizer(models.WordLevel({word: id for id, word in enumerate([*SPECIALS, *kept])}, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _pieces(config: VocabularyConfig, texts: Sequence[str]) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=config.size or 0, min_frequency=config.min_count, special_tokens=list(SPECIALS), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(TextTableError,))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "vocabulary", VocabularyConfig, overrides=arguments.overrides)
    target = arguments.data / "vocabulary"
    coverage = build_vocabulary(config, read_sentences(arguments.data / "sentences"), target)
    load_vocabulary(target)
    reporter.metadata(words=coverage["size"], **{f"covered_{split}": coverage[split]["covered"] for split in SPLITS})
    shown = ", ".join(f"{coverage[split]['covered']:,} of {coverage[split]['sentences']:,} of {split}" for split in SPLITS)
    reporter.log(f"vocabulary: {coverage['size']:,} {'words' if config.kind == 'word' else 'pieces'}; sentences without an unknown one: {shown}")


if __name__ == "__main__":
    sys.exit(main())
