import math
from dataclasses import replace

import pytest
import torch

from training.stylegan3.equivariance import measure_eq_t, rotation, translation

from .tiny import TINIEST, TINIEST_R, make_generator


def test_an_untrained_generator_follows_translations():
    generator = make_generator().eval()
    score = measure_eq_t(generator, torch.randn(6, TINIEST.z_dim), random=torch.Generator().manual_seed(0), batch=2)
    assert score.eq_t_db > 45
    assert score.pictures == 6
    assert torch.equal(generator.synthesis.input.transform, torch.eye(3))


def test_a_generator_with_its_filters_spoiled_follows_less():
    generator = make_generator().eval()
    z = torch.randn(6, TINIEST.z_dim)
    whole = measure_eq_t(generator, z, random=torch.Generator().manual_seed(0)).eq_t_db
    for layer in list(generator.synthesis.layers())[:-1]:
        nearest = torch.zeros_like(layer.up_filter)
        nearest[0] = 1.0
        layer.load_state_dict({**layer.state_dict(), "up_filter": nearest})
    spoiled = measure_eq_t(generator, z, random=torch.Generator().manual_seed(0)).eq_t_db
    assert spoiled < whole - 10


@torch.no_grad()
def test_moving_the_input_moves_the_picture_by_whole_pixels():
    # With the paper's margin, what lies beyond the border moves in as it should.
    generator = make_generator(replace(TINIEST, margin=10)).eval()
    z = torch.randn(2, TINIEST.z_dim)
    still = generator(z)
    generator.synthesis.input.transform.copy_(translation(3 / 16, -2 / 16))
    moved = generator(z)
    contrast = still.std()
    assert (moved[:, :, :-2, 3:] - still[:, :, 2:, :-3]).abs().max() < 2e-3 * contrast
    assert (moved - still).abs().mean() > 0.1 * contrast


@torch.no_grad()
def test_configuration_r_also_follows_quarter_turns():
    generator = make_generator(TINIEST_R).eval()
    z = torch.randn(2, TINIEST.z_dim)
    still = generator(z)
    generator.synthesis.input.transform.copy_(rotation(math.pi / 2))
    turned = generator(z)
    clockwise = torch.rot90(still, -1, (2, 3))
    assert (turned - clockwise).abs().max() < 1e-4
    assert (turned - still).abs().max() > 1e-2


def test_pictures_that_do_not_follow_at_all_have_the_score_of_their_difference():
    class Stuck(torch.nn.Module):
        """Two fixed pictures in turn, 1 apart everywhere."""

        def __init__(self):
            super().__init__()
            self.input = torch.nn.Module()
            self.input.register_buffer("transform", torch.eye(3))
            self.calls = 0

        def forward(self, ws):
            self.calls += 1
            return torch.full((len(ws), 3, 16, 16), float(self.calls % 2))

    generator = make_generator()
    generator.synthesis = Stuck()
    score = measure_eq_t(generator, torch.randn(2, TINIEST.z_dim), random=torch.Generator().manual_seed(0))
    assert score.eq_t_db == pytest.approx(10 * math.log10(4))
