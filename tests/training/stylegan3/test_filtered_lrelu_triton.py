"""The kernel against its definition in float64: interpreted on a CPU, compiled where there is a GPU."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    # Read when triton is imported.
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="triton is not installed (extra gpu); the kernel is then never used either")

from training.stylegan3 import filtered_lrelu as choice
from training.stylegan3.config import layer_schedule
from training.stylegan3.filtered_lrelu_traffic import traffic
from training.stylegan3.filtered_lrelu_triton import TILES, Activation, Tile, _fit, empty_codes, failed_trial, fused_filtered_lrelu
from training.stylegan3.layers import filtered_lrelu_reference
from training.stylegan3.resampling import resampling

from .tiny import TINIEST, TINIEST_R, TINY, make_generator

LARGE = Tile(64, 16, warps=4)
in_float64 = pytest.mark.skipif(DEVICE == "cuda", reason="float64 is for the interpreter")


class Case:
    """Random pictures, filters, factors, biases and gradients, and the definition's answers to them in float64."""

    def __init__(
        self, *, size=(9, 10), channels=3, pictures=1, up=2, down=2, taps=(12, 12), padding=(9, 8), radial=(False, False), clamp=1.0, seed=0
    ):
        random = np.random.default_rng(seed)
        # Filters of the networks are float32 too.
        self.kernels = [
            (random.normal(size=(count, count) if is_radial else count) / count).astype(np.float32).astype(np.float64)
            for count, is_radial in zip(taps, radial, strict=True)
        ]
        self.rates = {"up": up, "down": down, "padding": padding}
        self.plan = resampling(*self.kernels, in_size=size, **self.rates)
        self.activation = Activation(0.2, 2**0.5, clamp)
        generator = torch.Generator().manual_seed(seed)
        shapes = (
            (pictures, channels, *size),
            (pictures, channels),
            (channels,),
            (pictures, channels, *self.plan.out_size),
            (pictures, channels, *size),
        )
        self.x, self.factor, self.bias, self.upstream, self.direction = (torch.randn(shape, generator=generator).double() for shape in shapes)

    def expected(self):
        up_kernel, down_kernel = (torch.from_numpy(kernel) for kernel in self.kernels)
        options = {"up_kernel": up_kernel, "down_kernel": down_kernel, **self.rates, **self.activation._asdict()}
        return self._answers(
            lambda x, factor, bias: filtered_lrelu_reference(x * factor[:, :, None, None], bias=bias, **options), torch.float64, "cpu"
        )

    def found(self, dtype=torch.float32, tile=LARGE):
        return self._answers(lambda x, factor, bias: fused_filtered_lrelu(x, factor, bias, self.plan, self.activation, tile), dtype, DEVICE)

    def _answers(self, function, dtype, device):
        """Output; gradients of input, factor and bias; then gradients of the input's gradient."""
        leaves = [self.x.to(device, dtype), self.factor.to(device, torch.promote_types(dtype, torch.float32)), self.bias.to(device, dtype)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        upstream, direction = (given.to(device, dtype) for given in (self.upstream, self.direction))
        y = function(*leaves)
        gradients = torch.autograd.grad(y, leaves, upstream, retain_graph=True)
        upstream.requires_grad_()
        again = torch.autograd.grad(y, leaves, upstream, create_graph=True)
        seconds = torch.autograd.grad((again[0] * direction).sum() + again[1].square().sum(), (upstream, leaves[0], leaves[1]))
        return [answer.detach().double().cpu() for answer in (y, *gradients, *again, *seconds)]


def assert_close(found, expected, tolerance=1e-5):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


CASES = {
    "seed": st.integers(0, 10_000),
    "size": st.tuples(st.integers(5, 9), st.integers(5, 13)),
    "up": st.integers(1, 4),
    "down": st.integers(1, 4),
    "taps": st.tuples(st.integers(1, 13), st.integers(1, 13)),
    "padding": st.tuples(st.integers(-5, 9), st.integers(-5, 9)),
    "radial": st.tuples(st.booleans(), st.booleans()),
    "channels": st.integers(1, 6),
    "clamp": st.sampled_from([0.5, 256.0]),
}


def check_any_shape(size, up, taps, padding, **others):
    assume(all(side * up + sum(padding) - taps[0] + 1 >= taps[1] for side in size))
    case = Case(size=size, up=up, taps=taps, padding=padding, **others)
    assert_close(case.found(), case.expected())


# Examples are the same at every run: close to a kink, float32 and float64 may rightly take different branches.
@settings(max_examples=5, derandomize=True, deadline=None)
@given(**CASES)
def test_output_gradient_and_second_derivatives_are_those_of_the_definition(**case):
    check_any_shape(**case)


@pytest.mark.slow
@settings(max_examples=60, derandomize=True, deadline=None)
@given(**CASES)
def test_the_same_over_many_more_shapes(**case):
    check_any_shape(**case)


# What `layer_schedule` has at 128 to 1024 pixels: twice or four times up, twice down, and crops; T convolves with padding, R does not.
PADDINGS = [(2, (9, 8)), (4, (-6, -9)), (2, (-11, -12)), (2, (11, 10)), (4, (-2, -5)), (2, (-9, -10))]


def assert_answers_are_close(case):
    """As `assert_close`, but gradients of factor and bias are compared with the size of what they sum up, which may cancel."""
    found, expected = case.found(tile=case.tile), case.expected()
    per_place = expected[1] / case.factor[:, :, None, None]
    sizes = {2: (per_place * case.x).abs().sum((2, 3)).max(), 3: per_place.abs().sum((0, 2, 3)).max()}
    sizes |= {5: sizes[2], 6: sizes[3]}
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert (ours - theirs).abs().max() <= 1e-5 * sizes.get(index, theirs.abs().max()), index


def in_several_strips(up, padding, radial):
    # As many middle places whatever is cropped.
    more = (17 - sum(padding)) // 2
    size = (14, 16) if up == 4 else (10 + more, 14 + more)
    case = Case(size=size, up=up, taps=(6 * up, 12), padding=padding, radial=(False, radial))
    case.tile = tile = Tile(32 if up == 2 else 64, 16, warps=4, rows=6)
    plans = (case.plan, case.plan.transposed)
    assert any(_fit(plan, tile).strip < plan.out_size[1] for plan in plans) and any(plan.out_size[0] > 6 for plan in plans)
    assert_answers_are_close(case)


@pytest.mark.parametrize(("up", "padding", "radial"), [(*PADDINGS[0], True), (*PADDINGS[1], False)])
def test_the_filters_of_the_networks_in_several_strips(up, padding, radial):
    in_several_strips(up, padding, radial)


@pytest.mark.slow
@pytest.mark.parametrize(("up", "padding"), PADDINGS)
@pytest.mark.parametrize("radial", [False, True])
def test_all_filters_of_the_networks_in_several_strips(up, padding, radial):
    in_several_strips(up, padding, radial)


def test_the_cases_above_are_all_there_are():
    found = set()
    for config in (TINIEST, TINIEST_R):
        for resolution in (128, 256, 512, 1024):
            full = {"resolution": resolution, "num_layers": 14, "margin": 10, "cbase": 32768, "cmax": 512}
            specs = layer_schedule(type(config)(**{**vars(config), **full}))[:-1]
            found |= {(spec.up, spec.padding) for spec in specs}
            assert {(spec.down, spec.down_taps, spec.up_taps // spec.up) for spec in specs} == {(2, 12, 6)}
    assert found == set(PADDINGS)


def layers_of(config):
    """One layer of every geometry, in float64."""
    layers = [layer for layer in make_generator(config).double().synthesis.layers() if not layer.spec.is_torgb]
    return {
        (layer.spec.in_size, layer.spec.out_size, layer.spec.up, layer.spec.down, layer.spec.uses_radial_filter): layer for layer in layers
    }.values()


def check_layer(layer, monkeypatch):
    """The whole layer, modulated convolution included, along both paths."""
    torch.manual_seed(0)
    inputs = torch.randn(1, layer.spec.in_channels, *[layer.spec.in_size] * 2).double().requires_grad_(), torch.randn(1, 8).double().requires_grad_()
    leaves = (*inputs, *layer.parameters())
    plain = layer(*inputs)
    upstream = torch.randn_like(plain)
    expected = [plain, *torch.autograd.grad(plain, leaves, upstream)]
    monkeypatch.setattr(choice, "refusal", lambda device, dtype: None)
    layer.filtered_by = "kernel"
    fused = layer(*inputs)
    # The plain path leaves out what of a radial filter is below the rounding of float32.
    assert_close([fused, *torch.autograd.grad(fused, leaves, upstream)], expected, 1e-6)


@in_float64
@pytest.mark.parametrize("config", [TINIEST, TINIEST_R])
def test_a_layer_of_the_network_is_the_same_along_both_paths(config, monkeypatch):
    check_layer(next(iter(layers_of(config))), monkeypatch)


@pytest.mark.slow
@in_float64
@pytest.mark.parametrize("config", [TINIEST, TINIEST_R, replace(TINY, w_dim=8)])
def test_all_layers_of_the_network_are_the_same_along_both_paths(config, monkeypatch):
    for layer in layers_of(config):
        with monkeypatch.context() as patched:
            check_layer(layer, patched)


@in_float64
@pytest.mark.parametrize("radial", [False, True])
def test_first_and_second_derivatives_are_those_of_finite_differences(radial):
    case = Case(size=(3, 2), channels=2, taps=(4, 4), padding=(2, 1), radial=(False, radial))
    leaves = [leaf.requires_grad_() for leaf in (case.x, case.factor, case.bias)]

    def function(x, factor, bias):
        return fused_filtered_lrelu(x, factor, bias, case.plan, case.activation, Tile(16, 16, warps=1))

    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_low_precision_stays_close_and_is_returned_as_such(dtype, tolerance):
    case = Case(clamp=256.0)
    found, expected = case.found(dtype), case.expected()
    assert_close(found[:3], expected[:3], tolerance)
    y = fused_filtered_lrelu(case.x.to(DEVICE, dtype), None, None, case.plan, case.activation)
    assert y.dtype is dtype and y.is_contiguous(memory_format=torch.channels_last)


@in_float64
def test_the_map_holds_two_bits_a_place_and_channel():
    case = Case(channels=6, taps=(1, 1), up=1, down=1, padding=(0, 0), size=(5, 5))
    case.plan.up.taps[:] = case.plan.down.taps[:] = 1
    x = case.x.requires_grad_()
    y = fused_filtered_lrelu(x, None, None, case.plan, case.activation)
    codes = y.grad_fn.saved_tensors[2]
    assert codes.shape == (1, 5, 5, 2) and codes.dtype is torch.uint8
    unpacked = (codes[..., None] >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)).bitwise_and(3).flatten(3)[..., :6].permute(0, 3, 1, 2)
    activated = torch.where(x > 0, x, 0.2 * x) * 2**0.5
    assert torch.equal(unpacked, torch.where(activated.abs() >= 1, 2, torch.where(x > 0, 0, 1)).to(torch.uint8))


def test_the_counted_map_is_the_one_that_is_kept():
    layers = [layer for layer in make_generator(TINIEST).synthesis.layers() if not layer.spec.is_torgb]
    kept = sum(empty_codes(torch.empty(1, layer.spec.out_channels, 1, 1), layer.plan).numel() for layer in layers)
    assert kept == traffic(TINIEST)[1].kept


def test_nothing_is_kept_when_no_gradient_is_wanted():
    case = Case(size=(5, 5))
    assert fused_filtered_lrelu(case.x.to(DEVICE).float(), None, None, case.plan, case.activation).grad_fn is None


def test_what_is_no_number_stays_none():
    case = Case(size=(6, 6), channels=1)
    case.x[0, 0, 3, 3] = float("nan")
    y = fused_filtered_lrelu(case.x.to(DEVICE).float(), None, None, case.plan, case.activation)
    assert y.isnan().any()


@pytest.mark.parametrize("tile", TILES)
def test_memory_layout_and_tile_do_not_change_the_result(tile):
    case = Case(size=(8, 7), channels=5, clamp=256.0)
    x = case.x.to(DEVICE).float()
    rows, columns = (
        fused_filtered_lrelu(x.contiguous(memory_format=layout), None, None, case.plan, case.activation, tile)
        for layout in (torch.contiguous_format, torch.channels_last)
    )
    assert torch.equal(rows, columns)
    torch.testing.assert_close(rows, fused_filtered_lrelu(x, None, None, case.plan, case.activation, LARGE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_trial_of_a_sound_kernel_passes(dtype):
    assert failed_trial(torch.device(DEVICE), dtype) is None


def test_a_kernel_that_fails_or_errs_is_found_out(monkeypatch):
    from training.stylegan3 import filtered_lrelu_triton as fused

    def fail(*_, **__):
        raise OSError("no C compiler")

    monkeypatch.setattr(fused, "_launch", fail)
    assert failed_trial(torch.device(DEVICE), torch.float32) == "its trial failed: OSError: no C compiler"
    monkeypatch.undo()
    monkeypatch.setattr(fused, "_band_matrices", lambda *arguments: fused.np.zeros((1, *arguments[-1])))
    assert "off by" in failed_trial(torch.device(DEVICE), torch.float32)


def test_wrong_pictures_are_refused():
    case = Case(size=(5, 5))
    with pytest.raises(ValueError, match="expected pictures of 5 x 5 pixels, found"):
        fused_filtered_lrelu(torch.zeros(1, 3, 5, 6), None, None, case.plan, case.activation)
    with pytest.raises(TypeError, match="found torch.int32"):
        fused_filtered_lrelu(torch.zeros(1, 3, 5, 5, dtype=torch.int32), None, None, case.plan, case.activation)


@pytest.mark.gpu
@pytest.mark.parametrize(("up", "padding"), PADDINGS)
@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_the_compiled_kernel_on_a_gpu(up, padding, radial, dtype, tolerance):
    assert DEVICE == "cuda", "this test needs an NVIDIA GPU"
    case = Case(size=(86, 86), channels=70, pictures=2, up=up, taps=(6 * up, 12), padding=padding, radial=(False, radial), clamp=256.0)
    for tile in (*TILES, None):
        assert_close(case.found(dtype, tile)[:3], case.expected()[:3], tolerance)


@pytest.mark.slow
def test_the_kernel_compiles_for_gpus_that_are_not_here():
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.training.stylegan3.compile_kernel"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if "PermissionError" in ran.stderr or "Cannot find ptxas" in ran.stderr:
        pytest.skip("triton's assembler cannot be run here")
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {one["sm"] for one in found} == {80, 90}
    # Half precision spills next to nothing, and everything multiplies on tensor cores within a few KiB of shared memory.
    assert all(one["products"] > 0 and one["shared"] <= 48 * 1024 for one in found)
    assert all(one["stack"] <= 64 for one in found if one["dtype"] == "torch.float16")
