"""A training step of the progressive GAN beside the same step as one would write it down plainly.

    python -m bench.pggan_step                   # 4, 8 and 16 px, narrow networks, a minute
    python -m bench.pggan_step --scale std       # on a CPU 4 to 32 px; on a GPU 4 to 256 px at published widths, float32, then ours in bfloat16

The plain side scales activations as most programs do, makes every real picture smaller from its full size in each step, lets gradients flow into both
networks, and moves the average tensor by tensor. First both take the same steps from the same weights: losses and weights must agree, or no number is
given. Then rounds take turns, the first is dropped, and the median of the pairs' ratios is reported: CPU seconds, or wall seconds of a GPU that was
waited for. Beside the times stand counts that no busy machine changes: operators called and arithmetic (multiplications and additions), of one step.
"""

import copy
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.measuring import parser, processor, spread, write_report
from stages.reporting import SilentReporter
from training.gans.image_stream import TrainingImages, random_latents
from training.loop.devices import Devices
from training.loop.seeding import generator
from training.progressive.options import ProgressiveOptions
from training.progressive.train import ProgressiveTraining

_EQUAL_STEPS = 3


class Plain:
    """The same weights, and a step over them in the fewest words."""

    def __init__(self, ours: ProgressiveTraining) -> None:
        self.ours, self.options, self.device = ours, ours.options, ours.devices.device
        self.g, self.d = copy.deepcopy(ours.generator), copy.deepcopy(ours.discriminator)
        self.average = copy.deepcopy(ours.generator)
        betas = {"lr": self.options.lr, "betas": (0.0, 0.99), "eps": 1e-8}
        self.optimizers = [torch.optim.Adam(network.parameters(), **betas) for network in (self.g, self.d)]
        self.images, self.seen, self.iteration = ours.losses.pyramid.data.images, ours.trainer.samples_seen, ours.trainer.iteration

    def step(self) -> dict[str, float]:
        options, now = self.options, self.ours.schedule.at(self.seen)
        batch, px, alpha = self.ours.losses.batch_at(self.seen), now.px, now.alpha
        indices, _ = self.ours.losses.order.take(self.seen, batch)
        boxes = functional.avg_pool2d(self.images[indices.to(self.images.device)].to(self.device).float(), self.images.shape[-1] // px)
        reals = (boxes + 0.5).floor() / 127.5 - 1
        if alpha < 1:
            reals = alpha * reals + (1 - alpha) * functional.interpolate(functional.avg_pool2d(reals, 2), scale_factor=2)
        z_d, z_g = (self.latents(purpose, batch) for purpose in ("D", "G"))
        share = torch.rand(batch, generator=generator(options.seed, "between", 0, self.iteration)).to(self.device)[:, None, None, None]

        fakes = self.draw(z_d, px, alpha).detach()
        between = (share * reals + (1 - share) * fakes).requires_grad_()
        real_logits, fake_logits = self.judge(reals, px, alpha), self.judge(fakes, px, alpha)
        (slope,) = torch.autograd.grad(self.judge(between, px, alpha).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        d_loss = (fake_logits - real_logits).mean() + options.drift * real_logits.square().mean() + options.gp_lambda * penalty
        self.optimizers[1].zero_grad()
        d_loss.backward()
        self.optimizers[1].step()

        g_loss = -self.judge(self.draw(z_g, px, alpha), px, alpha).mean()
        self.optimizers[0].zero_grad()
        g_loss.backward()
        self.optimizers[0].step()
        decay = 0.5 ** (batch / options.ema_half_life_images(batch))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.g.parameters(), strict=True):
                slow.copy_(decay * slow + (1 - decay) * fast)
        self.seen, self.iteration = self.seen + batch, self.iteration + 1
        return {"d_loss": d_loss.item(), "g_loss": g_loss.item()}

    def latents(self, purpose: str, batch: int) -> Tensor:
        z, _ = random_latents(self.options.z_dim, batch, None, self.options.seed, f"latents of {purpose}", 0, self.iteration, device=self.device)
        return z

    def draw(self, z: Tensor, px: int, alpha: float) -> Tensor:
        x = norm(z)
        dense = self.g.blocks[0].dense
        x = (functional.linear(x * dense.scale, dense.weight)).view(len(z), -1, 4, 4) + dense.bias[:, None, None]
        x = norm(conv(self.g.blocks[0].conv, norm(functional.leaky_relu(x, 0.2))))
        before, level = x, 0
        while 4 * 2**level < px:
            before, level = x, level + 1
            block = self.g.blocks[level]
            x = norm(conv(block.conv1, norm(conv(block.conv0, functional.interpolate(x, scale_factor=2)))))
        picture = conv(self.g.to_rgb[level], x, slope=1.0)
        if alpha == 1:
            return picture
        return alpha * picture + (1 - alpha) * functional.interpolate(conv(self.g.to_rgb[level - 1], before, slope=1.0), scale_factor=2)

    def judge(self, images: Tensor, px: int, alpha: float) -> Tensor:
        level = (px // 4).bit_length() - 1
        x = conv(self.d.from_rgb[level], images)
        while level:
            block = self.d.blocks[level]
            x = functional.avg_pool2d(conv(block.conv1, conv(block.conv0, x)), 2)
            level -= 1
            if alpha < 1 and 8 * 2**level == px:
                x = alpha * x + (1 - alpha) * conv(self.d.from_rgb[level], functional.avg_pool2d(images, 2))
        last = self.d.blocks[0]
        groups = x.view(self.options.mbstd_group, -1, *x.shape[1:])
        deviation = ((groups - groups.mean(0)).square().mean(0) + 1e-8).sqrt().mean(dim=(1, 2, 3), keepdim=True)
        x = conv(last.conv, torch.cat([x, deviation.repeat(self.options.mbstd_group, 1, 4, 4)], dim=1)).flatten(1)
        x = functional.leaky_relu(functional.linear(x * last.dense.scale, last.dense.weight, last.dense.bias), 0.2)
        return functional.linear(x * last.out.scale, last.out.weight, last.out.bias)


def norm(x: Tensor) -> Tensor:
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


def conv(layer: Any, x: Tensor, slope: float = 0.2) -> Tensor:
    x = functional.conv2d(x * layer.scale, layer.weight, padding=layer.weight.shape[-1] // 2) + layer.bias[:, None, None]
    return functional.leaky_relu(x, slope) if slope < 1 else x


class Counts(TorchDispatchMode):
    """Counts the operators that torch calls (on a GPU nearly all of them are a kernel) and the arithmetic of products and convolutions."""

    calls = flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        self.calls += 1
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=made)
        return made


def counted(step: Callable[[], object]) -> dict[str, float]:
    with Counts() as counts:
        step()
    return {"operators": counts.calls, "gflop": round(counts.flops / 1e9, 4)}


def seconds(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Of one step: CPU seconds, or of a GPU wall seconds."""
    is_gpu = device.type == "cuda"
    clock = time.perf_counter if is_gpu else time.process_time
    started = clock()
    for _ in range(steps):
        step()
    if is_gpu:
        torch.cuda.synchronize()
    return (clock() - started) / steps


def make(px: int, alpha: float, *, data_px: int, width: tuple[int, int], batch: int, device: torch.device, **settings: Any) -> ProgressiveTraining:
    """A training that stands in the middle of a fade to `px`, or (alpha 1) in its stable phase, on random pictures."""
    long = 1_000_000
    options = ProgressiveOptions(
        fmap_base=width[0],
        fmap_max=width[1],
        z_dim=width[1],
        batch=batch,
        batch_by_px={},
        lr_by_px={},
        stable_kimg=long / 1000,
        fade_kimg=long / 1000,
        precision=settings.get("precision", "float32"),
    )
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4 * batch, 3, data_px, data_px), generator=random, dtype=torch.uint8)
    training = ProgressiveTraining(TrainingImages(images), options, Devices(device), SilentReporter())
    level = (px // 4).bit_length() - 1
    training.trainer.samples_seen = 2 * level * long + batch if alpha == 1 else (2 * level - 1) * long + round(alpha * long)
    return training


def check(ours: ProgressiveTraining, plain: Plain, px: int) -> None:
    """Raises SystemExit unless both take the same steps."""
    for _ in range(_EQUAL_STEPS):
        values, expected = ours.trainer.step().numbers(), plain.step()
        for name, value in expected.items():
            if abs(float(values[name]) - value) > 1e-3 * (abs(value) + 0.1):
                sys.exit(f"{px} px: {name} {values[name]} and plainly {value} differ; no speed is reported")
    # Adam makes steps of one size from gradients of any: where a gradient is rounding alone, weights may differ by whole steps, but only there.
    most, mean = 2 * _EQUAL_STEPS * ours.options.lr * 1.01, 0.02 * ours.options.lr
    for network, other in ((ours.generator, plain.g), (ours.discriminator, plain.d)):
        for (name, one), two in zip(network.named_parameters(), other.parameters(), strict=True):
            far = (one - two).detach().abs()
            if far.max() > most or far.mean() > mean:
                sys.exit(f"{px} px: {name} differs by {far.max():.2g}, {far.mean():.2g} in the mean; no speed is reported")


def compare(px: int, alpha: float, *, rounds: int, steps: int, device: torch.device, **sizes: Any) -> dict[str, Any]:
    """One row of the table. Raises SystemExit when the two sides differ."""
    ours = make(px, alpha, device=device, **sizes)
    plain = Plain(ours)
    # The ten bits of TF32, which a GPU takes by default, would hide small differences and show rounding as large ones.
    torch.backends.cudnn.allow_tf32 = False
    check(ours, plain, px)
    torch.backends.cudnn.allow_tf32 = True
    sides = {"ours": ours.trainer.step, "plain": plain.step}
    counts = {f"{side}_{name}": value for side, step in sides.items() for name, value in counted(step).items()}
    pairs = [{side: seconds(step, steps, device) for side, step in sides.items()} for _ in range(rounds + 1)][1:]
    medians = {f"{side}_ms_step": round(1000 * statistics.median(pair[side] for pair in pairs), 3) for side in sides}
    row = {
        "px": px,
        "alpha": alpha,
        "batch": sizes["batch"],
        **medians,
        "ratio": spread([pair["plain"] / pair["ours"] for pair in pairs], 2),
        **counts,
    }
    if device.type == "cuda":
        low = make(px, alpha, device=device, **sizes, precision="bfloat16")
        times = [seconds(low.trainer.step, steps, device) for _ in range(rounds + 1)][1:]
        row |= {"bfloat16_ms_step": round(1000 * statistics.median(times), 3), "peak_memory_mib": round(low.devices.peak_memory_mib())}
    return row


def main() -> int:
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    smoke, device = arguments.scale == "smoke", torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if smoke:
        px, sizes, steps = (4, 8, 16), {"data_px": 32, "width": (128, 32), "batch": 8}, 2
    elif device.type == "cpu":
        px, sizes, steps = (4, 8, 16, 32), {"data_px": 128, "width": (512, 64), "batch": 16}, 3
    else:
        px, sizes, steps = (4, 16, 64, 256), {"data_px": 256, "width": (8192, 512), "batch": 16}, 10
    rows = []
    print(f"ms a step, torch {torch.__version__}, {device}; losses and weights equal over {_EQUAL_STEPS} steps first")
    print("  px  alpha      ours     plain  ratio (min-max)      operators         GFLOP")
    for side, alpha in itertools.product(px, (0.5, 1.0)):
        if side == 4 and alpha < 1:
            continue
        row = compare(side, alpha, rounds=3 if smoke else 5, steps=steps, device=device, **sizes)
        rows.append(row)
        ratio = row["ratio"]
        print(
            f"{side:4d}  {alpha:5.1f}  {row['ours_ms_step']:8.2f}  {row['plain_ms_step']:8.2f}  {ratio['median']:4.2f} ({ratio['lowest']:.2f}-"
            f"{ratio['highest']:.2f})  {row['ours_operators']:6d} {row['plain_operators']:6d}  {row['ours_gflop']:6.2f} {row['plain_gflop']:6.2f}"
            + (f"  bfloat16 {row['bfloat16_ms_step']:.2f}, {row['peak_memory_mib']} MiB" if "bfloat16_ms_step" in row else ""),
            flush=True,
        )
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    write_report(arguments.json, {"scale": arguments.scale, "device": name, "torch": torch.__version__, "sizes": sizes, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
