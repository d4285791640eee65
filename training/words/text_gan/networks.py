"""The generator of sentences, one class for both trainings, and the critic that reads them.

Shapes: N sentences, S steps (the longest sentence and <end>), T of them, V words, E width, K tokens of global noise. The generator is causal, so one
pass over a sentence gives what S passes give that write it word by word: maximum likelihood feeds real words, the GAN those it wrote itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from formats.text_tables import SPECIALS, load_vocabulary
from formats.weights import ModelFiles, write_weights
from training.loop.seeding import generator as seeded
from training.words.text_gan.config import BlockOptions, GeneratorOptions

PAD, START, END, UNK = range(len(SPECIALS))


class TextGanError(Exception):
    """There is nothing to learn from, or a folder holds no generator of sentences."""


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """[length, width]: sin and cos of position / 10000^(2i / width) in turn, i the pair. Source: Vaswani et al. 2017, section 3.5."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class Attention(nn.Module):
    """Of x [N, T, E] to itself or to `memory` [N, K, E]; causal: to nothing behind. Torch's own has no second derivatives, for gradient penalties."""

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query, self.key_value, self.project = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        parts = [self.query(x), *self.key_value(x if memory is None else memory).chunk(2, dim=-1)]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1), float("-inf"))
        return self.dropout(self.project((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """x + norm(f(x)) of the seed: attention; with a gain fresh noise, that loud at first, and attention to the global noise; feed forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, *, causal: bool, gain: float | None = None) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(width, heads, dropout, causal=causal), nn.LayerNorm(width)
        if gain is not None:
            self.gain = nn.Parameter(torch.full((width,), gain))
            self.cross_attention, self.cross_norm = Attention(width, heads, dropout, causal=False), nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.Dropout(dropout))
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, noise: Tensor | None = None, everywhere: Tensor | None = None) -> Tensor:
        x = x + self.attention_norm(self.attention(x))
        if noise is not None:
            x = x + self.gain * noise
            x = x + self.cross_norm(self.cross_attention(x, everywhere))
        return x + self.feed_forward_norm(self.feed_forward(x))


@dataclass(frozen=True, kw_only=True)
class GeneratorShape(GeneratorOptions):
    """What the generator is built from; saved as config.json beside the weights. steps: words of the longest sentence, and <end>."""

    vocabulary_size: int
    steps: int


class Noise(NamedTuple):
    """Normal numbers (mean 0, deviation 1): of the sentence [N, K, E], a token a step [N, S, E], added in each block with noise [N, B, S, E].

    choices: [N, S, V], Gumbel's: the argmax of logits plus these is a draw from their softmax (Gumbel 1954). None: the likeliest word.
    """

    everywhere: Tensor
    steps: Tensor
    blocks: Tensor
    choices: Tensor | None

    def rows(self, rows: slice) -> "Noise":
        return Noise(*(part if part is None else part[rows] for part in self))  # type: ignore[arg-type]


def draw_noise(shape: GeneratorShape, number: int, random: torch.Generator, device: torch.device, *, with_choices: bool = False) -> Noise:
    """For `number` sentences, drawn on the CPU so that a seed means the same everywhere."""
    sizes = [(shape.noise_tokens,), (shape.steps,), (shape.blocks, shape.steps)]
    everywhere, steps, blocks = (torch.randn(number, *size, shape.width, generator=random).to(device) for size in sizes)
    choices = -torch.empty(number, shape.steps, shape.vocabulary_size).exponential_(generator=random).log() if with_choices else None
    return Noise(everywhere, steps, blocks, None if choices is None else choices.to(device))


class Generator(nn.Module):
    """See the module."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self.mapping = nn.Sequential(*(layer for _ in range(shape.mapping_layers) for layer in (nn.Linear(width, width), nn.LeakyReLU(0.2))))
        self.words = nn.Embedding(shape.vocabulary_size, width)
        self.gain = nn.Parameter(torch.full((width,), shape.noise_gain))
        self.register_buffer("positions", sinusoidal_positions(shape.steps, width), persistent=False)
        size = (width, shape.heads, shape.hidden, shape.dropout)
        self.blocks = nn.ModuleList(Block(*size, causal=True, gain=shape.noise_gain) for _ in range(shape.blocks))
        self.output_blocks = nn.ModuleList(Block(*size, causal=True) for _ in range(shape.output_blocks))
        self.head = nn.Linear(width, shape.vocabulary_size)
        self.register_buffer("never", torch.tensor([id in (PAD, START, UNK) for id in range(shape.vocabulary_size)]), persistent=False)

    def forward(self, before: Tensor, noise: Noise, *, last_only: bool = False) -> Tensor:
        """Logits [N, T, V], or the last [N, 1, V], with <pad>, <start> and <unk> at -inf. before: [N, T], <start> and the words before."""
        T, everywhere = before.shape[1], self.mapping(noise.everywhere)
        x = self.words(before) + self.gain * noise.steps[:, :T] + self.get_buffer("positions")[:T]
        for index, block in enumerate(self.blocks):
            x = block(x, noise.blocks[:, index, :T], everywhere)
        for block in self.output_blocks:
            x = block(x)
        return self.head(x[:, -1:] if last_only else x).float().masked_fill(self.get_buffer("never"), float("-inf"))

    @torch.no_grad()
    def write(self, noise: Noise, temperature: float = 1.0) -> Tensor:
        """Words [N, S], one by one: to <end>, or all S, then <pad>. Without choices, or at temperature 0, the likeliest word is taken."""
        words = torch.full(noise.steps.shape[:2], PAD, device=noise.steps.device)
        ended = torch.zeros_like(words[:, 0], dtype=torch.bool)
        for step in range(words.shape[1]):
            logits = self(words_before(words)[:, : step + 1], noise, last_only=True)[:, 0]
            if noise.choices is not None and temperature > 0:
                logits = logits / temperature + noise.choices[:, step]
            words[:, step] = logits.argmax(dim=-1).masked_fill(ended, PAD)
            ended |= words[:, step] == END
            if ended.all():
                break
        return words


def words_before(words: Tensor) -> Tensor:
    """What stands before each of the words [N, S]: <start>, and all but the last."""
    return torch.cat([torch.full_like(words[:, :1], START), words[:, :-1]], dim=1)


def as_texts(words: Tensor, tokenizer: Tokenizer) -> list[str]:
    rows = (row[: row.index(END)] if END in row else row for row in words.tolist())
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]


def sample(generator: Generator, tokenizer: Tokenizer, number: int, *, temperature: float = 1.0, seed: int = 0) -> list[str]:
    """The first `number` sentences of a seed. temperature: of the softmax that words are drawn from, see `write`."""
    texts: list[str] = []
    while len(texts) < number:
        noise = draw_noise(generator.shape, 128, seeded(seed, "sample", len(texts)), generator.head.weight.device, with_choices=True)
        texts += as_texts(generator.eval().write(noise, temperature), tokenizer)
    return texts[:number]


_FILES = ModelFiles("text_generator", "generator of sentences", "text_mle", GeneratorShape, TextGanError)


def save_generator(folder: Path, generator: Generator, tokenizer: Tokenizer) -> None:
    """model.safetensors, config.json, and the vocabulary as tokenizer.json. Equal weights and words make equal bytes."""
    write_weights(folder / "model.safetensors", generator)
    _FILES.write_config(folder, generator.shape)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")


def load_generator(folder: Path, device: torch.device) -> tuple[Generator, Tokenizer]:
    """The generator in `folder`, in evaluation mode, and its vocabulary. Raises TextGanError or TextTableError."""
    generator, tokenizer = Generator(_FILES.read_config(folder)), load_vocabulary(folder)
    _FILES.read_weights(folder / "model.safetensors", generator)
    words, wanted = tokenizer.get_vocab_size(), generator.shape.vocabulary_size
    if words != wanted:
        raise TextGanError(f"{folder}: tokenizer.json has {words} words, the weights {wanted}; they do not belong together, make the model again")
    return generator.to(device).eval(), tokenizer


class Discriminator(nn.Module):
    """Words (ones and zeros, or probabilities) beside positions, blocks, a class token, blocks, a score. noise_steps: the longest diffusion.

    by_word: without class token, and causal: a score of each word after those before it. Source: de Masson d'Autume et al. 2019, "ScratchGAN", 3.1.
    """

    def __init__(self, options: BlockOptions, *, vocabulary_size: int, steps: int, noise_steps: int = 0, by_word: bool = False) -> None:
        super().__init__()
        both = 2 * options.width
        self.words = nn.Linear(vocabulary_size, options.width, bias=False)
        # A single word is then as loud as the positions beside it, whatever the size of the vocabulary.
        nn.init.normal_(self.words.weight)
        self.register_buffer("positions", sinusoidal_positions(steps, options.width), persistent=False)
        self.class_token = None if by_word else nn.Parameter(torch.randn(both))
        size = (both, options.heads, options.hidden, 0.0)
        self.blocks = nn.ModuleList(Block(*size, causal=by_word) for _ in range(options.blocks))
        self.output_blocks = nn.ModuleList(Block(*size, causal=by_word) for _ in range(options.output_blocks))
        self.score = nn.Linear(both, 1)
        if noise_steps:
            self.register_buffer("times", sinusoidal_positions(noise_steps + 1, both), persistent=False)
            self.time = nn.Linear(both, both)

    def forward(self, sentences: Tensor, times: Tensor | None = None) -> Tensor:
        """Scores [N, 1] of sentences [N, S, V], or [N, S] of words. times: [N], how far each was diffused, from 0 to noise_steps."""
        x = torch.cat([self.words(sentences), self.get_buffer("positions").expand(len(sentences), -1, -1)], dim=-1)
        if times is not None:
            x = x + self.time(self.get_buffer("times")[times])[:, None]
        for block in self.blocks:
            x = block(x)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)
        for block in self.output_blocks:
            x = block(x)
        return self.score(x[:, 0]).float() if self.class_token is not None else self.score(x)[..., 0].float()
