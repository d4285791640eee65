import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.training.stylegan3.model_folder import write_model
from training.stylegan3.equivariance import EQUIVARIANCE_METRICS, main, measure_equivariance, rotation, translation

from .tiny import TINIEST, TINIEST_R, TINY, make_generator

SIDE = 32


class Analytic:
    """Stands in for a generator: pictures are sums of waves of at most `share` of the Nyquist frequency, placed as the transform says, or not."""

    def __init__(self, share: float = 0.25, *, follows: bool = True) -> None:
        random = torch.Generator().manual_seed(1)
        radius, angle = share * SIDE / 2 * torch.rand(2, 8, generator=random).sqrt().double()
        angle = angle * 2 * math.pi
        self.frequencies, self.follows = torch.stack([radius * angle.cos(), radius * angle.sin()]), follows
        self.config = SimpleNamespace(resolution=SIDE, z_dim=8, label_dim=0)
        self.transform = torch.eye(3, dtype=torch.float64)
        self.mapping = _Mapping()

    @property
    def synthesis(self):
        return self

    @property
    def input(self):
        return self

    def __call__(self, ws):
        place = (torch.arange(SIDE).double() + 0.5) / SIDE - 0.5
        down, right = torch.meshgrid(place, place, indexing="ij")
        there = torch.stack([right, down, torch.ones_like(right)], dim=-1)
        transform = self.transform if self.follows else torch.eye(3, dtype=torch.float64)
        there = there @ transform.expand(len(ws), 3, 3).transpose(1, 2)[:, None]
        waves = torch.sin(2 * math.pi * there[..., :2] @ self.frequencies + ws[:, None, None, 0].double())
        return 0.3 * waves.sum(-1)[:, None]


class _Mapping:
    w_avg = torch.zeros(8)

    def __call__(self, z, c):
        return z[:, None]


def measured(generator, metrics=EQUIVARIANCE_METRICS, pictures=6, **settings):
    return measure_equivariance(generator, metrics, pictures=pictures, **settings)


def test_what_follows_exactly_has_many_decibels():
    found = measured(Analytic(), batch=4)
    assert list(found) == ["eqt_db", "eqt_frac_db", "eqr_db"]
    # Whole pixels need no resampling; Lanczos filters end near 55 dB even at low frequencies.
    assert found["eqt_db"].value > 250 and found["eqt_frac_db"].value > 55 and found["eqr_db"].value > 60
    assert all(found[name].n == 6 and found[name].low <= found[name].value <= found[name].high for name in ("eqt_frac_db", "eqr_db"))


def test_resampling_ends_near_50_db_at_higher_frequencies_as_the_paper_says():
    found = measured(Analytic(0.75))
    assert found["eqt_db"].value > 250 and 30 < found["eqt_frac_db"].value < 50 and 30 < found["eqr_db"].value < 50


def test_what_sticks_to_the_pixels_has_few():
    assert all(number.value < 20 for number in measured(Analytic(follows=False)).values())


def test_what_follows_translations_alone_has_no_rotation():
    class Upright(Analytic):
        def __call__(self, ws):
            turned, self.transform = self.transform, self.transform.clone()
            self.transform[..., :2, :2] = torch.eye(2, dtype=torch.float64)
            pictures = super().__call__(ws)
            self.transform = turned
            return pictures

    found = measured(Upright())
    assert found["eqt_db"].value > 250 and found["eqr_db"].value < 25


def test_a_known_difference_has_its_score():
    class Stuck(Analytic):
        calls = 0

        def __call__(self, ws):
            Stuck.calls += 1
            return torch.full((len(ws), 3, 16, 16), float(self.calls % 2), dtype=torch.float64)

    generator = Stuck()
    generator.config.resolution = 16
    assert measured(generator, ["eqt"], 2)["eqt_db"].value == pytest.approx(10 * math.log10(4))


def test_an_untrained_generator_follows_translations_and_is_left_as_it_was():
    generator = make_generator().eval()
    found = measured(generator, ["eqt"], batch=2)
    assert found["eqt_db"].value > 45
    assert torch.equal(generator.synthesis.input.transform, torch.eye(3))
    # Latents and moves do not depend on how many pictures are drawn side by side.
    assert measured(generator, ["eqt"], batch=4)["eqt_db"].value == pytest.approx(found["eqt_db"].value, abs=0.01)
    assert measured(generator, ["eqt"], batch=2, seed=1) != found


def test_leaving_one_metric_out_changes_none_of_the_others():
    generator = make_generator().eval()
    assert measured(generator)["eqr_db"] == measured(generator, ["eqr"])["eqr_db"]


@pytest.mark.parametrize(("config", "least_db"), [(TINIEST, 0), (TINIEST_R, 35)])
def test_configuration_r_follows_rotations(config, least_db):
    found = measured(make_generator(config).eval(), ["eqr"])["eqr_db"].value
    assert found > least_db and (config is TINIEST_R or found < 35)


def test_a_generator_with_its_filters_spoiled_follows_less():
    generator = make_generator().eval()
    whole = measured(generator, ["eqt"])["eqt_db"].value
    for layer in list(generator.synthesis.layers())[:-1]:
        nearest = torch.zeros_like(layer.up_filter)
        nearest[0] = 1.0
        layer.load_state_dict({**layer.state_dict(), "up_filter": nearest})
    assert measured(generator, ["eqt"])["eqt_db"].value < whole - 10


def test_a_conditional_generator_is_judged_over_its_classes():
    found = measured(make_generator(replace(TINIEST, label_dim=3)).eval(), ["eqt"])
    assert found["eqt_db"].value > 40


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


def test_low_precision_limits_equivariance_and_bfloat16_far_more():
    """Of layers that would compute in it on a GPU: here they do on a CPU."""
    generator, found = make_generator(replace(TINY, margin=10)), {}
    for dtype in (None, torch.float16, torch.bfloat16):
        generator.synthesis.compute_in(dtype)
        found[dtype] = measured(generator, ["eqt"], pictures=8)["eqt_db"].value
    assert found[None] > 95
    # Rounding to 11 bits and to 8: 18 dB apart.
    assert found[torch.float16] == pytest.approx(81, abs=4) and found[torch.bfloat16] == pytest.approx(63, abs=4)


def test_the_command_line_measures_any_snapshot(tmp_path, capsys):
    folder = write_model(tmp_path)
    assert main([str(folder), "--metrics", "eqt,eqr", "--pictures", "3"]) == 0
    said = capsys.readouterr()
    numbers = json.loads(said.out)
    assert set(numbers) == {"eqt_db", "eqr_db"} and "eqt_db" in said.err
    assert main([str(folder), "--metrics", "eqt", "--pictures", "3", "--precision", "bfloat16"]) == 0
    # What is far from exact anyway loses next to nothing.
    assert 0 < abs(json.loads(capsys.readouterr().out)["eqt_db"] - numbers["eqt_db"]) < 1
    assert main([str(folder), "--metrics", "eqt,fid"]) == 2
    assert "--metrics: fid is not known; expected some of eqt, eqt_frac, eqr" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), "--pictures", "3"]) == 1
