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
from dataclasses import dataclass
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
from training.words.titles.data import Titles, encode_titles, read_titles
from training.words.trainer import Task
from training.words.word_tokenizers import CAUSAL, END, PAD, train_bpe, wrapped

_LIMITS = """
It writes what titles of papers sound like. No paper of such a title need exist, and nothing in it is true because the model says so. It knows the
fields and languages of the papers above and no others, and can repeat a title that it has learnt: `titles_report` says how often.
"""
# As the seed's samples: their nucleus, length, and how many first words are given.
_TOP_P, _NEW_TOKENS, _FIRST_WORDS = 0.8, 30, 4


def _open(folder: Path, config: TitleOptions, reporter: Reporter) -> Task:
    titles, set_aside = read_titles(folder / "paper_texts", config)
    model, tokenizer = _new(titles["train"], config) if config.start_from is None else _loaded(config.start_from, config)
    train, valid, too_long = encode_titles(titles, tokenizer, config, model.config.n_positions)
    counts = {"tokens": sum(train.lengths()), "longest_tokens": max(train.lengths()), **set_aside, "too_long": too_long}
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
    reporter.log(f"title_gpt2: {len(train):,} titles to learn, {len(valid):,} held out; {told}")
    written = Written(tokenizer, valid, config)
    # Rows fill up best with titles of all lengths, so packed ones are not put into buckets.
    more: dict[str, Any] = {"buckets": not config.packing, "counts": counts, "limits": _LIMITS, "pipeline": "text-generation"}
    more["signature"] = Signature((Field("input_ids", "int64", (-1, -1)),), (Field("logits", "float32", (-1, -1, len(tokenizer))),))
    size = f"{model.config.n_layer} x {model.config.n_embd}"
    return Task(model, train, valid, causal_loss, written.table, written.measure, [tokenizer], size=size, **more)


def _new(titles: Sequence[str], config: TitleOptions) -> tuple[PreTrainedModel, Any]:
    """GPT-2 (Radford et al. 2019) in the sizes of the section, and a tokenizer of the training titles."""
    tokenizer = train_bpe(titles, config.vocabulary_size, CAUSAL, template=f"{END} $A")
    sizes = {"n_embd": config.width, "n_layer": config.layers, "n_head": config.heads, "n_positions": config.maximum_tokens}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **_special_ids(tokenizer), **_dropouts(config))), tokenizer


def _loaded(start: str, config: TitleOptions) -> tuple[PreTrainedModel, Any]:
    """A GPT-2 and its tokenizer, with a pad token of its own, which the embeddings have room for."""
    model = load_model(start, AutoModelForCausalLM, **_dropouts(config))
    found = load_tokenizer(start, model)
    end = found.eos_token or END
    pad = PAD if found.pad_token in (None, end) else found.pad_token
    specials = {"bos_token": found.bos_token or end, "eos_token": end, "pad_token": pad}
    tokenizer = wrapped(found.backend_tokenizer, specials, template=f"{specials['bos_token']} $A")
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
    model.config.update(_special_ids(tokenizer))
    model.generation_config.update(**_special_ids(tokenizer))
    return model, tokenizer


def _special_ids(tokenizer: Any) -> dict[str, int]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _dropouts(config: TitleOptions) -> dict[str, float]:
    return dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout)


@dataclass(frozen=True)
class Written:
    """What is told at an evaluation beside the loss."""

    tokenizer: Any
    valid: Titles
    config: TitleOptions

    def table(self, model: PreTrainedModel) -> dict[str, str]:
        """Free titles, and held-out ones completed from their first words."""
        real = self.valid.texts[: self.config.shown]
        begun = [" ".join(text.split()[:_FIRST_WORDS]) for text in real]
        free = [[escape(text)] for text, _ in self._write(model, [""] * self.config.shown)]
        told = [[escape(start), escape(text), escape(title)] for start, (text, _), title in zip(begun, self._write(model, begun), real, strict=True)]
        return {"titles.md": f"{table(['free titles'], free)}\n{table(['first words', 'completed', 'real title'], told)}"}

    def measure(self, model: PreTrainedModel, loss: float, judged: Sequence[int]) -> dict[str, float]:
        """Bits per token, and per character with the end as one; and the share of free titles that end by themselves."""
        tokens = sum(len(self.valid.documents[index]) - 1 for index in judged)
        characters = sum(len(self.valid.texts[index]) + 1 for index in judged)
        ended = [end for _, end in self._write(model, [""] * self.config.shown)]
        bits = loss / math.log(2)
        told = {"bits_per_token": bits, "bits_per_character": bits * tokens / characters, "ended_rate": sum(ended) / len(ended)}
        return {f"validation_{name}": value for name, value in told.items()}

    def _write(self, model: PreTrainedModel, starts: Sequence[str]) -> list[tuple[str, bool]]:
        """(text, whether it ended by itself) from each beginning."""
        if not starts:
            return []
        new = min(_NEW_TOKENS, model.config.n_positions // 2)
        room, first = model.config.n_positions - new, self.tokenizer.bos_token_id
        inputs = tokenize(self.tokenizer, starts, most_tokens=room, pad="left", start=first).inputs
        settings = Generation(strategy="sample", top_p=_TOP_P, max_new_tokens=new)
        return [(texts[0].text, texts[0].ended) for texts in write(model, self.tokenizer, inputs, settings, seed=self.config.seed)]


JOB = fine_tuning_job("title_gpt2", "training.words.titles.train", TitleOptions, lambda folder, _: {"paper_texts": folder / "paper_texts"}, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `title_gpt2`; see training/words/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(TextTableError,))


if __name__ == "__main__":
    sys.exit(main())
