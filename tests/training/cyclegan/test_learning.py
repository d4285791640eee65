"""What a small CycleGAN must learn on a CPU: to bring pictures back, and to change colours and nothing else. Minutes, all of it."""

from pathlib import Path

import numpy
import pytest
import torch

from stages.reporting import Reporter
from tests.training.cyclegan.toy_pictures import CPU, PALETTES, figures, toy_training
from training.cyclegan.domains import Domains, float_pictures, read_domains
from training.gans.image_stream import TrainingImages
from training.gans.picture_folder import make_picture_set

SHARED = Path(__file__).resolve().parents[4] / "shared/data/unpaired_images"


def domains(side: int, *, train: int = 200, test: int = 40) -> Domains:
    made = (
        {name: TrainingImages(torch.from_numpy(figures(count, name, side=side, seed=seed))) for name in "AB"}
        for count, seed in ((train, 0), (test, 1))
    )
    return Domains(*made, {"A": "testA", "B": "testB"})


@torch.no_grad()
def cycle_l1(training) -> float:
    ways = (training.generators.a_to_b, training.generators.b_to_a)
    errors = []
    for name, there, back in (("A", *ways), ("B", *reversed(ways))):
        pictures = float_pictures(training.domains.test[name].images[:20], CPU.device)
        errors.append(float((back(there(pictures)) - pictures).abs().mean()))
    return sum(errors) / 2


def judge(training, way: str) -> tuple[float, float]:
    """Of translated test pictures: the share of pixels nearest to one of the two colours of the other domain, among the four of both; and how much
    their figures overlap with the sources', as intersection over union.
    """
    network, other = (training.generators.a_to_b, "B") if way == "A" else (training.generators.b_to_a, "A")
    sources = training.domains.test[way].images

    def nearest(pictures: numpy.ndarray) -> numpy.ndarray:
        """Of every pixel [N, H, W]: 0 and 1 the ground and the figure of `way`, 2 and 3 those of the other domain."""
        colours = numpy.array(PALETTES[way] + PALETTES[other], float)[None, :, :, None, None]
        return numpy.linalg.norm(pictures[:, None].astype(float) - colours, axis=2).argmin(axis=1)

    with torch.no_grad():
        made = nearest(((network(float_pictures(sources, CPU.device)) + 1) * 127.5).numpy())
    before = nearest(sources.numpy())
    assert (before < 2).all(), "pictures that nobody translated have no colour of the other domain"
    figure, wanted = made == 3, before == 1
    return float((made >= 2).mean()), float((figure & wanted).sum() / (figure | wanted).sum())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_two_hundred_iterations_the_cycle_loses_three_fifths_of_its_error():
    sizes = {"ngf": 16, "ndf": 32, "n_layers_d": 3, "net_g": "resnet_6blocks", "batch": 1, "load_size": 72}
    training = toy_training(domains(64), **sizes, pool=50, lr=2e-4, kimg=1.0, constant_kimg=1.0, decay_kimg=0.0)
    before = cycle_l1(training)
    for _ in range(200):
        training.trainer.step()
    assert cycle_l1(training) <= 0.4 * before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_colours_become_the_other_two_and_shapes_stay():
    """Nor do colours come out inverted (junyanz' #91, #249): what is ground stays ground."""
    sizes = {"ngf": 12, "ndf": 8, "n_layers_d": 2, "net_g": "resnet_2blocks", "batch": 4, "load_size": 36}
    training = toy_training(domains(32), **sizes, pool=50, lr=2e-3, kimg=1.6, constant_kimg=0.9, decay_kimg=0.7)
    while training.trainer.samples_seen < 1600:
        training.trainer.step()
    for way in "AB":
        in_palette, overlap = judge(training, way)
        assert in_palette >= 0.95 and overlap >= 0.9, (way, in_palette, overlap)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(900)
def test_real_paintings_and_photographs_come_back_ever_more_like_themselves(tmp_path):
    """Two hundred Monets and three hundred flowers at 64 px. Real pictures are harder than made ones: docs/LOG.md has what 200 iterations reach."""
    sources = {"A": SHARED / "monet", "B": SHARED / "photo_flowers"}
    for name, source in sources.items():
        make_picture_set(source, tmp_path / f"train{name}", size=64, fit="crop", memory=tmp_path / f"{name}.key", reporter=Reporter())
    pictures = read_domains(tmp_path, resolution=None, stage="real", reporter=Reporter())
    assert {name: len(found) for name, found in pictures.train.items()} == {
        name: sum(1 for _ in source.rglob("*.jpg")) for name, source in sources.items()
    }
    sizes = {"ngf": 16, "ndf": 32, "n_layers_d": 3, "net_g": "resnet_6blocks", "batch": 1, "load_size": 72}
    training = toy_training(pictures, **sizes, pool=50, lr=2e-4, kimg=1.0, constant_kimg=1.0, decay_kimg=0.0)
    before = cycle_l1(training)
    for _ in range(200):
        training.trainer.step()
    assert cycle_l1(training) <= 0.7 * before
