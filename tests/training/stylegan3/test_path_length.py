import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.training.stylegan3.model_folder import write_model
from tests.training.stylegan3.tiny import TINIEST, make_generator
from training.metrics.images.perceptual import RandomDistance
from training.stylegan3.path_length import main, measure_path_length


class Straight:
    """Stands in for a generator: w is z, and every pixel is the sum of w to the power of `bend`."""

    config = SimpleNamespace(resolution=16, z_dim=8, label_dim=0)

    def __init__(self, bend: int = 1) -> None:
        self.bend = bend
        self.mapping = _Mapping()

    def synthesis(self, ws):
        return ws.double().sum((1, 2)).pow(self.bend)[:, None, None, None].expand(-1, 1, 4, 4)


class _Mapping:
    w_avg = torch.zeros(8, dtype=torch.float64)

    def __call__(self, z, c):
        return z[:, None].double()


class Squares:
    name = "squares"

    def __call__(self, one, other):
        return (one - other).square().mean((1, 2, 3))


def test_where_pictures_are_linear_in_w_it_is_the_squared_length_of_the_path():
    found = measure_path_length(Straight(), Squares(), pictures=400)
    number = found["ppl_wend_squares"]
    # The sum of 8 independent differences of two normal numbers has the variance 16; without the outermost percent a little less.
    assert 392 <= number.n <= 400 and number.low < number.value < number.high and number.value == pytest.approx(16, rel=0.25)


def test_where_a_path_bends_the_end_differs_from_the_whole():
    end, full = (next(iter(measure_path_length(Straight(2), Squares(), pictures=600, where=where).values())).value for where in ("end", "full"))
    # (w²)' = 2w(w₂ - w₁): at a path's middle w is smaller on average, and it does not lean with the difference.
    assert full < 0.8 * end


def test_the_outermost_pairs_do_not_decide():
    class Jumps(Squares):
        def __call__(self, one, other):
            lengths = super().__call__(one, other)
            return lengths * torch.tensor([1e12, *[1.0] * (len(lengths) - 1)])

    plain, jumping = (measure_path_length(Straight(), distance, pictures=300, batch=150) for distance in (Squares(), Jumps()))
    assert jumping["ppl_wend_squares"].value == pytest.approx(plain["ppl_wend_squares"].value, rel=0.1)


def test_a_network_s_number_says_who_looked_and_depends_on_no_batch():
    generator = make_generator().eval()
    some, others = (measure_path_length(generator, RandomDistance(0), pictures=6, batch=batch) for batch in (6, 4))
    assert list(some) == ["ppl_wend_rand0"] and some["ppl_wend_rand0"].value == pytest.approx(others["ppl_wend_rand0"].value, rel=0.02)


def test_both_ends_of_a_path_have_one_class():
    generator = make_generator(replace(TINIEST, label_dim=3)).eval()
    assert measure_path_length(generator, RandomDistance(), pictures=4, where="full")["ppl_wfull_rand0"].value > 0


def test_the_command_line_measures_any_snapshot(tmp_path, capsys):
    folder = write_model(tmp_path)
    assert main([str(folder), "--pictures", "4"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"ppl_wend_rand0"}
    assert main([str(folder), "--pictures", "1"]) == 2
    assert main([str(folder), "--pictures", "4", "--distance", f"lpips:{tmp_path}"]) == 1
    assert "LPIPS needs" in capsys.readouterr().err
