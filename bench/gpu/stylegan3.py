"""The parts about StyleGAN3: the filtered leaky ReLU by itself, whole iterations in every configuration, and a training that is watched."""

import functools
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy
import torch
from torch import Tensor

from bench.gpu.device import Meter, Nvml, seconds_of
from bench.gpu.recording import Work
from stages.reporting import SilentReporter
from training.gans.image_stream import TrainingImages
from training.gans.snapshots import latent_painter
from training.loop.devices import Devices
from training.loop.loop import StepOutcome
from training.metrics.frechet import frechet_distance
from training.metrics.images.features import frechet_key, open_extractor
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.filtered_lrelu import filtered_lrelu, refusal
from training.stylegan3.filtered_lrelu_traffic import layer_traffic
from training.stylegan3.generator import Generator, SynthesisLayer
from training.stylegan3.layers import filtered_lrelu_reference
from training.stylegan3.options import StyleGAN3Options
from training.stylegan3.train import StyleGAN3Training

# Largest difference to the definition in float64, over the largest number: of float32 sums of up to 3 x 3 x 24 x 24 products, and of rounded inputs.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 4e-2}
# (configuration, side in px), the most important first; both at the cbase and the batch of the published speeds.
CONFIGURATIONS: tuple[tuple[Any, int], ...] = (("stylegan3-t", 128), ("stylegan3-t", 256), ("stylegan3-r", 128), ("stylegan3-r", 256))
CBASE, BATCH = 16384, 32
# Smaller than any a training would use: what a trial of everything on a processor takes.
TINIEST: dict[str, Any] = {"cbase": 64, "cmax": 8, "z_dim": 8, "w_dim": 8, "num_layers": 4, "num_critical": 1, "margin": 4, "mbstd_group": 2}
_TINY_PX = 16


@dataclass(frozen=True)
class Variant:
    """A way to run the same iteration. graphs: captured by CUDA, where the trainer has a setting for it."""

    name: str
    path: Any
    graphs: bool


VARIANTS = (Variant("eager", "plain", False), Variant("kernel", "kernel", False), Variant("kernel + graphs", "kernel", True))


def has_graphs() -> bool:
    return any(one.name == "cuda_graphs" for one in fields(StyleGAN3Options))


def make_training(
    images: TrainingImages, device: torch.device, *, variant: Variant | None = None, tiny: bool = False, **settings: Any
) -> StyleGAN3Training:
    """The project's own training. variant: None takes whatever it takes by itself. settings: of StyleGAN3Options."""
    if tiny:
        settings |= {**TINIEST, "batch": 4, "reg_interval": 4}
    if variant is not None and has_graphs():
        settings["cuda_graphs"] = "auto" if variant.graphs else "off"
    training = StyleGAN3Training(images, StyleGAN3Options(**settings), Devices(device), SilentReporter())
    if variant is not None:
        for layer in training.generator.synthesis.layers():
            layer.filtered_by = variant.path
    return training


# The kernel by itself


def kernel(work: Work) -> None:
    """Its answers and gradients beside the definition's in float64, then its speed beside the plain path's, for every kind of layer there is."""
    from bench.gpu.device import reached

    work.row("reached", **reached(work.device, tiny=work.tiny))
    dtypes = (torch.float16, torch.float32, torch.bfloat16)
    for dtype in dtypes:
        work.row("choice", dtype=_name(dtype), refused=refusal(work.device, dtype))
    layers = _kinds_of_layers(work)
    _compile_ahead(layers, work)
    # What decides whether the rest means anything: at most half of the time.
    begin = work.left()
    for number, (named, layer) in enumerate(layers):
        if number and work.left() < begin / 2:
            work.row("unchecked", layer=named, why="no time left")
            continue
        for dtype, found in _answers(layer.to(work.device), work.device, dtypes):
            work.row("answers", layer=named, dtype=_name(dtype), **found)
    for named, layer in layers:
        if work.left() < 2:
            work.row("unmeasured", layer=named, why="no time left")
            continue
        work.row("speed", layer=named, **_speed(layer.to(work.device), work))


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
        _, _, both = _passes(layer.to(device), device, 2)
        if refusal(device, _dtype_of(layer, device)) is None:
            both("kernel")


def _kinds_of_layers(work: Work) -> list[tuple[str, SynthesisLayer]]:
    """One of each that differs in rates, filters or size, on the CPU: first one of each kind of rates and filters, then those that move the most."""
    found: dict[tuple[Any, ...], tuple[str, SynthesisLayer]] = {}
    for cfg, px in CONFIGURATIONS:
        sizes: dict[str, Any] = {**TINIEST, "resolution": _TINY_PX} if work.tiny else {"cbase": CBASE, "resolution": px}
        for layer in Generator(StyleGAN3Config(cfg=cfg, **sizes)).synthesis.layers():
            if not layer.spec.is_torgb:
                key = (layer.plan.in_size, layer.plan.out_size, layer.plan.up.taps.shape, layer.plan.down.taps.shape, layer.plan.up.factor)
                found.setdefault(key, (f"{cfg[-1].upper()}{sizes['resolution']} {layer.spec.name}", layer))
    ordered = sorted(found.values(), key=lambda one: -layer_traffic(one[1])[0].forward)
    kinds = {(layer.spec.up, layer.spec.down, layer.plan.down.is_radial): name for name, layer in reversed(ordered)}
    ordered.sort(key=lambda one: one[0] not in kinds.values())
    return ordered[:1] if work.tiny else ordered


def _answers(layer: SynthesisLayer, device: torch.device, dtypes: Sequence[torch.dtype]) -> Iterator[tuple[torch.dtype, dict[str, Any]]]:
    """How far output, gradient and second derivative are from the definition's, as norms and at the worst place. Of some channels: each is alone."""
    channels, random = min(layer.spec.out_channels, 40), torch.Generator().manual_seed(0)
    shapes = ((1, channels, *layer.plan.in_size), (1, channels), (channels,), (1, channels, *layer.plan.out_size), (1, channels, *layer.plan.in_size))
    # Numbers of few bits, which every precision holds exactly.
    given = [((32 * torch.randn(shape, generator=random)).round().clamp(-128, 128) / 32).double().to(device) for shape in shapes]
    up, down = (torch.as_tensor(taps.copy(), dtype=torch.float64, device=device) for taps in _kernels(layer))
    rates: dict[str, Any] = {"up": layer.spec.up, "down": layer.spec.down, "padding": layer.spec.padding, "clamp": 1.0}

    def defined(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
        return filtered_lrelu_reference(x * factor[:, :, None, None], up_kernel=up, down_kernel=down, bias=bias, **rates)

    def ours(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
        return filtered_lrelu(x, factor, bias, filters=layer.filters, plan=layer.plan, clamp=1.0)

    expected = _derivatives(defined, given, second=True)
    for dtype in dtypes:
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


def _kernels(layer: SynthesisLayer) -> list[numpy.ndarray]:
    filters = (layer.up_filter, layer.down_filter)
    return [numpy.ones(1) if one is None else one.double().cpu().numpy() for one in filters]


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


def _passes(layer: SynthesisLayer, device: torch.device, batch: int) -> tuple[torch.dtype, Callable[[Any], Tensor], Callable[[Any], object]]:
    """The precision of a layer in training, its forward pass, and both passes, along a path."""
    dtype, (C, plan) = _dtype_of(layer, device), (layer.spec.out_channels, layer.plan)
    x = torch.randn(batch, C, *plan.in_size, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    factor, upstream = torch.ones(batch, C, device=device, requires_grad=True), torch.randn(batch, C, *plan.out_size, device=device, dtype=dtype)

    def forward(path: Any) -> Tensor:
        return filtered_lrelu(x, factor, layer.bias, filters=layer.filters, plan=plan, clamp=256.0, path=path)

    return dtype, forward, lambda path: torch.autograd.grad(forward(path), [x, factor, layer.bias], upstream)


def _speed(layer: SynthesisLayer, work: Work) -> dict[str, Any]:
    """Milliseconds of forward and backward, and bytes by count over seconds, of either path."""
    batch = 2 if work.tiny else 16
    dtype, forward, both = _passes(layer, work.device, batch)
    found: dict[str, Any] = {"batch": batch, "dtype": _name(dtype), "channels": layer.spec.out_channels}
    paths = ("plain", "kernel") if refusal(work.device, dtype) is None else ("plain",)
    for path, moved in zip(paths, layer_traffic(layer), strict=False):
        try:
            forward_s = seconds_of(functools.partial(forward, path), work.device, most_s=0.15)
            both_s = seconds_of(functools.partial(both, path), work.device, most_s=0.3)
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
    nvml = Nvml(work.device)
    for number, (cfg, px) in enumerate(configurations):
        share = work.left() / (len(configurations) - number)
        if share < 3:
            work.row("unmeasured", cfg=cfg, px=px, why="no time left")
            continue
        images = work.inputs.pictures("toc", _TINY_PX if work.tiny else px)
        _compare(work, cfg, images, nvml, until=time.monotonic() + share)


def _compare(work: Work, cfg: Any, images: TrainingImages, nvml: Nvml, *, until: float) -> None:
    steps: dict[str, Callable[[bool, int], float]] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    costs: dict[str, dict[str, Any]] = {}
    about = {"cfg": cfg, "px": images.resolution}
    for variant in VARIANTS:
        why = _why_not(variant, work)
        if why is None and time.monotonic() > until:
            why = "no time left"
        if why is not None:
            work.row("unmeasured", **about, variant=variant.name, why=why)
            continue
        try:
            training, costs[variant.name] = _that_fits(work, cfg, images, variant)
        except Exception as error:  # noqa: BLE001 (one variant that fails costs no other)
            work.row("unmeasured", **about, variant=variant.name, why=f"{type(error).__name__}: {error}"[:1000])
            continue
        steps[variant.name] = functools.partial(_iteration_s, training, work.device)
    # In turns, so that a device that grows hot or is shared treats all alike.
    for turn in range(1 if work.tiny else 12):
        for name, step in steps.items():
            if turn and time.monotonic() > until:
                continue
            with Meter(work.device, nvml) as meter:
                times.setdefault(name, []).append((step(False, 1 if work.tiny else 3), step(True, 1)))
            costs[name] |= {"watts": meter.watts if meter.watts is not None else costs[name].get("watts")}
    batch, every = (4, 4) if work.tiny else (BATCH, 16)
    for name, pairs in times.items():
        plain_s, lazy_s = (sorted(column)[len(column) // 2] for column in zip(*pairs, strict=True))
        # Of `every` iterations one regularises as well.
        seconds = ((every - 1) * plain_s + lazy_s) / every / batch
        found = {"s_per_kimg": 1000 * seconds, "images_per_s": 1 / seconds, "iteration_s": plain_s, "lazy_iteration_s": lazy_s, "rounds": len(pairs)}
        work.row("speed", **about, variant=name, batch=batch, **found, **costs[name])


def _why_not(variant: Variant, work: Work) -> str | None:
    if variant.path == "kernel":
        why = refusal(work.device, torch.float16 if work.device.type == "cuda" else torch.float32)
        if why is not None:
            return why
    return "the trainer has no setting cuda_graphs" if variant.graphs and not has_graphs() else None


def _that_fits(work: Work, cfg: Any, images: TrainingImages, variant: Variant) -> tuple[StyleGAN3Training, dict[str, Any]]:
    """A warmed-up training, with half as many pictures side by side until its memory is enough."""
    side_by_side, started = BATCH, time.monotonic()
    while True:
        # What the variants before it hold is none of its own.
        gc.collect()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(work.device) / 2**30 if work.device.type == "cuda" else 0.0
        settings = {"cfg": cfg, "batch": BATCH, "batch_gpu": side_by_side, "cbase": CBASE}
        training = make_training(images, work.device, variant=variant, tiny=work.tiny, **({"cfg": cfg} if work.tiny else settings))
        try:
            # Kernels are compiled, convolutions tried out, graphs captured: of the iteration that regularises too.
            with Meter(work.device, _NO_NVML) as meter:
                for is_lazy in (True, False) if work.tiny else (True, False, False, True):
                    _iteration_s(training, work.device, is_lazy, 1)
            options = training.options
            told = {"cbase": options.cbase, "batch_gpu": options.side_by_side, "warmup_s": round(time.monotonic() - started, 1)}
            return training, {**told, "memory_gib": None if meter.memory_gib is None else round(meter.memory_gib - before, 3)}
        except torch.OutOfMemoryError:
            if side_by_side <= 4:
                raise
        del training
        side_by_side //= 2


def _iteration_s(training: StyleGAN3Training, device: torch.device, is_lazy: bool, count: int) -> float:
    """Mean seconds of iterations that regularise or that do not: which they are follows from their numbers."""
    every, trainer = training.options.reg_interval, training.trainer
    with Meter(device, _NO_NVML) as meter:
        for place in range(count):
            trainer.iteration = (trainer.iteration // every + 1) * every if is_lazy or not place else trainer.iteration
            trainer.iteration += 0 if is_lazy or place else 1
            trainer.step()
    return meter.seconds / count


_NO_NVML = Nvml(torch.device("cpu"))

# A training that is watched


def stylegan3_run(work: Work) -> None:
    """Learns until its time is up. By seconds of learning alone: the Fréchet distance of fakes of the average from the reals, and a grid of them."""
    px, batch = (_TINY_PX, 4) if work.tiny else (128, 64)
    images = work.inputs.pictures("toc", px)
    training = make_training(images, work.device, tiny=work.tiny, **({} if work.tiny else {"batch": batch, "cbase": 8192, "cmax": 256}))
    fakes, shown = (16, 4) if work.tiny else (2000, 48)
    extractor = open_extractor("random", device=work.device)

    def features_of(pictures: Tensor) -> numpy.ndarray:
        return torch.cat([extractor(part.to(work.device)) for part in pictures.split(256)]).cpu().numpy()

    features = features_of(images.images)
    half = numpy.random.default_rng(0).permutation(len(features))
    floor = frechet_distance(features[half[: len(half) // 2]], features[half[len(half) // 2 :]])
    work.row("floor", metric=frechet_key(extractor), value=floor, reals=len(features), note="between two halves of the reals")

    learnt_s, looked_s, kimg, ends = (
        0.0,
        0.0,
        0.0,
        [share * work.left() for share in ((0.0, 1.0) if work.tiny else (0.0, 0.06, 0.13, 0.25, 0.5, 0.75, 1.0))],
    )
    outcome: StepOutcome | None = None
    for end in ends:
        # What is looked at takes time too: the last look needs as much as the one before it.
        began, reserve = time.monotonic(), 1.3 * looked_s
        while learnt_s < end and work.left() > reserve and not (work.tiny and training.trainer.iteration >= 2):
            outcome = training.trainer.step()
            learnt_s, began = learnt_s + time.monotonic() - began, time.monotonic()
        values = {name: float(value) for name, value in outcome.values.items()} if outcome is not None else {}
        learnt_s, began = learnt_s + time.monotonic() - began, time.monotonic()
        painter = latent_painter(training.ema.averaged(training.generator), training.options.z_dim, images, training.options, side_by_side=batch)
        drawn = painter(fakes, "fakes", psi=1.0)
        made = (
            torch.cat([extractor(torch.from_numpy(part).to(work.device)) for part in numpy.array_split(drawn, -(-len(drawn) // 256))]).cpu().numpy()
        )
        kimg = training.trainer.samples_seen / 1000
        found = {"kimg": kimg, "seconds": round(learnt_s, 2), frechet_key(extractor): frechet_distance(made, features), "fakes": fakes}
        work.row("learnt", **found, values=values)
        work.picture(f"stylegan3_{px}px_{round(learnt_s):04d}s", painter(shown, "grid", psi=1.0))
        looked_s = time.monotonic() - began
    work.row("trained", px=px, batch=batch, s_per_kimg=learnt_s / max(kimg, 1e-9), kimg=kimg, chosen=refusal(work.device, torch.float16) or "kernel")
