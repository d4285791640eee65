"""What a Progressive GAN is built from: published tables, DeepZine's, and words for what cannot be."""

import pytest

from training.progressive.config import ProgressiveConfig, published_filters, sides


def test_the_published_feature_maps():
    assert sides(1024) == (4, 8, 16, 32, 64, 128, 256, 512, 1024)
    assert published_filters(1024) == (512, 512, 512, 512, 256, 128, 64, 32, 16)


def test_what_was_left_to_the_rules_is_written_down():
    config = ProgressiveConfig(resolution=64)
    assert config.filters == (512, 512, 512, 512, 256) and config.grown_px == 64 and config.level == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resolution": 48}, "a power of two"),
        ({"resolution": 2}, "at least 4"),
        ({"channels": 2}, "1 .grey. or 3"),
        ({"z_dim": 0}, "z_dim must be at least 1"),
        ({"resolution": 16, "filters": (8, 8)}, r"3 positive numbers, one for each side from 4 to 16 px, found \[8, 8\]"),
        ({"resolution": 16, "grown_px": 32}, "grown_px must be one of 4, 8, 16"),
        ({"resolution": 16, "alpha": 1.5}, "alpha lie in"),
    ],
)
def test_what_cannot_be_is_said(values, message):
    with pytest.raises(ValueError, match=message):
        ProgressiveConfig(**values)
