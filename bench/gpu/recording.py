"""What a part finds, kept as it is found, and what of it leaves the machine: few files of bounded size, whatever happens to a part."""

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

from bench.gpu.inputs import Inputs
from stages.files import write_file_atomically
from stages.reporting import Reporter
from training.loop.devices import Devices

MOST_FILE_BYTES = 16 * 2**20
# Folders of a part that become one zip each; at most 8 files in all leave the machine.
KINDS = ("pictures", "samples", "profiles")
# Into the log of the part.
REPORTER = Reporter()
ROWS, ERROR, LOG = "rows.jsonl", "error.txt", "log.txt"


# Arguments of a model or a training.
Sizes = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What a part is given. folder: its own. deadline: when it has to be done, in `time.monotonic()`. tiny: the smallest sizes, for a trial."""

    inputs: Inputs
    device: torch.device
    folder: Path
    deadline: float
    tiny: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def devices(self) -> Devices:
        return Devices(self.device)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def is_over(self, reserve_s: float = 0.0) -> bool:
        """Whether no more than so many seconds are left; a trial of the smallest size is never short of time."""
        return not self.tiny and self.left() <= reserve_s

    def sizes(self, tiny: Sizes, usual: Sizes) -> Sizes:
        return dict(tiny if self.tiny else usual)

    def row(self, what: str, **values: Any) -> None:
        """One finding, on disk when this returns."""
        line = json.dumps({"what": what, "at_s": round(time.monotonic() - self.started, 2), **values}, default=float)
        with (self.folder / ROWS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def keep(self, kind: str, name: str, content: bytes | str) -> None:
        path = self.folder / kind / name
        path.parent.mkdir(exist_ok=True)
        write_file_atomically(path, content.encode() if isinstance(content, str) else content)

    def picture(self, name: str, pictures: numpy.ndarray, *, columns: int = 8) -> None:
        """uint8 [N, C, H, W] side by side as a PNG."""
        from PIL import Image

        from training.gans.grids import tile

        target = io.BytesIO()
        Image.fromarray(tile(pictures, columns)).save(target, "PNG", optimize=True)
        self.keep("pictures", f"{name}.png", target.getvalue())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """What a part has found so far; a line that it was killed in the middle of is left out."""
    path, rows = folder / ROWS, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


class Report:
    """The results in `out`: report.json, and by kind a zip of what all parts kept; written anew whenever something is added."""

    def __init__(self, out: Path, scratch: Path, facts: Mapping[str, Any]) -> None:
        self.out, self.scratch = out, scratch
        self.content: dict[str, Any] = {"version": 1, "facts": dict(facts), "parts": {}, "left_out": []}
        out.mkdir(parents=True, exist_ok=True)
        self._text: str | None = None

    def update(self, part: str, **values: Any) -> None:
        """Facts of a part, with all it has found by now."""
        known = self.content["parts"].setdefault(part, {})
        known.update(values)
        known["rows"] = rows_of(self.scratch / part)
        self.write()

    def write(self) -> None:
        text = json.dumps(self.content, indent=1) + "\n"
        if text != self._text:
            write_file_atomically(self.out / "report.json", text.encode())
            self._text = text

    def pack(self) -> None:
        """The zips, and the log of what parts said. What has no room is named in the report."""
        left_out = [name for kind in KINDS for name in self._zip(kind)]
        logs = [f"== {path.parent.name}\n{path.read_text(encoding='utf-8', errors='replace')}" for path in sorted(self.scratch.glob(f"*/{LOG}"))]
        write_file_atomically(self.out / LOG, "\n".join(logs).encode()[-MOST_FILE_BYTES // 4 :])
        self.content["left_out"] = left_out
        self.write()

    def _zip(self, kind: str) -> list[str]:
        """Returns what had no room."""
        paths = [path for part in self.content["parts"] for path in sorted((self.scratch / part / kind).glob("*"))]
        target, left_out, room = io.BytesIO(), list[str](), MOST_FILE_BYTES - 4096
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                name = f"{path.parent.parent.name}/{path.name}"
                # What is known about it beside it takes some bytes too.
                if path.stat().st_size + 512 > room:
                    left_out.append(f"{kind}/{name}")
                    continue
                archive.write(path, name)
                room -= archive.infolist()[-1].compress_size + 512
        if paths:
            write_file_atomically(self.out / f"{kind}.zip", target.getvalue())
        return left_out
