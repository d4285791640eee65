"""Drawing: every latent vector once, in batches that may end with a smaller one; classes that exist."""

import pytest
import torch
from torch import nn

from training.gans.drawing import DrawingError, class_label, draw_batches, draw_seeds
from training.gans.seed_ranges import latents


class Grey(nn.Module):
    """Pictures as grey as the first number of z says; remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.batches: list[int] = []

    def forward(self, z, c, *, truncation_psi):
        self.batches.append(len(z))
        shade = z[:, 0] * truncation_psi + (0 if c is None else c[:, 1])
        return (self.weight * shade)[:, None, None, None].expand(-1, 1, 2, 2)


def test_a_partial_last_batch_is_drawn_too():
    network = Grey()
    z = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 2.0])[:, None]
    drawn = torch.cat(list(draw_batches(network, z, None, psi=1.0, batch_size=3)))
    assert network.batches == [3, 3, 1]
    assert drawn[:, 0, 0, 0].tolist() == [0, 64, 128, 159, 191, 223, 255]


def test_a_seed_is_its_own_latent_vector_and_class_in_any_batch():
    expected = (latents([4, 1, 9], 2)[:, 0] * 0.5 + 1) * 127.5 + 128
    for batch_size in (1, 2, 5):
        drawn = list(draw_seeds(Grey(), [4, 1, 9], z_dim=2, label=class_label(2, 1), psi=0.5, batch_size=batch_size))
        assert [seed for seed, _ in drawn] == [4, 1, 9]
        assert [picture[0, 0, 0] for _, picture in drawn] == expected.clamp(0, 255).int().tolist()


def test_a_class_must_be_one_the_model_has():
    label = class_label(3, 2)
    assert class_label(0, None) is None and label is not None and label.tolist() == [[0.0, 0.0, 1.0]]
    with pytest.raises(DrawingError, match="trained without labels"):
        class_label(0, 1)
    for wrong in (None, 3, -1):
        with pytest.raises(DrawingError, match="this model has the classes 0 to 2"):
            class_label(3, wrong)
