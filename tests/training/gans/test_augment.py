import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from training.gans.augment import _SYM6, PRESETS, Augment, AugmentConfig, augment_preset, warp
from training.stylegan3.blur import blur_matrix, blurred

# One change at a time, with the multiplier that lets it happen.
SINGLE = {
    name: AugmentConfig(**{name: 1})
    for name in ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac", "brightness", "contrast", "lumaflip", "hue", "saturation")
}


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=4, *, channels=3, side=32, seed=0):
    return torch.rand(count, channels, side, side, generator=random(seed)) * 2 - 1


def letter_f(side=32):
    """An asymmetric glyph, -1 on 1: like none of its mirror images or quarter turns."""
    picture = torch.ones(1, 3, side, side)
    unit = side // 8
    picture[:, :, 2 * unit : 6 * unit, 3 * unit : 4 * unit] = -1
    picture[:, :, 2 * unit : 3 * unit, 3 * unit : 6 * unit] = -1
    picture[:, :, 4 * unit : 5 * unit, 3 * unit : 5 * unit] = -1
    return picture


def closest_shift(picture, glyph, reach=8):
    """The smallest mean absolute difference between `picture` and `glyph` shifted by up to `reach` pixels, by ink only."""
    best = math.inf
    for right in range(-reach, reach + 1):
        for down in range(-reach, reach + 1):
            best = min(best, (picture - torch.roll(glyph, (down, right), (1, 2))).abs().mean().item())
    return best


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_with_probability_0_pictures_come_back_bit_for_bit(preset, channels):
    images = pictures(channels=channels)
    assert torch.equal(Augment(PRESETS[preset])(images, random()), images)


@pytest.mark.parametrize("name", SINGLE)
def test_with_probability_1_every_single_change_does_something(name):
    images = pictures(16)
    changed = Augment(SINGLE[name], p=1.0)(images, random())
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    # A flip, a turn by quarters and an inversion draw "as it was" among their values.
    assert (changed != images).flatten(1).any(dim=1).float().mean() >= 0.3


@pytest.mark.parametrize("preset", ["text", "bg", "bgc"])
def test_a_probability_above_1_counts_as_1(preset):
    images = pictures()
    at_1, beyond = (Augment(PRESETS[preset], p=p)(images, random()) for p in (1.0, 34.0))
    assert torch.equal(at_1, beyond)


def test_about_p_of_the_pictures_change():
    images = pictures(1, side=8).repeat(4000, 1, 1, 1)
    changed = Augment(AugmentConfig(brightness=1), p=0.3)(images, random())
    assert (changed != images).flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.3, abs=0.03)
    half = Augment(AugmentConfig(brightness=0.5), p=0.3)(images, random())
    assert (half != images).flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.15, abs=0.03)


def test_two_rotations_together_happen_with_probability_p():
    images = pictures(1, side=8).repeat(3000, 1, 1, 1)
    changed = Augment(AugmentConfig(rotate=1), p=0.3)(images, random())
    assert (changed != images).flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_text_is_never_mirrored_turned_inverted_or_tinted():
    glyph = letter_f()
    augment = Augment(augment_preset("text", scale_std=0.03, brightness_std=0.05, contrast_std=0.05), p=1.0)
    for picture in augment(glyph.repeat(24, 1, 1, 1), random()):
        upright = closest_shift(picture, glyph[0])
        for impostor in (glyph.flip(3), glyph.flip(2), torch.rot90(glyph, 1, (2, 3)), torch.rot90(glyph, 2, (2, 3)), -glyph):
            assert upright < 0.7 * closest_shift(picture, impostor[0])
        assert (picture - picture.mean(dim=0)).abs().max() < 1e-5  # Grey stays grey.


def test_the_text_preset_leaves_out_what_leaks():
    text = PRESETS["text"]
    assert not any((text.xflip, text.rotate90, text.rotate, text.aniso, text.lumaflip, text.hue, text.saturation))
    assert all((text.xint, text.scale, text.brightness, text.contrast))


def smooth_pictures(count):
    images = pictures(count)
    return blurred(images, blur_matrix(images.shape[2], 2.0))


def test_a_mirrored_picture_is_its_mirror_image():
    images = smooth_pictures(8)
    changed = Augment(AugmentConfig(xflip=1), p=1.0)(images, random())
    mirrored = 0
    for before, after in zip(images, changed, strict=True):
        if not torch.equal(before, after):
            mirrored += 1
            assert (after - before.flip(2)).abs().max() < 0.1 * before.std()
            assert (after - before).abs().max() > before.std()
    assert 1 < mirrored < 8


def test_quarter_turns_turn_about_the_centre():
    images = smooth_pictures(1)
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    turned = warp(images, quarter)
    assert (turned - torch.rot90(images, 1, (2, 3))).abs().max() < 0.1 * images.std()


def test_whole_shifts_are_exact_inside():
    images = pictures(1)
    shift = torch.eye(3)[None].clone()
    shift[0, 0, 2], shift[0, 1, 2] = -4, 2
    moved = warp(images, shift)
    assert (moved[..., 8:-8, 10:-6] - images[..., 10:-6, 6:-10]).abs().max() < 1e-5


def test_beyond_the_border_pictures_continue_as_in_a_mirror():
    images = smooth_pictures(1)
    shift = torch.eye(3)[None].clone()
    shift[0, 0, 2] = 6
    expected = torch.cat([images[..., 6:], images[..., -6:].flip(3)], dim=3)
    assert (warp(images, shift) - expected).abs().max() < 0.1 * images.std()
    shift[0, 0, 2] = 5.3
    flat = torch.full((1, 3, 16, 16), 0.37)
    torch.testing.assert_close(warp(flat, shift), flat)


def test_pictures_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="must be square"):
        Augment(AugmentConfig(xint=1), p=1.0)(torch.zeros(1, 3, 8, 16))


def test_the_wavelet_is_orthogonal_and_has_six_vanishing_moments():
    h = np.array(_SYM6)
    assert h.sum() == pytest.approx(math.sqrt(2))
    for shift in range(1, 6):
        assert (h[2 * shift :] * h[: -2 * shift]).sum() == pytest.approx(0, abs=1e-10)
    high = h[::-1] * (-1.0) ** np.arange(12)
    for power in range(6):
        assert (high * (np.arange(12) - 5.5) ** power).sum() == pytest.approx(0, abs=1e-5)


def test_colours_turn_around_grey_and_luma_flips_keep_their_hue():
    grey = torch.rand(6, 1, 8, 8).expand(6, 3, 8, 8)
    turned = Augment(replace(SINGLE["hue"], saturation=1), p=1.0)(grey, random())
    torch.testing.assert_close(turned, grey, atol=1e-5, rtol=1e-5)
    images = pictures(16)
    flipped = Augment(SINGLE["lumaflip"], p=1.0)(images, random())
    torch.testing.assert_close(flipped - flipped.mean(dim=1, keepdim=True), images - images.mean(dim=1, keepdim=True), atol=1e-5, rtol=1e-5)
    signs = (flipped.mean(dim=1) / images.mean(dim=1)).flatten(1).median(dim=1).values
    torch.testing.assert_close(signs.abs(), torch.ones(16), atol=1e-3, rtol=1e-3)
    assert {1.0, -1.0} == set(signs.sign().tolist())


def test_grey_pictures_change_as_their_coloured_copies_do():
    images = pictures(8, channels=1)
    augment = Augment(PRESETS["bgc"], p=1.0)
    one, three = augment(images, random()), augment(images.expand(-1, 3, -1, -1), random())
    torch.testing.assert_close(one, three.mean(dim=1, keepdim=True), atol=1e-4, rtol=1e-4)


def test_a_picture_changes_independently_of_its_neighbours():
    images, others = pictures(4), pictures(4, seed=1)
    augment = Augment(PRESETS["bgc"], p=0.8)
    mixed = torch.cat([images[:2], others[2:]])
    torch.testing.assert_close(augment(mixed, random())[:2], augment(images, random())[:2], atol=0, rtol=0)


def test_the_same_generator_gives_the_same_pictures_and_advances_alike_for_every_p():
    images = pictures()
    states = []
    for p in (0.0, 0.5, 1.0):
        augment, generator = Augment(PRESETS["bgc"], p=p), random()
        torch.manual_seed(int(p * 10))  # The global generator has no part in it.
        first = augment(images, generator)
        states.append(generator.get_state())
        assert torch.equal(first, augment(images, random()))
        assert p == 0 or not torch.equal(first, augment(images, generator))
    assert all(torch.equal(state, states[0]) for state in states)


def test_gradients_flow_twice_as_the_gradient_penalty_needs():
    images = pictures(2, side=12).double().requires_grad_()
    augment = Augment(PRESETS["bgc"], p=1.0)
    assert torch.autograd.gradcheck(lambda x: augment(x, random(3)), (images,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, random(3)) ** 2, (images,), fast_mode=True)


def test_p_is_saved_with_the_weights():
    augment = Augment(PRESETS["text"])
    augment.p.fill_(0.25)
    other = Augment(PRESETS["text"])
    other.load_state_dict(augment.state_dict())
    assert other.p.item() == 0.25


def test_unknown_presets_and_negative_strengths_are_refused():
    with pytest.raises(ValueError, match="no augmentation preset 'txt'"):
        augment_preset("txt")
    with pytest.raises(ValueError, match="scale_std must not be negative"):
        augment_preset("text", scale_std=-1)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        Augment(AugmentConfig(hue=1), p=1.0)(torch.zeros(1, 4, 8, 8))
