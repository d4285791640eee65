"""The vocabulary of the sentences to train on, of whole words or of pieces, as a tokenizer that plain transformers loads.

python -m assets.words.vocabulary
"""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from formats.tables import table_from_rows, write_table
from formats.text_tables import SPECIALS, SPLITS, VOCABULARY, Sentence, TextTableError, load_vocabulary, read_sentences
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter

_UNKNOWN = SPECIALS[3]
_NAMES = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIALS, strict=True))  # as transformers calls them


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
        if self.min_count < 1 or (self.kind == "bpe" if self.size is None else self.size <= len(SPECIALS)):
            words = f"min_count must be at least 1 and size above {len(SPECIALS)}, the number of specials, or, of kind word, null"
            raise ValueError(f"{words}; found {self.min_count}, {self.size} and {self.kind}")


def build_vocabulary(config: VocabularyConfig, sentences: Sequence[Sentence], target: Path) -> dict[str, Any]:
    """Write the folder `target`: tokenizer.json, tokenizer_config.json, vocabulary.parquet and coverage.json; give what the last one says.

    coverage.json: size, and for each split how many sentences there are, and how many of them have no unknown word.
    Raises TextTableError where no word is frequent enough, or there are more different characters than `size` allows.
    """
    texts = {split: [sentence.text for sentence in sentences if sentence.split == split] for split in SPLITS}
    tokenizer = _tokenizer(config, texts["train"])
    size = tokenizer.get_vocab_size()
    if not len(SPECIALS) < size <= (config.size or size):
        found = f"{size:,} words or characters, with {len(SPECIALS)} specials, of {len(texts['train']):,} sentences; expected more, up to size"
        raise TextTableError(f"{target.name}: {found} ({config.size}); change size, or min_count ({config.min_count})")
    encoded = {split: [one.ids for one in tokenizer.encode_batch_fast(texts[split])] for split in SPLITS}
    counts = Counter(id for ids in encoded["train"] for id in ids)
    known = {split: sum(SPECIALS.index(_UNKNOWN) not in ids for ids in rows) for split, rows in encoded.items()}
    coverage = {"size": size, **{split: {"sentences": len(texts[split]), "covered": known[split]} for split in SPLITS}}
    with OutputFolder(target) as output:
        output.file("tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        output.write_json("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **_NAMES})
        words = ({"id": id, "word": tokenizer.id_to_token(id), "count": counts[id]} for id in range(size))
        write_table(output.file("vocabulary.parquet"), table_from_rows(VOCABULARY, words))
        output.write_json("coverage.json", coverage)
    return coverage


def _tokenizer(config: VocabularyConfig, texts: Sequence[str]) -> Any:
    """A Tokenizer; the library is loaded only when it is needed."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if config.kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=config.size or 0, min_frequency=config.min_count, special_tokens=[*SPECIALS], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer
    # By count and then by letters, so that equal sentences give equal ids in whatever order they come.
    counts = Counter(word for text in texts for word in text.split(" ") if word not in SPECIALS)
    frequent = sorted((word for word, count in counts.items() if count >= config.min_count), key=lambda word: (-counts[word], word))
    kept = frequent[: None if config.size is None else config.size - len(SPECIALS)]
    tokenizer = Tokenizer(models.WordLevel({word: id for id, word in enumerate([*SPECIALS, *kept])}, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([*SPECIALS])
    return tokenizer


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(TextTableError,))


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, "vocabulary", VocabularyConfig, overrides=arguments.overrides)
    coverage = build_vocabulary(config, read_sentences(arguments.data / "sentences"), arguments.data / "vocabulary")
    load_vocabulary(arguments.data / "vocabulary")
    reporter.metadata(words=coverage["size"], **{f"covered_{split}": coverage[split]["covered"] for split in SPLITS})
    shown = ", ".join(f"{coverage[split]['covered']:,} of {coverage[split]['sentences']:,} of {split}" for split in SPLITS)
    reporter.log(f"vocabulary: {coverage['size']:,} {'words' if config.kind == 'word' else 'pieces'}; sentences without an unknown one: {shown}")


if __name__ == "__main__":
    sys.exit(main())
