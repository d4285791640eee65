"""Train a T5 to write the abstract of a title, or the title of an abstract.

    python -m training.words.abstracts.train abstract_t5
    python -m training.words.abstracts.train title_t5
    python -m training.words.abstracts.train abstract_t5 --set start_from=t5-base --set learning_rate=1e-4       # any T5 of the hub, or a folder

Reads data/paper_texts; writes data/abstract_t5 or data/title_t5, a folder that transformers loads. The same command again continues where the last
one was interrupted.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from formats.text_tables import TextTableError
from stages.markdown import escape
from stages.reporting import Reporter
from training.loop.job import Job, run_job
from training.words.abstracts.config import GENERATIONS, T5Options
from training.words.abstracts.networks import open_t5
from training.words.abstracts.pairs import TEXTS, encode_pairs, read_pairs, require_pairs
from training.words.abstracts.scoring import score_reading, summed_loss
from training.words.examples import WordsError
from training.words.generation import GenerationError, generate
from training.words.hf_job import fine_tuning_job
from training.words.trainer import Task

_LIMITS = """\
It writes what is likely after the texts it learned from, not what is true: no abstract of it reports anything that was measured. It knows the fields and
the languages of those texts only, and may repeat them word for word; the report beside it counts how often."""


def open_task(stage: str, data: Path, options: T5Options, reporter: Reporter) -> Task:
    """The fine-tuning `stage` on the papers below `data`. Raises WordsError, TextTableError."""
    folder = data / TEXTS
    learned, held_out = (read_pairs(folder, stage, split) for split in ("train", "valid"))
    require_pairs(learned, folder, stage, "train")
    model, tokenizer = open_t5(options, [*learned.sources, *learned.targets])
    # What whoever uses the model must know: it stays in its configuration, and how it is meant to write in that of its generation.
    tokens = options.title_tokens, options.abstract_tokens
    model.config.source_tokens, model.config.target_tokens = tokens if stage == "abstract_t5" else reversed(tokens)
    model.config.prefix, usual = options.prefix, GENERATIONS[stage]
    model.generation_config.update(
        max_new_tokens=model.config.target_tokens, no_repeat_ngram_size=usual.no_repeat_ngram, num_return_sequences=usual.returns
    )
    if usual.strategy == "sample":
        model.generation_config.update(do_sample=True, top_k=usual.top_k, top_p=usual.top_p)
    train, valid = (encode_pairs(tokenizer, pairs, model.config) for pairs in (learned, held_out))
    reporter.log(f"{stage}: {len(train):,} pairs, {len(valid):,} held out; set aside {dict(learned.set_aside)}, cut {train.cut}")
    control, shown = valid.first(options.control_pairs), (valid if len(valid) else train).first(options.sample_pairs)

    def samples(model: Any) -> Mapping[str, str]:
        written = generate(model, tokenizer, shown.inputs(), usual, seed=options.seed)
        pairs = held_out if len(valid) else learned
        rows = zip(pairs.sources, pairs.targets, written, strict=False)
        return {"samples.md": "\n".join(f"- {escape(source)}: {escape(' / '.join(texts))} (is: {escape(target)})" for source, target, texts in rows)}

    def measure(model: Any, loss: float) -> Mapping[str, float]:
        del loss
        numbers = score_reading(model, control, seed=options.seed).numbers() if len(control) > 1 else {}
        return {f"validation_{name}": number.value for name, number in numbers.items()}

    counts = {**learned.set_aside, **{f"cut_{name}": count for name, count in train.cut.items()}}
    size = f"{model.config.num_layers} x {model.config.d_model}"
    kind = "summarization" if stage == "title_t5" else "text2text-generation"
    return Task(model, train, valid, summed_loss, samples, measure, [tokenizer], counts=counts, limits=_LIMITS, pipeline=kind, size=size)


def job_of(stage: str) -> Job[T5Options]:
    def opened(data: Path, options: T5Options, reporter: Reporter) -> Task:
        return open_task(stage, data, options, reporter)

    return fine_tuning_job(stage, "training.words.abstracts.train", T5Options, lambda data, options: {TEXTS: data / TEXTS}, opened)


def _add_flags(parser: ArgumentParser) -> None:
    parser.add_argument("stage", choices=tuple(GENERATIONS), help="from title to abstract, or back: whose section, output and run it is")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `abstract_t5` or `title_t5`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    expected = (WordsError, TextTableError, GenerationError)
    start = job_of("abstract_t5")
    return run_job(start, __doc__, argv, expected=expected, add_flags=_add_flags, adapt=lambda job, arguments: job_of(arguments.stage))


if __name__ == "__main__":
    sys.exit(main())
