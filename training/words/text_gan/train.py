"""Train the generator of sentences against a discriminator, from the weights that maximum likelihood gave it or from none.

    python -m training.words.text_gan.train
    python -m training.words.text_gan.train --set mode=diffusion
    python -m training.words.text_gan.train --set preset=seed --set guard_diversity=0      # as GAN_TextGen: expect no sentences

Reads data/sentences, data/vocabulary and data/text_mle (the generator's shape, and its weights where the recipe starts warm); writes data/text_gan.
The same command again continues where the last one was interrupted, to the same bits.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from formats.text_tables import TextTableError
from stages.reporting import Reporter
from training.gans.players import adam
from training.loop.devices import Devices
from training.loop.job import Job, Training, run_job
from training.loop.seeding import seed_everything
from training.words.text_gan.config import TextGanConfig
from training.words.text_gan.data import read_data
from training.words.text_gan.losses import MOST_STEPS, TextGanLosses
from training.words.text_gan.networks import Discriminator, Generator, TextGanError, load_generator
from training.words.text_gan.school import School


def _open(data: Path, config: TextGanConfig, devices: Devices, reporter: Reporter) -> Training:
    mle, tokenizer = load_generator(data / "text_mle", devices.device)
    recipe, shape = config.play, mle.shape
    text = read_data(data, JOB.stage, reporter, maximum_words=shape.steps - 1)
    if text.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise TextGanError(f"{data / 'text_mle'}: made with another vocabulary than data/vocabulary; make it again: figment materialize text_mle")
    seed_everything(config.seed)
    generator = mle if recipe.warm_start else Generator(shape).to(devices.device)
    noise_steps = MOST_STEPS if config.mode == "diffusion" else 0
    critic = Discriminator(config.critic, vocabulary_size=shape.vocabulary_size, steps=shape.steps, noise_steps=noise_steps).to(devices.device)
    losses, betas = TextGanLosses(generator, critic, text.train, config, devices), (0.0, recipe.beta2)
    players = {"g": adam(generator, recipe.generator_rate, betas=betas), "d": adam(critic, recipe.critic_rate, betas=betas)}
    more = {"others": {"diffusion": losses.diffusion}, "after_step": losses.diffusion.follow} if losses.diffusion else {}
    return School(losses, players, text, config, devices, guard_diversity=config.guard_diversity, **more).training()


def _inputs(data: Path, _config: TextGanConfig) -> dict[str, Path]:
    return {name: data / name for name in ("sentences", "vocabulary", "text_mle")}


JOB = Job("text_gan", "training.words.text_gan.train", TextGanConfig, _inputs, _open, budget="total_sentences", libraries=("torch", "tokenizers"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `text_gan`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(TextGanError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
