"""Distances in the form of LPIPS: what they must obey, who may be called LPIPS, and the same numbers as an implementation by loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from stages.files import sha256_of
from training.metrics.images import perceptual
from training.metrics.images.perceptual import LPIPS_FILE, VGG16_FILE, PerceptualDistanceError, RandomDistance, open_distance

WIDTHS = (64, 128, 256, 512, 512)
PLACES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with files of the right names and shapes, though not of the right bytes: a VGG16 an eighth as wide."""
    folder, random, below = tmp_path_factory.mktemp("lpips"), torch.Generator().manual_seed(0), 3
    network = {"classifier.0.weight": torch.zeros(1)}
    for width, places in zip(WIDTHS, PLACES, strict=True):
        for place in places:
            network[f"features.{place}.weight"] = torch.randn(width // 8, below, 3, 3, generator=random) * (2 / (9 * below)) ** 0.5
            network[f"features.{place}.bias"] = torch.randn(width // 8, generator=random) * 0.1
            below = width // 8
    torch.save(network, folder / VGG16_FILE)
    heads = {f"lin{index}.model.1.weight": torch.rand(1, width // 8, 1, 1, generator=random) for index, width in enumerate(WIDTHS)}
    torch.save(heads, folder / LPIPS_FILE)
    return folder


@pytest.fixture
def lpips(weights, monkeypatch):
    monkeypatch.setattr(perceptual, "VGG16_SHA256", sha256_of(weights / VGG16_FILE)[:8])
    monkeypatch.setattr(perceptual, "LPIPS_SHA256", sha256_of(weights / LPIPS_FILE))
    return open_distance(f"lpips:{weights}")


def images(count=3, side=32, channels=3, seed=0):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(params=["random", "lpips"])
def distance(request):
    return RandomDistance() if request.param == "random" else request.getfixturevalue("lpips")


def test_an_image_is_at_no_distance_from_itself_and_others_are_as_far_there_as_back(distance):
    one, other = images(), images(seed=1)
    assert distance(one, one).abs().max() < 1e-9
    found = distance(one, other)
    assert found.shape == (3,) and (found > 0.01).all() and torch.allclose(found, distance(other, one))


def test_a_small_change_is_a_small_distance_quadratically(distance):
    one, towards = images(), images(seed=1)
    near, nearer = (distance(one, one + share * towards) for share in (2e-3, 1e-3))
    assert torch.allclose(near / nearer, torch.tensor(4.0), rtol=0.05)


def test_gradients_lead_to_the_other_image(distance):
    one, other = images(1).requires_grad_(), images(1, seed=1)
    (slope,) = torch.autograd.grad(distance(one, other).sum(), one)
    assert slope.isfinite().all() and distance(one - 0.5 * slope / slope.norm(), other) < distance(one, other)


def test_grey_images_are_seen_as_grey_and_large_ones_made_smaller(distance):
    grey = images(2, channels=1)
    assert torch.allclose(distance(grey, grey.flip(3)), distance(grey.expand(-1, 3, -1, -1), grey.flip(3).expand(-1, 3, -1, -1)))
    large = images(1, side=16).repeat_interleave(32, 2).repeat_interleave(32, 3)
    small = images(1, side=16).repeat_interleave(16, 2).repeat_interleave(16, 3)
    assert torch.allclose(distance(large, -large), distance(small, -small), atol=1e-6)


def test_lpips_is_the_sum_that_the_paper_says(lpips, weights):
    """Place by place and layer by layer, in float64."""
    network, heads = (torch.load(weights / name, weights_only=True) for name in (VGG16_FILE, LPIPS_FILE))
    one, other = images(1, side=16), images(1, side=16, seed=1)

    def taps(image):
        x = (image.double() - torch.tensor([-0.030, -0.088, -0.188]).double().view(3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).double().view(
            3, 1, 1
        )
        for number, places in enumerate(PLACES):
            x = F.max_pool2d(x, 2) if number else x
            for place in places:
                x = F.conv2d(x, network[f"features.{place}.weight"].double(), network[f"features.{place}.bias"].double(), padding=1).clamp_min(0)
            yield x[0]

    expected = 0.0
    for index, (first, second) in enumerate(zip(taps(one), taps(other), strict=True)):
        head, (_, H, W) = heads[f"lin{index}.model.1.weight"].double().flatten(), first.shape
        for row in range(H):
            for column in range(W):
                a, b = first[:, row, column], second[:, row, column]
                difference = a / (math.sqrt(a @ a) + 1e-10) - b / (math.sqrt(b @ b) + 1e-10)
                expected += float(head @ difference**2) / (H * W)
    assert lpips(one, other).item() == pytest.approx(expected, rel=1e-4)


def test_only_the_published_files_may_be_called_lpips(weights, tmp_path):
    assert open_distance("random", seed=3).name == "rand3"
    with pytest.raises(PerceptualDistanceError, match="expected 397923af…; a distance made with other weights must not be called LPIPS"):
        open_distance(f"lpips:{weights}")
    with pytest.raises(PerceptualDistanceError, match=r"vgg16-397923af\.pth: no such file; LPIPS needs"):
        open_distance(f"lpips:{tmp_path}")
    for name in ("lpips", "lpips:", "vgg"):
        with pytest.raises(PerceptualDistanceError, match="is not a known distance; expected random, or lpips:FOLDER"):
            open_distance(name)


def test_lpips_carries_its_name_into_numbers(lpips):
    assert lpips.name == "lpips_vgg16"
