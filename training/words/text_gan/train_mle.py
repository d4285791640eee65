"""Train the generator of sentences by maximum likelihood: data/sentences and data/vocabulary to data/text_mle.

python -m training.words.text_gan.train_mle
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
from training.words.text_gan.losses import Likelihood
from training.words.text_gan.networks import Generator, GeneratorShape, TextGanError
from training.words.text_gan.school import School, inputs, read_data


def _open(data: Path, config: TextMleConfig, devices: Devices, reporter: Reporter) -> Training:
    text = read_data(data, JOB.stage, reporter, maximum_words=config.maximum_words)
    seed_everything(config.seed)
    words, steps = text.tokenizer.get_vocab_size(), config.maximum_words + 1
    generator = Generator(GeneratorShape(**asdict(config.generator), vocabulary_size=words, steps=steps)).to(devices.device)
    players = {"g": adam(generator, config.learning_rate, betas=(0.9, 0.99))}
    schedule = partial(linear_schedule, warmup_samples=config.warmup_sentences, total_samples=config.total_sentences, final_fraction=0.0)
    return School(Likelihood(generator, text.train, config, devices), players, text, schedule=schedule).training


JOB = Job("text_mle", "training.words.text_gan.train_mle", TextMleConfig, inputs("sentences", "vocabulary"), _open, "total_sentences")


def main(argv: Sequence[str] | None = None) -> int:
    return run_job(JOB, __doc__, argv, expected=(TextGanError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
