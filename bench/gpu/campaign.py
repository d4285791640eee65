"""Run the parts one after the other, each in a process of its own: one that fails or hangs costs its own time and nobody else's results."""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from bench.gpu.inputs import Inputs
from bench.gpu.plan import Part, seconds_for
from bench.gpu.recording import ERROR, LOG, Report, Work

# To pack what was found at the end; to end by itself when its time is up; and to die when it does not.
_PACKING_S, _GRACE_S, _DYING_S = 4.0, 6.0, 3.0
_LEAST_S = 2.0
_FREE_BYTES = 256 * 2**20
_OLDEST_TORCH = (2, 11)
# Forked where that is possible: importing torch takes as long as some parts.
CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


class CampaignError(Exception):
    """Nothing can be measured here; the message says what to do about it."""


class OutOfTimeError(BaseException):
    """The time of a part is up: thrown into its middle, past everything that would catch an error."""


def ask_facts() -> dict[str, Any]:
    """What there is to measure on. Asked in a process of its own: one that has looked at a GPU may not fork any more. Raises CampaignError."""
    from bench.gpu.device import facts

    with CONTEXT.Pool(1) as pool:
        try:
            found: dict[str, Any] = pool.apply_async(facts).get(90)
        except multiprocessing.TimeoutError:
            raise CampaignError("the device did not answer within 90 s; is another process using all of it? nvidia-smi says") from None
        except RuntimeError as error:
            raise CampaignError(f"torch cannot say what device there is: {error}") from None
        return found


def device_for(kind: str, *, tiny: bool) -> torch.device:
    """The GPU, or for a trial of the smallest size the processor. Raises CampaignError without either."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _OLDEST_TORCH:
        raise CampaignError(f"torch {torch.__version__} is older than {_OLDEST_TORCH[0]}.{_OLDEST_TORCH[1]}; install one from 2.11 to 2.13")
    if kind == "cuda":
        return torch.device("cuda", 0)
    if not tiny:
        raise CampaignError(
            f"no GPU that torch {torch.__version__} can use (CUDA {torch.version.cuda or 'not built in'}); run it where there is one, or try it on "
            "this processor at the smallest size: --tiny"
        )
    return torch.device("cpu")


class Campaign:
    """One run. parts: in order. end: when all is over, in `time.monotonic()`. Raises CampaignError where `out` has no room."""

    def __init__(self, parts: Sequence[Part], inputs: Inputs, out: Path, facts: Mapping[str, Any], *, end: float, tiny: bool) -> None:
        self.parts, self.inputs, self.device, self.tiny, self.end = parts, inputs, device_for(facts["kind"], tiny=tiny), tiny, end
        free = shutil.disk_usage(next(path for path in (out, *out.resolve().parents) if path.is_dir())).free
        if free < _FREE_BYTES:
            raise CampaignError(f"{out}: {free / 2**20:.0f} MiB free, {_FREE_BYTES / 2**20:.0f} MiB are needed; make room, or choose another --out")
        self.scratch = Path(tempfile.mkdtemp(prefix="figment-gpu-"))
        self.stopped: int | None = None
        self.report = Report(out, self.scratch, {**facts, "parts": [part.name for part in parts], "tiny": tiny})

    def run(self) -> int:
        """The exit code: 0, 1 when a part failed, 128 + the signal that ended the run. What is packed is there in every case."""
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for place, part in enumerate(self.parts):
                if self.stopped is None:
                    self._run_part(part, self.parts[place + 1 :])
            self.report.content["facts"]["stopped_by"] = self.stopped and signal.Signals(self.stopped).name
            self.report.pack()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise CampaignError(f"{self.report.out}: no room left on the device; make room, or choose another --out") from None
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self.stopped is not None:
            return 128 + self.stopped
        return 1 if any(part["state"] == "failed" for part in self.report.content["parts"].values()) else 0

    def _stop(self, number: int, _: FrameType | None) -> None:
        self.stopped = number

    def _run_part(self, part: Part, later: Sequence[Part]) -> None:
        seconds = seconds_for(part, later, self.end - _PACKING_S - time.monotonic())
        lacks = f"{part.needs} is not installed here" if part.needs is not None and util.find_spec(part.needs) is None else "no time left"
        if lacks != "no time left" or seconds < _LEAST_S:
            self.report.update(part.name, state="left out", why=lacks, allowed_s=round(seconds, 1), seconds=0.0)
            return
        _say(f"{part.name}: {part.words}; {seconds:.0f} s")
        folder, started = self.scratch / part.name, time.monotonic()
        folder.mkdir()
        work = Work(self.inputs, self.device, folder, started + seconds, self.tiny)
        process = CONTEXT.Process(target=_child, args=(part, work))
        process.start()
        latest = min(started + seconds + _GRACE_S, self.end)
        self.report.update(part.name, state="running", allowed_s=round(seconds, 1))
        while process.is_alive() and self.stopped is None and time.monotonic() < latest:
            process.join(0.25)
            self.report.update(part.name)
        is_late = process.is_alive()
        for end in (process.terminate, process.kill) if is_late else ():
            end()
            process.join(_DYING_S)
        error = folder / ERROR
        values: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1), "state": "done"}
        if is_late:
            values |= {"state": "stopped" if self.stopped is not None else "out of time"}
        elif process.exitcode:
            values |= {"state": "failed", "why": f"exit code {process.exitcode}"}
        if error.is_file():
            values["error"] = error.read_text(encoding="utf-8")
        self.report.update(part.name, **values)
        self.report.pack()
        _say(f"{part.name}: {values['state']} after {values['seconds']:g} s")


def _say(words: str) -> None:
    """A listener that has gone, such as a terminal that was closed, ends no run."""
    try:
        print(words, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _child(part: Part, work: Work) -> None:
    def out_of_time(*_: object) -> None:
        raise OutOfTimeError

    # What it says goes into the log, what C libraries say too.
    log = os.open(work.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    signal.signal(signal.SIGTERM, out_of_time)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if work.tiny:
        torch.set_num_threads(1)
    try:
        # As training/loop/devices.py does it.
        torch.set_float32_matmul_precision("high" if work.device.type == "cuda" else "highest")
        part.run(work)
    except BaseException:  # noqa: BLE001 (whatever ends a part, the report says it)
        text = traceback.format_exc()
        print(text, flush=True)
        (work.folder / ERROR).write_text(text[-8000:], encoding="utf-8")
        os._exit(1)
    # A library's threads and exit handlers have nothing to add.
    sys.stdout.flush()
    os._exit(0)
