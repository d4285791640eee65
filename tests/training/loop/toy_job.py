"""A training stage as small as can be, on the toy training: `toy` reads data/numbers and writes its weights."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stages.output_folder import OutputFolder
from tests.training.loop.toy_training import ToyTraining
from training.loop.job import Companions, Job, Training, run_job
from training.loop.loop import Hook, Outcome, Plan
from training.loop.stats_files import machine_free


class ToyError(Exception):
    """There are no numbers."""


@dataclass(frozen=True)
class ToyOptions:
    samples: int = 480
    batch_size: int = 8
    side_by_side: int = 8
    bad_from: int = 1000
    seed: int = 0
    checkpoint_every_samples: int = 96
    keep_checkpoints: int = 2
    max_seconds: float | None = None

    @property
    def plan(self) -> Plan:
        return Plan(self.samples, 40, self.checkpoint_every_samples, self.max_seconds, what="numbers")

    def decisive(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in ("samples", "max_seconds", "checkpoint_every_samples")}


def open_toy(data: Path, options: ToyOptions, devices, reporter) -> Training:
    if not (data / "numbers").is_dir():
        raise ToyError("no numbers")
    training = ToyTraining(poison=range(options.bad_from, 1000), poison_until_salt=1)
    reporter.log("toy: opened")

    def begin(place) -> Companions:
        (place.folder / f"begun-{place.input_ids['numbers'][:6]}").touch()

        def save(output: OutputFolder, outcome: Outcome) -> dict[str, float]:
            torch.save(training.model.state_dict(), output.file("weights.pt"))
            output.file("stats.jsonl").write_bytes(machine_free(place.stats))
            return {"parameters": 97_000, "seen": float(outcome.samples_seen)}

        return Companions(save, [Hook(160, lambda: {"look": 1.0})])

    return Training(training, begin)


JOB = Job("toy", "training.loop.job", ToyOptions, lambda data, options: {"numbers": data / "numbers"}, open_toy, budget="samples")


def main(argv: list[str] | None = None) -> int:
    return run_job(JOB, __doc__, argv, expected=(ToyError,))


if __name__ == "__main__":
    sys.exit(main())
