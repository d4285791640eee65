"""What decides the two trainings of one generator: by maximum likelihood, and against a discriminator."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from training.loop.bounds import above, at_least, within
from training.loop.devices import Precision
from training.loop.loop import Plan

OPERATIONAL = ("max_seconds", "report_every", "checkpoint_every", "keep_checkpoints")


@dataclass(frozen=True)
class Schooling:
    """What both sections say. Counts are of sentences, repeats included. What is OPERATIONAL never changes the weights; the budget does."""

    total_sentences: int = 1_000_000
    batch_size: int = 64
    max_seconds: float | None = None
    ema_half_life: int = 10_000
    precision: Precision = "auto"
    seed: int = 0
    report_every: int = 2_000
    validate_every: int = 20_000
    checkpoint_every: int = 50_000
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "total_sentences", "batch_size", "report_every", "validate_every", "checkpoint_every", "keep_checkpoints")

    @property
    def plan(self) -> Plan:
        return Plan(self.total_sentences, self.report_every, self.checkpoint_every, self.max_seconds, what="sentences", good_states=3)

    @property
    def side_by_side(self) -> int:
        return self.batch_size

    def decisive(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}


@dataclass(frozen=True)
class BlockOptions:
    """width: of a word's vector; the critic's blocks are twice as wide. blocks: with noise (the seed's B); the critic's before its class token."""

    width: int = 64
    heads: int = 4
    hidden: int = 256
    blocks: int = 2
    output_blocks: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "heads", "hidden", "blocks", "output_blocks")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even, for pairs of sine and cosine, and a multiple of heads {self.heads}")


@dataclass(frozen=True)
class GeneratorOptions(BlockOptions):
    """mapping_layers: the seed's M. noise_tokens: of the global noise. noise_gain: loudness at first, in standard deviations of a word's vector."""

    mapping_layers: int = 2
    noise_tokens: int = 4
    noise_gain: float = 0.1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "mapping_layers", "noise_tokens")
        within(self, 0, 0.9, "dropout")


@dataclass(frozen=True)
class TextMleConfig(Schooling):
    """The section `text_mle`: the generator, which `text_gan` takes over, and its training by maximum likelihood."""

    maximum_words: int = 20
    generator: GeneratorOptions = field(default_factory=GeneratorOptions)
    learning_rate: float = 1e-3
    warmup_sentences: int = 5_000


@dataclass(frozen=True)
class Recipe:
    """How the two play; by default as `working` says, in which the critic alone teaches.

    outputs: soft = the critic reads probabilities and the likeliest word is fed back; straight_through = it reads the words that were drawn, and the
    gradient goes through the Gumbel-softmax (Jang et al. 2017); policy_gradient = it scores each word after those before it, and the generator learns
    by these rewards (de Masson d'Autume et al. 2019). discount: of a reward, for each word before it that it also counts for.
    gamma: of (norm - 1)² for wgan_gp; for r1 half of R1, a mean over the vocabulary.
    critic_steps: to each of the generator. critic_first: sentences before its first. mle_weight: of the likelihood in the generator's loss.
    """

    warm_start: bool = True
    outputs: Literal["policy_gradient", "straight_through", "soft"] = "policy_gradient"
    loss: Literal["non_saturating", "wasserstein"] = "non_saturating"
    penalty: Literal["r1", "wgan_gp"] = "r1"
    gamma: float = 0.0
    critic_steps: int = 1
    critic_first: int = 1_600
    generator_rate: float = 3e-4
    critic_rate: float = 3e-3
    beta2: float = 0.99
    mle_weight: float = 0.0
    temperature_start: float = 1.0
    temperature_end: float = 0.5
    discount: float = 0.9

    def __post_init__(self) -> None:
        at_least(self, 1, "critic_steps")
        at_least(self, 0, "gamma", "mle_weight", "critic_first")
        above(self, 0, "generator_rate", "critic_rate", "temperature_start", "temperature_end")
        within(self, 0, 1, "discount")
        if self.outputs == "policy_gradient" and (self.loss, self.penalty) != ("non_saturating", "r1"):
            raise ValueError(f"outputs policy_gradient needs non_saturating and r1, found {self.loss} and {self.penalty}: its rewards are odds")

    @property
    def by_word(self) -> bool:
        """Whether the critic scores each word and not the sentence."""
        return self.outputs == "policy_gradient"


# `seed` is GAN_TextGen's: WGAN-GP, five critic steps to one, probabilities to the critic, words from noise alone.
RECIPES = {"working": Recipe(), "seed": Recipe(False, "soft", "wasserstein", "wgan_gp", 10.0, 5, 0, 1e-4, 1e-4, 0.9, 0.0, 1.0, 1.0)}


@dataclass(frozen=True)
class TextGanConfig(Schooling):
    """The section `text_gan`. recipe: null = the preset's. mode: diffusion hides both sides behind noise as well (Wang et al. 2023).

    guard_diversity: of real sentences' distinct word pairs; with fewer in 256 sentences of fixed noise it goes back to a good state. 0 = no guard.
    """

    preset: Literal["working", "seed"] = "working"
    recipe: Recipe | None = None
    mode: Literal["gan", "diffusion"] = "gan"
    critic: BlockOptions = field(default_factory=BlockOptions)
    guard_diversity: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 0, 1, "guard_diversity")
        if self.preset == "seed" and self.recipe is not None:
            raise ValueError("preset seed has a recipe of its own; leave recipe null, or take preset working and change it")

    @property
    def play(self) -> Recipe:
        return self.recipe or RECIPES[self.preset]

    def temperature(self, samples: int) -> float:
        """Of the Gumbel-softmax: from start to end in a geometric line. Source: Nie et al. 2019, "RelGAN", section 4.3 (their 1/T)."""
        start, end = self.play.temperature_start, self.play.temperature_end
        return float(start * (end / start) ** min(1.0, samples / self.total_sentences))
