"""What the two trainings share: sentences as rows of word ids, the generator's average, what is watched on the way, and what is saved."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from formats.text_tables import load_vocabulary, read_sentences
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.gans.players import AdversarialTrainer, Player
from training.loop.collapse_guard import CollapseGuard, GuardLimits
from training.loop.ema import Ema
from training.loop.job import Companions, Training, Workplace
from training.loop.loop import Guard, Hook, Outcome
from training.loop.seeding import generator as seeded
from training.metrics.text.diversity import distinct_n
from training.words.text_gan.config import Schooling
from training.words.text_gan.losses import Likelihood, likelihood
from training.words.text_gan.networks import END, PAD, UNK, TextGanError, as_texts, draw_noise, sample, save_generator

# Sentences of fixed noise, and as many real ones; those shown to people.
_WATCHED, _SHOWN = 256, 20
DISTINCT, PERPLEXITY = "distinct_2", "validation_perplexity"


@dataclass(frozen=True)
class TextData:
    """train, valid: [N, S] ids, on the CPU. set_aside: sentences by why they are not used."""

    train: Tensor
    valid: Tensor
    tokenizer: Tokenizer
    set_aside: dict[str, int]


def inputs(*names: str) -> Callable[[Path, Schooling], dict[str, Path]]:
    return lambda data, _: {name: data / name for name in names}


def read_data(data: Path, stage: str, reporter: Reporter, *, maximum_words: int) -> TextData:
    """What `sentences` and `vocabulary` below `data` hold. Raises TextGanError when no sentence of the training split is left, or TextTableError."""
    tokenizer = load_vocabulary(data / "vocabulary")
    set_aside = {"too long": 0, "words outside the vocabulary": 0}
    rows: dict[str, list[list[int]]] = {"train": [], "valid": []}
    for sentence in read_sentences(data / "sentences"):
        ids = tokenizer.encode(sentence.text, add_special_tokens=False).ids
        if sentence.split in rows and UNK in ids:
            set_aside["words outside the vocabulary"] += 1
        elif sentence.split in rows and not 0 < len(ids) <= maximum_words:
            set_aside["too long"] += 1
        elif sentence.split in rows:
            rows[sentence.split].append([*ids, END, *[PAD] * (maximum_words - len(ids))])
    told = ", ".join(f"{count:,} {why}" for why, count in set_aside.items() if count) or "none"
    reporter.log(f"{stage}: {len(rows['train']):,} sentences to learn from, {len(rows['valid']):,} held out; set aside: {told}")
    if not rows["train"]:
        raise TextGanError(
            f"{data / 'sentences'}: no sentence of split train can be used (set aside: {told}); raise maximum_words, or the size of the vocabulary"
        )
    train, valid = (torch.tensor(part, dtype=torch.long).reshape(-1, maximum_words + 1) for part in rows.values())
    return TextData(train, valid, tokenizer, set_aside)


class School:
    """A generator that learns by `losses`. more: of AdversarialTrainer. guard_diversity: see TextGanConfig."""

    def __init__(self, losses: Likelihood, players: Mapping[str, Player], text: TextData, guard_diversity: float = 0.0, **more: Any) -> None:
        self.generator, self.config, self.devices = losses.generator, losses.config, losses.devices
        self.text, self.guard_diversity = text, guard_diversity
        self.average = Ema(self.generator, half_life_samples=self.config.ema_half_life, rampup=0.05)
        given = {"batch_size": self.config.batch_size, "devices": self.devices, "averages": {"g": self.average}, "others": {}}
        self.trainer = AdversarialTrainer(players, losses.phases(), **{**given, **more})
        self.training = Training(self.trainer, self.begin, size=f"{self.generator.shape.vocabulary_size} words", outcome=PERPLEXITY)

    def begin(self, place: Workplace) -> Companions:
        guard, hook = Guard(), Hook(self.config.validate_every, partial(self.measure, place), at_start=True)
        if self.guard_diversity:
            # Back to a good state when sentences of fixed noise have few different pairs of words, such as one word 64 times.
            real = [text.split() for text in as_texts(self.text.train[:_WATCHED], self.text.tokenizer)]
            limits = GuardLimits(sign_mean=1.0, diversity=self.guard_diversity)
            guard = CollapseGuard(limits, spread=DISTINCT, real_spread=distinct_n(real, 2))
        return Companions(self.save, [hook], guard)

    @torch.no_grad()
    def measure(self, place: Workplace) -> dict[str, float]:
        """Diversity of the generator as it is now, to see a collapse early; the perplexity of held-out words to its average, by one draw of noise."""
        texts = sample(self.generator, self.text.tokenizer, _WATCHED, seed=self.config.seed)
        if self.devices.is_main:
            path = place.folder / f"samples-{self.trainer.samples_seen:09d}.txt"
            path.write_text("".join(f"{text}\n" for text in texts[:_SHOWN]), encoding="utf-8")
            place.tracker.artifact(path, "samples")
        values = {DISTINCT: distinct_n([text.split() for text in texts], 2)}
        if len(words := self.text.valid[:_WATCHED].to(self.devices.device)):
            noise = draw_noise(self.generator.shape, len(words), seeded(self.config.seed, "held out"), words.device)
            values[PERPLEXITY] = float((likelihood(self.average.averaged(self.generator), words, noise) / (words != PAD).sum()).exp())
        return values

    def save(self, output: OutputFolder, outcome: Outcome) -> dict[str, float]:
        save_generator(output.folder, self.average.averaged(self.generator), self.text.tokenizer)
        parameters = sum(parameter.numel() for parameter in self.generator.parameters())
        facts = {"parameters": parameters, "learnt_from": len(self.text.train), "set_aside": self.text.set_aside}
        output.write_json("training_summary.json", {**asdict(outcome), **facts})
        return {"parameters": parameters, **{name: value for name, value in outcome.values.items() if name in (DISTINCT, PERPLEXITY)}}
