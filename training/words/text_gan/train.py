"""Train the generator of sentences against a discriminator: data/sentences, data/vocabulary and data/text_mle to data/text_gan.

python -m training.words.text_gan.train
python -m training.words.text_gan.train --set preset=seed --set guard_diversity=0      # as GAN_TextGen: expect no sentences
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
from training.words.text_gan.losses import MOST_STEPS, TextGanLosses
from training.words.text_gan.networks import Discriminator, Generator, TextGanError, load_generator
from training.words.text_gan.school import School, inputs, read_data


def _open(data: Path, config: TextGanConfig, devices: Devices, reporter: Reporter) -> Training:
    mle, tokenizer = load_generator(data / "text_mle", devices.device)
    recipe, shape = config.play, mle.shape
    text = read_data(data, JOB.stage, reporter, maximum_words=shape.steps - 1)
    if text.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise TextGanError(f"{data / 'text_mle'}: made with another vocabulary than data/vocabulary; make it again: figment materialize text_mle")
    seed_everything(config.seed)
    generator = mle if recipe.warm_start else Generator(shape).to(devices.device)
    noise_steps = MOST_STEPS if config.mode == "diffusion" else 0
    sizes = {"vocabulary_size": shape.vocabulary_size, "steps": shape.steps, "noise_steps": noise_steps}
    critic = Discriminator(config.critic, **sizes, by_word=recipe.by_word).to(devices.device)
    losses, betas = TextGanLosses(generator, critic, text.train, config, devices), (0.0, recipe.beta2)
    players = {"g": adam(generator, recipe.generator_rate, betas=betas), "d": adam(critic, recipe.critic_rate, betas=betas)}
    more = {"others": {"diffusion": losses.diffusion}, "after_step": losses.diffusion.follow} if losses.diffusion else {}
    return School(losses, players, text, config.guard_diversity, **more).training


JOB = Job("text_gan", "training.words.text_gan.train", TextGanConfig, inputs("sentences", "vocabulary", "text_mle"), _open, "total_sentences")


def main(argv: Sequence[str] | None = None) -> int:
    return run_job(JOB, __doc__, argv, expected=(TextGanError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
