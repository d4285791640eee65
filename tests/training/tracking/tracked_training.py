"""A training to be killed: 120 steps, a checkpoint every 10, a loss that only the step decides.

python tracked_training.py STATE_DIR [DIE_AFTER] [AT_CALL]: dies by SIGKILL right after the AT_CALL-th `DIE_AFTER` (`step`, or a call of MLflow's
`log_batch` or `create_run`) was carried out, which for the calls is after MLflow has the data and before the tracker has noted it.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.reporting import Reporter
from training.tracking import sender as tracking_sender
from training.tracking.tracker import open_tracker

STEPS = 120


def main() -> None:
    # A shell's background job hands down ignored signals, which a program rightly goes on ignoring; a test that sends them wants them heard.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    state_dir = Path(sys.argv[1])
    die_after, at_call = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else ("", 0)
    tracking_sender._SEND_EVERY_S = 0.02
    if die_after in ("log_batch", "create_run", "set_terminated"):
        from mlflow import MlflowClient

        setattr(MlflowClient, die_after, _deadly(getattr(MlflowClient, die_after), at_call))
    checkpoint = state_dir / "checkpoint"
    resume_step = int(checkpoint.read_text()) if checkpoint.exists() else None
    first = 0 if resume_step is None else resume_step + 1
    with open_tracker(
        "toy",
        run_key=os.environ.get("TOY_KEY", "feedbeef"),
        config={"a": 1},
        inputs=[],
        state_dir=state_dir,
        resume_step=resume_step,
        reporter=Reporter(),
    ) as tracker:
        for step in range(first, STEPS):
            tracker.metrics(step, {"loss": 1 / (step + 1)})
            if die_after == "step" and step == first + at_call:
                os.kill(os.getpid(), signal.SIGKILL)
            if step % 10 == 9:
                _write(checkpoint, str(step))
            # MLflow takes seconds to start: wait for it, or a busy machine would be through before any death above.
            while step == first + 15 and tracker.run_id is None and os.environ.get("FIGMENT_TRACK") != "jsonl":
                time.sleep(0.01)
            time.sleep(0.01)
        if die_after == "wait":
            print("waiting", flush=True)
            time.sleep(600)


def _deadly(original: Callable[..., Any], at_call: int) -> Callable[..., Any]:
    calls = iter(range(1, at_call + 1))

    def then_dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        if next(calls, 0) == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return then_dies


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    main()
