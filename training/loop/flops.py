"""How many floating-point operations a transformer's training needs, and which share of a device's peak that is (MFU).

Counted is what the model needs, not what the hardware does: no padding, nothing that is computed twice to save memory, attention over whole lengths
as if it were not causal. Source: Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B: 6 N + 12 L H Q T a token.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

# Dense bfloat16 with float32 sums, in TFLOP/s, by what `torch.cuda.get_device_name` says, from NVIDIA's data sheets and architecture papers; where
# these give the rate with sparsity, half of it. Parts of a GPU (MIG) and slower editions of the same name (laptops, D) are not in the list.
_BFLOAT16_TFLOPS = (
    (r"A100.*", 312.0),  # A100 data sheet
    (r"A40", 149.7),  # A40 data sheet
    (r"A10", 125.0),  # A10 data sheet
    (r"RTX A6000", 154.8),  # RTX A6000 data sheet
    (r"GeForce RTX 3090", 71.0),  # GA102 architecture paper, appendix A
    (r"GeForce RTX 4090", 165.2),  # Ada architecture paper, appendix A
    (r"L4", 121.0),  # L4 data sheet
    (r"L40S", 362.05),  # L40S data sheet
    (r"L40", 181.05),  # L40 data sheet
    (r"H100 PCIe", 756.0),  # H100 data sheet
    (r"H(100|200) NVL", 835.5),  # H100 NVL and H200 NVL data sheets
    (r"H100( 80GB HBM3)?|H200|GH200.*", 989.4),  # H100 SXM and H200 data sheets
    (r"B200", 2250.0),  # DGX B200 data sheet, an eighth of it
)


def peak_flops(device_name: str) -> float | None:
    """FLOP/s of dense bfloat16 at best; None for a device that is not in the list."""
    name = device_name.removeprefix("NVIDIA ")
    if "MIG" in name:
        return None
    return next((1e12 * tflops for pattern, tflops in _BFLOAT16_TFLOPS if re.fullmatch(pattern, name)), None)


def matrix_parameters(modules: Iterable[nn.Module], kinds: tuple[type[nn.Module], ...] = (nn.Linear,), *, without: Collection[nn.Module] = ()) -> int:
    """Weights that each token is multiplied with: those of `kinds`, not looked-up embeddings, biases and gains. without: modules left out."""
    left_out = set(map(id, without))
    counted: list[Any] = [module for module in modules if isinstance(module, kinds) and id(module) not in left_out]
    return sum(module.weight.numel() for module in counted)


def training_flops(parameters: float, tokens: float) -> float:
    """Of one forward and backward pass of `tokens` through `parameters` weights: 6 each."""
    return 6.0 * parameters * tokens


def attention_flops(layers: int, width: int, queries: float, keys: float) -> float:
    """Of scores and weighted sums, forward and backward, of `queries` tokens that look at `keys`. width: heads x width of a head."""
    return 12.0 * layers * width * queries * keys


def flop_rates(flops_per_second: float, device: torch.device, processes: int = 1) -> dict[str, float]:
    """What is reported of a training that does so much, over all processes: the rate, and on a GPU whose peak is known, the share of it (MFU)."""
    rates = {"model_flops_per_second": flops_per_second}
    peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return rates if peak is None else {**rates, "model_flops_utilization": flops_per_second / (peak * processes)}
