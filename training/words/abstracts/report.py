"""Judge a T5 between titles and abstracts: what it writes beside what was written, and whether it reads what it is given.

    python -m training.words.abstracts.report abstract_report       # of data/abstract_t5
    python -m training.words.abstracts.report title_t5_report       # of data/title_t5

Reads the model and data/paper_texts; writes data/abstract_report or data/title_t5_report: headline.json, metrics.json, report.md, reading.png.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from transformers import AutoModelForSeq2SeqLM

from formats.text_tables import TextTableError
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.metrics.intervals import Number
from training.metrics.text.bleu import corpus_bleu
from training.metrics.text.diversity import verbatim_copies
from training.metrics.text.keywords import keyword_recall
from training.metrics.text.meteor import meteor_exact_stem
from training.metrics.text.rouge import rouge
from training.reports.numbers import Numbers, cell
from training.reports.pictures import draw_panels
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import TrackingError
from training.words.abstracts.config import GENERATIONS, T5ReportOptions
from training.words.abstracts.pairs import TEXTS, encode_pairs, others, read_pairs, reading_costs, reading_numbers
from training.words.examples import WordsError
from training.words.generation import GenerationError, generate
from training.words.model_folder import load_model, load_tokenizer

_MODELS = {"abstract_report": "abstract_t5", "title_t5_report": "title_t5"}
_WRITTEN = ("rougeL", "keyword_recall", "meteor_exact_stem", "copied")


def judge(stage: str, options: T5ReportOptions, data: Path, reporter: Reporter) -> Report:
    """The report `stage` on its model below `data`. Raises WordsError, TextTableError."""
    name, seed = _MODELS[stage], options.seed
    pairs, learned = (read_pairs(data / TEXTS, name, split) for split in (options.split, "train"))
    model: Any = load_model(data / name, AutoModelForSeq2SeqLM)
    tokenizer = load_tokenizer(data / name, model)
    examples = encode_pairs(tokenizer, pairs, model.config, most=options.most_pairs)
    usual = replace(GENERATIONS[name], max_new_tokens=model.config.target_tokens)
    with open_devices() as devices:
        costs = reading_costs(model.to(devices.device), examples, seed=seed)
        texts = generate(model, tokenizer, examples.inputs(options.written_pairs), options.generation or usual, seed=seed)
    # Of several texts for one source the first is judged: choosing the best would need to know the answer.
    written, sources, targets = [found[0] for found in texts], pairs.sources[: len(texts)], pairs.targets[: len(texts)]
    judged = {"written": _scores(name, sources, targets, written), "shuffled": _scores(name, others(sources, seed), others(targets, seed), written)}
    judged["written"]["copied"] = verbatim_copies(written, learned.targets)
    judged["held_out"] = dict(reading_numbers(costs, rounds=options.bootstrap_rounds, seed=seed))
    numbers = Numbers()
    for prefix, scores in judged.items():
        for key, number in scores.items():
            numbers.add(f"{prefix}_{key}", number)
    gain, rows = numbers.flat.get("held_out_reading_gain", 0.0), list(zip(sources, texts, targets, strict=True))[: options.shown_pairs]
    facts = {"reading_gain": gain, "floor": options.gain_floor, "pairs": len(examples)}
    return Report(
        stage,
        name,
        numbers,
        _markdown(name, judged, rows, f"{len(examples):,} pairs of split {options.split}, texts for {len(texts):,} of them."),
        pictures=[Picture("Does it read?", "reading", "reading.png", partial(_draw, costs))],
        checks=[Check("reads_its_input", gain >= options.gain_floor, facts)],
        headline={"held_out": ("nll_per_char", "reading_gain"), "written": _WRITTEN, "shuffled": ("rougeL", "keyword_recall")},
        promote=options.promote,
    )


def _scores(model: str, sources: Sequence[str], targets: Sequence[str], written: Sequence[str]) -> dict[str, Number]:
    titles, abstracts = (sources, written) if model == "abstract_t5" else (written, sources)
    return {
        **rouge(written, targets),
        "bleu": corpus_bleu(written, [[target] for target in targets]).value,
        "meteor_exact_stem": meteor_exact_stem(written, targets),
        "keyword_recall": keyword_recall(titles, abstracts),
    }


def _markdown(model: str, judged: dict[str, dict[str, Number]], rows: Sequence[tuple[str, Sequence[str], str]], facts: str) -> str:
    compared = [[escape(name), cell(number), cell(judged["shuffled"].get(name))] for name, number in judged["written"].items()]
    cost = [[escape(name), cell(number, with_n=True)] for name, number in judged["held_out"].items()]
    shown = [[escape(source), escape(" / ".join(texts)), escape(target)] for source, texts, target in rows]
    return (
        f"# {escape(model)}\n\n{facts}\n\n{table(['of what it wrote', 'beside its paper', 'beside another paper'], compared)}\n"
        "keyword_recall: of a title's words, function words aside, those that its abstract has. copied: eight or more words in a row that a training "
        "target has. METEOR knows exact words and stems, no synonyms.\n\n"
        f"{table(['of what was written', 'nats, or share'], cost)}\nreading_gain: by what share a target costs more behind another paper's text; about "
        f"0 is a model that does not read.\n\n## Examples\n\n{table(['given', 'written', 'real'], shown)}"
    )


def _draw(costs: numpy.ndarray, path: Path) -> None:
    def draw(axes: Any) -> None:
        axes.scatter(costs[0] / costs[2], costs[1] / costs[2], s=6)
        axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
        axes.set(xlabel="behind its own source", ylabel="behind another's")

    draw_panels({"nats per character of a target": draw}, path, nothing="nothing was judged")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `abstract_report` or `title_t5_report`; see stages/program.py for flags and exit codes."""

    def body(arguments: Namespace, reporter: Reporter) -> None:
        report_body(arguments.stage, T5ReportOptions, partial(judge, arguments.stage))(arguments, reporter)

    expected = (WordsError, TextTableError, GenerationError, TrackingError)
    return program(__doc__, body, argv, expected=expected, configure=lambda parser: parser.add_argument("stage", choices=tuple(_MODELS)))


if __name__ == "__main__":
    sys.exit(main())
