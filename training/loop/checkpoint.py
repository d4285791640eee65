"""Checkpoints of a whole training: one file each, written whole or not at all, and recognised when damaged.

A file is what `torch.save` writes, followed by 40 bytes: a mark and the SHA-256 of all before it. It holds tensors and plain values only,
is read with `weights_only=True`, and so can run no code. Files lie in `<folder>/<run key>/`, outside the output of the stage.
"""

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages.files import replacing
from stages.reporting import Reporter

_MARK = b"FIGMENT1"
_TRAILER_BYTES = len(_MARK) + hashlib.sha256().digest_size
_OTHER_KEYS_KEPT = 3


class CheckpointError(Exception):
    """Checkpoints are there, but none can be read, or a file is not a checkpoint."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    folder: of the stage, e.g. .figment/checkpoints/polygpt. run_key: hash of all that decides the weights. keep: newest files to keep.
    """

    folder: Path
    run_key: str
    keep: int
    reporter: Reporter

    @property
    def own_folder(self) -> Path:
        return self.folder / self.run_key

    def paths(self) -> list[Path]:
        """The checkpoint files of this training, oldest first."""
        return sorted(self.own_folder.glob("samples-*.pt"))

    def save(self, samples: int, payload: Mapping[str, Any]) -> Path:
        """Write the state after `samples` samples; a crash at any moment leaves the earlier files whole."""
        self.own_folder.mkdir(parents=True, exist_ok=True)
        path = self.own_folder / f"samples-{samples:015d}.pt"
        write_checkpoint(path, {"run_key": self.run_key, "samples": samples, **payload})
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None to begin anew. Damaged ones are set aside, loudly.

        Raises CheckpointError when there are checkpoints and all are damaged: work would be lost in silence.
        """
        self._mention_others()
        # Newest first; what is damaged is set aside only once an older one has proved whole, so that nothing is moved in vain.
        damaged = []
        for path in reversed(self.paths()):
            try:
                payload = read_checkpoint(path)
            except CheckpointError as error:
                damaged.append(path)
                self.reporter.log(f"WARNING: {error}; trying the checkpoint before it")
                continue
            if payload.get("run_key") != self.run_key:
                self.reporter.log(f"WARNING: {path} belongs to another training (run key {payload.get('run_key')}); it is not used")
                continue
            for bad in damaged:
                # Another process of the same training may have been faster.
                with contextlib.suppress(FileNotFoundError):
                    bad.rename(bad.with_suffix(".damaged"))
            return payload
        if damaged:
            raise CheckpointError(
                f"{self.own_folder}: all {len(damaged)} checkpoints are damaged (newest: {damaged[0].name}); remove that folder to train "
                "from the beginning"
            )
        return None

    def keep_last_only(self) -> None:
        """After the output is written: the last checkpoint suffices to write it again."""
        for old in self.paths()[:-1]:
            old.unlink()
        shutil.rmtree(self.own_folder / "good", ignore_errors=True)
        for leftover in (*self.own_folder.glob("*.damaged"), *self.own_folder.glob(".*.writing")):
            leftover.unlink()
        for other in self._others()[_OTHER_KEYS_KEPT:]:
            shutil.rmtree(other)

    def drop_after(self, samples: int) -> None:
        """Remove the checkpoints that were written after more than `samples` samples."""
        _drop_after(self.paths(), samples)

    def remove(self) -> None:
        """Forget this training."""
        shutil.rmtree(self.own_folder, ignore_errors=True)

    def _others(self) -> list[Path]:
        """The folders of other trainings of this stage, last written first."""
        if not self.folder.is_dir():
            return []
        others = [path for path in self.folder.iterdir() if path.is_dir() and path.name != self.run_key and any(path.glob("samples-*.pt"))]
        return sorted(others, key=lambda path: (-path.stat().st_mtime_ns, path.name))

    def _mention_others(self) -> None:
        others = self._others()
        if others and not self.paths():
            self.reporter.log(
                f"checkpoints of {len(others)} other trainings (of other parameters, inputs or code) lie in {self.folder}; they are not used, "
                f"this training ({self.run_key}) starts from the beginning"
            )


@dataclass(frozen=True)
class GoodStates:
    """A ring of the `keep` newest states that looked good when they were saved: hard links to (or copies of) checkpoint files."""

    folder: Path
    keep: int

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("samples-*.pt"))

    def add(self, checkpoint: Path) -> None:
        if not self.keep:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / checkpoint.name
        target.unlink(missing_ok=True)
        try:
            os.link(checkpoint, target)
        except OSError:
            shutil.copyfile(checkpoint, target)  # a file system without hard links
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def newest(self) -> dict[str, Any] | None:
        """The newest state that can be read, or None."""
        for path in reversed(self.paths()):
            with contextlib.suppress(CheckpointError):
                return read_checkpoint(path)
        return None

    def use_up(self, samples: int) -> None:
        """Remove the state after `samples` samples and all later ones, unless it is the last one left."""
        _drop_after(self.paths()[1:], samples - 1)

    def drop_after(self, samples: int) -> None:
        """Remove the states after more than `samples` samples."""
        _drop_after(self.paths(), samples)


def _drop_after(paths: Iterable[Path], samples: int) -> None:
    for path in paths:
        if int(path.stem.removeprefix("samples-")) > samples:
            path.unlink()


def write_checkpoint(path: Path, payload: Mapping[str, Any]) -> None:
    """Write `payload` (tensors, numbers, strings, None, dicts, lists) to `path`: temporary file, fsync, rename, fsync of the folder."""
    buffer = io.BytesIO()
    torch.save(dict(payload), buffer)
    view = buffer.getbuffer()
    with replacing(path, needed=len(view) + _TRAILER_BYTES) as temporary, temporary.open("wb") as stream:
        stream.write(view)
        stream.write(_MARK + hashlib.sha256(view).digest())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` wrote, on the CPU. Raises CheckpointError when the file cannot be read, is cut short, changed, or not a checkpoint."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    body, trailer = data[:-_TRAILER_BYTES], bytes(data[-_TRAILER_BYTES:])
    if not trailer.startswith(_MARK):
        raise CheckpointError(f"{path}: cut short, or not a checkpoint ({len(data):,} bytes, no mark at the end)")
    if trailer[len(_MARK) :] != hashlib.sha256(body).digest():
        raise CheckpointError(f"{path}: damaged, its SHA-256 is not the one written at its end")
    try:
        payload = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - torch, zip and pickle raise nearly anything on what another program, or release of torch, wrote
        raise CheckpointError(f"{path}: torch cannot read it safely ({type(error).__name__}: {str(error).partition(chr(10))[0][:200]})") from None
    if not isinstance(payload, dict):
        raise CheckpointError(f"{path}: holds {type(payload).__name__}, expected what a training saves")
    return payload
