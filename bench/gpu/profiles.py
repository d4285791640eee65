"""The part that looks into a step: which kernels take the time, how many are launched, how long the device waits for the host."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiler

from bench.gpu.device import wait
from bench.gpu.recording import Work

# What the host asks for, as the trace names it.
_CALLS = {
    "launches": ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"),
    "graph_launches": ("cudaGraphLaunch",),
    "host_waits": ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
}
_MOST_TRACE_BYTES = 4 * 2**20


def profile(work: Work) -> None:
    """Two iterations each of StyleGAN3 as it runs by itself, neither of which regularises, and of PolyGPT."""
    from bench.gpu.molecules import gpt_budget, gpt_trainer
    from bench.gpu.stylegan3 import PUBLISHED, make_training

    _look(work, "stylegan3-t 128 px", make_training(work, 128, PUBLISHED).trainer.step)
    if not work.is_over(3):
        _look(work, "polygpt", gpt_trainer(work, gpt_budget(20_000_000), compiled="off").step)


def _look(work: Work, name: str, step: Callable[[], object], *, steps: int = 2) -> None:
    # Turns that can be recorded are, at the fourth.
    for _ in range(2 if work.tiny else 6):
        step()
    wait(work.device)
    is_gpu = work.device.type == "cuda"
    with profiler(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu else [])]) as seen:
        for _ in range(steps):
            step()
        wait(work.device)
    seen.export_chrome_trace(str(work.folder / "trace.json"))
    text = (work.folder / "trace.json").read_bytes()
    summary = summarised(json.loads(text)["traceEvents"], is_gpu=is_gpu)
    work.row("profile", of=name, steps=steps, **summary)
    lines = (f"{one['milliseconds']:10.3f} ms  {one['calls']:6d} x  {one['name']}\n" for one in summary["top"])
    work.keep("profiles", f"{name.replace(' ', '_')}.txt", "".join(lines))
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
    named = Counter(str(event.get("name")) for event in events)
    counts = {kind: sum(named[name] for name in names) for kind, names in _CALLS.items()}
    times = {"busy_ms": busy / 1000, "window_ms": window / 1000, "gap_ms": (window - busy) / 1000}
    return {"kernels": len(spans), **counts, **times, "top": top}
