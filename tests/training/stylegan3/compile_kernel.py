"""Compile the kernel for GPUs that are not here, as `python -m tests.training.stylegan3.compile_kernel`, and print what the assembler says of each.

Everything of a launch happens but the launch. Apart from the tests, since a process that interprets kernels cannot compile them.
"""

import json
import re
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from training.stylegan3 import filtered_lrelu_triton as fused
from training.stylegan3.config import StyleGAN3Config, layer_schedule
from training.stylegan3.filtered_lrelu_kernel import filtered_lrelu_kernel
from training.stylegan3.generator import _layer_filters
from training.stylegan3.resampling import resampling

# Configuration, layer of it at 128 pixels, precisions: two and four times up, filters that are outer products and such that are not.
LAYERS = (
    ("stylegan3-t", 10, (torch.float16, torch.bfloat16, torch.float32)),
    ("stylegan3-t", 9, (torch.float16,)),
    ("stylegan3-r", 10, (torch.float16,)),
    ("stylegan3-r", 9, (torch.float16,)),
)
MODES = ("forward", "forward, kept", "gradient of the gradient", "gradient")


class Compiling:
    """Stands for the kernel, and for the driver of a device: compiles what would be launched."""

    def __init__(self, capability):
        self.capability, self.compiled = capability, []
        target = GPUTarget("cuda", capability, 32)
        # What was compiled is remembered by the number of a device: each capability has one of its own.
        device = SimpleNamespace(get_current_target=lambda: target, get_current_device=lambda: capability, get_current_stream=lambda number: 0)
        driver.set_active(device)

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            mode = arguments[filtered_lrelu_kernel.arg_names.index("MODE")]
            self.compiled.append((MODES[mode], filtered_lrelu_kernel.warmup(*arguments, grid=grid, **options)))

        return launch


def plan_of(cfg, index):
    spec = layer_schedule(StyleGAN3Config(cfg=cfg, resolution=128))[index]
    side = spec.in_size + spec.kernel - 1
    filters = (np.asarray(one, dtype=np.float64) for one in _layer_filters(spec))
    return resampling(*filters, in_size=(side, side), up=spec.up, down=spec.down, padding=spec.padding)


def compile_both_ways(plan, tile, dtype, capability):
    """Forward and backward for 512 channels; what was compiled, by mode."""
    fused.filtered_lrelu_kernel = compiling = Compiling(capability)
    x = torch.empty(1, 512, *plan.in_size, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    factor, bias = torch.ones(1, 512, requires_grad=True), torch.zeros(512, requires_grad=True)
    y = fused.fused_filtered_lrelu(x, factor, bias, plan, fused.Activation(0.2, 2**0.5, 256.0), tile)
    torch.autograd.grad(y, (x, factor, bias), torch.empty_like(y))
    return compiling.compiled


def resources(compiled):
    """Registers a thread, bytes of stack (spilled registers) and of shared memory, instructions on tensor cores."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        dump = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = dict(re.findall(r"(REG|STACK):(\d+)", subprocess.run(dump, capture_output=True, text=True, check=True).stdout))
    products = len(re.findall(r"mma\.sync|wgmma\.mma_async", compiled.asm["ptx"]))
    return {"registers": int(usage["REG"]), "stack": int(usage["STACK"]), "shared": compiled.metadata.shared, "products": products}


def main(tiles):
    for cfg, index, dtypes in LAYERS:
        plan = plan_of(cfg, index)
        for dtype in dtypes:
            for capability in (80, 90):
                for tile in tiles:
                    for mode, compiled in compile_both_ways(plan, tile, dtype, capability):
                        what = {
                            "layer": f"{cfg[-1].upper()} {plan.up.factor}/{plan.down.factor}",
                            "mode": mode,
                            "dtype": str(dtype),
                            "sm": capability,
                        }
                        print(json.dumps(what | {"tile": tile[:3]} | resources(compiled)), flush=True)


if __name__ == "__main__":
    main(fused.TILES if "--every-tile" in sys.argv else fused.TILES[:1])
