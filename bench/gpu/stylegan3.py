"""The parts about StyleGAN3: the filtered leaky ReLU by itself, whole iterations in every configuration, and a training that is watched."""

import functools
import gc
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from bench.gpu.device import Meter, reached, seconds_of
from bench.gpu.learning import take_steps
from bench.gpu.pictures import features_of
from bench.gpu.recording import REPORTER, Sizes, Work
from bench.modulated_convolution import SHAPES, compare
from training.gans.graphs import CudaGraphs
from training.gans.snapshots import latent_painter
from training.metrics.frechet import frechet_distance
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.filtered_lrelu import Path, filtered_lrelu, refusal
from training.stylegan3.filtered_lrelu_traffic import layer_traffic
from training.stylegan3.generator import Generator, SynthesisLayer
from training.stylegan3.layers import filtered_lrelu_reference
from training.stylegan3.options import StyleGAN3Options
from training.stylegan3.train import StyleGAN3Training

_DTYPES = (torch.float16, torch.float32, torch.bfloat16)
# Norm of the difference to the definition in float64, over that of its answer: of float32 sums of up to 3 x 3 x 24 x 24 products, of rounded inputs.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 4e-2}
# (configuration, side in px), the most important first; both at the cbase and the batch of the published speeds.
CONFIGURATIONS: tuple[tuple[Any, int], ...] = (("stylegan3-t", 128), ("stylegan3-t", 256), ("stylegan3-r", 128), ("stylegan3-r", 256))
PUBLISHED: Sizes = {"batch": 32, "cbase": 16384}
# Smaller than any a training would use: what a trial of everything on a processor takes.
TINIEST: Sizes = {"cbase": 64, "cmax": 8, "z_dim": 8, "w_dim": 8, "num_layers": 4, "num_critical": 1, "margin": 4, "mbstd_group": 2}
_TINY_TRAINING: Sizes = {**TINIEST, "batch": 4, "reg_interval": 4}
TINY_PX = 16
# Ways to run the same iteration: the path of the filtered leaky ReLU, and whether turns are recorded as graphs. The last is what it does by itself.
VARIANTS: dict[str, tuple[Path, CudaGraphs]] = {"eager": ("plain", "off"), "kernel": ("kernel", "off"), "kernel + graphs": ("kernel", "auto")}
# Far enough into a training that configuration R blurs its pictures no more, which no two iterations do alike.
_SETTLED_IMAGES = 1_000_000


def make_training(work: Work, px: int, usual: Sizes, **settings: Any) -> StyleGAN3Training:
    """The project's own training on ToC pictures. usual: StyleGAN3Options where it is no trial. settings: more of them in any case."""
    images = work.inputs.pictures("toc", TINY_PX if work.tiny else px)
    return StyleGAN3Training(images, StyleGAN3Options(**work.sizes(_TINY_TRAINING, usual), **settings), work.devices, REPORTER)


# The kernel by itself


def kernel(work: Work) -> None:
    """Its answers and gradients beside the definition's in float64, then its speed beside the plain path's, for every kind of layer there is."""
    # Before this process looks at the GPU: afterwards it may not fork.
    layers = _kinds_of_layers(work)
    _compile_ahead(layers, work)
    work.row("reached", **reached(work.device, tiny=work.tiny))
    for dtype in _DTYPES:
        work.row("choice", dtype=_name(dtype), refused=refusal(work.device, dtype))
    # What decides whether the rest means anything: at most half of the time.
    half = work.left() / 2
    for number, (named, layer) in enumerate(layers):
        if number and work.is_over(half):
            work.row("unchecked", layer=named, why="no time left")
            continue
        for dtype, found in answers(layer.to(work.device), work.device):
            work.row("answers", layer=named, dtype=_name(dtype), **found)
    for named, layer in layers:
        if work.is_over(2):
            work.row("unmeasured", layer=named, why="no time left")
            continue
        work.row("speed", layer=named, **_speed(layer.to(work.device), work))
    for shape in SHAPES["smoke" if work.tiny else "gpu"]:
        if not work.is_over(2):
            dtype = torch.float32 if work.device.type == "cpu" else torch.float16
            work.row("modulated_convolution", **compare(shape, device=work.device, dtype=dtype, rounds=3))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _compile_ahead(layers: Sequence[tuple[str, SynthesisLayer]], work: Work) -> None:
    """Fill triton's cache from several processes: one after the other, compiling would take as long as all measurements."""
    if work.device.type != "cuda" or sys.platform != "linux":
        return
    count, fork = min(8, os.cpu_count() or 1, len(layers)), multiprocessing.get_context("fork")
    workers = [fork.Process(target=_touch, args=([layer for _, layer in layers[place::count]], work.device)) for place in range(count)]
    latest, began = time.monotonic() + 0.4 * work.left(), time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, latest - time.monotonic()))
        worker.kill()
        worker.join()
    codes = [worker.exitcode for worker in workers]
    work.row("compiled", processes=count, seconds=round(time.monotonic() - began, 1), unfinished=sum(code != 0 for code in codes))


def _touch(layers: Sequence[SynthesisLayer], device: torch.device) -> None:
    for layer in layers:
        if refusal(device, _dtype_of(layer.to(device), device)) is None:
            _pass(layer, device, "kernel")()
        for _ in answers(layer, device):
            pass


def _kinds_of_layers(work: Work) -> list[tuple[str, SynthesisLayer]]:
    """One of each that differs in rates, filters or size, on the CPU: first one of each kind of rates and filters, then those that move the most."""
    found: dict[tuple[Any, ...], tuple[str, SynthesisLayer]] = {}
    for cfg, px in CONFIGURATIONS:
        sizes: dict[str, Any] = {**TINIEST, "resolution": TINY_PX} if work.tiny else {"cbase": PUBLISHED["cbase"], "resolution": px}
        for layer in Generator(StyleGAN3Config(cfg=cfg, **sizes)).synthesis.layers():
            if not layer.spec.is_torgb:
                key = (layer.plan.in_size, layer.plan.out_size, layer.plan.up.taps.shape, layer.plan.down.taps.shape, layer.plan.up.factor)
                found.setdefault(key, (f"{cfg[-1].upper()}{sizes['resolution']} {layer.spec.name}", layer))
    ordered = sorted(found.values(), key=lambda one: -layer_traffic(one[1])[0].forward)
    kinds = {(layer.spec.up, layer.spec.down, layer.plan.down.is_radial): name for name, layer in reversed(ordered)}
    ordered.sort(key=lambda one: one[0] not in kinds.values())
    return ordered[:1] if work.tiny else ordered


def answers(layer: SynthesisLayer, device: torch.device) -> Iterator[tuple[torch.dtype, dict[str, Any]]]:
    """How far output, gradient and second derivative are from the definition's, as norms and at the worst place. Of some channels: each is alone."""
    channels, random = min(layer.spec.out_channels, 40), torch.Generator().manual_seed(0)
    shapes = ((1, channels, *layer.plan.in_size), (1, channels), (channels,), (1, channels, *layer.plan.out_size), (1, channels, *layer.plan.in_size))
    # Numbers of few bits, which every precision holds exactly.
    given = [((32 * torch.randn(shape, generator=random)).round().clamp(-128, 128) / 32).double().to(device) for shape in shapes]
    taps = [torch.ones(1) if one is None else one for one in (layer.up_filter, layer.down_filter)]
    up, down = (one.detach().to(device, torch.float64) for one in taps)
    rates: dict[str, Any] = {"up": layer.spec.up, "down": layer.spec.down, "padding": layer.spec.padding, "clamp": 1.0}

    def defined(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
        return filtered_lrelu_reference(x * factor[:, :, None, None], up_kernel=up, down_kernel=down, bias=bias, **rates)

    def ours(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
        return filtered_lrelu(x, factor, bias, filters=layer.filters, plan=layer.plan, clamp=1.0)

    expected = _derivatives(defined, given, second=True)
    for dtype in _DTYPES:
        is_fused = refusal(device, dtype) is None
        x, factor, bias, upstream, direction = given
        rounded = [x.to(dtype), factor.float(), bias.float(), upstream.to(dtype), direction.to(dtype)]
        try:
            found = _derivatives(ours, rounded, second=is_fused)
        except Exception as error:  # noqa: BLE001 (a compiler that fails for one layer says nothing of the next)
            yield dtype, {"fused": is_fused, "ok": False, "failed": f"{type(error).__name__}: {error}"[:500]}
            continue
        gaps = {name: (one.double() - expected[name], expected[name]) for name, one in found.items()}
        errors = {name: (gap.norm() / true.norm()).item() for name, (gap, true) in gaps.items()}
        # Where rounding takes the other branch of the leaky ReLU, a single place may be far off.
        worst = {name: (gap.abs().max() / true.abs().max()).item() for name, (gap, true) in gaps.items()}
        # The plain path rounds in between as well.
        tolerance = TOLERANCES[_name(dtype)] * (1 if is_fused else 4)
        yield dtype, {"fused": is_fused, "ok": all(error <= tolerance for error in errors.values()), "errors": errors, "worst_place": worst}


def _derivatives(function: Callable[..., Tensor], given: Sequence[Tensor], *, second: bool) -> dict[str, Tensor]:
    *leaves, upstream, direction = given
    leaves, upstream = [leaf.detach().requires_grad_() for leaf in leaves], upstream.detach().requires_grad_()
    y = function(*leaves)
    answers = {"output": y.detach()}
    first = torch.autograd.grad(y, leaves[:1], upstream, create_graph=second)[0]
    answers["gradient"] = first.detach()
    if second:
        # For branches as they were taken, the gradient is linear in what comes from behind: R1 differentiates that.
        answers["second derivative"] = torch.autograd.grad((first * direction).sum(), upstream)[0].detach()
    return answers


def _dtype_of(layer: SynthesisLayer, device: torch.device) -> torch.dtype:
    return torch.float16 if device.type == "cuda" and layer.spec.is_low_precision else torch.float32


def _pass(layer: SynthesisLayer, device: torch.device, path: Path, *, batch: int = 2, both: bool = True) -> Callable[[], object]:
    """The layer's filtered leaky ReLU as in training, and with `both` its gradients."""
    dtype, C, plan = _dtype_of(layer, device), layer.spec.out_channels, layer.plan
    x = torch.randn(batch, C, *plan.in_size, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    factor, upstream = torch.ones(batch, C, device=device, requires_grad=True), torch.randn(batch, C, *plan.out_size, device=device, dtype=dtype)
    forward = functools.partial(filtered_lrelu, x, factor, layer.bias, filters=layer.filters, plan=plan, clamp=256.0, path=path)
    return (lambda: torch.autograd.grad(forward(), [x, factor, layer.bias], upstream)) if both else forward


def _speed(layer: SynthesisLayer, work: Work) -> Sizes:
    """Milliseconds of forward and backward, and bytes by count over seconds, of either path."""
    batch, dtype = 2 if work.tiny else 16, _dtype_of(layer, work.device)
    found: Sizes = {"batch": batch, "dtype": _name(dtype), "channels": layer.spec.out_channels}
    paths: tuple[Path, ...] = ("plain",) if refusal(work.device, dtype) else ("plain", "kernel")
    for path, moved in zip(paths, layer_traffic(layer), strict=False):
        try:
            forward_s, both_s = (
                seconds_of(_pass(layer, work.device, path, batch=batch, both=both), work.device, most_s=0.3 if both else 0.15)
                for both in (False, True)
            )
        except Exception as error:  # noqa: BLE001 (one path that fails costs the other nothing)
            found[path] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            continue
        rate = batch * (moved.forward_kept + moved.backward) / both_s
        found[path] = {"forward_ms": 1000 * forward_s, "both_ms": 1000 * both_s, "bytes_per_s": rate}
    return found


# Whole iterations


def stylegan3_speed(work: Work) -> None:
    """Every configuration in every variant: built, warmed up, then timed in turns."""
    configurations = CONFIGURATIONS[:1] if work.tiny else CONFIGURATIONS
    for number, (cfg, px) in enumerate(configurations):
        _compare(work, cfg, px, reserve=work.left() * (1 - 1 / (len(configurations) - number)))


def _compare(work: Work, cfg: Any, px: int, *, reserve: float) -> None:
    steps: dict[str, StyleGAN3Training] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    costs: dict[str, Sizes] = {}
    about = {"cfg": cfg, "px": TINY_PX if work.tiny else px}
    for name in VARIANTS:
        if work.is_over(reserve):
            work.row("unmeasured", **about, variant=name, why="no time left")
            continue
        try:
            steps[name], costs[name] = _that_fits(work, cfg, px, name)
        except Exception as error:  # noqa: BLE001 (one variant that fails costs no other)
            work.row("unmeasured", **about, variant=name, why=f"{type(error).__name__}: {error}"[:1000])
    # In turns, so that a device that grows hot or is shared treats all alike.
    for turn in range(1 if work.tiny else 12):
        for name, training in steps.items():
            if turn and work.is_over(reserve):
                continue
            with Meter(work.device) as meter:
                times.setdefault(name, []).append((_iteration_s(training, work, False, 1 if work.tiny else 3), _iteration_s(training, work, True, 1)))
            costs[name] |= {"watts": meter.watts or costs[name].get("watts")}
    for name, pairs in times.items():
        plain_s, lazy_s = (sorted(column)[len(column) // 2] for column in zip(*pairs, strict=True))
        # Of `every` iterations one regularises as well.
        batch, every = steps[name].options.batch, steps[name].options.reg_interval
        seconds = ((every - 1) * plain_s + lazy_s) / every / batch
        found = {"s_per_kimg": 1000 * seconds, "images_per_s": 1 / seconds, "iteration_s": plain_s, "lazy_iteration_s": lazy_s, "rounds": len(pairs)}
        work.row("speed", **about, variant=name, batch=batch, **found, **costs[name])


def _that_fits(work: Work, cfg: Any, px: int, variant: str) -> tuple[StyleGAN3Training, Sizes]:
    """A warmed-up training, with half as many pictures side by side until its memory is enough."""
    path, graphs = VARIANTS[variant]
    reason = refusal(work.device, torch.float16 if work.device.type == "cuda" else torch.float32) if path == "kernel" else None
    if reason is not None:
        raise RuntimeError(f"no kernel: {reason}")
    side_by_side, started = PUBLISHED["batch"], time.monotonic()
    while True:
        # What the variants before it hold is none of its own.
        gc.collect()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(work.device) / 2**30 if work.device.type == "cuda" else 0.0
        training = make_training(work, px, {**PUBLISHED, "batch_gpu": side_by_side}, cfg=cfg, cuda_graphs=graphs)
        training.trainer.samples_seen = _SETTLED_IMAGES
        for layer in training.generator.synthesis.layers():
            layer.filtered_by = path
        try:
            # Kernels are compiled and convolutions tried out. Graphs are recorded when their turn comes for the fourth time, the penalty's too.
            lazy = 1 if work.tiny else 5 if graphs == "auto" else 2
            with Meter(work.device) as meter:
                for is_lazy in (*[True] * lazy, False):
                    _iteration_s(training, work, is_lazy, 1)
        except torch.OutOfMemoryError:
            if side_by_side <= 4:
                raise
        else:
            if graphs == "auto" and training.trainer.graphs.recorder is None:
                raise RuntimeError("no graphs: a turn could not be recorded; log.txt says why")
            told = {"cbase": training.options.cbase, "batch_gpu": training.options.side_by_side, "warmup_s": round(time.monotonic() - started, 1)}
            return training, {**told, "memory_gib": None if meter.memory_gib is None else round(meter.memory_gib - before, 3)}
        del training
        side_by_side //= 2


def _iteration_s(training: StyleGAN3Training, work: Work, is_lazy: bool, count: int) -> float:
    """Mean seconds of iterations that regularise or that do not: which they are follows from their numbers."""
    every, trainer = training.options.reg_interval, training.trainer
    with Meter(work.device) as meter:
        for _ in range(count):
            trainer.iteration = (trainer.iteration // every + 1) * every + (not is_lazy)
            trainer.step()
    return meter.seconds / count


# A training that is watched


def stylegan3_run(work: Work) -> None:
    """Learns until its time is up. By seconds of learning alone: the Fréchet distance of fakes of the average from the reals, and a grid of them."""
    training = make_training(work, 128, {"batch": 64, "cbase": 8192, "cmax": 256})
    images, options, trainer = training.data, training.options, training.trainer
    fakes, shown = (16, 4) if work.tiny else (2000, 48)
    key, features = features_of(images.images.numpy(), work.device)
    half = numpy.random.default_rng(0).permutation(len(features))
    floor = frechet_distance(features[half[: len(half) // 2]], features[half[len(half) // 2 :]])
    work.row("floor", metric=key, value=floor, reals=len(features), note="between two halves of the reals")

    begin, learnt_s, looked_s, kimg = work.left(), 0.0, 0.0, 0.0
    for share in (0.0, 1.0) if work.tiny else (0.0, 0.06, 0.13, 0.25, 0.5, 0.75, 1.0):
        # What is looked at takes time too: the last look needs as much as the one before it.
        until = max(1.3 * looked_s, work.left() - (share * begin - learnt_s))
        told = take_steps(work, trainer, until=until, steps=2 * share if work.tiny else math.inf)
        learnt_s, kimg, began = learnt_s + told["seconds"], trainer.samples_seen / 1000, time.monotonic()
        painter = latent_painter(training.ema.averaged(training.generator), options.z_dim, images, options, side_by_side=options.batch)
        distance = frechet_distance(features_of(painter(fakes, "fakes", psi=1.0), work.device)[1], features)
        costs = {name: told[name] for name in ("skipped", "watts", "memory_gib", "values")}
        work.row("learnt", kimg=kimg, seconds=round(learnt_s, 2), **{key: distance}, fakes=fakes, **costs)
        work.picture(f"stylegan3_{images.resolution}px_{round(learnt_s):04d}s", painter(shown, "grid", psi=1.0))
        looked_s = time.monotonic() - began
    chosen = {"path": refusal(work.device, torch.float16) or "kernel", "graphs": trainer.graphs.recorder is not None}
    work.row("trained", px=images.resolution, batch=options.batch, s_per_kimg=learnt_s / max(kimg, 1e-9), kimg=kimg, **chosen)
