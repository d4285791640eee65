"""The turns of both trainings. Every random number is a function of (seed, purpose, sentences seen, roll-backs), so a resume replays nothing."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from training.gans import losses
from training.gans.image_stream import ImageOrder
from training.gans.players import Moment, PartLoss, Phase, parts_of_batch
from training.loop.devices import Devices
from training.loop.seeding import generator as seeded
from training.words.text_gan.config import Schooling, TextGanConfig
from training.words.text_gan.networks import PAD, Discriminator, Generator, Noise, draw_noise, words_before

# Of Diffusion-GAN: betas, T's bounds, the mean sign that moves it, how many batches that is of; sigma beside ones and zeros as the seed has it.
_BETA_FIRST, _BETA_LAST, LEAST_STEPS, MOST_STEPS, _D_TARGET, _EVERY, SIGMA = 1e-4, 0.02, 5, 500, 0.6, 4, 0.5


def likelihood(generator: Generator, words: Tensor, noise: Noise) -> Tensor:
    """The sum of -log p over the words [N, S] of real sentences, <end> included, each after the real words before it."""
    logits = generator(words_before(words), noise)
    return functional.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=PAD, reduction="sum")


class Likelihood:
    """Maximum likelihood with the noise the generator will play with, so that its weights are a start for the GAN."""

    def __init__(self, generator: Generator, sentences: Tensor, config: Schooling, devices: Devices) -> None:
        self.generator, self.sentences, self.config, self.devices = generator, sentences, config, devices
        self.order = ImageOrder(len(sentences), config.seed)
        self.parts = list(parts_of_batch(config.batch_size, config.side_by_side, devices))

    def phases(self) -> list[Phase]:
        return [Phase("g", "g", self.turn, reported_as="mle")]

    def reals(self, now: Moment) -> Tensor:
        places, _ = self.order.take(now.samples_seen, self.config.batch_size, salt=now.rollback)
        return self.sentences[places].to(self.devices.device)

    def random(self, now: Moment, purpose: str) -> torch.Generator:
        return seeded(self.config.seed, purpose, now.samples_seen, now.rollback)

    def noise(self, now: Moment, purpose: str, *, with_choices: bool = False) -> Noise:
        return draw_noise(self.generator.shape, self.config.batch_size, self.random(now, purpose), self.devices.device, with_choices=with_choices)

    def turn(self, now: Moment) -> Iterator[PartLoss]:
        words, noise = self.reals(now), self.noise(now, "noise of the likelihood")
        self.generator.train()
        for rows in self.parts:
            with self.devices.autocast(self.config.precision):
                yield likelihood(self.generator, words[rows], noise.rows(rows)) / (words != PAD).sum(), {}


class AdaptiveDiffusion:
    """At most T steps of noise, more while the critic is right about reals. Source: Wang et al. 2023, "Diffusion-GAN", arXiv 2206.02262."""

    def __init__(self) -> None:
        self.steps, self._batches = LEAST_STEPS, 0
        self._signs: Tensor | float = 0.0
        kept = (1 - torch.linspace(_BETA_FIRST, _BETA_LAST, MOST_STEPS, dtype=torch.float64)).cumprod(0)
        self.kept = torch.cat([torch.ones(1, dtype=torch.float64), kept]).float()

    def draw_times(self, number: int, random: torch.Generator) -> Tensor:
        """[number]: 0 for about half, else t in 1 … T, drawn in proportion to t so that the newest steps are met most (equation 11)."""
        times = 1 + torch.multinomial(torch.arange(1.0, self.steps + 1), number, replacement=True, generator=random)
        return times * (torch.rand(number, generator=random) < 0.5)

    def diffuse(self, sentences: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """sqrt(a) x + sqrt(1 - a) sigma noise for x [N, S, V], a the share that is kept after `times` [N] steps (equation 1)."""
        kept = self.kept.to(sentences.device)[times][:, None, None]
        return kept.sqrt() * sentences + (1 - kept).sqrt() * SIGMA * noise

    def follow(self, values: Mapping[str, Tensor | float], _samples: int) -> dict[str, float]:
        """Moves T after another batch, of whose reals `r_t` is the mean sign of D - 1/2 (equation 8)."""
        self._batches, self._signs = self._batches + 1, self._signs + torch.as_tensor(values["r_t"], dtype=torch.float64)
        if self._batches == _EVERY:
            # Only now is the sum read, which waits for the device.
            self.steps = min(MOST_STEPS, max(LEAST_STEPS, self.steps + (1 if float(self._signs) / _EVERY > _D_TARGET else -1)))
            self._batches, self._signs = 0, 0.0
        return {"diffusion_steps": float(self.steps)}

    def state_dict(self) -> dict[str, float]:
        return {"steps": self.steps, "batches": self._batches, "signs": float(self._signs)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.steps, self._batches, self._signs = int(state["steps"]), int(state["batches"]), state["signs"]


class TextGanLosses(Likelihood):
    """The critic's turn and the generator's. diffusion: of the mode of this name."""

    def __init__(self, generator: Generator, critic: Discriminator, sentences: Tensor, config: TextGanConfig, devices: Devices) -> None:
        super().__init__(generator, sentences, config, devices)
        self.recipe, self.temperature, self.critic = config.play, config.temperature, critic
        self.diffusion = AdaptiveDiffusion() if config.mode == "diffusion" else None
        self._written: tuple[Moment, tuple[Tensor, Noise]] | None = None

    def phases(self) -> list[Phase]:
        return [Phase("d", "d", self.critic_turn, reported_as="d"), Phase("g", "g", self.turn, every=self.recipe.critic_steps, reported_as="g")]

    def written(self, now: Moment) -> tuple[Tensor, Noise]:
        """Words [N, S] and what was random in them, for both turns. They are scored in one pass: no gradient flows through words fed back."""
        if self._written is None or self._written[0] != now:
            noise = self.noise(now, "noise", with_choices=self.recipe.outputs != "soft")
            self._written = now, (self.generator.eval().write(noise), noise)
        return self._written[1]

    def outputs(self, written: tuple[Tensor, Noise], rows: slice, temperature: float) -> Tensor:
        """What the critic reads [N, S, V], with gradients to the generator where these are on; <pad> behind the end, without any."""
        words, noise = written[0][rows], written[1].rows(rows)
        hard = self.one_hot(words)
        if noise.choices is not None and not torch.is_grad_enabled():
            return hard
        logits = self.generator.train()(words_before(words), noise)
        soft = (logits if noise.choices is None else (logits + noise.choices) / temperature).softmax(dim=-1)
        # Straight through: the values of the words that were drawn, the gradient of the softmax.
        read = soft if noise.choices is None else hard + soft - soft.detach()
        return torch.where((words == PAD)[..., None], hard, read)

    def one_hot(self, words: Tensor) -> Tensor:
        return functional.one_hot(words, self.generator.shape.vocabulary_size).float()

    def score(self, sentences: Tensor, now: Moment, rows: slice, side: str) -> Tensor:
        """Logits [N, 1], by word [N, S], in diffusion mode of what noise leaves to be seen. side: has noise of its own, the times of the other."""
        if self.diffusion is None:
            return self.critic(sentences)
        size, device = self.config.batch_size, self.devices.device
        times = self.diffusion.draw_times(size, self.random(now, "times"))[rows].to(device)
        noise = torch.randn(size, *sentences.shape[1:], generator=self.random(now, f"diffusion of {side}"))[rows].to(device)
        return self.critic(self.diffusion.diffuse(sentences, times, noise), times)

    def critic_turn(self, now: Moment) -> Iterator[PartLoss]:
        words, written, recipe = self.reals(now), self.written(now), self.recipe
        shares = torch.rand(len(words), generator=self.random(now, "between")).to(words.device)
        judge = losses.wasserstein_d if recipe.loss == "wasserstein" else losses.non_saturating_d
        for rows in self.parts:
            with self.devices.autocast(self.config.precision):
                with torch.no_grad():
                    fake = self.outputs(written, rows, 1.0)
                # A fourth axis, because the penalties were written for pictures [N, C, H, W].
                real = self.one_hot(words[rows]).unsqueeze(1).requires_grad_()
                on_real, on_fake = self.score(real.squeeze(1), now, rows, "reals"), self.score(fake, now, rows, "fakes")
                loss = judge(on_real, on_fake)
            # Of words the mean, those behind the end included: there the critic has read the whole sentence.
            loss = loss.unflatten(0, (len(real), -1)).mean(dim=1)
            if recipe.penalty == "r1" and recipe.gamma:
                loss = loss + recipe.gamma / 2 / real.shape[-1] * losses.r1_penalty(on_real, real)
            elif recipe.penalty == "wgan_gp":
                mixed = losses.between(real.detach(), fake.unsqueeze(1), shares[rows])
                loss = loss + recipe.gamma * losses.gradient_penalty(self.score(mixed.squeeze(1), now, rows, "reals"), mixed)
            signs, difference = (part.mean(dim=1).sum() / len(words) for part in (on_real.sign(), on_real - on_fake))
            yield loss.sum() / len(words), {"r_t": signs.detach(), "difference": difference.detach()}

    def turn(self, now: Moment) -> Iterator[PartLoss]:
        if now.samples_seen < self.recipe.critic_first:
            return
        judge = losses.wasserstein_g if self.recipe.loss == "wasserstein" else losses.non_saturating_g
        for rows in self.parts:
            with self.devices.autocast(self.config.precision):
                if self.recipe.by_word:
                    yield self.policy_gradient(now, rows), {}
                    continue
                fake = self.outputs(self.written(now), rows, self.temperature(now.samples_seen))
                yield judge(self.score(fake, now, rows, "fakes")).sum() / self.config.batch_size, {}
        for loss, _ in super().turn(now) if self.recipe.mle_weight else ():
            yield self.recipe.mle_weight * loss, {"mle": loss.detach()}

    def policy_gradient(self, now: Moment, rows: slice) -> Tensor:
        """-(return - baseline) log p of each word, a mean over the words; its gradient is that of the rewards to come (Williams 1992, REINFORCE).

        Reward: 2 sigmoid(D) - 1 of each word, in -1 … 1. Baseline: the mean return of the words at the same step of the batch, which needs no memory.
        Source: de Masson d'Autume et al. 2019, "Training Language GANs from Scratch", section 3.
        """
        words, noise = self.written(now)[0], self.written(now)[1].rows(rows)
        total, words = (words != PAD).sum(), words[rows]
        said = (words != PAD).float()
        with torch.no_grad():
            gains = (self.score(self.one_hot(words), now, rows, "fakes") / 2).tanh() * said
            gains = discounted(gains, self.recipe.discount)
            gains = (gains - (gains * said).sum(dim=0) / said.sum(dim=0).clamp(min=1)) * said
        logits = self.generator.train()(words_before(words), noise)
        costs = functional.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=PAD, reduction="none")
        return (gains.flatten() * costs).sum() / total


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """[N, S]: of each step the sum of the rewards from there on, each by discount to the power of how far away it is."""
    far = torch.arange(rewards.shape[1], device=rewards.device)
    far = far[:, None] - far
    return rewards @ (discount ** far.clamp(min=0)).where(far >= 0, 0.0).to(rewards.dtype)
