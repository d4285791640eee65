"""The collapse guard beside ADA on small sets: a simulated discriminator that learns its pictures by heart is left alone, one that has won is not.

The simulation is of the numbers a training reports, at the batch, tick and limits of each preset. D's margin on a picture, in units of its spread,
grows with how well it knows the set by heart, and ADA's p takes most of that away; the signs of a batch are drawn from it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy
import pytest
import torch

from stages.params import load_params
from training.gans.ada import AugmentController
from training.loop.collapse_guard import CollapseGuard
from training.stylegan3.options import StyleGAN3Options

ROOT = Path(__file__).resolve().parents[3]
PRESETS = {"params.yaml": ROOT / "params.yaml", **{f"presets/{name}.yaml": ROOT / f"presets/{name}.yaml" for name in ("demo", "shared", "paper")}}
NORMAL = NormalDist()

# A discriminator: images seen, pictures in the set and p to the share of reals and of fakes that it knows for what they are.
Discriminator = Callable[[int, int, float], tuple[float, float]]


def learning_by_heart(strength: float, left_at_full_p: float) -> Discriminator:
    """Healthy, but with a set small enough to know: ahead of the young generator, then better with every epoch, then held back by augmentation."""

    def knows(images: int, pictures: int, p: float) -> tuple[float, float]:
        young = 1.0 * math.exp(-images / 3000)
        by_heart = strength * (1 - math.exp(-images / (8 * pictures))) * (100 / pictures) ** 0.25
        margin = 0.5 + young + by_heart * (1 - (1 - left_at_full_p) * p)
        return NORMAL.cdf(margin), NORMAL.cdf(1.1 * margin)

    return knows


def winning_after(when: int) -> Discriminator:
    """Learning by heart until then; afterwards it knows every picture, however it is augmented."""
    before = learning_by_heart(3.0, 0.2)
    return lambda images, pictures, p: (1.0, 1.0) if images >= when else before(images, pictures, p)


class Steered:
    """What `AugmentController` does, in Python's numbers: millions of simulated steps would take minutes in tensors of one number each."""

    def __init__(self, options: StyleGAN3Options) -> None:
        self.options, self.signs = options, list[float]()
        self.p = options.p if options.aug == "fixed" else 0.0

    def after_step(self, sign: float) -> float:
        self.signs.append(sign * self.options.batch)
        if len(self.signs) == 4 and self.options.aug == "ada":
            count = 4 * self.options.batch
            r_t, step = sum(self.signs) / count, count / (1000 * self.options.ada_kimg)
            self.p = min(1.0, max(0.0, self.p + (math.copysign(step, r_t - self.options.target) if r_t != self.options.target else 0.0)))
            self.signs.clear()
        return self.p


def reports(options: StyleGAN3Options, knows: Discriminator, pictures: int, *, images: int, seed: int) -> Iterator[tuple[int, dict[str, float]]]:
    """(images, values) of every report, p steered as the training steers it."""
    dice, controller = numpy.random.default_rng(seed), Steered(options)
    every, sums, steps = options.plan.report_every_samples, [0.0, 0.0, 0.0], 0
    for seen in range(options.batch, images + 1, options.batch):
        real, fake = (2 * float(dice.binomial(options.batch, chance)) / options.batch - 1 for chance in knows(seen, pictures, controller.p))
        p = controller.after_step(real)
        sums, steps = [total + value for total, value in zip(sums, (real, -fake, p), strict=True)], steps + 1
        if seen // every != (seen - options.batch) // every:
            yield seen, dict(zip(("r_t", "fake_sign", "p"), (total / steps for total in sums), strict=True))
            sums, steps = [0.0, 0.0, 0.0], 0


def first_collapse(options: StyleGAN3Options, knows: Discriminator, pictures: int, *, images: int, seed: int = 0) -> tuple[int | None, int]:
    """After how many images the guard finds a collapse, and how many reports it judged."""
    guard, judged = CollapseGuard(options.guard), 0
    for seen, values in reports(options, knows, pictures, images=images, seed=seed):
        judged += 1
        if guard.judge(values, seen):
            return seen, judged
    return None, judged


@pytest.mark.parametrize("aug", ["ada", "fixed"])
def test_p_is_steered_as_the_training_steers_it(aug):
    options = replace(load_params(PRESETS["presets/demo.yaml"], "stylegan3_toc", StyleGAN3Options), aug=aug, ada_kimg=1.0)
    steered, dice = Steered(options), numpy.random.default_rng(0)
    controller = AugmentController(None, steered.p, is_adaptive=aug == "ada", target=options.target, kimg=options.ada_kimg)
    for step in range(400):
        # Up to the strongest, down to nothing, and now and then at the target itself.
        chance = {0: 0.98, 1: 0.2, 2: (1 + options.target) / 2}[step // 100 % 3]
        sign = 2 * float(dice.binomial(options.batch, chance)) / options.batch - 1
        assert steered.after_step(sign) == float(controller.after_step({"r_t": torch.tensor(sign)}, options.batch)["p"])


@pytest.fixture(params=PRESETS)
def preset(request) -> StyleGAN3Options:
    return load_params(PRESETS[request.param], "stylegan3_toc", StyleGAN3Options)


@pytest.mark.parametrize("pictures", [100, 300, 1000, 2000])
@pytest.mark.parametrize("tick", [None, 0.016])
def test_a_discriminator_that_knows_a_small_set_by_heart_is_no_collapse(preset, pictures, tick):
    options = preset if tick is None else replace(preset, tick=tick)
    # As long as the preset trains, or until p could have risen and fallen and the guard's time passed many times over.
    images = round(1000 * min(max(2 * options.ada_kimg, 100 * options.guard.sign_kimg), 1000))
    for seed, (strength, left) in enumerate([(2.0, 0.1), (4.0, 0.2), (6.0, 0.25)]):
        found, judged = first_collapse(options, learning_by_heart(strength, left), pictures, images=images, seed=seed)
        assert found is None and judged >= images / max(options.plan.report_every_samples, options.batch) - 1


@pytest.mark.parametrize("aug", ["ada", "fixed", "noaug"])
def test_a_discriminator_that_has_won_is_caught_once_the_augmentation_can_do_no_more(preset, aug):
    options = replace(preset, aug=aug, kimg=3 * preset.ada_kimg)
    when = 1000 * round(0.2 * options.ada_kimg) + options.batch
    found, _ = first_collapse(options, winning_after(when), 2000, images=when + round(1000 * (1.2 * options.ada_kimg + 3 * options.guard.sign_kimg)))
    assert found is not None
    strongest = when + round(1000 * options.ada_kimg) if aug == "ada" else when
    # A report's means may begin a little before; and the time over which signs are judged may just have begun when it won.
    assert when + 1000 * options.guard.sign_kimg - 2 * options.plan.report_every_samples <= found
    assert found <= strongest + 2000 * options.guard.sign_kimg + 3 * options.plan.report_every_samples


def test_the_simulated_discriminator_does_what_makes_it_look_as_if_it_had_won():
    options = replace(load_params(PRESETS["presets/demo.yaml"], "stylegan3_toc", StyleGAN3Options), tick=0.016)
    rows = list(reports(options, learning_by_heart(4.0, 0.2), 100, images=60_000, seed=1))
    signs, strengths = [values["r_t"] for _, values in rows], [values["p"] for _, values in rows]
    # Three reports in a row, which were the limit once, are all of D knowing everything many times; p rises all the way to 1 and stays near it.
    assert sum(min(three) > 0.95 for three in zip(signs, signs[1:], signs[2:], strict=False)) > 50
    assert strengths[0] < 0.01 and max(strengths) == 1.0 and min(strengths[-100:]) > 0.9
