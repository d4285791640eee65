"""Turns of a training as CUDA graphs: thousands of launches recorded once and sent to the GPU as one.

A turn can be recorded when it is a function of tensors alone: fixed shapes, no number read by the computer, nothing in Python that is another next
time. What does change goes in by tensors, which are copied to where the recorded launches look for them, and by the seeds of `TurnRandom`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from stages.reporting import Reporter, SilentReporter
from training.loop.recording import CudaRecorder, Recorder

CudaGraphs = Literal["auto", "off"]
Turn = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

# Turns of a kind that are taken step by step before one is recorded: libraries choose their algorithms in them, optimizers make their moments.
_WARM_UP = 3
# The first generation on which all that a turn does can be recorded, in the versions of CUDA that torch is built for.
_OLDEST_CAPABILITY = (7, 0)


class TurnRandom:
    """Generators on `device` for what turns draw there: seeded by `begin`, once a turn, with what decides the turn's numbers."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device, self.seed = device, seed
        self._generators: dict[tuple[str, int], torch.Generator] = {}
        self._now: tuple[int, ...] = ()

    def begin(self, *now: int) -> None:
        self._now = now
        for (purpose, _), generator in self._generators.items():
            generator.manual_seed(self._seed_of(purpose))

    def of(self, purpose: str, part: int = 0) -> torch.Generator:
        """Every part of a batch draws the same numbers with a generator of its own."""
        if (purpose, part) not in self._generators:
            self._generators[purpose, part] = torch.Generator(self.device).manual_seed(self._seed_of(purpose))
        return self._generators[purpose, part]

    def all(self) -> Iterable[torch.Generator]:
        return self._generators.values()

    def _seed_of(self, purpose: str) -> int:
        return derive_seed(self.seed, purpose, *self._now)


class Graphs:
    """Plays turns: step by step at first and where there is no recorder, from then on as recorded.

    Turns with equal keys, and inputs of equal shapes, are the same turn with other numbers. A turn that cannot be recorded is taken step by step
    for good, which is said once. recorder: None for none.
    """

    def __init__(self, recorder: Recorder | None, reporter: Reporter | None = None) -> None:
        self.recorder, self.reporter = recorder, reporter or SilentReporter()
        self._warm: dict[Hashable, int] = {}
        self._recorded: dict[Hashable, _Recorded] = {}

    def play(
        self, key: Hashable | None, turn: Turn, inputs: Mapping[str, Tensor], random: TurnRandom | None, restart: Callable[[], object]
    ) -> Mapping[str, Tensor]:
        """What `turn` gives for `inputs`. key: None for a turn that is another each time. random: what it draws with, seeded for this turn.

        restart: seeds it again, after a recording that failed.
        """
        if self.recorder is None or key is None:
            return turn(inputs)
        key = (key, tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items()))
        if key not in self._recorded:
            self._warm[key] = self._warm.get(key, 0) + 1
            if self._warm[key] <= _WARM_UP:
                return self.recorder.warm_up(lambda: turn(inputs))
            try:
                self._recorded[key] = _Recorded(self.recorder, turn, inputs, random.all() if random else ())
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                self.reporter.log(f"WARNING: no CUDA graphs from here on, every launch by itself: a turn cannot be recorded ({reason})")
                self.recorder = None
                self.forget()
                restart()
                return turn(inputs)
        return self._recorded[key].play(inputs)

    def forget(self) -> None:
        """Tensors that turns work on have been exchanged for others: what was recorded looks for them in the wrong place."""
        self._warm.clear()
        self._recorded.clear()


class _Recorded:
    def __init__(self, recorder: Recorder, turn: Turn, inputs: Mapping[str, Tensor], generators: Iterable[torch.Generator]) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        self._replay, self._given = recorder.record(lambda: turn(self._inputs), generators)

    def play(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor)
        self._replay()
        return self._given


def open_graphs(wanted: CudaGraphs, device: torch.device, world_size: int, reporter: Reporter) -> Graphs:
    """Graphs where the device has them; where they are wanted and a GPU has none, the log says why."""
    if device.type != "cuda":
        return Graphs(None)
    if reason := _reason_against(wanted, device, world_size):
        reporter.log(f"no CUDA graphs on {device}: {reason}")
        return Graphs(None)
    return Graphs(CudaRecorder(device), reporter)


def _reason_against(wanted: CudaGraphs, device: torch.device, world_size: int) -> str | None:
    if wanted == "off":
        return "cuda_graphs is off"
    if torch.version.hip is not None:
        return "they are NVIDIA's"
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CAPABILITY:
        return f"compute capability {capability[0]}.{capability[1]}, they need {_OLDEST_CAPABILITY[0]}.{_OLDEST_CAPABILITY[1]}"
    return "several processes add up their gradients" if world_size > 1 else None
