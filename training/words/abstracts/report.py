"""Judge a T5 between titles and abstracts: what it writes beside what was written, and whether it reads what it is given.

    python -m training.words.abstracts.report abstract_report           # of data/abstract_t5; or title_t5_report, of data/title_t5

Reads the model and data/paper_texts; writes data/<stage>: headline.json, metrics.json, report.md, reading.png.
"""

import sys
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
from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import GenerationError, generate
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.loop.devices import open_devices
from training.metrics.intervals import Number
from training.metrics.text import bleu, diversity, keywords, meteor, rouge
from training.reports.numbers import Numbers, cell
from training.reports.pictures import draw_panels
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import TrackingError
from training.words.abstracts.config import GENERATIONS, T5ReportOptions
from training.words.abstracts.pairs import TEXTS, encode_pairs, others, read_pairs, reading_costs, reading_numbers

_MODELS = {"abstract_report": "abstract_t5", "title_t5_report": "title_t5"}


def judge(stage: str, options: T5ReportOptions, data: Path, reporter: Reporter) -> Report:
    """The report `stage` on its model below `data`. Raises TuningError, TextTableError."""
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
    judged["written"]["copied"] = diversity.verbatim_copies(written, learned.targets)
    judged["held_out"] = dict(reading_numbers(costs, rounds=options.bootstrap_rounds, seed=seed))
    numbers = Numbers()
    for prefix, scores in judged.items():
        for key, number in scores.items():
            numbers.add(f"{prefix}_{key}", number)
    told = f"{len(examples):,} pairs of split {options.split}, texts for {len(texts):,} of them"
    reporter.log(f"{stage}: {told}")
    text = _markdown(name, judged, list(zip(sources, texts, targets, strict=True)), told)
    gain = numbers.flat.get("held_out_reading_gain", 0.0)
    facts = {"reading_gain": gain, "floor": options.gain_floor, "pairs": len(examples)}
    draw = partial(draw_panels, {"nats per character of a target": partial(_scatter, costs)}, nothing="nothing was judged")
    pictures = [Picture("Does it read?", "reading", "reading.png", draw)]
    checks = [Check("reads_its_input", gain >= options.gain_floor, facts)]
    best = {"held_out": ("nll_per_char", "reading_gain"), "written": ("rougeL", "keyword_recall", "copied"), "shuffled": ("rougeL", "keyword_recall")}
    return Report(stage, name, numbers, text, pictures, checks, best, options.promote)


def _scores(model: str, sources: Sequence[str], targets: Sequence[str], written: Sequence[str]) -> dict[str, Number]:
    titles, abstracts = (sources, written) if model == "abstract_t5" else (written, sources)
    found = {**rouge.rouge(written, targets), "bleu": bleu.corpus_bleu(written, [[target] for target in targets]).value}
    return {**found, "meteor_exact_stem": meteor.meteor_exact_stem(written, targets), "keyword_recall": keywords.keyword_recall(titles, abstracts)}


def _markdown(model: str, judged: dict[str, dict[str, Number]], rows: Sequence[tuple[str, Sequence[str], str]], told: str) -> str:
    compared = [[escape(name), cell(number), cell(judged["shuffled"].get(name))] for name, number in judged["written"].items()]
    cost = [[escape(name), cell(number, with_n=True)] for name, number in judged["held_out"].items()]
    shown = [[escape(source), escape(" / ".join(texts)), escape(target)] for source, texts, target in rows[:8]]
    return (
        f"# {escape(model)}\n\n{told}.\n\n{table(['of what it wrote', 'beside its paper', 'beside another paper'], compared)}\n"
        f"copied: eight or more words in a row that a training target has.\n\n{table(['of what was written', 'nats, or share'], cost)}\n"
        "reading_gain: by what share a target costs more behind another paper's text; about 0 is a model that does not read.\n\n"
        f"## Examples\n\n{table(['given', 'written', 'real'], shown)}"
    )


def _scatter(costs: numpy.ndarray, axes: Any) -> None:
    axes.scatter(costs[0] / costs[2], costs[1] / costs[2], s=6)
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    axes.set(xlabel="behind its own source", ylabel="behind another's")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `abstract_report` or `title_t5_report`; see stages/program.py for flags and exit codes."""

    def body(arguments: Any, reporter: Reporter) -> None:
        report_body(arguments.stage, T5ReportOptions, partial(judge, arguments.stage))(arguments, reporter)

    known, flags = (
        (TuningError, TextTableError, GenerationError, TrackingError),
        lambda parser: parser.add_argument("stage", choices=tuple(_MODELS)),
    )
    return program(__doc__, body, argv, expected=known, configure=flags)


if __name__ == "__main__":
    sys.exit(main())
