"""Why there is a GPU and torch does not use it: torch's own words in one line, with the remedy."""

import re
import warnings
from collections.abc import Callable

import torch


def why_no_gpu(initialise: Callable[[], object] = torch.cuda.init) -> str | None:
    """One line, or None where CUDA works, this torch was built without it, or there is no GPU. initialise: raises as `torch.cuda.init` does."""
    if torch.version.cuda is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            initialise()
    except (RuntimeError, AssertionError) as error:
        message = str(error).strip()
        if old := re.search(r"driver on your system is too old \(found version (\d+)\)", message):
            version = f"{int(old[1]) // 1000}.{int(old[1]) % 1000 // 10}"
            needed = f"the NVIDIA driver knows CUDA {version} at most and this torch needs {torch.version.cuda}"
            return f"{needed}: update the driver, or install a torch built for {version}"
        if "no NVIDIA driver" not in message and "No CUDA GPUs" not in message:
            return f"torch finds a GPU that it cannot use ({message.partition(chr(10))[0]}); see what `nvidia-smi` says"
    return None
