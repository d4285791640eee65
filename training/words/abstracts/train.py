"""Train a T5 (Raffel et al. 2020, arXiv 1910.10683) to write the abstract of a title, or the title of an abstract.

    python -m training.words.abstracts.train abstract_t5                # or title_t5
    python -m training.words.abstracts.train abstract_t5 --set start_from=t5-base --set learning_rate=1e-4    # any T5 of the hub, or a folder

Reads data/paper_texts; writes data/abstract_t5 or data/title_t5, a folder that transformers loads. The same command again continues.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from formats.text_tables import TextTableError
from stages.markdown import escape, table
from stages.reporting import Reporter
from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import GenerationError, generate
from training.fine_tuning.hf_job import fine_tuning_job
from training.fine_tuning.model_flops import pair_flops
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.fine_tuning.pairs import summed_loss
from training.fine_tuning.trainer import Task
from training.loop.job import Job, run_job
from training.words.abstracts.config import GENERATIONS, T5Options
from training.words.abstracts.pairs import TEXTS, encode_pairs, read_pairs, reading_costs, reading_numbers
from training.words.word_tokenizers import train_bpe

# T5's: padding and the end of text are two tokens, texts end, and decoding begins with padding.
_SPECIALS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_LIMITS = (
    "It writes what is likely after the texts it learned from, not what is true, and may repeat them word for word; its report counts how often."
)


def open_t5(options: T5Options, texts: Sequence[str]) -> tuple[Any, Any]:
    """The model and its tokenizer, as `start_from` says; `texts` are learned from only where it says nothing. Raises TuningError."""
    if options.start_from is not None:
        model = load_model(options.start_from, AutoModelForSeq2SeqLM, dropout_rate=options.dropout)
        return model, load_tokenizer(options.start_from, model)
    tokenizer = train_bpe(texts, options.vocabulary_size, _SPECIALS, template="$A </s>")
    sizes = {"d_model": options.d_model, "d_kv": max(1, options.d_model // options.heads), "d_ff": options.d_ff}
    sizes |= {"num_layers": options.layers, "num_heads": options.heads, "vocab_size": len(tokenizer)}
    tokens = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": tokenizer.pad_token_id}
    # Gated units as in version 1.1, and shared embeddings as in 1.0, which suit few texts.
    return T5ForConditionalGeneration(T5Config(**sizes, **tokens, feed_forward_proj="gated-gelu", dropout_rate=options.dropout)), tokenizer


def open_task(stage: str, data: Path, options: T5Options, reporter: Reporter) -> Task:
    """The fine-tuning `stage` on the papers below `data`. Raises TuningError, TextTableError."""
    learned = read_pairs(data / TEXTS, stage, "train")
    held_out = read_pairs(data / TEXTS, stage, "valid", may_be_none=True)
    model, tokenizer = open_t5(options, [*learned.sources, *learned.targets])
    # What whoever uses the model must know stays in its configuration.
    tokens = (options.title_tokens, options.abstract_tokens)
    source_tokens, target_tokens = tokens if stage == "abstract_t5" else tokens[::-1]
    model.config.update({"prefix": options.prefix, "source_tokens": source_tokens, "target_tokens": target_tokens})
    usual = replace(GENERATIONS[stage], max_new_tokens=target_tokens)
    model.generation_config.update(max_new_tokens=target_tokens, no_repeat_ngram_size=usual.no_repeat_ngram)
    train, valid = (encode_pairs(tokenizer, pairs, model.config) for pairs in (learned, held_out))
    control = encode_pairs(tokenizer, held_out, model.config, most=options.evaluate_at_most or None)
    reporter.log(f"{stage}: {len(train):,} pairs, {len(valid):,} held out; {dict(learned.set_aside)} set aside, {dict(train.cut)}")

    def samples(model: Any) -> Mapping[str, str]:
        shown, encoded = (held_out, control) if len(control) else (learned, train)
        written = generate(model, tokenizer, encoded.inputs(4), usual, seed=options.seed)
        rows = zip(shown.sources, map(" / ".join, written), shown.targets, strict=False)
        return {"samples.md": table(["given", "written", "real"], [list(map(escape, row)) for row in rows])}

    def measure(model: Any, _loss: float, _judged: Sequence[int]) -> Mapping[str, float]:
        numbers = reading_numbers(reading_costs(model, control, seed=options.seed)) if len(control) > 1 else {}
        return {f"validation_{name}": number.value for name, number in numbers.items()}

    counts, size = {**learned.set_aside, **train.cut}, f"{model.config.num_layers} x {model.config.d_model}"
    facts: dict[str, Any] = {"counts": counts, "limits": _LIMITS, "size": size, "epoch_flops": pair_flops(model, train)}
    return Task(model, train, valid, summed_loss, samples, measure, [tokenizer], **facts)


def job_of(stage: str) -> Job[T5Options]:
    """The training `stage`, of those in GENERATIONS."""
    return fine_tuning_job(stage, "training.words.abstracts.train", T5Options, lambda data, _: {TEXTS: data / TEXTS}, partial(open_task, stage))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `abstract_t5` or `title_t5`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    add_flags, adapt = lambda parser: parser.add_argument("stage", choices=tuple(GENERATIONS)), lambda _, arguments: job_of(arguments.stage)
    return run_job(job_of("abstract_t5"), __doc__, argv, expected=(TuningError, TextTableError, GenerationError), add_flags=add_flags, adapt=adapt)


if __name__ == "__main__":
    sys.exit(main())
