"""The order of images and the latent vectors: every image once an epoch, and the same whatever came before."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.gans.image_stream import Ahead, ImageOrder, TrainingImages, batch_of, random_latents, uint8_images

CPU = torch.device("cpu")


@given(st.integers(1, 40), st.integers(0, 5), st.booleans())
def test_each_epoch_shows_every_image_once(number, epoch, mirror):
    order = ImageOrder(number, 3, mirror=mirror)
    indices, mirrored = order.take(epoch * order.epoch_images, order.epoch_images)
    shown = sorted(zip(indices.tolist(), mirrored.tolist(), strict=True))
    assert shown == [(index, side) for index in range(number) for side in ([False, True] if mirror else [False])]


@given(st.integers(1, 30), st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_a_batch_does_not_depend_on_how_the_ones_before_were_cut(number, start, first, second):
    order = ImageOrder(number, 1)
    whole = order.take(start, first + second)[0]
    assert torch.equal(whole, torch.cat([order.take(start, first)[0], order.take(start + first, second)[0]]))


def test_epochs_and_salts_have_orders_of_their_own():
    order = ImageOrder(100, 1)
    first, second = order.take(0, 100)[0], order.take(100, 100)[0]
    assert not torch.equal(first, second) and not torch.equal(first, order.take(0, 100, salt=1)[0])


def test_pictures_come_in_minus_one_to_one_with_their_labels():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    images, labels = batch_of(TrainingImages(pixels, torch.eye(2)), ImageOrder(2, 0), 0, 2, CPU)
    assert labels is not None
    assert all(float(image.mean()) == (1.0 if label[1] else -1.0) for image, label in zip(images, labels, strict=True))


def test_mirrored_pictures_are_mirrored():
    pixels = torch.zeros(1, 1, 1, 2, dtype=torch.uint8)
    pixels[..., 1] = 255
    images, _ = batch_of(TrainingImages(pixels), ImageOrder(1, 0, mirror=True), 0, 2, CPU)
    assert sorted(images[:, 0, 0, 0].tolist()) == [-1.0, 1.0]


def test_latent_vectors_are_those_of_their_purpose():
    first, again, other = (random_latents(8, 4, None, 0, purpose, device=CPU)[0] for purpose in ("G", "G", "D"))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_pictures_shown_are_different_ones_and_always_the_same():
    data = TrainingImages(torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1))
    shown = uint8_images(data, 12, seed=1)
    assert len(set(shown.flatten().tolist())) == 12 and (shown == uint8_images(data, 12, seed=1)).all()
    assert len(uint8_images(data, 50, seed=1)) == 20


def test_a_set_too_large_for_the_gpu_is_sent_for_one_batch_ahead():
    sent, waited = [], []

    def copy(pictures, device):
        sent.append(pictures.tolist())
        return pictures, lambda: waited.append(pictures.tolist())

    ahead = Ahead(copy)
    batches = [
        ahead.take(now, after, lambda key: torch.tensor([key]), torch.device("cpu")).tolist() for now, after in ((0, 2), (0, 2), (2, 4), (9, 11))
    ]
    # The second turn of an iteration sees the same reals; after a roll-back another batch comes than the one that was sent for.
    assert batches == waited == [[0], [0], [2], [9]] and sent == [[0], [2], [4], [9], [11]]
