"""Titles and abstracts of the same papers as token ids: what a T5 reads, what it is to write, and what that costs it, in nats."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch

from formats.text_tables import read_paper_texts
from training.fine_tuning.examples import TuningError
from training.fine_tuning.pairs import PairExamples, token_losses
from training.loop.seeding import generator
from training.metrics.intervals import Estimate, bootstrap_interval

TEXTS = "paper_texts"
_SIDE_BY_SIDE = 16


class Pairs(NamedTuple):
    """What is read and what is to be written, on one line each, by serial of the paper; and how many papers lack what."""

    sources: Sequence[str]
    targets: Sequence[str]
    set_aside: Mapping[str, int]


def read_pairs(folder: Path, stage: str, split: str, *, may_be_none: bool = False) -> Pairs:
    """The pairs of one split for `abstract_t5` or `title_t5`. Raises TextTableError, and TuningError where there is none."""
    pairs, set_aside = [], Counter[str]()
    for paper in read_paper_texts(folder, split=split):
        title, abstract = (" ".join((text or "").split()) for text in (paper.title, paper.abstract))
        if title and abstract:
            pairs.append((title, abstract) if stage == "abstract_t5" else (abstract, title))
        else:
            set_aside["no_abstract" if title else "no_title"] += 1
    if not pairs and not may_be_none:
        raise TuningError(
            f"{folder}: {stage} needs papers of split {split} with both a title and an abstract, found none ({dict(set_aside)}); add a source that "
            "states abstracts to journal_pages (see docs/journals.md), or raise the fractions or lower min_abstract_chars of paper_texts"
        )
    return Pairs([source for source, _ in pairs], [target for _, target in pairs], set_aside)


@dataclass(frozen=True)
class TextPairs(PairExamples):
    """characters: that the tokens of each target stand for. cut: how many texts are longer than their limit."""

    characters: Sequence[int]
    cut: Mapping[str, int]


def encode_pairs(tokenizer: Any, pairs: Pairs, limits: Any, *, most: int | None = None) -> TextPairs:
    """The first `most` pairs. limits: says prefix, source_tokens and target_tokens (ends included), as the configuration of a trained model does."""
    # No token stands for more characters than the longest has, so what lies behind cannot matter, be it 10 MB. `</s>` in a text is text.
    end, longest = tokenizer.eos_token_id, max(map(len, tokenizer.get_vocab()))
    how = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}

    def encoded(texts: Sequence[str], limit: int) -> list[list[int]]:
        found = tokenizer([text[: limit * longest] for text in texts], **how)["input_ids"] if texts else []
        return [[*ids, end][:limit] for ids in found]

    read = encoded([limits.prefix + text for text in pairs.sources[:most]], limits.source_tokens)
    written = encoded(pairs.targets[:most], limits.target_tokens)
    cut = {name: sum(ids[-1] != end for ids in texts) for name, texts in (("cut_sources", read), ("cut_targets", written))}
    characters = [len(text) if ids[-1] == end else len(tokenizer.decode(ids)) for text, ids in zip(pairs.targets, written, strict=False)]
    # What is read always ends; but no model should learn to end a text where only room did.
    return TextPairs([[*ids[:-1], end] for ids in read], written, tokenizer.pad_token_id, characters, cut)


def others(items: Sequence[Any], seed: int) -> list[Any]:
    """For each item another one, each once: its neighbour in a ring in random order. The control of what a source tells."""
    order = torch.randperm(len(items), generator=generator(seed, "others")).tolist()
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [items[following[place]] for place in range(len(items))]


@torch.no_grad()
def reading_costs(model: Any, examples: TextPairs, *, seed: int) -> numpy.ndarray:
    """[3, N]: what each target costs a model in evaluation mode behind its own source, and behind another's; and its characters."""
    costs = numpy.array([[0.0] * len(examples), [0.0] * len(examples), examples.characters])
    for row, shown in enumerate((examples, replace(examples, sources=others(examples.sources, seed)))):
        order = numpy.argsort(shown.lengths(), kind="stable")
        for places in numpy.split(order, range(_SIDE_BY_SIDE, len(order), _SIDE_BY_SIDE)):
            batch = {name: values.to(model.device) for name, values in shown.batch(places.tolist()).items()}
            costs[row, places] = token_losses(model, batch).sum(1).double().cpu().numpy()
    return costs


def reading_numbers(costs: numpy.ndarray, *, rounds: int = 0, seed: int = 0) -> dict[str, Estimate]:
    """Both costs over all characters, and by what share another's source makes targets dearer: 0 is a model that does not read."""
    wanted: dict[str, Callable[[numpy.ndarray], numpy.ndarray]] = {
        "nll_per_char": lambda at: costs[0, at].sum(-1) / costs[2, at].sum(-1),
        "shuffled_nll_per_char": lambda at: costs[1, at].sum(-1) / costs[2, at].sum(-1),
        "reading_gain": lambda at: costs[1, at].sum(-1) / costs[0, at].sum(-1) - 1,
    }
    n, every = costs.shape[1], numpy.arange(costs.shape[1])
    return {name: Estimate(float(of(every)), n, *bootstrap_interval(n, of, rounds=rounds, seed=seed)) for name, of in wanted.items()}
