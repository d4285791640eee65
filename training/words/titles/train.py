"""Train a GPT-2 that writes titles of papers, from any GPT-2 or from new weights.

    python -m training.words.titles.train
    python -m training.words.titles.train --set total_samples=50000 --set width=64 --set layers=2           # a minute on a CPU
    python -m training.words.titles.train --set start_from=gpt2 --set learning_rate=5e-5                    # downloads, or finds, the hub's weights
    torchrun --nproc-per-node 4 -m training.words.titles.train

Reads data/paper_texts and, where `start_from` is one, a folder; writes data/title_gpt2. The same command again continues where the last one was
interrupted.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from formats.text_tables import TextTableError
from stages.markdown import escape, table
from stages.reporting import Reporter
from training.tracking.tracker import Field, Signature
from training.words.generation import Generation, tokenize, write
from training.words.hf_job import fine_tuning_job, run_fine_tuning
from training.words.model_folder import load_model, load_tokenizer
from training.words.packing import causal_loss
from training.words.titles.config import TitleOptions
from training.words.titles.data import Titles, TitleTexts, encode_titles, read_titles
from training.words.trainer import Task
from training.words.word_tokenizers import CAUSAL, END, PAD, train_bpe, wrapped

TEXTS = "paper_texts"
_LIMITS = """
It writes what titles of papers sound like. No paper of such a title need exist, and nothing in it is true because the model says so. It knows the
fields and languages of the papers above and no others, and can repeat a title that it has learnt: `titles_report` says how often.
"""


def _inputs(folder: Path, _: TitleOptions) -> dict[str, Path]:
    return {TEXTS: folder / TEXTS}


def _open(folder: Path, config: TitleOptions, reporter: Reporter) -> Task:
    texts = read_titles(folder / TEXTS, config)
    model, tokenizer = _new(texts, config) if config.start_from is None else _loaded(config.start_from, config)
    train, valid, set_aside = encode_titles(texts, tokenizer, config, model.config.n_positions)
    counted = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in set_aside.items())
    reporter.log(f"title_gpt2: {len(train):,} titles to learn, {len(valid):,} held out, set aside: {counted}; at most {max(train.lengths())} tokens")
    shown = Shown(tokenizer, valid, config)
    return Task(
        model,
        train,
        valid,
        causal_loss,
        samples=shown.table,
        measure=shown.measure,
        savers=[tokenizer],
        # Rows fill up best with titles of all lengths.
        buckets=not config.packing,
        counts={"tokens": sum(train.lengths()), **{f"set_aside_{reason}": count for reason, count in set_aside.items()}},
        limits=_LIMITS,
        pipeline="text-generation",
        size=f"{model.config.n_layer} x {model.config.n_embd}",
        signature=Signature((Field("input_ids", "int64", (-1, -1)),), (Field("logits", "float32", (-1, -1, len(tokenizer))),)),
    )


def _new(texts: TitleTexts, config: TitleOptions) -> tuple[PreTrainedModel, Any]:
    """GPT-2 (Radford et al. 2019) in the sizes of the section, and a tokenizer of the training titles."""
    tokenizer = train_bpe(texts.train, config.vocabulary_size, CAUSAL, template=f"{END} $A")
    sizes = {"n_embd": config.width, "n_layer": config.layers, "n_head": config.heads, "n_positions": config.maximum_tokens}
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **tokens, **_dropouts(config))), tokenizer


def _loaded(start: str, config: TitleOptions) -> tuple[PreTrainedModel, Any]:
    """A GPT-2 and its tokenizer, with a pad token of its own, which the embeddings have room for."""
    model = load_model(start, AutoModelForCausalLM, **_dropouts(config))
    found = load_tokenizer(start, model)
    end = found.eos_token or END
    specials = {"bos_token": found.bos_token or end, "eos_token": end, "pad_token": PAD if found.pad_token in (None, end) else found.pad_token}
    tokenizer = wrapped(found.backend_tokenizer, specials, template=f"{specials['bos_token']} $A")
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
    for settings in (model.config, model.generation_config):
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(settings, name, getattr(tokenizer, name))
    return model, tokenizer


def _dropouts(config: TitleOptions) -> dict[str, float]:
    return dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout)


class Shown:
    """What is told at an evaluation beside the loss: free titles, and held-out ones completed from their first words."""

    def __init__(self, tokenizer: Any, valid: Titles, config: TitleOptions) -> None:
        self.tokenizer, self.valid, self.config = tokenizer, valid, config
        self.settings = Generation(strategy="sample", top_p=config.top_p, max_new_tokens=config.max_new_tokens)

    def table(self, model: PreTrainedModel) -> dict[str, str]:
        real = self.valid.texts[: self.config.samples]
        begun = [" ".join(text.split()[: self.config.shown_words]) for text in real]
        free = [[escape(text)] for text, _ in self._written(model, [""] * self.config.samples)]
        told = [
            [escape(start), escape(text), escape(title)] for start, (text, _), title in zip(begun, self._written(model, begun), real, strict=True)
        ]
        completed = f"\n{table(['first words', 'completed', 'real title'], told)}" if told else ""
        return {"titles.md": table(["free titles"], free) + completed}

    def measure(self, model: PreTrainedModel, loss: float, judged: Sequence[int]) -> dict[str, float]:
        """Bits per token, and per character with the end as one; and the share of free titles that end by themselves."""
        nats = loss * sum(len(self.valid.documents[index]) - 1 for index in judged)
        characters = sum(len(self.valid.texts[index]) + 1 for index in judged)
        ended = [end for _, end in self._written(model, [""] * self.config.samples)]
        return {
            "validation_bits_per_token": loss / math.log(2),
            "validation_bits_per_character": nats / math.log(2) / characters,
            "validation_ended_rate": sum(ended) / len(ended),
        }

    def _written(self, model: PreTrainedModel, starts: Sequence[str]) -> list[tuple[str, bool]]:
        if not starts:
            return []
        room = model.config.n_positions - self.settings.max_new_tokens
        inputs = tokenize(self.tokenizer, starts, most_tokens=room, pad="left", start=self.tokenizer.bos_token_id).inputs
        written = write(model, self.tokenizer, inputs, self.settings, seed=self.config.seed)
        return [(texts[0].text, texts[0].ended) for texts in written]


JOB = fine_tuning_job("title_gpt2", "training.words.titles.train", TitleOptions, _inputs, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `title_gpt2`; see training/words/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(TextTableError,))


if __name__ == "__main__":
    sys.exit(main())
