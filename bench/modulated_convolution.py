"""The modulated convolution of StyleGAN3, three ways in two layouts of memory: milliseconds forwards and backwards, launches and bytes by count.

    python -m bench.modulated_convolution --scale std       # on a CPU in float32; where there is a GPU, there, in float16

scaled: what the project does (training/stylegan3/layers.py). grouped: weights for every picture, one convolution with a group a picture.
gemm: the same weights, a matrix product a picture; 3 x 3 places are copied out first. All add a bias. Each is first compared with the definition in
float64, output and gradients of pictures, weights, styles and bias; then all six take turns. Bytes: what each operation reads and writes, once; those
of a GPU's shapes are counted everywhere. Exits 1 when numbers disagree.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.measuring import parser, processor, spread, write_report
from training.stylegan3.layers import modulated_convolution

# Of the largest number.
_TOLERANCE = {torch.float32: 2e-5, torch.float16: 1e-2}
_NO_WORK = ("empty", "detach", "_unsafe_view", "new_zeros")


class Shape(NamedTuple):
    """channels: in and out. side: in pixels. kernel: 3 in configuration T, 1 in R."""

    batch: int
    channels: int
    side: int
    kernel: int


SHAPES = {
    "smoke": [Shape(2, 16, 20, 3), Shape(2, 16, 20, 1)],
    "std": [Shape(4, 128, 36, 3), Shape(4, 64, 84, 3), Shape(4, 32, 148, 3), Shape(4, 256, 36, 1), Shape(4, 128, 84, 1)],
    "gpu": [Shape(32, 512, 36, 3), Shape(32, 256, 84, 3), Shape(32, 128, 148, 3), Shape(32, 1024, 36, 1), Shape(32, 512, 84, 1)],
}

Way = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def scaled(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor) -> Tensor:
    gain = torch.ones((), device=x.device)
    y, factor = modulated_convolution(x, weight, styles, padding=weight.shape[2] - 1, demodulate=True, input_gain=gain)
    assert factor is not None
    return torch.addcmul(bias.to(y.dtype)[:, None, None], y, factor.to(y.dtype)[:, :, None, None])


def weights_of_each(weight: Tensor, styles: Tensor) -> Tensor:
    """[B, O, C, k, k]: Karras et al. 2020, equations 1 and 3, both factors normalised first as in `modulated_convolution`."""
    weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
    styles = styles * styles.square().mean().rsqrt()
    own = weight[None] * styles[:, None, :, None, None]
    return own * (own.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()


def grouped(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor) -> Tensor:
    B, C, H, W = x.shape
    O, _, k, _ = weight.shape
    own = weights_of_each(weight, styles).to(x.dtype).view(B * O, C, k, k)
    y = functional.conv2d(x.reshape(1, B * C, H, W), own, padding=k - 1, groups=B)
    return y.view(B, O, *y.shape[2:]) + bias.to(y.dtype)[:, None, None]


def gemm(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor) -> Tensor:
    B, _, H, W = x.shape
    O, _, k, _ = weight.shape
    columns = x.flatten(2) if k == 1 else functional.unfold(x, k, padding=k - 1)
    y = torch.bmm(weights_of_each(weight, styles).to(x.dtype).flatten(2), columns)
    return y.view(B, O, H + k - 1, W + k - 1) + bias.to(y.dtype)[:, None, None]


WAYS: dict[str, Way] = {"scaled": scaled, "grouped": grouped, "gemm": gemm}
LAYOUTS = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}


class Work(TorchDispatchMode):
    """Counts launches and the bytes they read and write; views are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = function(*arguments, **(keywords or {}))
        is_view = any(returned.alias_info is not None and not returned.alias_info.is_write for returned in function._schema.returns)
        if not is_view and not any(word in function.name() for word in _NO_WORK):
            tensors = [one for one in tree_leaves((arguments, keywords, result)) if isinstance(one, Tensor)]
            self.launches += 1
            # What is repeated along an axis is in memory once.
            self.bytes += sum(
                one.element_size() * math.prod(size for size, step in zip(one.shape, one.stride(), strict=True) if step) for one in tensors
            )
        return result


def given(shape: Shape, *, device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> list[Tensor]:
    """Pictures, weights, styles, bias, and what comes from behind: pictures and that in `dtype`, laid out as said; the others in float32."""
    B, C, side, k = shape
    sizes = ((B, C, side, side), (C, C, k, k), (B, C), (C,), (B, C, side + k - 1, side + k - 1))
    if device.type == "meta":
        x, weight, styles, bias, upstream = (torch.empty(size, device=device) for size in sizes)
    else:
        random = torch.Generator().manual_seed(0)
        x, weight, styles, bias, upstream = (torch.randn(size, generator=random).to(device) for size in sizes)
    x, upstream = (one.to(dtype).to(memory_format=layout) for one in (x, upstream))
    return [x, weight.to(memory_format=layout), styles + 1, bias, upstream]


def both_ways(way: Way, tensors: list[Tensor]) -> list[Tensor]:
    """Output, and gradients of pictures, weights, styles and bias."""
    leaves = [one.detach().requires_grad_() for one in tensors[:4]]
    y = way(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, tensors[4])]


def counted(way: Way, tensors: list[Tensor]) -> tuple[dict[str, float], list[Tensor]]:
    """Launches and megabytes, and what `both_ways` gives; nothing is computed for tensors on "meta"."""
    with Work() as work:
        found = both_ways(way, tensors)
    return {"launches": work.launches, "mb": round(work.bytes / 1e6, 1)}, found


def seconds(way: Way, tensors: list[Tensor]) -> float:
    """Of the processor on a CPU; of the clock on a GPU, which is waited for."""
    if tensors[0].device.type == "cpu":
        began = time.process_time()
        both_ways(way, tensors)
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    both_ways(way, tensors)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(shape: Shape, *, device: torch.device, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """`shape`, and by "way, layout": ms, ratio to the first round by round, launches, mb. Raises ArithmeticError when numbers disagree."""
    exact = both_ways(grouped, [one.double() for one in given(shape, device=device, dtype=dtype, layout=torch.contiguous_format)])
    sides: dict[str, tuple[Way, list[Tensor]]] = {
        f"{way}, {layout}": (WAYS[way], given(shape, device=device, dtype=dtype, layout=LAYOUTS[layout])) for way in WAYS for layout in LAYOUTS
    }
    counts: dict[str, Mapping[str, float]] = {}
    for name, (way, tensors) in sides.items():
        counts[name], found = counted(way, tensors)
        for what, one, true in zip(("output", "pictures", "weights", "styles", "bias"), found, exact, strict=True):
            if (error := ((one.double() - true).abs().max() / true.abs().max()).item()) > _TOLERANCE[dtype]:
                raise ArithmeticError(
                    f"{shape}: {name}: {what} differ from the definition by {error:.1e} of the largest, expected {_TOLERANCE[dtype]:.0e} at most; "
                    "no speed is reported"
                )
    times = [{name: seconds(*side) for name, side in sides.items()} for _ in range(rounds + 1)][1:]
    first = next(iter(sides))
    timed = {
        name: {
            "ms": round(1000 * statistics.median(one[name] for one in times), 3),
            "ratio": spread([one[name] / one[first] for one in times], 2),
            **counts[name],
        }
        for name in sides
    }
    return {"shape": shape._asdict(), "ways": timed}


def main() -> int:
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    is_smoke, device = arguments.scale == "smoke", torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    rows, by_count = [], []
    for shape in SHAPES["smoke" if is_smoke else "std" if device.type == "cpu" else "gpu"]:
        try:
            rows.append(compare(shape, device=device, dtype=dtype, rounds=3 if is_smoke else 7))
        except ArithmeticError as error:
            sys.exit(str(error))
        print(f"{shape.batch} pictures, {shape.channels} channels, {shape.side} x {shape.side}, kernel {shape.kernel}; {dtype} on {device}")
        for name, row in rows[-1]["ways"].items():
            ratio = row["ratio"]
            print(
                f"  {name:24} {row['ms']:8.2f} ms, {ratio['median']:.2f} ({ratio['lowest']:.2f}-{ratio['highest']:.2f}) of the first, "
                f"{row['launches']:3d} launches, {row['mb']:8.1f} MB",
                flush=True,
            )
    for shape in SHAPES["gpu"]:
        tensors = given(shape, device=torch.device("meta"), dtype=torch.float16, layout=torch.channels_last)
        counts = {name: counted(way, tensors)[0] for name, way in WAYS.items()}
        told = ", ".join(f"{name} {count['mb'] / 1e3:.2f} GB in {count['launches']} launches" for name, count in counts.items())
        print(f"by count, float16: {shape.batch} pictures, {shape.channels} channels, {shape.side} x {shape.side}, kernel {shape.kernel}: {told}")
        by_count.append({"shape": shape._asdict(), "ways": counts})
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    write_report(arguments.json, {"scale": arguments.scale, "device": name, "torch": torch.__version__, "rows": rows, "by_count": by_count})
    return 0


if __name__ == "__main__":
    sys.exit(main())
