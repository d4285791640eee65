"""Compile the kernel for GPUs that are not here, as `python -m tests.training.stylegan3.compile_kernel`, and print what the assembler says of each.

Apart from the tests, since a process that interprets kernels cannot compile them.
"""

import json
import re
import subprocess
import sys
import tempfile

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from training.stylegan3.config import StyleGAN3Config, layer_schedule
from training.stylegan3.filtered_lrelu_kernel import filtered_lrelu_kernel
from training.stylegan3.filtered_lrelu_triton import _ARITHMETIC, TILES, _fit
from training.stylegan3.generator import _layer_filters
from training.stylegan3.resampling import resampling

NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}


def plan_of(cfg, index):
    spec = layer_schedule(StyleGAN3Config(cfg=cfg, resolution=128))[index]
    side = spec.in_size + spec.kernel - 1
    filters = (np.asarray(one, dtype=np.float64) for one in _layer_filters(spec))
    return resampling(*filters, in_size=(side, side), up=spec.up, down=spec.down, padding=spec.padding)


def compile_kernel(plan, tile, dtype, mode, capability):
    """Registers a thread, bytes of stack (spilled registers) and of shared memory, instructions on tensor cores."""
    fit, up, down = _fit(plan, tile), plan.up, plan.down
    accumulate, operand, operand_dtype, precision = _ARITHMETIC[dtype]
    signature = dict.fromkeys(filtered_lrelu_kernel.arg_names, "i32")
    signature |= dict.fromkeys(("x", "given", "out"), f"*{NAMES[dtype]}") | dict.fromkeys(("factor", "bias", "partials"), "*fp32")
    signature |= dict.fromkeys(("up_bank", "down_bank"), f"*{NAMES[operand_dtype]}") | {"codes": "*u8"}
    signature |= {name: ("fp32",) * (1 if stage.is_radial else len(stage.taps)) for name, stage in (("up_taps", up), ("down_taps", down))}
    constants = {"UP": up.factor, "DOWN": down.factor, "UP_TAPS": len(up.taps), "DOWN_TAPS": len(down.taps)}
    constants |= {"UP_RADIAL": up.is_radial, "DOWN_RADIAL": down.is_radial, "PHASE": fit.phase, "PERIOD": fit.step * down.factor}
    constants |= {"SLOPE": 0.2, "GAIN": 2**0.5, "CLAMP": 256.0, "MODE": mode, "PROLOGUE": mode < 2, "ACCUMULATE": accumulate, "OPERAND": operand}
    constants |= {
        "PRECISION": precision,
        "WI": fit.in_columns,
        "WM": fit.middle_columns,
        "WO": fit.out_columns,
        "C": tile.channels,
        "x_c": 1,
        "out_c": 1,
    }
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = (
        "x",
        "given",
        "out",
        "factor",
        "bias",
        "partials",
        "up_bank",
        "down_bank",
        "codes",
        "channels",
        "x_b",
        "x_y",
        "x_x",
        "out_b",
        "out_y",
        "out_x",
    )
    attributes = {(filtered_lrelu_kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(filtered_lrelu_kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": tile.warps})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        dump = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = dict(re.findall(r"(REG|STACK):(\d+)", subprocess.run(dump, capture_output=True, text=True, check=True).stdout))
    products = len(re.findall(r"mma\.sync|wgmma\.mma_async", compiled.asm["ptx"]))
    return {"registers": int(usage["REG"]), "stack": int(usage["STACK"]), "shared": compiled.metadata.shared, "products": products}


def main(every_tile):
    for cfg, index in (("stylegan3-t", 10), ("stylegan3-t", 9), ("stylegan3-r", 10), ("stylegan3-r", 9)):
        plan = plan_of(cfg, index)
        for mode, one in ((1, plan), (3, plan.transposed)):
            for dtype in NAMES if plan.up.factor == 2 and not plan.down.is_radial else (torch.float16,):
                for capability in (80, 90):
                    for tile in TILES if every_tile else TILES[:1]:
                        what = {
                            "layer": f"{cfg[-1].upper()} {plan.up.factor}/{plan.down.factor}",
                            "mode": mode,
                            "dtype": NAMES[dtype],
                            "sm": capability,
                        }
                        print(json.dumps(what | {"tile": tile[:3]} | compile_kernel(one, tile, dtype, mode, capability)), flush=True)


if __name__ == "__main__":
    main("--every-tile" in sys.argv)
