"""The kernel of `filtered_lrelu_triton`, which launches it. Needs triton: import it lazily.

A program makes a strip of output columns, for a group of channels, from top to bottom. Vertically, filters run in polyphase form over a few rows that
are kept in registers: an input row is loaded once, each middle row is a sum of taps / up rows and is added to the taps / down output rows that it
belongs to, and the oldest of those is stored. Horizontally, a row times a small band matrix is a product for tensor cores, [places out, places in] x
[places in, channels]; a filter that is no outer product has one such matrix a tap row. docs/stylegan3_speed.md has the reasoning about sizes.

MODE says what becomes of the map of branches: 0 nothing, 1 it is written, 2 it is read instead of looking at signs, 3 read, and the output is the
gradient behind x * factor + bias, x being `given`: `partials` [2, B, blocks, C] become sums of it and of it times x, then it is multiplied by factor.

Written in triton's language, in which a tuple grows by adding to it, and a loop over `tl.static_range` is written out by the compiler.
"""

import triton
import triton.language as tl

# One name a line would be sixty lines.
# fmt: off
# Sizes are numbers to the compiler, not reasons to compile again.
_SIZES = ("in_height", "in_width", "middle_height", "middle_width", "out_height", "out_width",
          "groups", "strip", "rows", "down_offset", "first_in", "reached")


@triton.jit(do_not_specialize=_SIZES)
def filtered_lrelu_kernel(
    x, factor, bias, given, codes, out, partials, up_bank, down_bank, up_taps, down_taps,
    channels, in_height, in_width, middle_height, middle_width, out_height, out_width,
    x_b, x_c, x_y, x_x, out_b, out_c, out_y, out_x, groups, strip, rows, down_offset, first_in, reached,
    UP: tl.constexpr, DOWN: tl.constexpr, UP_TAPS: tl.constexpr, DOWN_TAPS: tl.constexpr, UP_RADIAL: tl.constexpr, DOWN_RADIAL: tl.constexpr,
    PHASE: tl.constexpr, PERIOD: tl.constexpr, SLOPE: tl.constexpr, GAIN: tl.constexpr, CLAMP: tl.constexpr, MODE: tl.constexpr,
    PROLOGUE: tl.constexpr, ACCUMULATE: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
    WI: tl.constexpr, WM: tl.constexpr, WO: tl.constexpr, C: tl.constexpr,
):
    # fmt: on
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
    if MODE == 3:
        given += picture * out_b + channel[None, :] * out_c + out_column * out_x
    # A place takes part when its column is below the end of its row; what is beyond a border or no channel lies past every end.
    is_reached = (in_column >= 0) & (tl.arange(0, WI) < reached)[:, None]
    in_place = tl.where(is_reached & is_channel, in_column, in_width)
    out_place = tl.where(is_channel, out_column, out_width)
    code_pitch = (channels + 3) // 4
    codes += picture * middle_height * middle_width * code_pitch + middle_column * code_pitch
    if MODE == 1:
        byte = (group * (C // 4) + tl.arange(0, C // 4))[None, :]
        codes += byte
        code_place = tl.where(byte < code_pitch, middle_column, middle_width)
    if MODE >= 2:
        codes += channel[None, :] // 4
        bit = 2 * (channel[None, :] % 4)
        code_place = tl.where((middle_column >= 0) & is_channel, middle_column, middle_width)
    if PROLOGUE or MODE == 3:
        scale = tl.load(factor + picture * channels + channel, mask=channel < channels, other=0.0).to(ACCUMULATE)[None, :]
    if PROLOGUE:
        shift = tl.load(bias + channel, mask=channel < channels, other=0.0).to(ACCUMULATE)[None, :]

    up_places = tl.arange(0, WM)[:, None] * WI + tl.arange(0, WI)[None, :]
    down_places = tl.arange(0, WO)[:, None] * WM + tl.arange(0, WM)[None, :]
    up_matrix = tl.load(up_bank + up_places)
    down_matrix = tl.load(down_bank + down_places)
    limit = tl.full([1, 1], CLAMP, ACCUMULATE)
    bias_sums = tl.full([WO, C], 0.0, ACCUMULATE)
    factor_sums = tl.full([WO, C], 0.0, ACCUMULATE)
    stop = tl.minimum(top + rows, out_height)
    in_top = top * DOWN // UP + first_in - REACH

    kept = ()
    sums = ()
    for _ in tl.static_range(LATE):
        sums = sums + (tl.full([WO, C], 0.0, ACCUMULATE),)
    # The rows that the first period begins with.
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
            sums = sums + (tl.full([WO, C], 0.0, ACCUMULATE),)

        for j in tl.static_range(PERIOD):
            # Polyphase: middle row j meets every UP-th tap only, with the input rows before it.
            middle = tl.full([WM, C], 0.0, ACCUMULATE)
            for a in tl.static_range(REACH + 1):
                if (PHASE + j) % UP + a * UP < UP_TAPS:
                    if UP_RADIAL:
                        matrix = tl.load(up_bank + ((PHASE + j) % UP + a * UP) * WM * WI + up_places)
                        middle += tl.dot(matrix, kept[(PHASE + j) // UP - a + REACH], input_precision=PRECISION)
                    else:
                        middle += kept[(PHASE + j) // UP - a + REACH] * up_taps[(PHASE + j) % UP + a * UP]

            middle_row = (top + period * OUT) * DOWN - down_offset + j
            place = codes + middle_row * middle_width * code_pitch
            if MODE >= 2:
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
            result = tl.where(out_place < end, sums[k], 0.0)
            if MODE == 3:
                bias_sums += result
                factor_sums += result * tl.load(given + out_row * out_y, mask=out_place < end, other=0.0).to(ACCUMULATE)
                result *= scale
            tl.store(out + out_row * out_y, result.to(out.dtype.element_ty), mask=out_place < end)
        sums = sums[OUT:]
        kept = kept[IN:]

    if MODE == 3:
        block = tl.program_id(1) * (tl.num_programs(0) // groups) + tl.program_id(0) // groups
        blocks = tl.num_programs(1) * (tl.num_programs(0) // groups)
        place = partials + (picture * blocks + block) * channels + channel
        tl.store(place, tl.sum(bias_sums, axis=0), mask=channel < channels)
        tl.store(place + tl.num_programs(2) * blocks * channels, tl.sum(factor_sums, axis=0), mask=channel < channels)
