"""The networks that grow: published sizes, the formulas of the paper, and fades that begin and end exactly."""

import copy
import json
from dataclasses import asdict, replace

import pytest
import torch
from torch.nn import functional

from tests.training.progressive.tiny import TINY, grown, networks
from training.progressive import Discriminator, Generator, ProgressiveConfig, ProgressiveError, load_generator, save_generator
from training.progressive.config import sides
from training.progressive.layers import Equalised, faded, larger, pixel_norm, smaller

PUBLISHED = [
    (64, 3, 22_490_383, 22_498_049),
    (128, 3, 22_933_394, 22_941_313),
    (256, 3, 23_044_309, 23_052_353),
    (512, 3, 23_072_120, 23_080_225),
    (1024, 3, 23_079_115, 23_087_249),
    (1024, 1, 23_074_009, 23_082_161),
]


@pytest.mark.parametrize(("resolution", "channels", "generator", "discriminator"), PUBLISHED)
def test_the_networks_have_the_published_numbers_of_parameters(resolution, channels, generator, discriminator):
    config = ProgressiveConfig(resolution=resolution, channels=channels)
    with torch.device("meta"):
        found = [sum(parameter.numel() for parameter in network(config).parameters()) for network in (Generator, Discriminator)]
    assert found == [generator, discriminator]


def test_weights_rest_at_unit_deviation_and_are_scaled_when_used():
    torch.manual_seed(0)
    conv, last = Equalised(20, 30, kernel=3), Equalised(512, 1, kernel=0, gain=1.0)
    assert abs(float(conv.weight.detach().std()) - 1) < 0.05 and conv.scale == pytest.approx(2**0.5 / 180**0.5) and last.scale == 512**-0.5
    x = torch.randn(2, 20, 5, 5)
    torch.testing.assert_close(conv(x), functional.conv2d(x, conv.weight, padding=1) * conv.scale, rtol=1e-4, atol=1e-5)
    first = networks()[0].blocks[0].dense
    assert first.scale == pytest.approx(2**0.5 / 4 / 8**0.5) and first.bias.shape == (8,)


def test_a_bias_of_the_first_layer_is_that_of_its_map():
    first = networks()[0].blocks[0].dense
    maps = first(torch.zeros(1, 8)).view(8, 16)
    torch.testing.assert_close(maps, first.bias[:, None].expand(8, 16))


def test_pixel_norm_leaves_no_vector_longer_or_shorter():
    x = torch.randn(2, 6, 3, 3) * 50
    torch.testing.assert_close(pixel_norm(x).square().mean(dim=1), torch.ones(2, 3, 3))
    assert not pixel_norm(torch.zeros(1, 4)).any()
    low = (x * 1e3).to(torch.bfloat16)
    torch.testing.assert_close(pixel_norm(low).float(), pixel_norm(x), atol=0.02, rtol=0.02)


def test_latents_lie_on_a_sphere_unless_that_is_turned_off():
    generator, _ = networks()
    z = torch.randn(3, 8)
    torch.testing.assert_close(generator(z), generator(7 * z))
    assert not torch.allclose(generator(z), generator(z, truncation_psi=0.5))
    free, _ = networks(replace(TINY, normalize_latents=False))
    assert not torch.allclose(free(z), free(7 * z))
    # Each picture can have a truncation of its own.
    psi = torch.tensor([[0.0], [0.5], [1.0]])
    torch.testing.assert_close(generator(z, truncation_psi=psi)[1], generator(z, truncation_psi=0.5)[1])


@pytest.mark.parametrize("px", [4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_fade_begins_as_the_smaller_network_and_ends_as_the_larger_one_without_the_way_round_it(px, channels):
    generator, discriminator = networks(replace(TINY, channels=channels))
    z, latents = torch.randn(4, 8), generator.latents(torch.randn(4, 8))
    pictures = torch.randn(4, channels, 2 * px, 2 * px)
    before = larger(grown(generator, px).draw(latents)), grown(discriminator, px)(smaller(pictures))
    started = grown(generator, 2 * px, 0.0).draw(latents), grown(discriminator, 2 * px, 0.0)(pictures)
    for old, new in zip(before, started, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-6)
    ended = grown(generator, 2 * px, 1.0).draw(latents), grown(discriminator, 2 * px, 1.0)(pictures)
    # Without the old way: its layers are not even asked.
    level = sides(16).index(px)
    for network in (generator.to_rgb, discriminator.from_rgb):
        with torch.no_grad():
            network[level].weight.fill_(torch.nan)
    for old, new in zip(ended, (generator.draw(latents), discriminator(pictures)), strict=True):
        assert torch.equal(new, old)
    assert generator.draw(z).shape == (4, channels, 2 * px, 2 * px)


@pytest.mark.parametrize("alpha", [0.25, 0.9])
def test_half_way_both_networks_are_the_mixture_of_both_ways(alpha):
    generator, discriminator = networks()
    latents, pictures = torch.randn(2, 8), torch.randn(2, 1, 8, 8)
    ends = [grown(generator, 8, end).draw(latents) for end in (0.0, 1.0)]
    torch.testing.assert_close(grown(generator, 8, alpha).draw(latents), (1 - alpha) * ends[0] + alpha * ends[1])
    # D mixes features and not logits; with a block behind it that is a mixture too, of which the last block is told.
    seen = []
    discriminator.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for end in (0.0, 1.0, alpha):
        grown(discriminator, 8, end)(pictures)
    torch.testing.assert_close(seen[2], (1 - alpha) * seen[0] + alpha * seen[1])


def test_reals_and_fakes_side_by_side_are_judged_as_if_alone():
    _, discriminator = networks()
    reals, fakes = torch.rand(2, 1, 16, 16).repeat(3, 1, 1, 1), torch.randn(6, 1, 16, 16)
    together = discriminator(torch.cat([reals, fakes]), 2)
    torch.testing.assert_close(together, torch.cat([discriminator(reals), discriminator(fakes)]))


def test_layers_that_have_not_grown_yet_are_not_computed_and_learn_nothing():
    generator, discriminator = networks()
    grown(discriminator, 8, 0.5)(grown(generator, 8, 0.5).draw(torch.randn(4, 8))).sum().backward()
    for network, names in ((generator, ("blocks.2", "to_rgb.2")), (discriminator, ("blocks.2", "from_rgb.2"))):
        for name, parameter in network.named_parameters():
            assert (parameter.grad is None) == name.startswith(names), name


def test_pictures_that_have_not_grown_are_as_large_as_the_finished_ones_by_repeating_pixels():
    generator, _ = networks()
    z = torch.randn(2, 8)
    small = grown(generator, 4).draw(generator.latents(z))
    assert small.shape[-1] == 4 and torch.equal(generator(z), small.repeat_interleave(4, 2).repeat_interleave(4, 3))


def test_real_pictures_fade_from_those_of_half_the_side():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    boxes = torch.tensor([[2.5, 4.5], [10.5, 12.5]]).repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None]
    assert torch.equal(faded(x, 0.0), boxes) and faded(x, 1.0) is x
    torch.testing.assert_close(faded(x, 0.25), 0.75 * boxes + 0.25 * x)


def test_a_loaded_generator_is_the_trained_one_with_nothing_told_besides(tmp_path):
    generator, _ = networks()
    grown(generator, 8, 0.75)
    save_generator(tmp_path, generator)
    again = load_generator(tmp_path)
    z = torch.randn(3, 8)
    assert torch.equal(again(z), generator(z)) and again.config == generator.config
    assert not again.training and not any(parameter.requires_grad for parameter in again.parameters())
    # Everything that the constructor takes is in the file: inference parameters are training parameters.
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {"model_type": "progressive_gan", **asdict(generator.config), "filters": [8, 6, 5]} and written["grown_px"] == 8


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    save_generator(tmp_path, networks()[0])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "filters": [8, 6, 4]}))
    with pytest.raises(ProgressiveError, match="not the weights of the config.json beside it"):
        load_generator(tmp_path)


def test_a_copy_grows_by_itself():
    generator, _ = networks()
    other = copy.deepcopy(generator)
    grown(other, 4)
    assert generator.config.grown_px == 16 and other.config.grown_px == 4
