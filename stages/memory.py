"""How much memory a process has held."""

import resource
import sys


def peak_memory_mib(*who: int) -> float:
    """The largest resident size so far of this process, or of whoever of `who` (`resource.RUSAGE_…`) had the largest."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere.
    return max(resource.getrusage(one).ru_maxrss for one in who or (resource.RUSAGE_SELF,)) * unit / 2**20
