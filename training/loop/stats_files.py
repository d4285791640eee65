"""A training's numbers in files: `stats.jsonl`, one line a report, and TensorBoard event files where TensorBoard is installed.

What is measured by a clock is left out of `stats.jsonl`, which ends up in a stage's output: equal trainings give equal bytes.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

# Values that depend on the machine and the moment.
_CLOCKED = ("samples_per_second",)


class Sink(Protocol):
    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...


class StatsFile:
    """`stats.jsonl`: {"kimg": thousands of images seen, "images": images, name: value, …} by rising number of images.

    resume_images: what an earlier process wrote beyond this number of images is dropped; None begins anew.
    """

    def __init__(self, path: Path, *, resume_images: int | None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [] if resume_images is None else [line for line in self._lines() if json.loads(line)["images"] <= resume_images]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {name: value if math.isfinite(value) else str(value) for name, value in sorted(values.items()) if name not in _CLOCKED}
        self.append(step, numbers)

    def append(self, images: int, row: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kimg": images / 1000, "images": images, **row}) + "\n")

    def _lines(self) -> list[str]:
        """The whole lines; a process killed while writing may have left half a line at the end."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()


class EventFiles:
    """TensorBoard event files in `folder`; the step is the number of images. Without a folder or TensorBoard it writes nothing.

    resume_images: TensorBoard hides what an earlier process wrote from this step on.
    """

    def __init__(self, folder: Path | None, *, resume_images: int | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(folder), purge_step=None if resume_images is None else resume_images + 1)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


class Sinks:
    """Several sinks as one."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.metrics(step, values)
