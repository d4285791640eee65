"""A tiny `Trainable` with dropout, momentum and its own data order; run as a program it can kill itself at chosen steps.

python -m tests.training.loop.toy_training FOLDER [--kill-at-step N] [--poison-step N --poison-until-salt S]
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages.reporting import Reporter
from training.loop.checkpoint import Checkpoints
from training.loop.devices import Devices
from training.loop.loop import Hook, Outcome, Plan, StepOutcome, TrainingLoop, backward_and_step
from training.loop.seeding import generator, seed_everything
from training.loop.stats_files import MACHINE

BATCH = 8


class ToyTraining:
    """Learns y = sum(x). Steps in `poison` give a loss that is not a number while `salt` is below `poison_until_salt`."""

    def __init__(self, *, poison: range = range(0), poison_until_salt: int = 99) -> None:
        seed_everything(5)
        self.model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.samples_seen = self.salt = self.steps_here = 0
        self.poison, self.poison_until_salt = poison, poison_until_salt
        self.on_step: Any = lambda: None

    def step(self) -> StepOutcome:
        self.on_step()
        self.steps_here += 1
        number = self.samples_seen // BATCH
        x = torch.randn(BATCH, 4, generator=generator("data", number, self.salt))
        loss = (self.model(x).squeeze(-1) - x.sum(dim=-1)).square().mean()
        if number in self.poison and self.salt < self.poison_until_salt:
            loss = loss * float("nan")
        norm, skipped = backward_and_step(loss, self.optimizer, list(self.model.parameters()), clip_norm=1.0, devices=Devices(torch.device("cpu")))
        self.samples_seen += BATCH
        return StepOutcome({"loss": loss, "norm": norm}, BATCH, skipped)

    def state_dict(self) -> dict[str, Any]:
        return {"samples_seen": self.samples_seen, "salt": self.salt, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen, self.salt = state["samples_seen"], state["salt"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def reseed(self, rollback: int) -> None:
        self.salt = rollback


class ListSink:
    """Metrics as (step, values)."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, {name: value for name, value in values.items() if name not in MACHINE}))


class FileSink:
    """Metrics as JSON lines, appended at once; the file survives the process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps([step, {name: value for name, value in values.items() if name not in MACHINE}]) + "\n")


def run(training: ToyTraining, folder: Path, sink: Any, *, reporter: Reporter | None = None, noise_hook: bool = True, **more: Any) -> Outcome:
    """Train for 480 samples with a report every 40 and a checkpoint every 96; `more` goes to the plan, or to the loop."""
    loop = {name: more.pop(name) for name in ("guard", "on_rollback", "why_done") if name in more}
    settings = {"total_samples": 480, "report_every_samples": 40, "checkpoint_every_samples": 96, **more}
    checkpoints = Checkpoints(folder / "checkpoints", "key", 2, reporter or Reporter())
    # A hook that draws random numbers: training must not notice.
    hooks = [Hook(64, lambda: {"noise": float(torch.rand(3).sum() * 0)})] if noise_hook else []
    devices = Devices(torch.device("cpu"))
    return TrainingLoop(training, Plan(**settings), checkpoints, [sink], reporter or Reporter(), devices, hooks, **loop).run(checkpoints.latest())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at-step", type=int, default=-1)
    parser.add_argument("--signal", type=int, default=int(signal.SIGKILL))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training = ToyTraining()

    def maybe_die() -> None:
        if training.steps_here == arguments.kill_at_step:
            os.kill(os.getpid(), arguments.signal)

    training.on_step = maybe_die
    run(training, arguments.folder, FileSink(arguments.folder / "metrics.jsonl"))
    torch.save(training.model.state_dict(), arguments.folder / "weights.pt")


if __name__ == "__main__":
    sys.exit(main())
