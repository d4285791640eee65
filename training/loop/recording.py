"""What records work for a GPU, thousands of launches at once, and plays it again as one: CUDA graphs, or what stands for them in tests."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

T = TypeVar("T")


class Recorder:
    """Records calls that are functions of tensors alone: fixed shapes and addresses, no number read by the computer. This one records nothing."""

    def warm_up(self, call: Callable[[], T]) -> T:
        """Make the call as it is; libraries need some before one is recorded."""
        return call()

    def record(self, call: Callable[[], T], generators: Iterable[torch.Generator] = ()) -> tuple[Callable[[], None], T]:
        """(what plays it, what it gave, whose tensors hold the numbers afterwards); nothing is computed yet. generators: what the call draws with.

        Raises RuntimeError where it cannot be recorded.
        """
        del call, generators
        raise RuntimeError("each call is launched by itself, as was asked for")


class CudaRecorder(Recorder):
    """All graphs of one recorder share one pool of memory: they are played one after the other."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, call: Callable[[], T]) -> T:
        # On the stream that will be recorded: libraries keep workspaces, and autograd its place, by stream.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            given = call()
        torch.cuda.current_stream().wait_stream(self._stream)
        return given

    def record(self, call: Callable[[], T], generators: Iterable[torch.Generator] = ()) -> tuple[Callable[[], None], T]:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            given = call()
        return graph.replay, given


def recorder_for(device: torch.device) -> Recorder | None:
    """None where there are no graphs to record, and each call is made anew."""
    return CudaRecorder(device) if device.type == "cuda" else None
