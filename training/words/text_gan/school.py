"""What the two trainings of a generator share: the players and the generator's average, what is watched on the way, and what is saved."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from stages.output_folder import OutputFolder
from training.gans.players import AdversarialTrainer, Player
from training.loop.collapse_guard import CollapseGuard, GuardLimits
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.job import Companions, Training, Workplace
from training.loop.loop import Guard, Hook, Outcome
from training.loop.seeding import generator as seeded
from training.metrics.text.diversity import distinct_n
from training.tracking.tracker import Field, Signature
from training.words.text_gan.config import Schooling
from training.words.text_gan.data import TextData
from training.words.text_gan.losses import Likelihood, likelihood
from training.words.text_gan.networks import PAD, as_texts, draw_noise, sample, save_generator

# Sentences: of fixed noise and as many real ones, for their diversity and the perplexity; shown to people.
_WATCHED, _SHOWN = 256, 20
DISTINCT, PERPLEXITY = "distinct_2", "validation_perplexity"


class School:
    """A generator that learns by `losses`. more: of AdversarialTrainer. guard_diversity: see TextGanConfig."""

    def __init__(
        self,
        losses: Likelihood,
        players: Mapping[str, Player],
        text: TextData,
        config: Schooling,
        devices: Devices,
        *,
        guard_diversity: float,
        **more: Any,
    ) -> None:
        self.generator, self.text, self.config, self.devices, self.guard_diversity = losses.generator, text, config, devices, guard_diversity
        self.average = Ema(self.generator, half_life_samples=config.ema_half_life, rampup=0.05)
        size, averages = config.batch_size, {"g": self.average}
        self.trainer = AdversarialTrainer(players, losses.phases(), batch_size=size, devices=devices, averages=averages, **{"others": {}, **more})

    def training(self) -> Training:
        size = self.generator.shape.vocabulary_size
        signature = Signature((Field("before", "int64", (-1, -1)),), (Field("logits", "float32", (-1, -1, size)),))
        return Training(self.trainer, self.begin, size=f"{size} words", outcome=PERPLEXITY, signature=signature)

    def begin(self, place: Workplace) -> Companions:
        def watch() -> dict[str, float]:
            # What it writes now, for people; where there are several processes, only one has a folder.
            if self.devices.is_main:
                path = place.folder / f"samples-{self.trainer.samples_seen:09d}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.shown(), encoding="utf-8")
                place.tracker.artifact(path, "samples")
            return self.measure()

        return Companions(self.save, [Hook(self.config.validate_every, watch, at_start=True)], self.guard())

    def guard(self) -> Guard:
        """Back to a good state when 256 sentences of fixed noise have few different pairs of words, such as one word 64 times."""
        if not self.guard_diversity:
            return Guard()
        real = [text.split() for text in as_texts(self.text.train[:_WATCHED], self.text.tokenizer)]
        return CollapseGuard(GuardLimits(sign_mean=1.0, diversity=self.guard_diversity), spread=DISTINCT, real_spread=distinct_n(real, 2))

    def shown(self) -> str:
        texts = sample(self.average.averaged(self.generator), self.text.tokenizer, _SHOWN, seed=self.config.seed)
        return "".join(f"{text}\n" for text in texts)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """distinct_2 of the generator as it is now, since a collapse is to be seen early; and the perplexity of a held-out word to its average.

        With one draw of noise a sentence, which makes it a little higher than that of the likelihood, a mean over all noise.
        """
        texts = sample(self.generator, self.text.tokenizer, _WATCHED, seed=self.config.seed)
        values = {DISTINCT: distinct_n([text.split() for text in texts], 2)}
        if len(words := self.text.valid[:_WATCHED].to(self.devices.device)):
            noise = draw_noise(self.generator.shape, len(words), seeded(self.config.seed, "held out"), words.device)
            loss = likelihood(self.average.averaged(self.generator), words, noise) / (words != PAD).sum()
            values[PERPLEXITY] = float(loss.exp())
        return values

    def save(self, output: OutputFolder, outcome: Outcome) -> dict[str, float]:
        save_generator(output.folder, self.average.averaged(self.generator), self.text.tokenizer)
        output.file("samples.txt").write_text(self.shown(), encoding="utf-8")
        parameters = sum(parameter.numel() for parameter in self.generator.parameters())
        facts = {"parameters": parameters, "learnt_from": len(self.text.train), "set_aside": self.text.set_aside}
        output.write_json("training_summary.json", {**asdict(outcome), **facts})
        return {"parameters": parameters, **{name: value for name, value in outcome.values.items() if name in (DISTINCT, PERPLEXITY)}}
