"""What stands for a GPU on a CPU: a count of the numbers that the computer reads, and a tape that plays turns again as a CUDA graph does."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.loop.recording import Recorder

_READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "item"}


class Reads(TorchDispatchMode):
    """Notes every operator that gives the computer a tensor's numbers, or needs them to know a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(isinstance(part, Tensor) and part.dtype == torch.bool for part in tree_leaves(args[1]))
        if name in _READS or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def reads_counted() -> Iterator[list[str]]:
    """The names of the reads in the block. What was drawn on the CPU, where `numbers` reads it, does not count."""
    with Reads() as reads, pytest.MonkeyPatch.context() as patch:
        for name in ("tolist", "numpy", "cpu", "__array__"):
            patch.setattr(Tensor, name, _noting(name, reads.found))
        yield reads.found


def _noting(name: str, found: list[str]) -> Callable[..., Any]:
    read = getattr(Tensor, name)

    def noted(tensor: Tensor, *args: Any) -> Any:
        if sys._getframe(1).f_code.co_name != "numbers":
            found.append(name)
        return read(tensor, *args)

    return noted


class _Taped(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # Numbers that the computer brings are no more welcome than those it takes.
        if func.overloadpacket.__name__ in _READS | {"lift_fresh"}:
            raise RuntimeError(f"{func} reads or brings a number while a turn is recorded")
        given = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, given))
        return given


class Tape(Recorder):
    """Records operators with the very tensors they took and gave; plays them on these, without any Python of the turn.

    So, as with a CUDA graph, a number that Python computed stays what it was, and a tensor that was exchanged for another is not noticed.
    """

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def record(self, call: Callable[[], Any], generators: Iterable[torch.Generator] = ()) -> tuple[Callable[[], None], Any]:
        with _Taped() as taped:
            given = call()
        self.recorded += 1
        is_first = [True]

        def play() -> None:
            self.played += 1
            # To record was to compute once, which a GPU does not.
            if is_first:
                is_first.clear()
                return
            with torch.no_grad():
                for func, args, kwargs, gave in taped.calls:
                    _again(func, args, kwargs, gave)

        return play, given


def _again(func: Any, args: tuple, kwargs: dict, gave: Any) -> None:
    taken = {tensor.untyped_storage().data_ptr() for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
    made = func(*args, **kwargs)
    for old, new in zip(tree_leaves(gave), tree_leaves(made), strict=True):
        # Views, and results written into an argument, lie in memory that has been written already.
        if isinstance(old, Tensor) and old.numel() and old.untyped_storage().data_ptr() not in taken:
            old.copy_(new)


class Refusing(Tape):
    """A device on which nothing can be recorded."""

    def record(self, call, generators=()):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")
