"""Filtering along an axis of pictures as a matrix product that skips what is zero.

Changing the sampling rate of an axis (insert zeros, pad or crop, filter, keep every n-th sample) is linear, so it is a matrix of shape
[length out, length in] with a narrow band. An accelerator multiplies such matrices faster than it convolves every channel with its own short filter,
and derivatives of any order come for free. Matrices are float64 numpy arrays until a device is known.

Shapes: B pictures, C channels, H x W pixels, kept "channels last" in memory: filtering along either axis is then a product without a copy.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

# A block of a banded matrix spans about this many places of its longer side: wide enough to keep an accelerator busy, narrow enough to skip zeros.
_BLOCK = 128
# Splitting a matrix into blocks is worth it when it saves this part of the work.
_WORTHWHILE = 1 / 3
# Lengths are rounded to this many rows: tensor cores want aligned rows, and zeros change nothing.
ALIGNMENT = 8


class Block(NamedTuple):
    """Rows of a banded matrix, and the columns outside of which they are zero; both as first and end."""

    rows: tuple[int, int]
    columns: tuple[int, int]


class BandedMatrix(NamedTuple):
    """A matrix and what of it, and of its transpose, is worth multiplying."""

    matrix: Tensor
    blocks: tuple[Block, ...]
    transposed_blocks: tuple[Block, ...]


def banded(matrix: np.ndarray, like: Tensor) -> BandedMatrix:
    """The matrix as a tensor of the precision and on the device of `like`."""
    return BandedMatrix(torch.as_tensor(matrix, dtype=like.dtype, device=like.device), band_blocks(matrix), band_blocks(matrix.T))


def upsample_matrix(kernel: np.ndarray, *, length: int, up: int, padding: tuple[int, int]) -> np.ndarray:
    """Insert up - 1 zeros behind every sample, pad (negative: crop), convolve where the filter fits, multiply by `up`.

    kernel: [taps]. Returns [length * up + padding - taps + 1, length].
    """
    taps = len(kernel)
    rows = length * up + sum(padding) - taps + 1
    if rows < 1:
        raise ValueError(f"nothing is left: {length} samples x {up} with padding {padding} are shorter than {taps} taps")
    # Output j takes tap t of the padded sample j + taps - 1 - t, and input i lies at i * up + padding[0].
    tap = np.arange(rows)[:, None] + taps - 1 - padding[0] - np.arange(length)[None, :] * up
    # Cropped inputs and inserted zeros have no tap: their places index outside the filter.
    return np.where((tap >= 0) & (tap < taps), up * kernel[np.clip(tap, 0, taps - 1)], 0.0)


def downsample_matrix(kernel: np.ndarray, *, length: int, down: int) -> np.ndarray:
    """Convolve where the filter fits, then keep every `down`-th sample. kernel: [taps]. Returns [(length - taps) // down + 1, length]."""
    taps = len(kernel)
    rows = (length - taps) // down + 1
    if rows < 1:
        raise ValueError(f"nothing is left: {length} samples are shorter than {taps} taps")
    tap = np.arange(rows)[:, None] * down + taps - 1 - np.arange(length)[None, :]
    return np.where((tap >= 0) & (tap < taps), kernel[np.clip(tap, 0, taps - 1)], 0.0)


def band_blocks(matrix: np.ndarray) -> tuple[Block, ...]:
    """The matrix as blocks of rows that leave out most of its zeros; a single one where that would save little."""
    rows, columns = matrix.shape
    height = max(_BLOCK * rows // max(rows, columns) // ALIGNMENT, 1) * ALIGNMENT
    blocks = []
    for first in range(0, rows, height):
        touched = np.flatnonzero(matrix[first : first + height].any(axis=0))
        low, high = (touched[0], touched[-1] + 1) if len(touched) else (0, 1)
        # Aligned at both ends, as far as the matrix goes.
        columns_of_block = (int(low) // ALIGNMENT * ALIGNMENT, min(-(-int(high) // ALIGNMENT) * ALIGNMENT, columns))
        blocks.append(Block((first, min(first + height, rows)), columns_of_block))
    work = sum((block.rows[1] - block.rows[0]) * (block.columns[1] - block.columns[0]) for block in blocks)
    return tuple(blocks) if work < (1 - _WORTHWHILE) * rows * columns else (Block((0, rows), (0, columns)),)


def filter_both_axes(x: Tensor, banded_matrix: BandedMatrix) -> Tensor:
    """The matrix along both axes of every channel; differentiable any number of times. x: [B, C, in, in] → [B, C, out, out]."""
    matrix, blocks, transposed_blocks = banded_matrix
    matrix = matrix.to(x.dtype)
    B, C, side, _ = x.shape
    y = _BandedProduct.apply(matrix, x.permute(0, 2, 3, 1).reshape(B, side, side * C), blocks, transposed_blocks)
    y = _BandedProduct.apply(matrix, y.view(B * len(matrix), side, C), blocks, transposed_blocks)
    return y.view(B, len(matrix), len(matrix), C).permute(0, 3, 1, 2)


def along_width(matrix: Tensor, x: Tensor, blocks: tuple[Block, ...]) -> Tensor:
    """x: [B, H, W, C], contiguous → [B, H, W', C]."""
    B, H, W, C = x.shape
    return multiply(matrix, x.view(B * H, W, C), blocks).view(B, H, -1, C)


def along_height(matrix: Tensor, x: Tensor, blocks: tuple[Block, ...]) -> Tensor:
    """x: [B, H, W, C], contiguous → [B, H', W, C]."""
    B, H, W, C = x.shape
    return multiply(matrix, x.view(B, H, W * C), blocks).view(B, -1, W, C)


def multiply(matrix: Tensor, x: Tensor, blocks: tuple[Block, ...]) -> Tensor:
    """The matrix [M, K] times each of x [N, K, L], block by block: [N, M, L]. A compiler is given the whole matrix, which it can look into."""
    if len(blocks) == 1 or torch.compiler.is_compiling():
        return torch.matmul(matrix, x)
    product = x.new_empty(len(x), len(matrix), x.shape[2])
    for rows, columns in blocks:
        part = matrix[slice(*rows), slice(*columns)].expand(len(x), -1, -1)
        torch.bmm(part, x[:, slice(*columns)], out=product[:, slice(*rows)])
    return product


class _BandedProduct(torch.autograd.Function):
    """`multiply` with derivatives of any order in x: that of a linear map is its transpose, and that of the transpose the map itself."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor, blocks: tuple[Block, ...], transposed_blocks: tuple[Block, ...]) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.blocks, ctx.transposed_blocks = blocks, transposed_blocks
        return multiply(matrix, x, blocks)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None, None]:
        (matrix,) = ctx.saved_tensors
        return None, _BandedProduct.apply(matrix.T, grad, ctx.transposed_blocks, ctx.blocks), None, None
