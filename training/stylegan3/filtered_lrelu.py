"""Bias, upsampling, leaky ReLU, clamp, downsampling: by a fused kernel where there is one for the device, by matrix products everywhere else.

The matrix products (`layers.filtered_lrelu`) are the fallback and what the kernel is tested against. Which of both a device gets is decided once, by
a trial of the kernel, and said in the log.

    python -m pytest tests/training/stylegan3/test_filtered_lrelu_triton.py      # on a CPU: where triton is installed, by its interpreter
"""

import functools
import logging
from typing import Literal

import torch
from torch import Tensor

from training.loop.compiling import why_no_triton
from training.stylegan3.layers import LRELU_GAIN, LRELU_SLOPE, LayerFilters
from training.stylegan3.layers import filtered_lrelu as plain_filtered_lrelu
from training.stylegan3.resampling import Resampling

_LOG = logging.getLogger(__name__)
# The first generation of NVIDIA's with matrix products in bfloat16 and TF32.
_OLDEST_CAPABILITY = (8, 0)
_KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)

Path = Literal["auto", "plain", "kernel"]


def filtered_lrelu(
    x: Tensor, factor: Tensor | None, bias: Tensor, *, filters: LayerFilters, plan: Resampling, clamp: float, path: Path = "auto"
) -> Tensor:
    """Pictures x [B, C, in, in] times factor [B, C] (None: 1) plus bias [C], then the filtered leaky ReLU: [B, C, out, out] in the precision of x.

    filters and plan are the same resampling, for either path. path: "auto" takes the kernel where `refusal` has nothing against it; "kernel" raises
    RuntimeError where it has. The plain path is differentiable once, the kernel any number of times.
    """
    # A compiler looks into matrix products, not into the kernel.
    path = "plain" if torch.compiler.is_compiling() else path
    reason = None if path == "plain" else refusal(x.device, x.dtype)
    if path == "kernel" and reason is not None:
        raise RuntimeError(f"no kernel for filtered_lrelu on {x.device} in {x.dtype}: {reason}; take path='plain' or 'auto'")
    if path == "plain" or reason is not None:
        shift = bias.to(x.dtype)[:, None, None]
        x = x + shift if factor is None else torch.addcmul(shift, x, factor.to(x.dtype)[:, :, None, None])
        return plain_filtered_lrelu(x, filters, clamp=clamp)
    from training.stylegan3.filtered_lrelu_triton import Activation, fused_filtered_lrelu

    return fused_filtered_lrelu(x, factor, bias, plan, Activation(LRELU_SLOPE, LRELU_GAIN, clamp))


@functools.cache
def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the kernel is not used there, or None where it is. Decided at the first call for a device and a precision, which also logs it."""
    reason = _reason_against(device, dtype)
    if reason is None:
        _LOG.info("filtered_lrelu on %s in %s: fused kernel", device, dtype)
    elif device.type != "cpu":
        _LOG.info("filtered_lrelu on %s in %s: plain matrix products (%s)", device, dtype, reason)
    return reason


def _reason_against(device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cuda" or torch.version.hip is not None:
        return "the kernel is written for NVIDIA's GPUs"
    if dtype not in _KERNEL_DTYPES:
        return f"the kernel computes in float16, bfloat16 and float32, not in {dtype}"
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CAPABILITY:
        return f"compute capability {capability[0]}.{capability[1]}, the kernel needs {_OLDEST_CAPABILITY[0]}.{_OLDEST_CAPABILITY[1]}"
    if reason := why_no_triton():
        return reason
    from training.stylegan3.filtered_lrelu_triton import failed_trial

    return failed_trial(device, dtype)
