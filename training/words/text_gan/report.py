"""Judge what both generators write, over temperatures and side by side: quality against diversity, beside real sentences.

    python -m training.words.text_gan.report

Reads data/text_gan, data/text_mle, data/sentences, data/vocabulary; writes data/text_report: headline.json, metrics.json, report.md, curves.png,
samples.parquet. A temperature is that of the softmax from which each word is drawn, for both; at 0 the likeliest word is taken.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from formats.sentence_grammar import is_grammatical
from formats.tables import columns, table_from_rows, write_table
from formats.text_tables import SPLITS, TextTableError, load_vocabulary, read_sentences
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.loop.bounds import at_least
from training.loop.devices import open_devices
from training.metrics.intervals import Number, Rate
from training.metrics.text.bleu import self_bleu, sentence_set_bleu
from training.metrics.text.diversity import distinct_n, repetition_rate, verbatim_copies
from training.metrics.text.ngram_model import CharacterNgram
from training.reports.numbers import Numbers, cell
from training.reports.pictures import draw_panels
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import PromotionRule, TrackingError
from training.words.text_gan.networks import TextGanError, load_generator, sample

MODELS = {"mle": "text_mle", "gan": "text_gan"}
QUALITY, REVERSE = "perplexity_word_trigram", "reverse_perplexity_word_trigram"
_COLUMNS = ("bleu2", "bleu3", "bleu4", "bleu5", "self_bleu4", "distinct2", "repetition2", QUALITY, REVERSE, "grammatical", "verbatim")


@dataclass(frozen=True)
class TextReportConfig:
    """The section `text_report`. compared_at_most: of the samples, and of real ones beside them. diversity_floor: of the check `says_many_things`."""

    temperatures: tuple[float, ...] = (0.5, 0.7, 0.85, 1.0, 1.2)
    samples: int = 1000
    compared_at_most: int = 500
    shown: int = 8
    diversity_floor: float = 0.5
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 2, "samples", "compared_at_most")
        if 1.0 not in self.temperatures or min(self.temperatures) < 0:
            raise ValueError(f"temperatures must not be negative and hold 1.0, which is judged first; found {list(self.temperatures)}")


class Jury:
    """Of real sentences, `train` teaches the trigram and holds what may be copied, BLEU compares with `test`, and `valid` is the floor."""

    def __init__(self, data: Path, config: TextReportConfig) -> None:
        vocabulary, self.real = load_vocabulary(data / "vocabulary"), {split: list[str]() for split in SPLITS}
        for sentence in read_sentences(data / "sentences"):
            self.real[sentence.split].append(vocabulary.decode(vocabulary.encode(sentence.text, add_special_tokens=False).ids))
        if short := [split for split in SPLITS if len(self.real[split]) < 2]:
            raise TextGanError(f"{data / 'sentences'}: fewer than two sentences of split {short[0]}, which the report needs; take more sentences")
        self.compared, self.seed = min(config.compared_at_most, config.samples, len(self.real["valid"])), config.seed
        # A letter for each word, of a plane that nobody writes in: the n-gram model of characters becomes one of words.
        self.codes = {word: chr(0xF0000 + id) for id, word in enumerate(sorted({word for text in self.real["train"] for word in text.split()}))}
        self.trigram = CharacterNgram.fit(self.coded(self.real["train"]), order=3)
        self.has_grammar = sum(map(is_grammatical, self.real["test"])) >= 0.95 * len(self.real["test"])

    def coded(self, texts: Sequence[str]) -> list[str]:
        return ["".join(self.codes.get(word, "?") for word in text.split()) for text in texts]

    def judge(self, texts: Sequence[str]) -> dict[str, Number]:
        """As many texts are judged as there are real ones beside them, because diversity depends on how many there are."""
        texts = texts[: self.compared]
        tokens, references = ([text.split() for text in some if text] for some in (texts, self.real["test"]))
        found: dict[str, Number] = {f"bleu{n}": sentence_set_bleu(tokens, references, n) for n in (2, 3, 4, 5)}
        found |= {f"self_bleu{n}": self_bleu(tokens, n, subset=len(tokens), seed=self.seed) for n in (2, 3, 4, 5)}
        found |= {f"distinct{n}": distinct_n(tokens, n) for n in (1, 2, 3)} | {"repetition2": repetition_rate(tokens, 2)}
        # Of the texts to a trigram of real ones: quality. Of real ones to a trigram of the texts: whether all that is real can be said.
        found[QUALITY] = 2 ** self.trigram.bits_per_character(self.coded(texts))
        found[REVERSE] = 2 ** CharacterNgram.fit(self.coded(texts), order=3).bits_per_character(self.coded(self.real["test"]))
        if self.has_grammar:
            found["grammatical"] = Rate(sum(map(is_grammatical, texts)), len(texts))
        return found | {"verbatim": verbatim_copies(texts, self.real["train"])}


def judge(config: TextReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on both models below `data`."""
    jury, numbers, written = Jury(data, config), Numbers(), dict[tuple[str, float], list[str]]()
    with open_devices() as devices:
        for name, folder in MODELS.items():
            model = load_generator(data / folder, devices.device)
            written |= {(name, t): sample(*model, config.samples, temperature=t, seed=config.seed) for t in sorted(config.temperatures)}
    texts = {f"{name}_t{temperature:g}": lines for (name, temperature), lines in written.items()} | {"real": jury.real["valid"]}
    groups = {group: jury.judge(texts[group]) for group in reporter.progress(texts, total=len(texts), what="text_report")}
    for group, found in groups.items():
        for name, value in found.items():
            numbers.add(f"{group}_{name}", value)
    shown = [name for name in _COLUMNS if name in groups["real"]]
    table_of_all = _TITLE + table(["group", *shown], [[group, *(cell(found[name]) for name in shown)] for group, found in groups.items()])
    examples = "".join(f"\n**{group}**\n\n" + "".join(f"- {escape(line)}\n" for line in texts[group][: config.shown]) for group in texts)
    first = ["bleu4", "self_bleu4", "grammatical" if jury.has_grammar else QUALITY, REVERSE]
    headline = {"gan_t1": first, "mle_t1": first, "real": first[:2]}
    facts = {"distinct_2": numbers.values.get("gan_t1_distinct2", 0.0), "real": numbers.values["real_distinct2"], "floor": config.diversity_floor}
    check = Check("says_many_things", facts["distinct_2"] >= config.diversity_floor * facts["real"], facts)
    rows = [{"model": name, "temperature": t, "number": i, "text": line} for (name, t), lines in written.items() for i, line in enumerate(lines)]

    samples = table_from_rows(columns(model=str, temperature=float, number=int, text=str), rows)
    draw = partial(draw_panels, {"BLEU-4 against self-BLEU-4": partial(_draw_curves, numbers.values, config.temperatures)}, nothing="")
    pictures = [Picture("Quality against diversity", "curves", "curves.png", draw, "Upwards is better, leftwards more diverse.")]
    files = {"samples.parquet": partial(write_table, table=samples)}
    text = f"{table_of_all}\n{jury.compared:,} sentences a group. BLEU is against {len(jury.real['test']):,} test sentences, {_WORDS}\n{examples}"
    return Report("text_report", MODELS["gan"], numbers, text, pictures, [check], headline, config.promote, files)


_TITLE = "# Sentences by a GAN and by maximum likelihood\n\n"
_WORDS = """self-BLEU against the others of the group (lower: more diverse), both as in Texygen. Perplexity is of a word, to a trigram of the training
sentences; in reverse, of a test word to a trigram of the group. Verbatim: eight words in a row of a training sentence. All are in samples.parquet.

## Sentences"""


def _draw_curves(values: Mapping[str, float], temperatures: Sequence[float], axes: Any) -> None:
    names = ("self_bleu4", "bleu4")
    for model in MODELS:
        points = [[values.get(f"{model}_t{t:g}_{name}", numpy.nan) for t in sorted(temperatures)] for name in names]
        axes.plot(*points, marker="o", markersize=3, linewidth=1, label=model)
    axes.plot(*([values[f"real_{name}"]] for name in names), "kx", label="real")
    axes.legend(fontsize=6)


def main(argv: Sequence[str] | None = None) -> int:
    return program(__doc__, report_body("text_report", TextReportConfig, judge), argv, expected=(TextGanError, TextTableError, TrackingError))


if __name__ == "__main__":
    sys.exit(main())
