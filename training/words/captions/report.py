"""Judge the titles that a titler writes for pictures, and whether it looks at them.

    python -m training.words.captions.report --set training_pairs=32 --set held_out_pairs=32         # seconds on a CPU

Reads data/toc_titler, data/toc_dataset@SIZE and data/paper_texts. Writes data/titler_report: headline.json, metrics.json, report.md, titles.png.
"""

import functools
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import VisionEncoderDecoderModel

from formats.image_shards import ImageSetError
from formats.text_tables import PaperText, TextTableError
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import GenerationError
from training.fine_tuning.model_folder import load_model, load_processor, load_tokenizer
from training.loop.bounds import at_least, within
from training.loop.seeding import generator
from training.metrics.intervals import Number, Rate, value_of
from training.metrics.text.bleu import corpus_bleu
from training.metrics.text.cider import cider_d
from training.metrics.text.meteor import meteor_exact_stem
from training.metrics.text.rouge import rouge
from training.reports.numbers import Numbers, cell
from training.reports.pictures import draw_panels
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import PromotionRule, TrackingError
from training.words.captions.pairs import Pictures, read_pairs, write_titles

STAGE, MODEL = "titler_report", "toc_titler"
SCORES = ("bleu", "rouge_l", "cider_d", "meteor_exact_stem", "exact_match")
# What every title has in common counts for nothing in it, so it is what a titler that looks must lose.
_LOST = "cider_d_lost"
_WORDS = """
BLEU, ROUGE-L and METEOR lie between 0 and 1, CIDEr-D between 0 and 10 and depends on the set. METEOR knows exact words and stems, no synonyms. With
another's picture, every title is judged as if it had been written for the picture of another paper: who does not look at pictures loses nothing, and
where others' pictures do as well no share lost is told.
"""


@dataclass(frozen=True)
class TitlerReportConfig:
    """The section `titler_report`. training_pairs, held_out_pairs: judged at most, drawn by the seed. lost_floor: of CIDEr-D, on training pairs."""

    dataset_size: int = 128
    training_pairs: int = 256
    held_out_pairs: int = 1000
    shown_pairs: int = 12
    lost_floor: float = 0.5
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "dataset_size", "training_pairs", "held_out_pairs", "shown_pairs")
        within(self, 0, 1, "lost_floor")


def scores(papers: Sequence[PaperText], titles: Sequence[str]) -> dict[str, Number]:
    """Each of SCORES, of titles written for the pictures of these papers."""
    real, references = [paper.title for paper in papers], [[paper.title] for paper in papers]
    exact = Rate(sum(ours == theirs for ours, theirs in zip(titles, real, strict=True)), len(real))
    bleu, rouge_l = corpus_bleu(titles, references).value, rouge(titles, real)["rougeL"]
    return dict(zip(SCORES, (bleu, rouge_l, cider_d(titles, references), meteor_exact_stem(titles, real), exact), strict=True))


def judged(papers: Sequence[PaperText], titles: Sequence[str]) -> dict[str, Number]:
    """The scores; of two and more pairs also `_exchanged`, by half of the pairs further on, and `_lost`: the share that this costs.

    `_lost` is left out where others' pictures do as well: there is nothing to lose, and a ratio of two such numbers says nothing.
    """
    own, half = scores(papers, titles), len(papers) // 2
    if len(papers) < 2:
        return own
    other = scores(papers, [*titles[half:], *titles[:half]])
    lost = {f"{name}_lost": 1 - value_of(other[name]) / value_of(own[name]) for name in SCORES if value_of(own[name]) > value_of(other[name])}
    return {**own, **{f"{name}_exchanged": number for name, number in other.items()}, **lost}


def judge(config: TitlerReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the titler below `data`. Held-out pairs are those of the split test; of valid where it has none."""
    model = load_model(data / MODEL, VisionEncoderDecoderModel)
    tokenizer, pairs = load_tokenizer(data / MODEL, model.decoder), read_pairs(data, config.dataset_size, load_processor(data / MODEL))
    held_out = pairs.by_split["test"] or pairs.by_split["valid"]
    found, numbers, rows = {}, Numbers(), []
    for split, (papers, most) in {"train": (pairs.by_split["train"], config.training_pairs), "held_out": (held_out, config.held_out_pairs)}.items():
        order = torch.randperm(len(papers), generator=generator(config.seed, "judged"))[:most]
        # In no order, so that half of them further on is a picture like any other.
        drawn = [papers[place] for place in order.tolist()]
        reporter.log(f"{STAGE}: {len(drawn):,} {split} pairs")
        if not drawn:
            continue
        titles = write_titles(model, tokenizer, pairs.pictures, [paper.image_sha256 or "" for paper in drawn])
        found[split], rows = judged(drawn, titles), list(zip(drawn, titles, strict=True))[: config.shown_pairs]
        numbers.qualify(f"{split}_pairs", len(drawn))
        for name, number in found[split].items():
            numbers.add(f"{split}_{name}", number)
    facts = {f"{split}_{_LOST}": value_of(named[_LOST]) for split, named in found.items() if _LOST in named}
    return Report(
        STAGE,
        MODEL,
        numbers,
        _markdown(found, rows),
        pictures=[Picture("Titles for pictures", "titles", "titles.png", functools.partial(_draw, rows, pairs.pictures))],
        checks=[Check("looks_at_the_picture", facts.get(f"train_{_LOST}", 0.0) >= config.lost_floor, {**facts, "floor": config.lost_floor})],
        headline={"held_out": [*SCORES, _LOST], "train": ["bleu", "exact_match", _LOST]},
        promote=config.promote,
    )


def _markdown(found: Mapping[str, Mapping[str, Number]], pairs: Sequence[tuple[PaperText, str]]) -> str:
    kinds = (("", "its own picture"), ("_exchanged", "another's picture"), ("_lost", "share lost"))
    rows = [[f"{split}, {words}", *(cell(named.get(name + ending)) for name in SCORES)] for split, named in found.items() for ending, words in kinds]
    titles = [[escape(paper.title), escape(title)] for paper, title in pairs]
    return f"# Titles for pictures\n\n{table(['', *SCORES], rows)}{_WORDS}\n## Titles\n\n{table(['real title', 'written'], titles)}"


def _draw(pairs: Sequence[tuple[PaperText, str]], pictures: Pictures, path: Path) -> None:
    """Each picture below its real title and above the written one."""

    def panel(paper: PaperText, title: str, axes: Any) -> None:
        axes.imshow(pictures.image(paper.image_sha256 or ""))
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(textwrap.fill(title, 44), fontsize=7, color="C3", parse_math=False)

    named = {textwrap.fill(f"{place}. {pair[0].title}", 40): functools.partial(panel, *pair) for place, pair in enumerate(pairs, 1)}
    draw_panels(named, path, nothing="no pair to show")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `titler_report`; see stages/program.py for flags and exit codes."""
    expected = (ImageSetError, TextTableError, TuningError, GenerationError, TrackingError)
    return program(__doc__, report_body(STAGE, TitlerReportConfig, judge), argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
