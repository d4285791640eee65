"""The settings of a training: what they refuse, and which of them decide the weights."""

from pathlib import Path

import pytest

from stages.params import ParamsError, build_config
from training.gans.options import OPERATIONAL
from training.stylegan3.options import StyleGAN3Options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 32, "batch_gpu": 5}, "batch 32 is not a multiple of batch_gpu 5"),
        ({"kimg": 0}, "kimg must be above 0"),
        ({"gamma": -1}, "null takes it from resolution and batch"),
        ({"target": 1.5}, r"target must lie in \[0, 1\]"),
        ({"grid": [8]}, r"grid must be \[columns, rows\]"),
        ({"aug_preset": "txet"}, "did you mean 'text'"),
        ({"cfg": "stylegan2"}, "cfg must be one of"),
        ({"gama": 1}, "did you mean 'gamma'"),
        ({"guard": {"distance": 0.5}}, "distance must be above 1"),
        ({"batch": 8, "batch_gpu": 2}, "mbstd_group is 4, but a process has only 2 pictures side by side .* raise batch_gpu"),
        ({"batch": 4, "mbstd_group": 8}, "mbstd_group is 8, but a process has only 4"),
    ],
)
def test_impossible_settings_are_refused_in_words(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(StyleGAN3Options, values, where="params.yaml: stylegan3_toc")


def test_what_only_prolongs_or_watches_a_training_does_not_decide_its_weights():
    assert StyleGAN3Options(kimg=1, snap=2, metrics=()).decisive() == StyleGAN3Options(kimg=9, snap=3).decisive()
    assert StyleGAN3Options(gamma=1.0).decisive() != StyleGAN3Options(gamma=2.0).decisive()
    assert set(OPERATIONAL) < set(StyleGAN3Options.__dataclass_fields__)


def test_the_average_follows_the_batch():
    assert StyleGAN3Options(batch=32).ema_half_life_images == 10_000
    assert StyleGAN3Options(batch=8).ema_half_life_images == 2_500
    assert StyleGAN3Options(ema_kimg=0.5).ema_half_life_images == 500


def test_a_transfer_has_no_ramp_and_a_faster_augmentation():
    fresh, transfer = StyleGAN3Options(), StyleGAN3Options(resume_from=Path("model"))
    assert (fresh.resolved_ema_rampup, fresh.resolved_ada_kimg) == (0.05, 500.0)
    assert (transfer.resolved_ema_rampup, transfer.resolved_ada_kimg) == (0.0, 100.0)
    assert fresh.decisive() == transfer.decisive()
