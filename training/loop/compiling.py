"""torch.compile where it helps and works: chosen once for each network, said once in the log, and left for the plain path where it fails.

On a GPU kernels are fused and launched together; on a CPU, where a training must give the same bits again after a resume, nothing is compiled unless
it is asked for. What is compiled computes the same up to rounding.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Generic, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

Compile = Literal["auto", "on", "off"]
P = ParamSpec("P")
R = TypeVar("R")
_LOG = logging.getLogger(__name__)
# Triton's kernels need tensor cores of this generation (Volta) at least. Tuples that grow in a loop, in which our own kernel keeps its rows, came
# with that release of triton.
_OLDEST_CAPABILITY, _OLDEST_TRITON = (7, 0), (3, 3)


def why_not_compiled(setting: Compile, device: torch.device) -> str | None:
    """Why nothing is compiled for `device`, with what to do where something can be done; None where it is to be."""
    if setting == "off":
        return "compile: off"
    if device.type != "cuda":
        return None if setting == "on" else f"compile: auto compiles on a GPU only, and this is {device.type}"
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is None and capability < _OLDEST_CAPABILITY:
        return f"{torch.cuda.get_device_name(device)} has compute capability {capability[0]}.{capability[1]}, and compiled kernels need 7.0"
    return why_no_triton()


def why_no_triton() -> str | None:
    """Why no kernels can be made for a GPU, torch's compiler's or our own, and the remedy; None where they can."""
    try:
        import triton
    except ImportError as error:
        return f"triton cannot be imported ({error}); install figment[gpu]"
    if tuple(int(part) for part in triton.__version__.split(".")[:2]) < _OLDEST_TRITON:
        return f"triton {triton.__version__} is older than {_OLDEST_TRITON[0]}.{_OLDEST_TRITON[1]}; install figment[gpu] anew"
    return None


class Compiled(Generic[P, R]):
    """`function` compiled for `device`, or as it is: why, is told once in the log under `name`.

    backend: of torch.compile. reason: why it is not compiled, None while it is.
    """

    def __init__(self, function: Callable[P, R], name: str, setting: Compile, device: torch.device, *, backend: str = "inductor") -> None:
        self.function, self.name, self.reason = function, name, why_not_compiled(setting, device)
        self._now = function
        if self.reason is None:
            # A length that changes once is compiled as any length from then on: two compilations, not one for each.
            self._now = torch.compile(function, backend=backend, dynamic=None)
            _LOG.info("%s: compiled by torch.compile (%s)", name, backend)
        elif device.type == "cuda":
            _LOG.warning("%s: not compiled: %s", name, self.reason)

    @property
    def is_on(self) -> bool:
        return self.reason is None

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        return self._now(*arguments, **named)

    def gives_up(self, error: Exception) -> bool:
        """Whether what raised `error`, a call or the backward pass of what it gave, is to be done again, because now it is plain.

        The compiler's errors come from anywhere in it. One of the function's own comes again from the plain function, without the compiler's frames.
        """
        if not self.is_on or isinstance(error, torch.OutOfMemoryError):
            return False
        # The compiler's first line says which of its parts failed, the second why.
        self.reason, self._now = f"{type(error).__name__}: {' '.join(str(error).split(chr(10), 2)[:2])}", self.function
        _LOG.warning("%s: the compiler failed (%s); it goes on without, slower; `compile: off` leaves it out from the start", self.name, self.reason)
        return True


def compilations() -> int:
    """How many graphs torch.compile has made in this process, those of new shapes included."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def rounded(size: int) -> int:
    """The least of few sizes that is not below `size`: eight between a power of two and the next, so that at most an eighth is padding."""
    step = max(8, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def padded(batch: Mapping[str, Tensor], fillers: Mapping[str, int], *, rows: bool) -> dict[str, Tensor]:
    """The tensors [B, T, …] named in `fillers`, with T (and B, with `rows`) rounded up and what is new filled; the others as they are."""
    result = dict(batch)
    for name in fillers.keys() & batch.keys():
        values = batch[name]
        more_rows, more = (rounded(len(values)) - len(values) if rows else 0), rounded(values.shape[1]) - values.shape[1]
        result[name] = functional.pad(values, (0, more, 0, more_rows), value=fillers[name])
    return result
