"""The names of snapshots, and the index that lies beside them in a trained model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SnapshotIndex:
    """What snapshots/index.json of a trained model says."""

    columns: int
    rows: int
    psi: float
    resolution: int
    seed: int
    snapshots: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> "SnapshotIndex":
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "snapshots": tuple(values["snapshots"])})


def snapshot_name(images: int, *, every_images: int, batch: int, total_images: int) -> str:
    """fakes000040 for the snapshot due at 40 kimg. A cadence or an end that is no whole kimg puts thousandths behind: fakes000002_500.

    An iteration steps over the exact multiple of `every_images`, and the name is that of the multiple. Further on than an iteration it is the end of
    the training, which is named after the budget.
    """
    due = images - images % every_images
    if images - due >= batch:
        due = total_images
    kimg, rest = divmod(due, 1000)
    return f"fakes{kimg:06d}" + (f"_{rest:03d}" if rest else "")
