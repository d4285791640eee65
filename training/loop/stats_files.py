"""A training's numbers in files: `stats.jsonl`, one line a report; CSV curves for DVC; TensorBoard event files where TensorBoard is installed.

A stage's output takes the rows without what depends on the machine (`machine_free`): equal trainings give equal bytes.
"""

import contextlib
import json
import math
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from stages.files import write_file_atomically
from training.loop.checkpoint import CheckpointError

# Values that depend on the machine and the moment.
MACHINE = ("samples_per_second", "seconds_per_kimg", "peak_memory_mib", "model_flops_per_second", "model_flops_utilization")


class StatsFile:
    """`stats.jsonl`: {"images": images seen, name: value, …} by rising number of images, or of what `what` says. Without a path nothing is written.

    Images are counted in thousands too ("kimg"), as users of StyleGAN do.
    resume_samples: what an earlier process wrote beyond this number of samples is dropped; None begins anew. `stats.sums`, a CRC-32 a line, tells
    damage to what it wrote before: a CheckpointError, for it cannot be told again.
    """

    def __init__(self, path: Path | None, *, what: str, resume_samples: int | None) -> None:
        self.path, self.what = path, what
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [] if resume_samples is None else [line for line in _sound_lines(path) if json.loads(line)[what] <= resume_samples]
        write_file_atomically(_sums_of(path), "".join(f"{_sum(line)}\n" for line in kept).encode())
        write_file_atomically(path, "".join(f"{line}\n" for line in kept).encode())

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {name: value if math.isfinite(value) else str(value) for name, value in sorted(values.items())}
        self.append(step, numbers)

    def append(self, samples: int, row: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        thousands = {"kimg": samples / 1000} if self.what == "images" else {}
        line = json.dumps({**thousands, self.what: samples, **row})
        for path, text in ((_sums_of(self.path), _sum(line)), (self.path, line)):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(f"{text}\n")


def machine_free(path: Path) -> bytes:
    """The rows of a `stats.jsonl` without the values in MACHINE."""
    rows = (json.loads(line) for line in _whole_lines(path))
    return "".join(json.dumps({name: value for name, value in row.items() if name not in MACHINE}) + "\n" for row in rows).encode()


def write_curves(stats: Path, folder: Path, *, what: str) -> None:
    """A CSV file in `folder` for each number in a `stats.jsonl`, by what samples are counted in: `dvc plots` reads no JSON lines, and draws files.

    A value that is not finite has no point, a number that was always zero, such as a count of trouble, no file.
    """
    axis = "kimg" if what == "images" else what
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in map(json.loads, _whole_lines(stats)):
        for name, value in row.items():
            if name not in (axis, what, "rollback", *MACHINE) and isinstance(value, int | float):
                curves.setdefault(name, []).append((row[axis], value))
    folder.mkdir(parents=True, exist_ok=True)
    for name, points in curves.items():
        if any(value for _, value in points):
            (folder / f"{name}.csv").write_text("".join(f"{x},{y}\n" for x, y in [(axis, name), *points]), encoding="utf-8")


def _sums_of(path: Path) -> Path:
    return path.with_suffix(".sums")


def _sum(line: str) -> str:
    return f"{zlib.crc32(line.encode()):08x}"


def _sound_lines(path: Path) -> list[str]:
    """Raises CheckpointError where a line is not what was written. Without sums, as older trainings left none, nothing can be said."""
    lines, sums = _whole_lines(path), _whole_lines(_sums_of(path))
    for number, (line, known) in enumerate(zip(lines, sums, strict=False), 1):
        if _sum(line) != known:
            raise CheckpointError(
                f"{path}: line {number} is not what was written, by its CRC-32; restore the file, or train anew with --from-scratch"
            )
    return lines


def _whole_lines(path: Path) -> list[str]:
    """A process killed while writing may have left half a line at the end."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()


class EventFiles:
    """TensorBoard event files in `folder`; the step is the number of samples. Without a folder or TensorBoard it writes nothing.

    They are to be looked at and nothing depends on them: what cannot be written is told to `say`, once, and the training goes on.
    resume_samples: TensorBoard hides what an earlier process wrote from this step on.
    """

    def __init__(self, folder: Path | None, *, resume_samples: int | None, say: Callable[[str], None] = lambda words: None) -> None:
        self._writer: Any = None
        self._say = say
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        threading.excepthook = _but_for_event_files(threading.excepthook)
        with self._unimportant():
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder), purge_step=None if resume_samples is None else resume_samples + 1)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            return
        with self._unimportant():
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    @contextlib.contextmanager
    def _unimportant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            self._say(f"WARNING: no more event files for TensorBoard: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with self._unimportant():
                self._writer.close()


def _but_for_event_files(otherwise: Callable[[threading.ExceptHookArgs], object]) -> Callable[[threading.ExceptHookArgs], object]:
    """What TensorBoard's own thread could not write it hands to whoever writes next, who tells it; its traceback would tell it a second time."""
    if getattr(otherwise, "is_for_event_files", False):
        return otherwise

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (issubclass(args.exc_type, OSError) and type(args.thread).__name__ == "_AsyncWriterThread"):
            otherwise(args)

    hook.is_for_event_files = True  # type: ignore[attr-defined]
    return hook
