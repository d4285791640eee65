"""The filtered leaky ReLU as one Triton kernel: of the high rate, nothing leaves the processor but two bits a place. Needs triton: import it lazily.

    TRITON_INTERPRET=1 python -m pytest tests/training/stylegan3/test_filtered_lrelu_triton.py      # on a CPU

Shapes: B pictures, C channels. Rates and offsets are those of `resampling.Resampling`.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from training.stylegan3.filtered_lrelu_kernel import filtered_lrelu_kernel
from training.stylegan3.layers import filtered_lrelu_reference
from training.stylegan3.resampling import Resampling, resampling

# What a launch does with the map of branches taken (`filtered_lrelu_kernel`).
_IGNORE, _WRITE, _READ, _FINISH = 0, 1, 2, 3
# Codes are packed four channels to a byte.
_CODES_PER_BYTE = 4
_LEAST_DOT = 16


class Tile(NamedTuple):
    """What one program makes: so many middle columns and channels (powers of two, 16 at least), at most so many output rows, with so many warps."""

    middle: int
    channels: int
    warps: int
    rows: int = 64


# Of these, an accelerator takes the fastest for each shape; docs/stylegan3_speed.md counts their registers and shared memory.
TILES = (Tile(32, 32, warps=4), Tile(64, 16, warps=4), Tile(32, 16, warps=2))


class Activation(NamedTuple):
    """Slope of the leaky ReLU below 0, gain behind it, and the size it is clamped to."""

    slope: float
    gain: float
    clamp: float


# For sums; for what goes into matrix products, twice; how the processor multiplies those.
# bfloat16 is multiplied as TF32, which has three bits more and as much range; float32 as three products of TF32, which together keep float32's bits.
_ARITHMETIC = {
    torch.float16: (tl.float32, tl.float16, torch.float16, "tf32"),
    torch.bfloat16: (tl.float32, tl.float32, torch.float32, "tf32"),
    torch.float32: (tl.float32, tl.float32, torch.float32, "tf32x3"),
    torch.float64: (tl.float64, tl.float64, torch.float64, "ieee"),
}


def fused_filtered_lrelu(
    x: Tensor, factor: Tensor | None, bias: Tensor | None, plan: Resampling, activation: Activation, tile: Tile | None = None
) -> Tensor:
    """Of x [B, C, H, W] * factor [B, C] + bias [C], the filtered leaky ReLU: [B, C, H', W'], channels last. Differentiable any number of times.

    Computes in float32 for float16, bfloat16 and float32 (matrix products as `_ARITHMETIC` has them), in float64 for float64. tile: None measures.
    """
    if x.shape[2:] != plan.in_size:
        raise ValueError(f"expected pictures of {plan.in_size[0]} x {plan.in_size[1]} pixels, found {list(x.shape)}; build the plan for that size")
    if x.dtype not in _ARITHMETIC:
        raise TypeError(f"expected pictures in float16, bfloat16, float32 or float64, found {x.dtype}")
    return _Fused.apply(x, factor, bias, plan, activation, tile)


class _Fused(torch.autograd.Function):
    """The whole; remembers the map of branches, and the input where the factor wants a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, factor: Tensor | None, bias: Tensor | None, plan: Resampling, activation: Activation, tile: Tile | None
    ) -> Tensor:
        codes = empty_codes(x, plan) if any(ctx.needs_input_grad) else None
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, factor, codes)
        ctx.plan, ctx.activation, ctx.tile, ctx.bias_dtype = plan, activation, tile, None if bias is None else bias.dtype
        return _launch(_IGNORE if codes is None else _WRITE, x, codes, plan, activation, tile, (factor, bias, None))[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, factor, codes = ctx.saved_tensors
        if ctx.needs_input_grad[1] and ctx.needs_input_grad[2] and not torch.is_grad_enabled():
            # Nobody will differentiate this again: what follows happens within the kernel.
            grad, sums = _launch(_FINISH, grad, codes, ctx.plan.transposed, ctx.activation, ctx.tile, (factor, None, x))
            return grad, sums[1].to(factor.dtype), sums[0].sum(dim=0).to(ctx.bias_dtype), None, None, None
        grad = _Masked.apply(grad, codes, ctx.plan.transposed, ctx.activation, ctx.tile)
        wide = torch.promote_types(grad.dtype, torch.float32)
        grad_factor = (grad * x).sum((2, 3), dtype=wide).to(factor.dtype) if ctx.needs_input_grad[1] else None
        grad_bias = grad.sum((0, 2, 3), dtype=wide).to(ctx.bias_dtype) if ctx.needs_input_grad[2] else None
        grad_x = grad if factor is None else grad * factor.to(grad.dtype)[:, :, None, None]
        return grad_x, grad_factor, grad_bias, None, None, None


class _Masked(torch.autograd.Function):
    """Up, times the slopes that were taken, down: linear, so its gradient is itself with the stages exchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, plan: Resampling, activation: Activation, tile: Tile | None) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.plan, ctx.activation, ctx.tile = plan, activation, tile
        return _launch(_READ, x, codes, plan, activation, tile)[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (codes,) = ctx.saved_tensors
        return _Masked.apply(grad, codes, ctx.plan.transposed, ctx.activation, ctx.tile), None, None, None, None


def empty_codes(x: Tensor, plan: Resampling) -> Tensor:
    """Room for the branch taken at every middle place: bytes [B, H", W", C / 4], two bits a channel: 0 positive, 1 negative, 2 clamped.

    Places that no output depends on may stay unwritten: their gradient is zero whatever is multiplied by it.
    """
    return torch.empty(len(x), *plan.middle_size, -(-x.shape[1] // _CODES_PER_BYTE), dtype=torch.uint8, device=x.device)


def _launch(
    mode: int,
    x: Tensor,
    codes: Tensor | None,
    plan: Resampling,
    activation: Activation,
    tile: Tile | None,
    operands: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor]:
    """One run of the kernel. operands: factor, bias, and the input of the forward pass (`given`).

    Returns the output, and with `given` the sums [2, B, C] of the output, and of it times `given`, before the factor.
    """
    B, C = x.shape[:2]
    out = torch.empty((B, C, *plan.out_size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    factor, bias, given = operands
    if given is not None:
        given = given.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(given)
    has_prologue = mode < _READ and not (factor is None and bias is None)
    if has_prologue:
        factor, bias = (x.new_ones(B, C) if factor is None else factor), (x.new_zeros(C) if bias is None else bias)
    up, down = plan.up, plan.down
    accumulate, operand, operand_dtype, precision = _ARITHMETIC[x.dtype]

    def run(tile: Tile) -> Tensor:
        fit = _fit(plan, tile)
        banks = _banks(plan, fit, x.device, operand_dtype)
        groups, strips = -(-C // tile.channels), -(-plan.out_size[1] // fit.strip)
        rows = -(-min(tile.rows, plan.out_size[0]) // fit.step) * fit.step
        grid = (groups * strips, -(-plan.out_size[0] // rows), B)
        partials = x.new_empty((2, B, strips * grid[1], C if mode == _FINISH else 0), dtype=torch.promote_types(x.dtype, torch.float32))
        # What a mode does without is never looked at; any pointer will do.
        small = (banks[0] if one is None else one.contiguous() for one in (factor, bias))
        tensors = (x, *small, banks[0] if given is None else given, banks[0] if codes is None else codes, out, partials)
        sizes = (C, *plan.in_size, *plan.middle_size, *plan.out_size, *x.stride(), *out.stride())
        places = (groups, fit.strip, rows, down.offset, fit.first_in, fit.reached)
        rates = (up.factor, down.factor, len(up.taps), len(down.taps), up.is_radial, down.is_radial, fit.phase, fit.step * down.factor)
        numbers = (has_prologue, accumulate, operand, precision)
        tiles = (fit.in_columns, fit.middle_columns, fit.out_columns, tile.channels)
        # A processor multiplies by arguments of a kernel without loading them: the taps that rows are weighted with.
        weights = ((0.0,) if stage.is_radial else tuple(stage.taps.tolist()) for stage in (up, down))
        arguments = (*tensors, *banks, *weights, *sizes, *places, *rates, *activation, mode, *numbers, *tiles)
        with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
            filtered_lrelu_kernel[grid](*arguments, num_warps=tile.warps)
        return partials

    partials = run(tile or _best_tile(run, x, plan, mode))
    return out, partials.sum(dim=2)


class _Fit(NamedTuple):
    """How strips of a plan fit into a tile. Columns are powers of two; a strip is so many of the out_columns.

    step: output places a period of both rates. first_in, phase: which input place, and how far behind it, the first middle place lies at. reached: of
    the in_columns, those that the strip depends on.
    """

    strip: int
    in_columns: int
    middle_columns: int
    out_columns: int
    step: int
    first_in: int
    phase: int
    reached: int


def _fit(plan: Resampling, tile: Tile) -> _Fit:
    up, down = plan.up, plan.down
    first_in, phase = divmod(up.offset - down.offset, up.factor)
    # All strips, and all blocks of rows, begin at the same phase when they begin at multiples of this many outputs.
    step = up.factor // math.gcd(up.factor, down.factor)
    middle = max(tile.middle, triton.next_power_of_2((step - 1) * down.factor + len(down.taps)))
    strip = ((middle - len(down.taps)) // down.factor + 1) // step * step
    used = (strip - 1) * down.factor + len(down.taps)
    reached = (phase + used - 1) // up.factor + -(-len(up.taps) // up.factor)
    in_columns, out_columns = (max(triton.next_power_of_2(count), _LEAST_DOT) for count in (reached, strip))
    return _Fit(strip, in_columns, middle, out_columns, step, first_in, phase, reached)


_BANKS: WeakKeyDictionary[Resampling, dict[tuple[_Fit, torch.device, torch.dtype], tuple[Tensor, ...]]] = WeakKeyDictionary()


def _banks(plan: Resampling, fit: _Fit, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Band matrices of a strip for up and for down, [1 or T, places out, places in]."""
    banks = _BANKS.setdefault(plan, {})
    if (fit, device, dtype) not in banks:
        up, down = plan.up, plan.down
        reach = -(-len(up.taps) // up.factor) - 1
        up_bank = _band_matrices(up.taps, fit.phase + reach * up.factor, up.factor, (fit.middle_columns, fit.in_columns))
        down_bank = _band_matrices(down.taps, 0, down.factor, (fit.middle_columns, fit.out_columns)).swapaxes(1, 2)
        made = (torch.as_tensor(np.ascontiguousarray(bank), dtype=dtype, device=device) for bank in (up_bank, down_bank))
        banks[fit, device, dtype] = tuple(made)
    return banks[fit, device, dtype]


def _band_matrices(taps: np.ndarray, offset: int, factor: int, shape: tuple[int, int]) -> np.ndarray:
    """Matrices [1 or T, high, low] of taps [T] or [T, T]: entries taps[..., offset + high - low * factor]."""
    tap = offset + np.arange(shape[0])[:, None] - np.arange(shape[1])[None, :] * factor
    T = taps.shape[-1]
    return np.where((tap >= 0) & (tap < T), np.atleast_2d(taps)[:, np.clip(tap, 0, T - 1)], 0.0)


_BEST: dict[tuple[Any, ...], Tile] = {}


def _best_tile(run: Callable[[Tile], Tensor], x: Tensor, plan: Resampling, mode: int) -> Tile:
    """The fastest of TILES for such a launch, measured once; the first where nothing can be measured. Running a launch again does no harm."""
    if x.device.type != "cuda" or torch.cuda.is_current_stream_capturing():
        return TILES[0]
    shape = (plan.in_size, plan.out_size, plan.up.taps.shape, plan.down.taps.shape, plan.up.factor, plan.down.factor)
    key = (shape, x.shape, x.stride(), x.dtype, x.device, mode)
    if key not in _BEST:
        from triton.testing import do_bench

        times = {tile: do_bench(lambda tile=tile: run(tile), warmup=2, rep=10, return_mode="min") for tile in TILES}
        _BEST[key] = min(times, key=lambda tile: times[tile])
    return _BEST[key]


def failed_trial(device: torch.device, dtype: torch.dtype) -> str | None:
    """Compile the kernel and compare a small result and its gradient with the definition, in float64 on the CPU. What went wrong, or None."""
    random = torch.Generator().manual_seed(0)
    x, bias, upstream = (torch.randn(*shape, generator=random, dtype=torch.float64) for shape in ((1, 5, 8, 8), (5,), (1, 5, 9, 9)))
    kernel = np.hanning(14)[1:-1] / np.hanning(14).sum()
    plan = resampling(kernel, kernel, in_size=(8, 8), up=2, down=2, padding=(12, 12))
    expected = x.clone().requires_grad_()
    taps = torch.from_numpy(kernel)
    activation = Activation(0.2, 2**0.5, 1.0)
    y = filtered_lrelu_reference(expected, up_kernel=taps, down_kernel=taps, up=2, down=2, padding=(12, 12), bias=bias, **activation._asdict())
    (slope_of_y,) = torch.autograd.grad(y, expected, upstream)
    # The input is rounded to the precision on trial; half a per cent of the largest number is what that costs at most in bfloat16.
    tolerance = {torch.float16: 5e-3, torch.bfloat16: 4e-2}.get(dtype, 1e-4)
    try:
        found = x.to(device, dtype).requires_grad_()
        z = fused_filtered_lrelu(found, None, bias.to(device), plan, activation, TILES[0])
        (slope_of_z,) = torch.autograd.grad(z, found, upstream.to(device, dtype))
        pairs = ((z, y), (slope_of_z, slope_of_y))
        errors = [(ours.double().cpu() - theirs).abs().max().item() / theirs.abs().max().item() for ours, theirs in pairs]
    except Exception as error:  # noqa: BLE001 (compilers, drivers and linkers fail in ways of their own; the plain path works without them)
        return f"its trial failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return None if max(errors) < tolerance else f"its trial gave other numbers than the plain path, off by {max(errors):.1e} of the largest"
