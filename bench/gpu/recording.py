"""What a part finds, kept as it is found, and what of it leaves the machine: few files of bounded size, whatever happens to a part."""

import io
import json
import os
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

MOST_FILE_BYTES = 16 * 2**20
# Folders of a part that become one zip each; at most 8 files in all leave the machine.
KINDS = ("pictures", "samples", "profiles")
ROWS, ERROR, LOG = "rows.jsonl", "error.txt", "log.txt"


@dataclass(frozen=True)
class Work:
    """What a part is given. folder: its own. deadline: when it has to be done, in `time.monotonic()`. tiny: the smallest sizes, for a trial."""

    inputs: Inputs
    device: torch.device
    folder: Path
    deadline: float
    tiny: bool = False
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until the deadline; a trial of the smallest size is never short of time."""
        return self.deadline - time.monotonic()

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
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
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
        paths = [path for folder in self.content["parts"] for path in sorted((self.scratch / folder / kind).glob("*"))]
        if not paths:
            return []
        target, left_out, room = self.out / f"{kind}.zip", [], MOST_FILE_BYTES - 4096
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in paths:
                    # What deflates to more than it was is stored with some bytes around it.
                    need = path.stat().st_size + 512 if path.suffix in (".png", ".npz") else path.stat().st_size // 3 + 512
                    if need > room:
                        left_out.append(f"{kind}/{path.parent.parent.name}/{path.name}")
                        continue
                    archive.write(path, f"{path.parent.parent.name}/{path.name}")
                    room -= max(need, archive.infolist()[-1].compress_size + 512)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return left_out
