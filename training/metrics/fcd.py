"""Frechet ChemNet Distance with the ChemNet weights of the `fcd_torch` package (extra: fcd).

The value depends on the implementation (`fcd` and `fcd_torch` differ by a percent on the same molecules), so the metric is never called plain
"FCD": `FCD_KEY` names the package, `implementation()` its version too. Without the package there is no number, and a sentence saying so.
Source: Preuer et al. 2018, J. Chem. Inf. Model. 58:1736. MOSES prints the fcd_torch value.
"""

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy

FCD_KEY = "fcd_torch"

# Fixed, because the last bits of the activations may depend on it.
_BATCH_MOLECULES = 128


def missing_reason() -> str | None:
    """Why FCD cannot be computed here, or None."""
    for package in ("fcd_torch", "torch"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed (extra: fcd)"
    return None


def implementation() -> str:
    """The package and version that make the number, such as `fcd_torch 1.0.7`."""
    return f"fcd_torch {importlib.metadata.version('fcd_torch')}"


def chemnet_activations(smiles: Sequence[str]) -> numpy.ndarray:
    """[N, 512] float32: the second-last layer of ChemNet for canonical SMILES. One batch at a time on the CPU.

    SMILES must be canonical already, as the network was trained on that spelling; symbols it never saw, such as `*`, share one code.
    """
    import fcd_torch
    import torch
    from fcd_torch.utils import SmilesDataset

    network = fcd_torch.FCD(device="cpu", n_jobs=1, canonize=False).model
    encoded = SmilesDataset(list(smiles), canonize=False)
    # The network takes one-hot characters, channels first.
    with _one_thread(torch), torch.inference_mode():
        batches = [
            network(_batch(encoded, start, min(start + _BATCH_MOLECULES, len(smiles))).transpose(1, 2)).numpy()
            for start in range(0, len(smiles), _BATCH_MOLECULES)
        ]
    return numpy.concatenate(batches) if batches else numpy.zeros((0, 512), dtype=numpy.float32)


@contextlib.contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    """The network is so small that a second thread costs more than it gives: five times the CPU time on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _batch(encoded: Any, start: int, stop: int) -> Any:
    import torch

    return torch.from_numpy(numpy.stack([encoded[index] for index in range(start, stop)])).float()
