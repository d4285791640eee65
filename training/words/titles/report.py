"""Judge a model of titles: bits per character beside a 5-gram and xz, whether titles end, repeat or copy, and completions of held-out titles.

    python -m training.words.titles.report
    python -m training.words.titles.report --set free_titles=2000 --set free.top_p=0.95

Reads data/title_gpt2 and data/paper_texts. Writes data/titles_report.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from formats.text_tables import TextTableError, read_paper_texts
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import Generation, GenerationError, Written, tokenize, write
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.fine_tuning.packing import causal_loss, pack
from training.loop.bounds import at_least, within
from training.metrics.intervals import Number, Rate
from training.metrics.text.diversity import distinct_n, verbatim_copies
from training.metrics.text.ngram_model import CharacterNgram, xz_bits_per_character
from training.metrics.text.words import words
from training.reports.numbers import Numbers, cell
from training.reports.pictures import draw_panels
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import PromotionRule, TrackingError

STAGE, MODEL = "titles_report", "title_gpt2"
_BATCH = 32
_HEADLINE = ["bits_per_character", "gain", "ended_rate", "distinct_2", "copied_rate", "exact_rate"]


@dataclass(frozen=True)
class TitlesReportConfig:
    """The section `titles_report`; how completions are written is the seed's by default.

    allow_unknown_licence: as in title_gpt2. held_out_titles: judged at most. free_titles: written from nothing, as `free` says. completed_titles:
    held-out ones written on from their first `prompt_words` words, greedily and as `completed` says. ended_floor: of the check `ends_itself`.
    """

    allow_unknown_licence: bool = False
    held_out_titles: int = 2000
    free_titles: int = 500
    free: Generation = field(default_factory=lambda: Generation("sample", top_p=0.8, max_new_tokens=127))
    completed_titles: int = 10
    prompt_words: int = 4
    completed: Generation = field(default_factory=lambda: Generation("sample", top_p=0.8, max_new_tokens=30))
    ended_floor: float = 0.95
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "held_out_titles", "free_titles", "prompt_words")
        at_least(self, 0, "completed_titles")
        within(self, 0, 1, "ended_floor")


@dataclass(frozen=True)
class Titler:
    """A causal model whose tokenizer puts the first token itself, as that of title_gpt2 does."""

    model: Any
    tokenizer: Any
    seed: int

    def write(self, beginnings: Sequence[str], settings: Generation) -> list[Written]:
        # A model with few positions writes less.
        settings = replace(settings, max_new_tokens=min(settings.max_new_tokens, self.model.config.max_position_embeddings - 1))
        room = self.model.config.max_position_embeddings - settings.max_new_tokens
        inputs = tokenize(self.tokenizer, beginnings, most_tokens=room, pad="left", start=self.tokenizer.bos_token_id).inputs
        return [texts[0] for texts in write(self.model, self.tokenizer, inputs, settings, seed=self.seed)]

    @torch.inference_mode()
    def bits(self, titles: Sequence[str]) -> tuple[float, int, list[str]]:
        """(Bits, tokens, titles) of those that the model has positions for; a token that ends a title is one of them."""
        documents = {title: [*self.tokenizer(title)["input_ids"], self.tokenizer.eos_token_id] for title in titles}
        fitting = [title for title, document in documents.items() if len(document) <= self.model.config.max_position_embeddings]
        batches = [[documents[title] for title in fitting[start : start + _BATCH]] for start in range(0, len(fitting), _BATCH)]
        losses = [causal_loss(self.model, pack(batch, 0, self.tokenizer.pad_token_id)) for batch in batches]
        return sum(float(nats) for nats, _ in losses) / math.log(2), sum(int(tokens) for _, tokens in losses), fitting


def judge(config: TitlesReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the model below `data`, on titles of the split `test`; of `valid` where that is empty."""
    model = load_model(data / MODEL, AutoModelForCausalLM)
    titler = Titler(model, load_tokenizer(data / MODEL, model), config.seed)
    papers = [paper for paper in read_paper_texts(data / "paper_texts") if config.allow_unknown_licence or paper.licence != "unknown"]
    training, valid, test = (list(dict.fromkeys(paper.title for paper in papers if paper.split == split)) for split in ("train", "valid", "test"))
    bits, tokens, held_out = titler.bits((test or valid)[: config.held_out_titles])
    if not training or not held_out:
        where = f"{data / 'paper_texts'}: {len(training):,} training titles and {len(held_out):,} held-out ones of a length that the model knows"
        raise TuningError(f"{where}; a report needs both: crawl more papers, or set allow_unknown_licence here and in {MODEL}")
    reporter.log(f"{STAGE}: {len(held_out):,} held-out titles ({tokens:,} tokens), {config.free_titles:,} free ones")
    free = titler.write([""] * config.free_titles, config.free)
    ended, texts = Rate(sum(text.ended for text in free), len(free)), [text.text for text in free]
    # Of fewer titles more is distinct, so as many are asked of the model as of the real ones.
    same, per_character = min(len(free), len(held_out)), bits / sum(len(title) + 1 for title in held_out)
    plain = {"5gram": CharacterNgram.fit(training).bits_per_character(held_out), "xz": xz_bits_per_character(held_out, training)}
    # What a model that has learnt the abstracts as well is to be compared with.
    if abstracts := [paper.abstract for paper in papers if paper.split == "train" and paper.abstract]:
        plain["5gram_abstracts"] = CharacterNgram.fit([*training, *abstracts]).bits_per_character(held_out)
    bits_of: dict[str, Number] = {"bits_per_character": per_character, "gain": 1 - per_character / plain["5gram"], "bits_per_token": bits / tokens}
    found: dict[str, dict[str, Number]] = {
        "model": {**bits_of, "ended_rate": ended, **_variety(texts, same, training)},
        "real": _variety(held_out, same, training),
        **{name: {"bits_per_character": value} for name, value in plain.items()},
    }
    numbers = Numbers(qualifiers={"held_out_titles": len(held_out), "held_out_tokens": tokens, "training_titles": len(training)})
    for of, name, number in [(of, name, number) for of, named in found.items() for name, number in named.items()]:
        numbers.add(f"{of}_{name}", number)
    text = _markdown(found, numbers, _completions(titler, held_out, config))
    picture = Picture("Bits and lengths", "bits and lengths", "titles.png", lambda path: _draw(found, held_out, texts, path))
    check = Check("ends_itself", ended.value >= config.ended_floor, {"ended": ended.value, "titles": ended.n, "floor": config.ended_floor})
    headline = {"model": _HEADLINE, "5gram": _HEADLINE[:1], "xz": _HEADLINE[:1], "real": ["distinct_2"]}
    return Report(STAGE, MODEL, numbers, text, [picture], [check], headline, config.promote)


def _variety(titles: Sequence[str], same: int, training: Sequence[str]) -> dict[str, Number]:
    """What may be compared of free and real titles. Copies are those of training titles, in the same words."""
    tokens, known = [words(title) for title in titles], {tuple(words(title)) for title in training}
    return {
        **{f"distinct_{n}": distinct_n(tokens[:same], n) for n in (1, 2)},
        "copied_rate": verbatim_copies(titles, training),
        "exact_rate": Rate(sum(tuple(title) in known for title in tokens), len(tokens)),
        "characters": sum(map(len, titles)) / len(titles),
    }


def _completions(titler: Titler, held_out: Sequence[str], config: TitlesReportConfig) -> str:
    """A table of held-out titles and how the model goes on from their first words; all of it is foreign text."""
    real = [title for title in held_out if len(title.split()) > config.prompt_words][: config.completed_titles]
    begun = [" ".join(title.split()[: config.prompt_words]) for title in real]
    written = [titler.write(begun, how) if begun else [] for how in (Generation(max_new_tokens=config.completed.max_new_tokens), config.completed)]
    columns = [begun, real, *([text.text for text in texts] for texts in written)]
    rows = [[escape(text) for text in row] for row in zip(*columns, strict=True)]
    return table(["first words", "real title", "greedy", f"top-p {config.completed.top_p:g}, T {config.completed.temperature:g}"], rows)


def _markdown(found: Mapping[str, Mapping[str, Number]], numbers: Numbers, completions: str) -> str:
    names = list(found["model"])
    rows = [[f"*{judged}*", *(cell(named.get(name)) for name in names)] for judged, named in found.items()]
    titles, tokens, learnt = (numbers.qualifiers[name] for name in ("held_out_titles", "held_out_tokens", "training_titles"))
    return (
        f"# Titles\n\n{table(['', *(name.replace('_', ' ') for name in names)], rows)}\n"
        f"Bits are those of {titles:,} held-out titles ({tokens:,} tokens), the end of each one character more; the character 5-gram and xz\n"
        f"know {learnt:,} training titles, and the gain is over that 5-gram. A title is copied where eight words or more in a row are those of a\n"
        f"training title, and exact where all are. The row 5gram abstracts is of a 5-gram that knows\n"
        f"the training abstracts too.\n\n## Completions\n\n{completions}"
    )


def _draw(found: Mapping[str, Mapping[str, Any]], real: Sequence[str], free: Sequence[str], path: Path) -> None:
    def bits(axes: Any) -> None:
        names = [name for name in found if name != "real"]
        axes.bar(names, [found[name]["bits_per_character"] for name in names], color=["C0", *["0.7"] * (len(names) - 1)])

    def lengths(axes: Any) -> None:
        axes.hist([list(map(len, real)), list(map(len, free))], bins=20, density=True, label=["real", "model"], color=["0.6", "C0"])
        axes.legend(fontsize=6)

    draw_panels({"bits per character of held-out titles": bits, "characters of a title": lengths}, path, nothing="")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `titles_report`; see stages/program.py for flags and exit codes."""
    body, expected = report_body(STAGE, TitlesReportConfig, judge), (TextTableError, TuningError, GenerationError, TrackingError)
    return program(__doc__, body, argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
