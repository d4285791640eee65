"""The filtered leaky ReLU as one Triton kernel: nothing at the high rate ever leaves the processor but two bits a place. Import it lazily: needs triton.

    TRITON_INTERPRET=1 python -m pytest tests/training/stylegan3/test_filtered_lrelu_triton.py      # on a CPU

A program makes a strip of output columns, for a group of channels, from top to bottom. Vertically, filters run in polyphase form over a few rows kept in
registers: an input row is loaded once and each middle row is a sum of taps / up rows; each middle row is added to the taps / down output rows that
it belongs to, and the oldest of them is stored. Horizontally, a row times a small band matrix is a product for tensor cores, [places out, places in] x
[places in, channels]; filters that are no outer product have one such matrix a tap row. docs/stylegan3_speed.md has the reasoning about sizes.

Shapes: B pictures, C channels. Rates and offsets are those of `filtered_lrelu.Resampling`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from training.stylegan3.filtered_lrelu import Resampling, resampling

# What a launch does with the map of branches taken.
_IGNORE, _WRITE, _READ = 0, 1, 2
# Codes are packed four channels to a byte.
_CODES_PER_BYTE = 4
_LEAST_DOT = 16


@triton.jit
def _filtered_lrelu_kernel(
    x,
    factor,
    bias,
    codes,
    out,
    up_bank,
    down_bank,
    up_taps,
    down_taps,
    channels,
    in_height,
    in_width,
    middle_height,
    middle_width,
    out_height,
    out_width,
    x_b,
    x_c,
    x_y,
    x_x,
    out_b,
    out_c,
    out_y,
    out_x,
    groups,
    strip,
    rows,
    down_offset,
    first_in,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    UP_TAPS: tl.constexpr,
    DOWN_TAPS: tl.constexpr,
    UP_RADIAL: tl.constexpr,
    DOWN_RADIAL: tl.constexpr,
    PHASE: tl.constexpr,
    PERIOD: tl.constexpr,
    SLOPE: tl.constexpr,
    GAIN: tl.constexpr,
    CLAMP: tl.constexpr,
    MODE: tl.constexpr,
    PROLOGUE: tl.constexpr,
    ACCUMULATE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    WI: tl.constexpr,
    WM: tl.constexpr,
    WO: tl.constexpr,
    C: tl.constexpr,
):
    # PERIOD middle rows are one period of both rates: IN input rows and OUT output rows.
    IN: tl.constexpr = PERIOD // UP
    OUT: tl.constexpr = PERIOD // DOWN
    # So many rows before those are still within reach of the filters: REACH input rows, LATE output rows.
    REACH: tl.constexpr = (UP_TAPS + UP - 1) // UP - 1
    LATE: tl.constexpr = (DOWN_TAPS + DOWN - 1) // DOWN - 1
    KEPT: tl.constexpr = REACH + 1 + (PHASE + PERIOD - 1) // UP - IN

    group = tl.program_id(0) % groups
    left = (tl.program_id(0) // groups) * strip
    top = tl.program_id(1) * rows
    picture = tl.program_id(2).to(tl.int64)
    channel = group * C + tl.arange(0, C)
    is_channel = (channel < channels)[None, :]

    # A strip begins at the same phase of both rates wherever it lies (`_fit` sees to that), so one matrix serves all.
    in_column = (left * DOWN // UP + first_in - REACH + tl.arange(0, WI))[:, None]
    middle_column = (left * DOWN - down_offset + tl.arange(0, WM))[:, None]
    out_column = (left + tl.arange(0, WO))[:, None]
    x += picture * x_b + channel[None, :] * x_c + in_column * x_x
    out += picture * out_b + channel[None, :] * out_c + out_column * out_x
    # A place takes part when its column is below the end of its row; what is beyond a border or no channel lies past every end.
    in_place = tl.where((in_column >= 0) & is_channel, in_column, in_width)
    out_place = tl.where(is_channel, out_column, out_width)
    code_pitch = (channels + 3) // 4
    codes += picture * middle_height * middle_width * code_pitch + middle_column * code_pitch
    if MODE == 1:
        byte = (group * (C // 4) + tl.arange(0, C // 4))[None, :]
        codes += byte
        code_place = tl.where(byte < code_pitch, middle_column, middle_width)
    if MODE == 2:
        codes += channel[None, :] // 4
        bit = 2 * (channel[None, :] % 4)
        code_place = tl.where((middle_column >= 0) & is_channel, middle_column, middle_width)
    if PROLOGUE:
        scale = tl.load(factor + picture * channels + channel, mask=channel < channels, other=0.0).to(ACCUMULATE)[None, :]
        shift = tl.load(bias + channel, mask=channel < channels, other=0.0).to(ACCUMULATE)[None, :]

    up_places = tl.arange(0, WM)[:, None] * WI + tl.arange(0, WI)[None, :]
    down_places = tl.arange(0, WO)[:, None] * WM + tl.arange(0, WM)[None, :]
    up_matrix = tl.load(up_bank + up_places)
    down_matrix = tl.load(down_bank + down_places)
    limit = tl.full([1, 1], CLAMP, ACCUMULATE)
    stop = tl.minimum(top + rows, out_height)
    in_top = top * DOWN // UP + first_in - REACH

    kept = ()
    sums = ()
    for _ in tl.static_range(LATE):
        sums = sums + (tl.zeros([WO, C], ACCUMULATE),)
    # The first turn, ahead of all others, only loads the rows that the first period begins with.
    for k in tl.static_range(KEPT):
        in_row = in_top + k
        is_there = in_place < tl.where((in_row >= 0) & (in_row < in_height), in_width, 0)
        row = tl.load(x + in_row * x_y, mask=is_there, other=0.0)
        if PROLOGUE:
            row = tl.where(is_there, row.to(ACCUMULATE) * scale + shift, 0.0)
        row = row.to(OPERAND)
        kept = kept + (row if UP_RADIAL else tl.dot(up_matrix, row, input_precision=PRECISION),)

    for period in range((stop - top + LATE + OUT - 1) // OUT):
        for k in tl.static_range(IN):
            in_row = in_top + period * IN + KEPT + k
            is_there = in_place < tl.where((in_row >= 0) & (in_row < in_height), in_width, 0)
            row = tl.load(x + in_row * x_y, mask=is_there, other=0.0)
            if PROLOGUE:
                # Padding comes behind the bias, so it stays zero.
                row = tl.where(is_there, row.to(ACCUMULATE) * scale + shift, 0.0)
            row = row.to(OPERAND)
            kept = kept + (row if UP_RADIAL else tl.dot(up_matrix, row, input_precision=PRECISION),)
        for _ in tl.static_range(OUT):
            sums = sums + (tl.zeros([WO, C], ACCUMULATE),)

        for j in tl.static_range(PERIOD):
            # Polyphase: middle row j meets every UP-th tap only, with the input rows before it.
            middle = tl.zeros([WM, C], ACCUMULATE)
            for a in tl.static_range(REACH + 1):
                if (PHASE + j) % UP + a * UP < UP_TAPS:
                    if UP_RADIAL:
                        matrix = tl.load(up_bank + ((PHASE + j) % UP + a * UP) * WM * WI + up_places)
                        middle += tl.dot(matrix, kept[(PHASE + j) // UP - a + REACH], input_precision=PRECISION)
                    else:
                        middle += kept[(PHASE + j) // UP - a + REACH] * up_taps[(PHASE + j) % UP + a * UP]

            middle_row = (top + period * OUT) * DOWN - down_offset + j
            place = codes + middle_row * middle_width * code_pitch
            if MODE == 2:
                end = tl.where((middle_row >= 0) & (middle_row < middle_height), middle_width, 0)
                code = (tl.load(place, mask=code_place < end, other=0xFF).to(tl.int32) >> bit) & 3
                middle = tl.where(code == 0, middle, tl.where(code == 1, middle * SLOPE, 0.0)) * GAIN
            else:
                is_positive = middle > 0
                middle = tl.where(is_positive, middle, middle * SLOPE) * GAIN
                is_clamped = tl.abs(middle) >= CLAMP
                if MODE == 1:
                    code = tl.where(is_clamped, 2, tl.where(is_positive, 0, 1)).to(tl.int32)
                    code = tl.reshape(code, [WM, C // 4, 4]) << (2 * tl.arange(0, 4))[None, None, :]
                    # Neighbours overlap, yet every place is written by one program: the last of a row or column takes the rest.
                    end_y = tl.where(top + rows >= out_height, middle_height, (top + rows) * DOWN - down_offset)
                    end_x = tl.where(left + strip >= out_width, middle_width, (left + strip) * DOWN - down_offset)
                    tl.store(place, tl.sum(code, axis=2).to(tl.uint8), mask=code_place < tl.where(middle_row < end_y, end_x, 0))
                # What is no number compares as false and stays none, or a diverging training would look healthy.
                middle = tl.where(is_clamped, tl.where(is_positive, limit, -limit), middle)

            middle = middle.to(OPERAND)
            if not DOWN_RADIAL:
                filtered = tl.dot(down_matrix, middle, input_precision=PRECISION)
            updated = ()
            for k in tl.static_range(LATE + OUT):
                if (j - (k - LATE) * DOWN >= 0) and (j - (k - LATE) * DOWN < DOWN_TAPS):
                    if DOWN_RADIAL:
                        matrix = tl.load(down_bank + (j - (k - LATE) * DOWN) * WO * WM + down_places)
                        updated = updated + (sums[k] + tl.dot(matrix, middle, input_precision=PRECISION),)
                    else:
                        updated = updated + (sums[k] + filtered * down_taps[j - (k - LATE) * DOWN],)
                else:
                    updated = updated + (sums[k],)
            sums = updated

        for k in tl.static_range(OUT):
            out_row = top + period * OUT + k - LATE
            end = tl.where((out_row >= top) & (out_row < stop), tl.minimum(left + strip, out_width), 0)
            tl.store(out + out_row * out_y, sums[k].to(out.dtype.element_ty), mask=out_place < end)
        sums = sums[OUT:]
        kept = kept[IN:]


class Tile(NamedTuple):
    """What one program makes: so many middle columns and channels (powers of two, 16 at least), at most so many output rows, with so many warps."""

    middle: int = 32
    channels: int = 16
    rows: int = 64
    warps: int = 4


# Of these, an accelerator takes the fastest for each shape; docs/stylegan3_speed.md counts their registers and shared memory.
TILES = (Tile(32, 16), Tile(32, 32), Tile(64, 16), Tile(64, 32, warps=8))


class Activation(NamedTuple):
    """Slope of the leaky ReLU below 0, gain behind it, and the size it is clamped to."""

    slope: float
    gain: float
    clamp: float


@dataclass(frozen=True)
class _Arithmetic:
    """accumulate: of sums; operand: of what goes into matrix products; precision: how the processor multiplies those."""

    accumulate: Any
    operand: Any
    operand_dtype: torch.dtype
    precision: str


# bfloat16 is multiplied as TF32, which has three bits more and as much range; float32 as three products of TF32, which together keep float32's bits.
_ARITHMETIC = {
    torch.float16: _Arithmetic(tl.float32, tl.float16, torch.float16, "tf32"),
    torch.bfloat16: _Arithmetic(tl.float32, tl.float32, torch.float32, "tf32"),
    torch.float32: _Arithmetic(tl.float32, tl.float32, torch.float32, "tf32x3"),
    torch.float64: _Arithmetic(tl.float64, tl.float64, torch.float64, "ieee"),
}


def fused_filtered_lrelu(
    x: Tensor,
    factor: Tensor | None,
    bias: Tensor | None,
    plan: Resampling,
    *,
    slope: float,
    gain: float,
    clamp: float,
    tile: Tile | None = None,
) -> Tensor:
    """x [B, C, H, W] times factor [B, C] plus bias [C], filtered leaky ReLU: [B, C, H', W'], channels last. Differentiable any number of times.

    Computes in float32 for float16, bfloat16 and float32 (matrix products as `_ARITHMETIC` has them), in float64 for float64. tile: None measures.
    """
    if x.shape[2:] != plan.in_size:
        raise ValueError(f"expected pictures of {plan.in_size[0]} x {plan.in_size[1]} pixels, found {list(x.shape)}; build the plan for that size")
    if x.dtype not in _ARITHMETIC:
        raise TypeError(f"expected pictures in float16, bfloat16, float32 or float64, found {x.dtype}")
    return _Fused.apply(x, factor, bias, plan, Activation(slope, gain, clamp), tile)


class _Fused(torch.autograd.Function):
    """The whole; remembers the map of branches, and the input where the factor wants a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, factor: Tensor | None, bias: Tensor | None, plan: Resampling, activation: Activation, tile: Tile | None
    ) -> Tensor:
        codes = empty_codes(x, plan) if any(ctx.needs_input_grad) else None
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, factor, codes)
        ctx.plan, ctx.activation, ctx.tile, ctx.bias_dtype = plan, activation, tile, None if bias is None else bias.dtype
        return _launch(x, factor, bias, codes, plan, activation, _IGNORE if codes is None else _WRITE, tile)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, factor, codes = ctx.saved_tensors
        grad = _Masked.apply(grad, codes, ctx.plan.transposed, ctx.activation, ctx.tile)
        sums = torch.promote_types(grad.dtype, torch.float32)
        grad_factor = (grad * x).sum((2, 3), dtype=sums).to(factor.dtype) if ctx.needs_input_grad[1] else None
        grad_bias = grad.sum((0, 2, 3), dtype=sums).to(ctx.bias_dtype) if ctx.needs_input_grad[2] else None
        grad_x = grad if factor is None else grad * factor.to(grad.dtype)[:, :, None, None]
        return grad_x, grad_factor, grad_bias, None, None, None


class _Masked(torch.autograd.Function):
    """Up, times the slopes that were taken, down: linear, so its gradient is itself with the stages exchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, plan: Resampling, activation: Activation, tile: Tile | None) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.plan, ctx.activation, ctx.tile = plan, activation, tile
        return _launch(x, None, None, codes, plan, activation, _READ, tile)

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
    x: Tensor,
    factor: Tensor | None,
    bias: Tensor | None,
    codes: Tensor | None,
    plan: Resampling,
    activation: Activation,
    mode: int,
    tile: Tile | None,
) -> Tensor:
    B, C = x.shape[:2]
    out = torch.empty((B, C, *plan.out_size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    has_prologue = factor is not None or bias is not None
    if has_prologue:
        factor = x.new_ones(B, C) if factor is None else factor.contiguous()
        bias = x.new_zeros(C) if bias is None else bias.contiguous()

    def run(tile: Tile) -> None:
        _run(x, factor, bias, codes, out, plan, activation, mode, tile, has_prologue)

    run(tile or _best_tile(run, x, plan, mode))
    return out


def _run(
    x: Tensor,
    factor: Tensor | None,
    bias: Tensor | None,
    codes: Tensor | None,
    out: Tensor,
    plan: Resampling,
    activation: Activation,
    mode: int,
    tile: Tile,
    has_prologue: bool,
) -> None:
    arithmetic = _ARITHMETIC[x.dtype]
    up, down = plan.up, plan.down
    fit = _fit(plan, tile)
    banks = _banks(plan, fit, x.device, arithmetic.operand_dtype)
    groups = -(-x.shape[1] // tile.channels)
    rows = -(-min(tile.rows, plan.out_size[0]) // fit.step) * fit.step
    grid = (groups * -(-plan.out_size[1] // fit.strip), -(-plan.out_size[0] // rows), len(x))
    absent = banks[0]
    _filtered_lrelu_kernel[grid](
        x,
        absent if factor is None else factor,
        absent if bias is None else bias,
        absent if codes is None else codes,
        out,
        *banks,
        _weights(up.taps),
        _weights(down.taps),
        x.shape[1],
        *plan.in_size,
        *plan.middle_size,
        *plan.out_size,
        *x.stride(),
        *out.stride(),
        groups,
        fit.strip,
        rows,
        down.offset,
        fit.first_in,
        UP=up.factor,
        DOWN=down.factor,
        UP_TAPS=len(up.taps),
        DOWN_TAPS=len(down.taps),
        UP_RADIAL=up.is_radial,
        DOWN_RADIAL=down.is_radial,
        PHASE=fit.phase,
        PERIOD=fit.step * down.factor,
        SLOPE=activation.slope,
        GAIN=activation.gain,
        CLAMP=activation.clamp,
        MODE=mode,
        PROLOGUE=has_prologue,
        ACCUMULATE=arithmetic.accumulate,
        OPERAND=arithmetic.operand,
        PRECISION=arithmetic.precision,
        WI=fit.in_columns,
        WM=fit.middle_columns,
        WO=fit.out_columns,
        C=tile.channels,
        num_warps=tile.warps,
    )


class _Fit(NamedTuple):
    """How strips of a plan fit into a tile. Columns are powers of two; a strip is so many of the out_columns.

    step: output places a period of both rates. first_in, phase: which input place, and how far behind it, the first middle place lies at.
    """

    strip: int
    in_columns: int
    middle_columns: int
    out_columns: int
    step: int
    first_in: int
    phase: int


def _fit(plan: Resampling, tile: Tile) -> _Fit:
    up, down = plan.up, plan.down
    first_in, phase = divmod(up.offset - down.offset, up.factor)
    # All strips, and all blocks of rows, begin at the same phase when they begin at multiples of this many outputs.
    step = up.factor // math.gcd(up.factor, down.factor)
    middle = max(tile.middle, triton.next_power_of_2((step - 1) * down.factor + len(down.taps)))
    strip = ((middle - len(down.taps)) // down.factor + 1) // step * step
    used = (strip - 1) * down.factor + len(down.taps)
    columns = (phase + used - 1) // up.factor + -(-len(up.taps) // up.factor)
    in_columns, out_columns = (max(triton.next_power_of_2(count), _LEAST_DOT) for count in (columns, strip))
    return _Fit(strip, in_columns, middle, out_columns, step, first_in, phase)


_BANKS: dict[tuple[Resampling, _Fit, torch.device, torch.dtype], tuple[Tensor, ...]] = {}


def _banks(plan: Resampling, fit: _Fit, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Band matrices of a strip for up and for down, [1 or T, places out, places in]."""
    key = (plan, fit, device, dtype)
    if key not in _BANKS:
        up, down = plan.up, plan.down
        reach = -(-len(up.taps) // up.factor) - 1
        up_bank = _band_matrices(up.taps, fit.phase + reach * up.factor, up.factor, (fit.middle_columns, fit.in_columns))
        down_bank = _band_matrices(down.taps, 0, down.factor, (fit.middle_columns, fit.out_columns)).swapaxes(1, 2)
        _BANKS[key] = tuple(torch.as_tensor(np.ascontiguousarray(bank), dtype=dtype, device=device) for bank in (up_bank, down_bank))
    return _BANKS[key]


def _weights(taps: np.ndarray) -> tuple[float, ...]:
    """The taps that rows are weighted with, as arguments of the kernel: a processor multiplies by those without loading them."""
    return (0.0,) if taps.ndim == 2 else tuple(taps.tolist())


def _band_matrices(taps: np.ndarray, offset: int, factor: int, shape: tuple[int, int]) -> np.ndarray:
    """taps [T] or [T, T] → [1 or T, high, low] with entries taps[..., offset + high - low * factor]."""
    tap = offset + np.arange(shape[0])[:, None] - np.arange(shape[1])[None, :] * factor
    T = taps.shape[-1]
    return np.where((tap >= 0) & (tap < T), np.atleast_2d(taps)[:, np.clip(tap, 0, T - 1)], 0.0)


_BEST: dict[tuple[Any, ...], Tile] = {}


def _best_tile(run: Callable[[Tile], None], x: Tensor, plan: Resampling, mode: int) -> Tile:
    """The fastest of TILES for such a launch, measured once; without an accelerator the first. A launch may be repeated: it only writes its outputs."""
    if x.device.type != "cuda":
        return TILES[0]
    shape = (plan.in_size, plan.out_size, plan.up.taps.shape, plan.down.taps.shape, plan.up.factor, plan.down.factor)
    key = (shape, x.shape, x.stride(), x.dtype, x.device, mode)
    if key not in _BEST:
        from triton.testing import do_bench

        times = {tile: do_bench(lambda tile=tile: run(tile), warmup=2, rep=10, return_mode="min") for tile in TILES}  # type: ignore[misc]
        _BEST[key] = min(times, key=lambda tile: times[tile])
    return _BEST[key]


def failed_trial(device: torch.device, dtype: torch.dtype) -> str | None:
    """Compile the kernel and compare a small result and its gradient with the definition, in float64 on the CPU. What went wrong, or None."""
    from training.stylegan3.layers import filtered_lrelu_reference

    random = torch.Generator().manual_seed(0)
    x, bias, upstream = (torch.randn(*shape, generator=random, dtype=torch.float64) for shape in ((2, 5, 14, 14), (5,), (2, 5, 15, 15)))
    kernel = np.hanning(14)[1:-1] / np.hanning(14).sum()
    plan = resampling(kernel, kernel, in_size=(14, 14), up=2, down=2, padding=(12, 12))
    expected = x.clone().requires_grad_()
    taps = torch.from_numpy(kernel)
    options = {"slope": 0.2, "gain": 2**0.5, "clamp": 1.0}
    y = filtered_lrelu_reference(expected, up_kernel=taps, down_kernel=taps, up=2, down=2, padding=(12, 12), bias=bias, **options)
    y.backward(upstream)
    # The input is rounded to the precision on trial; half a per cent of the largest number is what that costs at most in bfloat16.
    tolerance = {torch.float16: 5e-3, torch.bfloat16: 4e-2}.get(dtype, 1e-4)
    try:
        found = x.to(device, dtype).requires_grad_()
        z = fused_filtered_lrelu(found, None, bias.to(device), plan, tile=TILES[0], **options)
        z.backward(upstream.to(device, dtype))
        pairs = ((z, y), (found.grad, expected.grad))
        errors = [(ours.double().cpu() - theirs).abs().max().item() / theirs.abs().max().item() for ours, theirs in pairs]  # type: ignore[union-attr]
    except Exception as error:  # noqa: BLE001 (compilers, drivers and linkers fail in ways of their own; the plain path works without them)
        return f"its trial failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return None if max(errors) < tolerance else f"its trial gave other numbers than the plain path, off by {max(errors):.1e} of the largest"
