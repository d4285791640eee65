"""The part that looks into a step: which kernels take the time, how many are launched, how long the device waits for the host."""

import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiler

from bench.gpu.device import peaks, wait
from bench.gpu.recording import Work

_MOST_TRACE_BYTES = 4 * 2**20


def profile(work: Work) -> None:
    """Two iterations each of StyleGAN3 as it runs by itself, and of PolyGPT."""
    from bench.gpu.stylegan3 import BATCH, CBASE, make_training

    px = 16 if work.tiny else 128
    settings = {} if work.tiny else {"batch": BATCH, "cbase": CBASE}
    training = make_training(work.inputs.pictures("toc", px), work.device, tiny=work.tiny, **settings)
    _look(work, f"stylegan3-t {px} px", training.trainer.step)
    if work.left() > 3 or work.tiny:
        _look(work, "polygpt", _polygpt(work))


def _polygpt(work: Work) -> Callable[[], object]:
    from bench.gpu.molecules import _NO_TOKENIZER, PROPERTIES, shape_of
    from training.loop.devices import Devices
    from training.polymers.gpt.config import PolyGPTConfig
    from training.polymers.gpt.data import PolyGPTData
    from training.polymers.gpt.networks import PolyGPTShape
    from training.polymers.gpt.trainer import PolyGPTTrainer

    train = work.inputs.molecules("train", PROPERTIES)
    sizes = {"width": 16, "layers": 1, "heads": 2} if work.tiny else {}
    data = PolyGPTData(PolyGPTShape(**shape_of(work), **sizes), _NO_TOKENIZER, train, train, train)
    return PolyGPTTrainer(data, PolyGPTConfig(**sizes, batch_size=8 if work.tiny else 1024), Devices(work.device)).step


def _look(work: Work, name: str, step: Callable[[], object], *, steps: int = 2) -> None:
    for _ in range(3):
        step()
    wait(work.device)
    is_gpu = work.device.type == "cuda"
    with profiler(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu else [])]) as seen:
        for _ in range(steps):
            step()
        wait(work.device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        text = path.read_bytes()
    events = json.loads(text)["traceEvents"]
    summary = summarised(events, is_gpu=is_gpu)
    work.row("profile", of=name, steps=steps, **summary, peaks=peaks(work.device))
    lines = [f"{one['milliseconds']:10.3f} ms  {one['calls']:6d} x  {one['name']}" for one in summary["top"]]
    work.keep("profiles", f"{name.replace(' ', '_')}.txt", "\n".join(lines) + "\n")
    if len(packed := gzip.compress(text, 6)) <= _MOST_TRACE_BYTES:
        # For chrome://tracing and perfetto.dev.
        work.keep("profiles", f"{name.replace(' ', '_')}_trace.json.gz", packed)


def summarised(events: Sequence[dict[str, Any]], *, is_gpu: bool, most: int = 25) -> dict[str, Any]:
    """Of a trace in Chrome's format (microseconds): what runs on the device (without one, on the processor), how often, and how long nothing does.

    busy_ms: at least one kernel runs, overlaps counted once. gap_ms: between the first and the last, none does.
    """
    kinds = ("kernel", "gpu_memcpy", "gpu_memset") if is_gpu else ("cpu_op",)
    spans = [(event["ts"], event["ts"] + event["dur"], event["name"]) for event in events if event.get("cat") in kinds and "dur" in event]
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    busy, reached, spans = 0.0, float("-inf"), sorted(spans)
    for begin, end, name in spans:
        totals[name][0] += end - begin
        totals[name][1] += 1
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    window = reached - spans[0][0] if spans else 0.0
    longest = sorted(totals.items(), key=lambda one: -one[1][0])[:most]
    top = [{"name": name[:160], "milliseconds": microseconds / 1000, "calls": int(calls)} for name, (microseconds, calls) in longest]
    launches = sum(event.get("name") in ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx") for event in events)
    graphs = sum(event.get("name") == "cudaGraphLaunch" for event in events)
    waits = sum(str(event.get("name")) in ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize") for event in events)
    counts = {"kernels": len(spans), "launches": launches, "graph_launches": graphs, "host_waits": waits}
    return {**counts, "busy_ms": busy / 1000, "window_ms": window / 1000, "gap_ms": (window - busy) / 1000, "top": top}
