"""Squares that are hidden, errors on them alone, and the guesses that anyone could make."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BeitConfig

from training.fine_tuning.examples import TuningError
from training.words.captions.networks import load_masked_model, new_masked_model
from training.words.captions.train_encoder import MaskGrid, fill_in, guesses, masked_l1


@given(units=st.integers(2, 6), patches=st.integers(1, 4), ratio=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_whole_squares_are_hidden_as_many_as_asked_and_never_all(units: int, patches: int, ratio: float, seed: int):
    grid = MaskGrid(side_px=units * patches * 4, unit_px=patches * 4, patch_px=4)
    mask = grid.random_mask(ratio, torch.Generator().manual_seed(seed))
    squares = mask.view(units, patches, units, patches).permute(0, 2, 1, 3).flatten(2)
    assert bool((squares.all(2) == squares.any(2)).all())
    assert int(squares.all(2).sum()) == min(-(-units * units * ratio // 1), units * units - 1)
    assert grid.pixels(mask[None]).float().mean() == mask.float().mean()


def test_squares_that_do_not_fit_are_refused():
    with pytest.raises(TuningError, match="choose mask_px as a multiple of the patch"):
        MaskGrid(side_px=64, unit_px=20, patch_px=8)


@pytest.mark.parametrize("architecture", ["vit", "swin"])
def test_the_error_is_that_of_transformers_on_the_pixels_that_it_hides(architecture):
    model = new_masked_model(architecture, image_px=32, patch_px=4, width=32, layers=2, heads=2, dropout=0.0).eval()
    grid, random = MaskGrid(32, 8, 4), torch.Generator().manual_seed(0)
    masks, pixels = torch.stack([grid.random_mask(0.5, random) for _ in range(3)]), torch.rand(3, 3, 32, 32)
    total, number = masked_l1(fill_in(model, pixels, masks), pixels, grid.pixels(masks))
    torch.testing.assert_close(total / number, model(pixels, bool_masked_pos=masks).loss, rtol=1e-4, atol=1e-6)


def test_hidden_pixels_cannot_be_seen():
    model = new_masked_model("vit", image_px=32, patch_px=4, width=32, layers=2, heads=2, dropout=0.0).eval()
    grid = MaskGrid(32, 8, 4)
    masks = grid.random_mask(0.5, torch.Generator().manual_seed(0))[None]
    pixels, hidden = torch.rand(1, 3, 32, 32), grid.pixels(masks)
    with torch.no_grad():
        assert torch.equal(fill_in(model, pixels, masks), fill_in(model, torch.where(hidden, 0.0, pixels), masks))
        assert not torch.equal(fill_in(model, pixels, masks), fill_in(model, torch.where(hidden, pixels, 0.0), masks))


def test_guesses_are_made_from_what_is_visible():
    pixels = torch.tensor([[[[1.0, 1.0, 1.0], [0.0, 7.0, 9.0]]]])
    hidden = torch.tensor([[[[False, False, False], [False, True, True]]]])
    guessed = guesses(pixels, hidden)
    assert {name: guess.item() for name, guess in guessed.items()} == {"mean": 0.75, "median": 1.0}
    assert masked_l1(guessed["median"], pixels, hidden) == (14.0, 2)


def test_beit_is_refused_with_the_reason(tmp_path):
    BeitConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, image_size=32, patch_size=16).save_pretrained(tmp_path)
    with pytest.raises(TuningError, match="DALL-E's tokenizer.*start_encoder of toc_titler"):
        load_masked_model(str(tmp_path), 0.0)
    with pytest.raises(TuningError):
        load_masked_model(str(tmp_path / "nothing"), 0.0)
