"""Judge what both generators write, over temperatures and side by side: quality against diversity, beside real sentences.

    python -m training.words.text_gan.report

Reads data/text_gan, data/text_mle, data/sentences and data/vocabulary; writes data/text_report: headline.json, metrics.json, report.md, curves.png,
samples.parquet. A temperature is that of the softmax from which each word is drawn, for both; at 0 the likeliest word is taken and noise decides.
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
from training.loop.bounds import at_least, within
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
SAMPLES = columns(model=str, temperature=float, number=int, text=str)
QUALITY, REVERSE = "perplexity_word_trigram", "reverse_perplexity_word_trigram"
_COLUMNS = ("bleu2", "bleu3", "bleu4", "bleu5", "self_bleu4", "distinct2", "repetition2", QUALITY, REVERSE, "grammatical", "verbatim")
# A language whose real sentences the grammar accepts less often than this is not the grammar's.
_OF_THE_GRAMMAR = 0.95


@dataclass(frozen=True)
class TextReportConfig:
    """The section `text_report`. samples: of each model at each temperature. compared_at_most: of these, and real ones, that are judged.

    diversity_floor: the check `says_many_things` warns when distinct_2 of the GAN at temperature 1 is below this share of real sentences'.
    """

    temperatures: tuple[float, ...] = (0.5, 0.7, 0.85, 1.0, 1.2)
    samples: int = 1000
    compared_at_most: int = 500
    shown: int = 8
    diversity_floor: float = 0.5
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 2, "samples", "compared_at_most")
        within(self, 0, 1, "diversity_floor")
        if 1.0 not in self.temperatures or min(self.temperatures) < 0:
            raise ValueError(f"temperatures must not be negative and hold 1.0, which is judged first; found {list(self.temperatures)}")


class _Table(Picture):
    """A file beside the report that is no picture."""

    def section(self, address: str) -> str:
        del address
        return f"\n## {self.title}\n\n{self.words}\n"


class Jury:
    """Of real sentences, `train` teaches the trigram and holds what may be copied, BLEU compares with `test`, and `valid` is the floor."""

    def __init__(self, data: Path, config: TextReportConfig) -> None:
        """Raises TextGanError when a split has fewer than two sentences, or TextTableError."""
        vocabulary, self.real = load_vocabulary(data / "vocabulary"), {split: list[str]() for split in SPLITS}
        for sentence in read_sentences(data / "sentences"):
            self.real[sentence.split].append(vocabulary.decode(vocabulary.encode(sentence.text, add_special_tokens=False).ids))
        if short := [split for split in SPLITS if len(self.real[split]) < 2]:
            raise TextGanError(f"{data / 'sentences'}: fewer than two sentences of split {short[0]}, which the report needs; take more sentences")
        self.compared, self.seed = min(config.compared_at_most, config.samples, len(self.real["valid"])), config.seed
        # A letter for each word, of a plane that nobody writes in: the n-gram model of characters becomes one of words.
        self.codes = {word: chr(0xF0000 + id) for word, id in vocabulary.get_vocab().items()}
        self.trigram = self.learnt(self.real["train"])
        self.has_grammar = sum(map(is_grammatical, self.real["test"])) >= _OF_THE_GRAMMAR * len(self.real["test"])

    def coded(self, texts: Sequence[str]) -> list[str]:
        return ["".join(self.codes.get(word, "?") for word in text.split()) for text in texts]

    def learnt(self, texts: Sequence[str]) -> CharacterNgram:
        return CharacterNgram.fit(self.coded(texts), order=3)

    def judge(self, texts: Sequence[str]) -> dict[str, Number]:
        """As many texts are judged as there are real ones beside them, because diversity depends on how many there are."""
        texts = texts[: self.compared]
        tokens, references = ([text.split() for text in some if text] for some in (texts, self.real["test"]))
        found: dict[str, Number] = {f"bleu{n}": sentence_set_bleu(tokens, references, n) for n in (2, 3, 4, 5)}
        found |= {f"self_bleu{n}": self_bleu(tokens, n, subset=len(tokens), seed=self.seed) for n in (2, 3, 4, 5)}
        found |= {f"distinct{n}": distinct_n(tokens, n) for n in (1, 2, 3)} | {"repetition2": repetition_rate(tokens, 2)}
        # Of the texts to a trigram of real ones: quality. Of real ones to a trigram of the texts: whether all that is real can be said.
        found[QUALITY] = 2 ** self.trigram.bits_per_character(self.coded(texts))
        found[REVERSE] = 2 ** self.learnt(texts).bits_per_character(self.coded(self.real["test"]))
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
    table_of_all = table(["group", *shown], [[group, *(cell(found[name]) for name in shown)] for group, found in groups.items()])
    examples = "".join(f"\n**{group}**\n\n" + "".join(f"- {escape(line)}\n" for line in texts[group][: config.shown]) for group in texts)
    words = f"{jury.compared:,} sentences a group. BLEU is against {len(jury.real['test']):,} test sentences, {_WORDS}"
    text = f"# Sentences by a GAN and by maximum likelihood\n\n{table_of_all}\n{words}\n\n## Sentences\n{examples}"
    first = ["bleu4", "self_bleu4", "grammatical" if jury.has_grammar else QUALITY, REVERSE]
    facts = {"distinct_2": numbers.values.get("gan_t1_distinct2", 0.0), "real": numbers.values["real_distinct2"], "floor": config.diversity_floor}
    rows = [{"model": name, "temperature": t, "number": i, "text": line} for (name, t), lines in written.items() for i, line in enumerate(lines)]
    return Report(
        "text_report",
        MODELS["gan"],
        numbers,
        text,
        pictures=[
            Picture("Quality against diversity", "curves", "curves.png", partial(_draw_curves, numbers.values, config.temperatures), _CURVES),
            _Table(
                "All sentences", "samples", "samples.parquet", lambda path: write_table(path, table_from_rows(SAMPLES, rows)), "In samples.parquet."
            ),
        ],
        checks=[Check("says_many_things", facts["distinct_2"] >= config.diversity_floor * facts["real"], facts)],
        headline={"gan_t1": first, "mle_t1": first, "real": first[:2]},
        promote=config.promote,
    )


_WORDS = (
    "self-BLEU against the others of the group (lower: more diverse), both as in Texygen. Perplexity is of a word, to a trigram of the training "
    "sentences; in reverse, of a test word to a trigram of the group. Verbatim: eight words in a row of a training sentence."
)
_CURVES = (
    "Each point is a temperature. BLEU: upwards is better, leftwards more diverse. Trigrams: downwards better, leftwards more is said. Cross: real."
)


def _draw_curves(values: Mapping[str, float], temperatures: Sequence[float], path: Path) -> None:
    def draw(names: Sequence[str], axes: Any) -> None:
        for model in MODELS:
            points = [[values.get(f"{model}_t{t:g}_{name}", numpy.nan) for t in sorted(temperatures)] for name in names]
            axes.plot(*points, marker="o", markersize=3, linewidth=1, label=model)
        axes.plot(*([values[f"real_{name}"]] for name in names), "kx", label="real")
        axes.set_xlabel(names[0], fontsize=6)
        axes.set_ylabel(names[1], fontsize=6)
        axes.legend(fontsize=6)

    panels = {"BLEU-4": ("self_bleu4", "bleu4"), "Word trigrams": (REVERSE, QUALITY)}
    draw_panels({title: partial(draw, names) for title, names in panels.items()}, path, nothing="")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `text_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body("text_report", TextReportConfig, judge), argv, expected=(TextGanError, TextTableError, TrackingError))


if __name__ == "__main__":
    sys.exit(main())
