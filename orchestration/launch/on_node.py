"""What a Slurm job runs on its (first) node: the stage's command under the supervisor, and how it ended as a file beside its logs.

    python -m orchestration.launch.on_node FOLDER

SIGUSR1 comes before the job's time limit: the command is told to end, a training writes its checkpoint, and the job is queued again. SIGTERM with a
file `cancel` beside the logs is the wish of whoever follows the job; without one it is a preemption or an administrator: what becomes of the job is
then Slurm's affair, and nothing is said of how it ended.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from orchestration.bridge.process import Hold, Outcome, run_command
from orchestration.launch.jobs import torchrun_command
from orchestration.launch.slurm import outcome_of, read_about
from stages.files import write_file_atomically
from stages.locks import take_lock
from stages.ports import free_port

_POLL_S = 0.5


def main(argv: list[str]) -> int:
    folder = Path(argv[0])
    about = read_about(folder)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, _: asked.append(number))
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if restarts:
        _say(f"slurm: job {os.environ['SLURM_JOB_ID']} runs for the {restarts + 1}. time, now on {socket.gethostname()}")
    alone = _only_one(folder)
    if (found := outcome_of(folder, about["made_from"])) is not None:
        return int(found["returncode"])
    commands = [_distributed(line, about["processes"], about["nodes"]) for line in about["cmd"]] if about["processes"] else about["cmd"]
    outcome = run_command(
        commands,
        cwd=Path(about["cwd"]),
        env=os.environ,
        on_output=lambda stream, line: print(line, file=sys.stderr if stream == "stderr" else sys.stdout, flush=True),
        cancelled=lambda: bool(asked),
        grace_s=about["grace_s"],
        hold=Hold(descriptors=(alone,)),
    )
    is_cancelled = (folder / "cancel").exists()
    if asked and not is_cancelled and outcome.returncode != 0:
        if signal.SIGUSR1 in asked and _queue_again(restarts, about["requeues"]):
            return outcome.returncode
        if signal.SIGUSR1 not in asked:
            return outcome.returncode
    _write(folder, about["made_from"], outcome)
    return outcome.returncode


def _only_one(folder: Path) -> int:
    """The right to run the command, as an open lock that the last of its processes gives back.

    A node that was silent for too long is lost for Slurm, which starts the job a second time; what runs there may live nevertheless.
    """
    told = False
    while (lock := take_lock(folder / "node.lock")) is None:
        if not told:
            _say("slurm: an earlier life of this job, which Slurm has given up, goes on; waiting for its end")
            told = True
        time.sleep(_POLL_S)
    return lock


def _queue_again(restarts: int, most: int) -> bool:
    job = os.environ["SLURM_JOB_ID"]
    if restarts >= most:
        _say(f"slurm: the time limit has ended job {job} {restarts + 1} times (`slurm: {{requeues: {most}}}` in compute.yaml); not queued again")
        return False
    _say(f"slurm: the time limit of job {job} is near; ended in order and queued again")
    return subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0


def _distributed(line: str, processes: int, nodes: int) -> str:
    """The command under torchrun on this node, or started by srun on each: they meet at this node, the first of the job."""
    if nodes == 1:
        return torchrun_command(line, processes)
    meeting = f"--nnodes {nodes} --rdzv-backend c10d --rdzv-id {os.environ['SLURM_JOB_ID']} --rdzv-endpoint {socket.gethostname()}:{free_port()}"
    return f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --kill-on-bad-exit=1 {torchrun_command(line, processes, meeting=meeting)}"


def _write(folder: Path, made_from: str, outcome: Outcome) -> None:
    kept = {name: value for name, value in dataclasses.asdict(outcome).items() if not name.endswith("_tail")}
    write_file_atomically(folder / "outcome.json", json.dumps({"made_from": made_from, "node": socket.gethostname(), **kept}).encode())


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
