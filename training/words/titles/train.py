"""Train a GPT-2 that writes titles of papers, from any GPT-2 or from new weights.

    python -m training.words.titles.train
    python -m training.words.titles.train --set total_samples=50000 --set width=64 --set layers=2      # a minute on a CPU
    python -m training.words.titles.train --set start_from=gpt2 --set learning_rate=5e-5               # weights of the hub, or of a folder

Reads data/paper_texts, writes data/title_gpt2. The same command again continues where the last one was interrupted.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from formats.text_tables import TextTableError
from stages.markdown import escape, table
from stages.reporting import Reporter
from training.fine_tuning.generation import Generation, tokenize, write
from training.fine_tuning.hf_job import fine_tuning_job, run_fine_tuning
from training.fine_tuning.model_flops import causal_flops
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.fine_tuning.packing import causal_loss, choose_attention
from training.fine_tuning.trainer import Task
from training.tracking.tracker import Field, Signature
from training.words.titles.config import TitleOptions
from training.words.titles.data import Titles, encode_titles, read_titles
from training.words.word_tokenizers import CAUSAL, END, PAD, train_bpe, wrapped

_LIMITS = """
It writes what titles of papers sound like: no such paper need exist. It knows the fields and languages of the papers above and no others, and can
repeat a title that it has learnt: `titles_report` says how often.
"""
# As the seed's samples: their nucleus, length, and how many first words are given.
_TOP_P, _NEW_TOKENS, _FIRST_WORDS = 0.8, 30, 4


def _open(folder: Path, config: TitleOptions, reporter: Reporter) -> Task:
    titles, set_aside = read_titles(folder / "paper_texts", config)
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout)
    model, tokenizer = _new(titles, config, dropouts) if config.start_from is None else _loaded(config.start_from, dropouts)
    train, valid, too_long = encode_titles(titles, tokenizer, config, model.config.n_positions)
    counts = {"tokens": sum(train.lengths()), "longest_tokens": max(train.lengths()), **set_aside, "too_long": too_long}
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
    reporter.log(f"title_gpt2: {len(train):,} documents to learn, {len(valid):,} titles held out; {told}")
    shown, size = Completed(tokenizer, valid, config), f"{model.config.n_layer} x {model.config.n_embd}"
    signature = Signature((Field("input_ids", "int64", (-1, -1)),), (Field("logits", "float32", (-1, -1, len(tokenizer))),))
    # Rows fill up best with titles of all lengths, so packed ones are not put into buckets.
    more = (not config.packing, counts, _LIMITS, "text-generation", size, signature)
    flops = causal_flops(model, train.lengths())
    return Task(model, train, valid, causal_loss, shown.table, shown.measure, [tokenizer], *more, epoch_flops=flops, attention=choose_attention)


def _new(titles: Mapping[str, Sequence[str]], config: TitleOptions, dropouts: dict[str, float]) -> tuple[PreTrainedModel, Any]:
    """GPT-2 (Radford et al. 2019) in the sizes of the section, and a tokenizer of what is learnt."""
    tokenizer = train_bpe([*titles["train"], *titles["abstracts"]], config.vocabulary_size, CAUSAL, template=f"{END} $A")
    sizes = {"n_embd": config.width, "n_layer": config.layers, "n_head": config.heads, "n_positions": config.maximum_tokens}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **_ids(tokenizer), **dropouts)), tokenizer


def _loaded(start: str, dropouts: dict[str, float]) -> tuple[PreTrainedModel, Any]:
    """A GPT-2 and its tokenizer, with a pad token of its own, which the embeddings have room for."""
    model = load_model(start, AutoModelForCausalLM, **dropouts)
    found = load_tokenizer(start, model)
    end, begin = found.eos_token or END, found.bos_token or found.eos_token or END
    specials = {"bos_token": begin, "eos_token": end, "pad_token": PAD if found.pad_token in (None, end) else found.pad_token}
    tokenizer = wrapped(found.backend_tokenizer, specials, template=f"{begin} $A")
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
    model.config.update(_ids(tokenizer))
    model.generation_config.update(**_ids(tokenizer))
    return model, tokenizer


def _ids(tokenizer: Any) -> dict[str, int]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


class Completed:
    """What is told at an evaluation beside the loss, of held-out titles that are completed from their first words."""

    def __init__(self, tokenizer: Any, valid: Titles, config: TitleOptions) -> None:
        self.tokenizer, self.valid, self.config = tokenizer, valid, config
        self.rows: list[list[str]] = []

    def measure(self, model: PreTrainedModel, loss: float, judged: Sequence[int]) -> dict[str, float]:
        """Bits per token, and per character with the end as one; the share of completed titles that end by themselves."""
        tokens = sum(len(self.valid.documents[index]) - 1 for index in judged)
        characters = sum(len(self.valid.texts[index]) + 1 for index in judged)
        settings = Generation(strategy="sample", top_p=_TOP_P, max_new_tokens=min(_NEW_TOKENS, model.config.n_positions // 2))
        real, room = self.valid.texts[: self.config.shown], model.config.n_positions - settings.max_new_tokens
        begun = [" ".join(text.split()[:_FIRST_WORDS]) for text in real]
        prompts = tokenize(self.tokenizer, begun, most_tokens=room, pad="left", start=self.tokenizer.bos_token_id)
        written = [texts[0] for texts in write(model, self.tokenizer, prompts.inputs, settings, seed=self.config.seed)]
        self.rows = [[escape(one.text), escape(title)] for one, title in zip(written, real, strict=True)]
        bits, ended = loss / math.log(2), sum(one.ended for one in written) / len(written)
        told = {"bits_per_token": bits, "bits_per_character": bits * tokens / characters, "ended_rate": ended}
        return {f"validation_{name}": value for name, value in told.items()}

    def table(self, _: PreTrainedModel) -> dict[str, str]:
        return {"titles.md": table([f"from its first {_FIRST_WORDS} words", "real title"], self.rows)}


JOB = fine_tuning_job("title_gpt2", "training.words.titles.train", TitleOptions, lambda folder, _: {"paper_texts": folder / "paper_texts"}, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `title_gpt2`; see training/fine_tuning/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(TextTableError,))


if __name__ == "__main__":
    sys.exit(main())
