"""Train the generator of sentences by maximum likelihood: the baseline of the text GAN, and its start.

    python -m training.words.text_gan.train_mle
    python -m training.words.text_gan.train_mle --set total_sentences=5000      # seconds on a CPU

Reads data/sentences and data/vocabulary; writes data/text_mle. The same command again continues where the last one was interrupted, to the same bits.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from formats.text_tables import TextTableError
from stages.reporting import Reporter
from training.gans.players import adam
from training.loop.devices import Devices
from training.loop.job import Job, Training, run_job
from training.loop.loop import linear_schedule
from training.loop.seeding import seed_everything
from training.words.text_gan.config import TextMleConfig
from training.words.text_gan.data import read_data
from training.words.text_gan.losses import Likelihood
from training.words.text_gan.networks import Generator, GeneratorShape, TextGanError
from training.words.text_gan.school import School


def _open(data: Path, config: TextMleConfig, devices: Devices, reporter: Reporter) -> Training:
    text = read_data(data, JOB.stage, reporter, maximum_words=config.maximum_words)
    seed_everything(config.seed)
    words, steps = text.tokenizer.get_vocab_size(), config.maximum_words + 1
    generator = Generator(GeneratorShape(**asdict(config.generator), vocabulary_size=words, steps=steps)).to(devices.device)
    players = {"g": adam(generator, config.learning_rate, betas=(0.9, 0.99))}
    rates = {"warmup_samples": config.warmup_sentences, "total_samples": config.total_sentences}
    schedule = partial(linear_schedule, **rates, final_fraction=0.0)
    losses = Likelihood(generator, text.train, config, devices)
    return School(losses, players, text, config, devices, guard_diversity=0.0, schedule=schedule).training()


def _inputs(data: Path, _config: TextMleConfig) -> dict[str, Path]:
    return {name: data / name for name in ("sentences", "vocabulary")}


JOB = Job("text_mle", "training.words.text_gan.train_mle", TextMleConfig, _inputs, _open, budget="total_sentences", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `text_mle`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(TextGanError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
