"""Judge the titles that a titler writes for pictures, and whether it looks at them.

    python -m training.words.captions.report
    python -m training.words.captions.report --set training_pairs=32 --set held_out_pairs=32         # seconds on a CPU

Reads data/toc_titler, data/toc_dataset@SIZE and data/paper_texts. Writes data/titler_report: headline.json, metrics.json, report.md, titles.png.
"""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import VisionEncoderDecoderModel

from formats.image_shards import ImageSetError
from formats.text_tables import PaperText, TextTableError, read_paper_texts
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.loop.bounds import at_least, within
from training.loop.seeding import generator
from training.metrics.intervals import Number, Rate, value_of
from training.metrics.text.bleu import corpus_bleu
from training.metrics.text.cider import cider_d
from training.metrics.text.meteor import meteor_exact_stem
from training.metrics.text.rouge import rouge
from training.reports.numbers import Numbers, cell
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import PromotionRule, TrackingError
from training.words.captions.pairs import join
from training.words.captions.pictures import Pictures, load_processor
from training.words.captions.sheet import draw_sheet
from training.words.captions.writing import write_titles
from training.words.examples import WordsError
from training.words.generation import GenerationError
from training.words.model_folder import load_model, load_tokenizer

STAGE, MODEL = "titler_report", "toc_titler"
SCORES = ("bleu", "rouge_l", "cider_d", "meteor_exact_stem", "exact_match")
# What every title has in common counts for nothing in it, so it is what a titler that looks must lose.
_DECISIVE = "cider_d"


@dataclass(frozen=True)
class TitlerReportConfig:
    """The section `titler_report`. training_pairs, held_out_pairs: judged at most, drawn by the seed. shown_pairs: in the picture.

    lost_floor: of the check `looks_at_the_picture`: the share of CIDEr-D that must be lost when pictures are exchanged among the training pairs.
    """

    dataset_size: int = 128
    allow_unknown_licence: bool = False
    training_pairs: int = 256
    held_out_pairs: int = 1000
    shown_pairs: int = 12
    lost_floor: float = 0.5
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "dataset_size", "training_pairs", "held_out_pairs", "shown_pairs")
        within(self, 0, 1, "lost_floor")


@dataclass(frozen=True)
class Written:
    """Pairs of one split and the title that was written for the picture of each."""

    papers: Sequence[PaperText]
    titles: Sequence[str]

    def scores(self, *, exchanged: bool = False, seed: int = 0) -> dict[str, Number]:
        """By name of SCORES. exchanged: every title is judged as if it had been written for another of the pictures; none for less than two."""
        if exchanged and len(self.papers) < 2:
            return {}
        titles = [self.titles[place] for place in exchange(len(self.titles), seed)] if exchanged else self.titles
        real = [paper.title for paper in self.papers]
        references = [[title] for title in real]
        return {
            "bleu": corpus_bleu(titles, references).value,
            "rouge_l": rouge(titles, real)["rougeL"],
            "cider_d": cider_d(titles, references),
            "meteor_exact_stem": meteor_exact_stem(titles, real),
            "exact_match": Rate(sum(ours == theirs for ours, theirs in zip(titles, real, strict=True)), len(real)),
        }


def exchange(number: int, seed: int) -> list[int]:
    """The places 0 to number - 1 in an order in which none is where it was; number: at least 2."""
    order = torch.randperm(number, generator=generator(seed, "exchange")).tolist()
    partner = dict(zip(order, order[1:] + order[:1], strict=True))
    return [partner[place] for place in range(number)]


def lost(own: Mapping[str, Number], other: Mapping[str, Number]) -> dict[str, float]:
    """By score, the share that is lost with pictures of others; nothing where there was nothing to lose."""
    return {name: 1 - value_of(other[name]) / value_of(own[name]) for name in other if value_of(own[name]) > 0}


def judge(config: TitlerReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the titler below `data`. Held-out pairs are those of the split test; of valid where it has none."""
    model = load_model(data / MODEL, VisionEncoderDecoderModel)
    tokenizer = load_tokenizer(data / MODEL, model.decoder)
    dataset = data / f"toc_dataset@{config.dataset_size}"
    pictures = Pictures(dataset, load_processor(data / MODEL))
    pairs = join(read_paper_texts(data / "paper_texts"), pictures, str(dataset), allow_unknown_licence=config.allow_unknown_licence).by_split
    chosen = {
        "train": _drawn(pairs["train"], config.training_pairs, config.seed),
        "held_out": _drawn(pairs["test"] or pairs["valid"], config.held_out_pairs, config.seed),
    }
    reporter.log(f"{STAGE}: " + ", ".join(f"{len(papers):,} {name} pairs" for name, papers in chosen.items()))
    written = {
        name: Written(papers, write_titles(model, tokenizer, pictures, [paper.image_sha256 or "" for paper in papers]))
        for name, papers in chosen.items()
        if papers
    }
    found = {name: _judged(one, config.seed) for name, one in written.items()}
    shown = written.get("held_out", written["train"])
    facts = {f"{name}_{_DECISIVE}_lost": columns["lost"].get(_DECISIVE, 0.0) for name, columns in found.items()}
    looks = float(facts[f"train_{_DECISIVE}_lost"]) >= config.lost_floor
    return Report(
        STAGE,
        MODEL,
        _numbers(found, written),
        _markdown(found, written, config),
        pictures=[Picture("Titles for pictures", "titles", "titles.png", functools.partial(_draw, shown, pictures, config.shown_pairs))],
        checks=[Check("looks_at_the_picture", looks, {**facts, "floor": config.lost_floor})],
        headline={"held_out": [*SCORES, f"{_DECISIVE}_lost"], "train": ["bleu", "exact_match", f"{_DECISIVE}_lost"]},
        promote=config.promote,
    )


def _drawn(papers: Sequence[PaperText], most: int, seed: int) -> list[PaperText]:
    order = torch.randperm(len(papers), generator=generator(seed, "judged"))[:most]
    return [papers[place] for place in sorted(order.tolist())]


def _judged(written: Written, seed: int) -> dict[str, dict[str, Number]]:
    own, other = written.scores(), written.scores(exchanged=True, seed=seed)
    return {"own": own, "exchanged": other, "lost": dict(lost(own, other))}


def _numbers(found: Mapping[str, Mapping[str, Mapping[str, Number]]], written: Mapping[str, Written]) -> Numbers:
    """`held_out_bleu`, `held_out_bleu_exchanged`, `held_out_bleu_lost` and so on."""
    numbers = Numbers()
    for split, columns in found.items():
        for column, scores in columns.items():
            for name, number in scores.items():
                numbers.add(f"{split}_{name}", number, ending="" if column == "own" else f"_{column}")
        numbers.qualify(f"{split}_pairs", len(written[split].papers))
    return numbers


def _markdown(found: Mapping[str, Mapping[str, Mapping[str, Number]]], written: Mapping[str, Written], config: TitlerReportConfig) -> str:
    rows = [
        [escape(f"{split}, {words}"), *(cell(columns[column].get(name)) for name in SCORES)]
        for split, columns in found.items()
        for column, words in (("own", "its own picture"), ("exchanged", "another's picture"), ("lost", "share lost"))
    ]
    shown = written.get("held_out", written["train"])
    titles = [[escape(paper.title), escape(title)] for paper, title in zip(shown.papers, shown.titles, strict=True)][: config.shown_pairs]
    counts = " and ".join(f"{len(one.papers):,} {escape(name)}" for name, one in written.items())
    return (
        f"# Titles for pictures\n\n{table(['', *(escape(name) for name in SCORES)], rows)}\n"
        f"Of {counts} pairs. BLEU, ROUGE-L and METEOR lie between 0 and 1, CIDEr-D between 0 and 10 and depends on the set. METEOR knows exact\n"
        "words and stems, no synonyms. In the second rows every title is judged as if it had been written for the picture of another paper: who does not\n"
        f"look at pictures loses nothing there.\n\n## Titles\n\n{table(['real title', 'written'], titles)}"
    )


def _draw(written: Written, pictures: Pictures, most: int, path: Path) -> None:
    papers = written.papers[:most]
    draw_sheet([(pictures.image(paper.image_sha256 or ""), paper.title, title) for paper, title in zip(papers, written.titles, strict=False)], path)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `titler_report`; see stages/program.py for flags and exit codes."""
    expected = (ImageSetError, TextTableError, WordsError, GenerationError, TrackingError)
    return program(__doc__, report_body(STAGE, TitlerReportConfig, judge), argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
