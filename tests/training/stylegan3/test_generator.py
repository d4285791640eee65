import copy
import json
import math
from dataclasses import replace

import pytest
import torch

from training.stylegan3.config import StyleGAN3Config, input_spec
from training.stylegan3.equivariance import rotation, translation
from training.stylegan3.generator import Generator, StyleGAN3Error, load_generator, save_generator
from training.stylegan3.layers import filtered_lrelu_reference

from .tiny import TINIEST, TINIEST_R, TINY, make_generator

COUNTS = {
    (128, 32768): 32_833_523,
    (128, 16384): 27_034_685,
    (256, 32768): 28_472_133,
    (256, 16384): 23_320_443,
    (512, 32768): 24_873_519,
    (512, 16384): 20_418_155,
    (1024, 32768): 22_313_167,
}


def on_meta(config):
    with torch.device("meta"):
        return Generator(config)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def stored_numbers(module):
    return sum(tensor.numel() for tensor in module.state_dict().values())


@pytest.mark.parametrize(("resolution", "cbase"), COUNTS)
def test_parameter_counts_are_the_published_ones(resolution, cbase):
    generator = on_meta(StyleGAN3Config(resolution=resolution, cbase=cbase))
    assert parameters(generator) == COUNTS[resolution, cbase]
    assert parameters(generator.mapping) == 525_312


@pytest.mark.parametrize(("resolution", "buffers"), [(128, 2444), (256, 2456), (512, 2468)])
def test_buffer_counts_are_the_published_ones(resolution, buffers):
    generator = on_meta(StyleGAN3Config(resolution=resolution))
    assert stored_numbers(generator) - parameters(generator) == buffers


def test_the_tiny_net_has_63581_parameters():
    assert parameters(on_meta(TINY)) == 63_581


def test_names_are_those_of_published_snapshots():
    generator = on_meta(StyleGAN3Config(resolution=256, cbase=16384))
    names = set(generator.state_dict())
    assert {
        *(f"mapping.fc{index}.{part}" for index in (0, 1) for part in ("weight", "bias")),
        "mapping.w_avg",
        *(f"synthesis.input.{part}" for part in ("weight", "affine.weight", "affine.bias", "transform", "freqs", "phases")),
    } == {name for name in names if not name.startswith("synthesis.L")}
    parts = {"weight", "bias", "magnitude_ema", "up_filter", "down_filter", "affine.weight", "affine.bias"}
    assert {name.removeprefix("synthesis.L11_276_91.") for name in names if name.startswith("synthesis.L11_276_91.")} == parts
    to_rgb = {name.removeprefix("synthesis.L14_256_3.") for name in names if name.startswith("synthesis.L14_256_3.")}
    assert to_rgb == parts - {"up_filter", "down_filter"}


@pytest.mark.parametrize("config", [TINIEST, TINIEST_R, replace(TINIEST, channels=1, label_dim=3)])
def test_pictures_have_the_asked_shape_and_a_gradient_reaches_every_parameter(config):
    generator = make_generator(config)
    c = torch.eye(3)[:2] if config.label_dim else None
    images = generator(torch.randn(2, config.z_dim), c)
    assert images.shape == (2, config.channels, 16, 16)
    assert 0.01 < images.std() < 2
    images.square().sum().backward()
    still = [name for name, parameter in generator.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


def test_a_picture_depends_on_its_own_latent_only():
    generator = make_generator().double()
    z = torch.randn(4, TINIEST.z_dim, dtype=torch.float64)
    # Styles are normalised over the batch, which demodulation undoes up to its epsilon.
    torch.testing.assert_close(generator(z)[:2], generator(z[:2]), rtol=1e-6, atol=1e-6)


def test_labels_change_pictures_and_are_asked_for():
    generator = make_generator(replace(TINIEST, label_dim=3))
    z = torch.randn(1, TINIEST.z_dim)
    first, second = (generator(z, torch.eye(3)[index : index + 1]) for index in (0, 1))
    assert (first - second).abs().mean() > 1e-3
    with pytest.raises(ValueError, match="takes 3 numbers of label a picture, found none"):
        generator(z)
    with pytest.raises(ValueError, match="expected latents"):
        generator(torch.randn(1, 5), torch.eye(3)[:1])


def test_truncation_moves_styles_towards_their_average():
    mapping = make_generator().mapping
    mapping.w_avg.copy_(torch.randn(TINIEST.w_dim))
    z = torch.randn(3, TINIEST.z_dim)
    ws = mapping(z)
    assert ws.shape == (3, TINIEST.num_ws, TINIEST.w_dim)
    assert torch.equal(mapping(z, truncation_psi=1), ws)
    torch.testing.assert_close(mapping(z, truncation_psi=0), mapping.w_avg.expand_as(ws))
    torch.testing.assert_close(mapping(z, truncation_psi=0.7), mapping.w_avg + 0.7 * (ws - mapping.w_avg))
    cut = mapping(z, truncation_psi=0.7, truncation_cutoff=2)
    torch.testing.assert_close(cut[:, :2], mapping.w_avg + 0.7 * (ws[:, :2] - mapping.w_avg))
    assert torch.equal(cut[:, 2:], ws[:, 2:])


@pytest.mark.parametrize("sizes", [(6,), (2, 4), (1, 2, 3)])
def test_running_averages_take_one_step_a_batch_however_it_is_cut(sizes):
    generator = make_generator(replace(TINIEST, magnitude_ema_beta=0.9, w_avg_beta=0.8))
    z = torch.randn(6, TINIEST.z_dim)
    ws = generator.mapping(z).detach()
    x = generator.synthesis.input(ws[:, 0]).detach()
    for _ in range(2):
        for part in z.split(sizes):
            generator(part, observe=True)
        generator.move_averages()
    first = next(iter(generator.synthesis.layers()))
    torch.testing.assert_close(generator.mapping.w_avg, (1 - 0.8**2) * ws[:, 0].mean(dim=0))
    torch.testing.assert_close(first.magnitude_ema, 0.9**2 + (1 - 0.9**2) * x.square().mean())


def test_drawing_alone_moves_no_average_and_an_average_of_nothing_is_an_error():
    generator = make_generator()
    generator(torch.randn(3, TINIEST.z_dim))
    assert not generator.mapping.w_avg.any() and all(layer.magnitude_ema == 1 for layer in generator.synthesis.layers())
    with pytest.raises(RuntimeError, match="no picture was observed"):
        generator.move_averages()


def test_the_input_of_a_layer_is_divided_by_its_tracked_magnitude():
    generator = make_generator()
    layer = next(iter(generator.synthesis.layers()))
    x, w = torch.randn(2, layer.spec.in_channels, layer.spec.in_size, layer.spec.in_size), torch.randn(2, TINIEST.w_dim)
    expected = layer(x, w)
    layer.magnitude_ema.fill_(25.0)
    torch.testing.assert_close(layer(5 * x, w), expected)


@pytest.mark.parametrize("config", [TINIEST, TINIEST_R])
def test_a_layer_is_its_definition(config):
    generator = make_generator(config).double()
    for layer in list(generator.synthesis.layers())[:-1]:
        spec = layer.spec
        # Matrices were made in float32; the definition uses the filters as stored.
        x, w = torch.randn(2, spec.in_channels, spec.in_size, spec.in_size, dtype=torch.float64), torch.randn(2, config.w_dim, dtype=torch.float64)
        styles = layer.affine(w)
        own = layer.weight[None] * styles[:, None, :, None, None]
        own = own / own.square().sum(dim=(2, 3, 4), keepdim=True).sqrt()
        y = torch.cat([torch.nn.functional.conv2d(x[b : b + 1], own[b], padding=spec.kernel - 1) for b in range(2)])
        identity = torch.ones(1, dtype=torch.float64)
        expected = filtered_lrelu_reference(
            y,
            up_kernel=identity if layer.up_filter is None else layer.up_filter,
            down_kernel=identity if layer.down_filter is None else layer.down_filter,
            up=spec.up,
            down=spec.down,
            padding=spec.padding,
            bias=layer.bias,
            clamp=256,
        )
        assert expected.shape[2:] == (spec.out_size, spec.out_size)
        torch.testing.assert_close(layer(x, w), expected, rtol=1e-5, atol=1e-5)


def test_nothing_leaves_the_clamp():
    generator = make_generator(replace(TINIEST, conv_clamp=0.01))
    assert generator(torch.randn(2, TINIEST.z_dim)).abs().max() <= 0.0025


def test_fourier_features_are_the_sines_they_are_said_to_be():
    generator = make_generator().double()
    layer, spec = generator.synthesis.input, input_spec(TINIEST)
    w = torch.randn(1, TINIEST.w_dim, dtype=torch.float64)
    layer.transform.copy_(rotation(0.3) @ translation(0.1, -0.2))
    y, x = 3, 7
    place = torch.tensor([(x + 0.5 - spec.size / 2) / spec.rate, (y + 0.5 - spec.size / 2) / spec.rate, 1.0], dtype=torch.float64)
    place = layer.transform @ place
    amplitude = (1 - (layer.freqs.norm(dim=1) - spec.cutoff) / (spec.rate / 2 - spec.cutoff)).clamp(0, 1)
    features = amplitude * torch.sin(2 * math.pi * (layer.freqs @ place[:2] + layer.phases))
    torch.testing.assert_close(layer(w)[0, :, y, x], layer.weight @ features / spec.channels**0.5)


def test_frequencies_lie_in_the_disc_of_the_bandwidth_evenly():
    torch.manual_seed(0)
    generator = Generator(replace(TINIEST, cbase=4096, cmax=1024))
    radius = generator.synthesis.input.freqs.norm(dim=1) / input_spec(TINIEST).cutoff
    assert radius.max() <= 1
    # In an evenly filled disc, a quarter of the area lies within half the radius.
    assert (radius < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_learned_placing_starts_as_none_at_all():
    generator = make_generator()
    ws = torch.randn(2, TINIEST.w_dim)
    field = generator.synthesis.input(ws)
    torch.testing.assert_close(field[0], field[1])


def test_a_saved_generator_comes_back_bit_for_bit(tmp_path):
    generator = make_generator(TINIEST_R).eval()
    generator.mapping.w_avg.normal_()
    save_generator(tmp_path, generator)
    again = load_generator(tmp_path)
    assert again.config == generator.config
    assert not again.training
    z = torch.randn(2, TINIEST.z_dim)
    assert torch.equal(again(z, truncation_psi=0.5), generator(z, truncation_psi=0.5))
    first = (tmp_path / "generator.safetensors").read_bytes()
    save_generator(tmp_path, again)
    assert (tmp_path / "generator.safetensors").read_bytes() == first


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.1)])
def test_low_precision_stays_close_and_reaches_every_parameter(monkeypatch, dtype, tolerance):
    generator = make_generator(replace(TINIEST, low_precision_res=1))
    kinds = [layer.spec.is_low_precision for layer in generator.synthesis.layers()]
    assert any(kinds)
    z = torch.randn(4, TINIEST.z_dim)
    expected = generator(z).detach()
    # As on an accelerator, where low precision is real.
    monkeypatch.setattr("training.stylegan3.generator.compute_dtype", lambda precision, **_: torch.float32 if precision == "float32" else dtype)
    images = generator(z)
    assert images.dtype is torch.float32
    assert 0 < (images - expected).abs().max() < tolerance * expected.std()
    images.square().sum().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in generator.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about what its own compiler does
def test_the_generator_compiles_whole():
    generator = make_generator()
    z = torch.randn(2, TINIEST.z_dim)
    compiled = torch.compile(generator, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(z), generator(z))


def test_copies_share_nothing():
    generator = make_generator()
    other = copy.deepcopy(generator)
    z = torch.randn(1, TINIEST.z_dim)
    expected = generator(z)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    assert torch.equal(generator(z), expected)


def test_filters_that_come_with_the_weights_are_used():
    generator, other = make_generator(), make_generator(seed=0)
    state = generator.state_dict()
    name = next(name for name in state if name.endswith("down_filter"))
    other.load_state_dict({**state, name: state[name] * 2})
    z = torch.randn(1, TINIEST.z_dim)
    assert not torch.allclose(other(z), generator(z))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ('{"model_type": "polygpt"}', "model_type must be 'stylegan3'"),
        ('{"model_type": "stylegan3", "resolutoin": 16}', "unknown key 'resolutoin'"),
        ('{"model_type": "stylegan3", "resolution": 17}', "power of two"),
        (json.dumps({"model_type": "stylegan3", "resolution": 16}), "generator.safetensors"),
    ],
)
def test_a_folder_that_holds_no_generator_is_refused_in_words(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with torch.device("meta"), pytest.raises(StyleGAN3Error, match=words):
        load_generator(tmp_path)
