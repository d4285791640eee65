"""The section `pggan_pages`: published tables, DeepZine's in the same words, and what is refused."""

from dataclasses import asdict
from pathlib import Path

import pytest

from stages.params import load_params
from training.progressive.config import sides
from training.progressive.options import ProgressiveOptions

ROOT = Path(__file__).resolve().parents[3]


def test_defaults_are_the_published_ones_for_one_gpu():
    options = ProgressiveOptions()
    assert [options.batch_of(px) for px in sides(1024)] == [128, 128, 128, 64, 32, 16, 8, 4, 4]
    config = options.network_config(resolution=1024, channels=1)
    assert config.filters == (512, 512, 512, 512, 256, 128, 64, 32, 16) and config.grown_px == 4 and config.z_dim == 512
    assert options.schedule(1024).begin_of_last == 9_600_000 and options.batch_size == 128
    # 0.999 an iteration.
    assert 0.5 ** (16 / options.ema_half_life_images(16)) == pytest.approx(0.999, abs=1e-6)
    assert ProgressiveOptions(ema_kimg=2).ema_half_life_images(16) == 2000


@pytest.mark.parametrize(
    ("settings", "filters"),
    [
        # max_filter 128 with filter_num_reduction_transition_size 64.
        ({"fmap_max": 128, "fmap_base": 128 * 64 // 4}, (128, 128, 128, 128, 64, 32, 16, 8, 4)),
        # The pretrained set: 256 instead of 64, and 16 at 512 px too.
        ({"filters": {4: 128, 256: 64, 512: 16}}, (128, 128, 128, 128, 128, 128, 64, 16, 16)),
    ],
)
def test_the_filters_of_deepzine(settings, filters):
    assert ProgressiveOptions(**settings).network_config(resolution=1024, channels=3).filters == filters


def test_the_reduced_batch_of_deepzine_is_used_from_its_transition_size_on():
    """Its own program ignored batch_size_reduction_transition_size and reduced_batch_size (defect 4)."""
    options = ProgressiveOptions(batch=16, batch_by_px={256: 4})
    assert [options.batch_of(px) for px in (4, 128, 256, 512, 1024)] == [16, 16, 4, 4, 4]


@pytest.mark.parametrize("batch_gpu", [None, 8])
def test_a_batch_may_grow_too(batch_gpu):
    options = ProgressiveOptions(batch=4, batch_by_px={16: 16}, batch_gpu=batch_gpu)
    assert [options.batch_of(px) for px in (4, 16)] == [4, 16] and (options.batch_size, options.side_by_side) == (16, batch_gpu or 16)


@pytest.mark.parametrize("file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_every_preset_can_be_trained_and_the_papers_is_the_published_one(file):
    options = load_params(ROOT / file, "pggan_pages", ProgressiveOptions)
    schedule = options.schedule(options.resolution or options.dataset_size)
    options.check_processes(schedule, 1)
    assert schedule.begin_of_last < options.kimg * 1000
    if file == "presets/paper.yaml":
        watched = {"inception", "metrics", "metric_images", "guard"}
        assert {name for name, value in asdict(options).items() if value != asdict(ProgressiveOptions())[name]} <= watched


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 6, "batch_gpu": 4}, "batch 6 is not a multiple of batch_gpu 4"),
        ({"batch_by_px": {8: 2}}, "mbstd_group is 4, but only 2 pictures are side by side"),
        ({"batch_gpu": 2}, "mbstd_group is 4, but only 2"),
        ({"batch_by_px": {48: 8}}, "batch_by_px must go from powers of two"),
        ({"lr_by_px": {64: 0.0}}, "lr_by_px must go from powers of two, in px and at least 4, to positive numbers, found 64: 0.0"),
        ({"filters": {8: 16}}, "filters must begin at 4 px"),
        ({"stable_kimg": 0}, "stable_kimg must be above 0"),
        ({"n_critic": 0}, "n_critic must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ProgressiveOptions(**settings)


@pytest.mark.parametrize(
    ("settings", "processes", "message"),
    [
        ({"batch": 16, "batch_by_px": {16: 9}}, 2, "at 16 px an iteration has 9 pictures"),
        ({"batch": 16, "batch_by_px": {}, "fade_kimg": 0.05}, 4, "at 4 px an iteration has 2 pictures .batch 16, stable_kimg 1.6, fade_kimg 0.05"),
        ({"batch": 16, "batch_by_px": {8: 8}}, 4, "but at 8 px a process has only 2 pictures side by side"),
    ],
)
def test_every_iteration_divides_among_the_processes_that_at_the_end_of_a_phase_too(settings, processes, message):
    options = ProgressiveOptions(**{"stable_kimg": 1.6, "fade_kimg": 1.6, **settings})
    options.check_processes(options.schedule(16), 1)
    with pytest.raises(ValueError, match=message):
        options.check_processes(options.schedule(16), processes)
