"""Why there is a GPU and torch does not use it: torch's own words in one line, with the remedy."""

import re
import warnings
from collections.abc import Callable

import torch


def why_no_gpu(initialise: Callable[[], object] = torch.cuda.init) -> str | None:
    """One line, or None where CUDA works or this torch was built without it. initialise: raises as `torch.cuda.init` does."""
    if torch.version.cuda is None and initialise is torch.cuda.init:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            initialise()
    except (RuntimeError, AssertionError) as error:
        return in_one_line(str(error))
    return None


def in_one_line(message: str) -> str | None:
    """What torch's error about a driver means, and what to do; None where there simply is no GPU."""
    if found := re.search(r"driver on your system is too old \(found version (\d+)\)", message):
        number = int(found[1])
        version, built = f"{number // 1000}.{number % 1000 // 10}", torch.version.cuda or "a newer CUDA"
        return (
            f"the NVIDIA driver knows CUDA {version} at most and this torch needs {built}: update the driver, or install a torch built for {version}"
        )
    if "Found no NVIDIA driver" in message or "No CUDA GPUs are available" in message:
        return None
    first = message.strip().partition("\n")[0]
    return f"torch finds a GPU that it cannot use ({first}); see what `nvidia-smi` says, or set CUDA_VISIBLE_DEVICES to nothing for the CPU"
