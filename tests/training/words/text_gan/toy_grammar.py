"""A grammar of twenty words for tests, its sentences as tables of data/sentences and data/vocabulary, and who judges what was written."""

from itertools import product
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from formats.tables import table_from_rows, write_table
from formats.text_tables import SENTENCES, SPECIALS

ARTICLES, ADJECTIVES = ("the", "a"), ("small", "red", "old", "quiet")
NOUNS, VERBS, ADVERBS = ("cat", "dog", "bird", "tree", "river"), ("sees", "likes", "hears", "finds"), ("today", "again", "slowly", "often")
# With four specials the vocabulary has 24 words.
WORDS = (*ARTICLES, *ADJECTIVES, *NOUNS, *VERBS, *ADVERBS, "not")


def noun_phrases() -> list[list[str]]:
    plain = [[article, noun] for article, noun in product(ARTICLES, NOUNS)]
    return plain + [[article, adjective, noun] for article, adjective, noun in product(ARTICLES, ADJECTIVES, NOUNS)]


def is_noun_phrase(words: list[str]) -> bool:
    return words in noun_phrases()


def is_grammatical(text: str) -> bool:
    """noun phrase, verb, then a noun phrase, or "not" and an adverb, or an adverb."""
    words = text.split()
    for place, word in enumerate(words):
        if word in VERBS:
            rest = words[place + 1 :]
            ends_well = (
                is_noun_phrase(rest) or (len(rest) == 1 and rest[0] in ADVERBS) or (len(rest) == 2 and rest[0] == "not" and rest[1] in ADVERBS)
            )
            return is_noun_phrase(words[:place]) and ends_well
    return False


def sentences() -> list[str]:
    ends = [*noun_phrases(), *([adverb] for adverb in ADVERBS), *(["not", adverb] for adverb in ADVERBS)]
    return [" ".join([*subject, verb, *end]) for subject, verb, end in product(noun_phrases(), VERBS, ends)]


def tokenizer(words: tuple[str, ...] = WORDS) -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: id for id, word in enumerate((*SPECIALS, *words))}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(list(SPECIALS))
    return made


def write_data(data: Path, *, every: int = 7) -> Path:
    """data/sentences and data/vocabulary: every so manieth sentence of the grammar; of twenty, two are held out and two for the test."""
    rows = []
    for serial, text in enumerate(sentences()[::every]):
        split = {0: "valid", 1: "valid", 2: "test", 3: "test"}.get(serial % 20, "train")
        facts = {"text": text, "words": len(text.split()), "split": split, "source": "toy", "licence": "CC0-1.0"}
        rows.append({"id": f"{serial:016x}", "serial": serial, **facts})
    (data / "sentences").mkdir(parents=True)
    write_table(data / "sentences/sentences-00000.parquet", table_from_rows(SENTENCES, rows))
    (data / "vocabulary").mkdir()
    tokenizer().save(str(data / "vocabulary/tokenizer.json"))
    return data


WATCHED = "max_seconds: null, report_every: 16, validate_every: 32, checkpoint_every: 16"
# Both trainings in a second.
PARAMS = f"""\
text_mle:
  {{maximum_words: 8, generator: {{width: 8, heads: 2, hidden: 16, blocks: 1, dropout: 0.1}}, warmup_sentences: 8, total_sentences: 64, batch_size: 8,
   ema_half_life: 16, {WATCHED}}}
text_gan:
  {{critic: {{width: 8, heads: 2, hidden: 16, blocks: 1}}, recipe: {{critic_first: 16, mle_weight: 0.3}}, guard_diversity: 0,
   total_sentences: 64, batch_size: 8, ema_half_life: 16, {WATCHED}}}
"""


def arguments(folder: Path, *settings: str) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), "--state", str(folder / ".figment"), *sets]
