"""Slurm's own commands (sbatch, squeue, scontrol, scancel), asked and understood. Tried with Slurm 22.05."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.launch.jobs import LaunchError
from stages.near_misses import did_you_mean

_TIMEOUT_S = 15.0
# A job in one of these will not run again; all others are waiting, running, or about to (COMPLETING, REQUEUED, SUSPENDED, …).
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT", "GONE"}
)
_SILENCE = ("Unable to contact slurm controller", "Connection refused", "Socket timed out", "Zero Bytes were transmitted")
_FIELD = re.compile(r"(?:^|\s)([A-Za-z][\w/:]*)=(.*?)(?=\s[A-Za-z][\w/:]*=|$)")


class ControllerSilent(LaunchError):
    """Slurm's controller does not answer: nothing is known of its jobs for now."""


@dataclass(frozen=True)
class SlurmJob:
    """A job as `squeue` or `scontrol` tells of it. comment: what it was submitted with; exit: Slurm's `code:signal`."""

    id: str
    state: str
    name: str = ""
    comment: str = ""
    reason: str = ""
    nodes: str = ""
    exit: str = "0:0"
    elapsed: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def submit(script: Path, options: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    """Queue `script`; the job's number. Raises LaunchError in Slurm's words, with what there is where a name was wrong."""
    try:
        return _ask(["sbatch", "--parsable", *options, str(script)], env=env, cwd=cwd).strip().partition(";")[0]
    except ControllerSilent:
        raise
    except LaunchError as error:
        raise LaunchError(f"{error}{_remedy(str(error), options)}") from None


def living_jobs(name: str = "") -> list[SlurmJob]:
    """This user's jobs that have not ended, in the order of their numbers; only those of that name, if one is given."""
    listing = _ask(["squeue", "--noheader", "--me", "--format=%i\t%T\t%j\t%k\t%r\t%N\t%M", *([f"--name={name}"] if name else [])])
    return [SlurmJob(id, state, job, comment, reason, nodes, elapsed=elapsed) for id, state, job, comment, reason, nodes, elapsed in _rows(listing)]


def job_of(id: str) -> SlurmJob:
    """The job as it is now; of one that the controller has forgotten the state is GONE."""
    try:
        shown = _ask(["scontrol", "--oneliner", "show", "job", id])
    except ControllerSilent:
        raise
    except LaunchError as error:
        if "Invalid job id" in str(error):
            return SlurmJob(id, "GONE")
        raise
    of = dict(_FIELD.findall(shown))
    nodes = of.get("NodeList", "")
    return SlurmJob(
        id,
        of.get("JobState", "?"),
        of.get("JobName", ""),
        of.get("Comment", ""),
        of.get("Reason", ""),
        "" if nodes == "(null)" else nodes,
        of.get("ExitCode", "0:0"),
        of.get("RunTime", ""),
    )


def queue_position(id: str) -> int | None:
    """The job's place among those that wait in its partition, counted from 1 by priority; None once it does not wait."""
    waiting = _rows(_ask(["squeue", "--noheader", "--states=PENDING", "--priority", "--sort=-p,i", "--format=%i\t%P"]))
    partition = next((row[1] for row in waiting if row[0] == id), None)
    places = [row[0] for row in waiting if row[1] == partition]
    return places.index(id) + 1 if partition else None


def cancel(id: str, *, batch_signal: str | None = None) -> None:
    """End the job; with a signal only tell its batch script."""
    try:
        _ask(["scancel", *(["--batch", f"--signal={batch_signal}"] if batch_signal else []), id])
    except ControllerSilent:
        raise
    except LaunchError as error:
        # It ended by itself a moment before.
        if not any(word in str(error) for word in ("Invalid job id", "already completing", "already completed")):
            raise


def release(id: str) -> None:
    """Let a held job wait with the others again."""
    _ask(["scontrol", "release", id])


def _ask(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    program = shutil.which(command[0], path=env.get("PATH") if env else None)
    if program is None:
        raise LaunchError(f"{command[0]} is not on the PATH; run this on a login node, or set another `launcher` in compute.yaml")
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=env, cwd=cwd)
    except subprocess.TimeoutExpired:
        raise ControllerSilent(f"{command[0]} did not answer within {_TIMEOUT_S:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    words = " ".join((done.stderr or done.stdout).split())
    raise (ControllerSilent if any(word in words for word in _SILENCE) else LaunchError)(
        f"{command[0]}: {words or f'ended with status {done.returncode}'}"
    )


def _rows(listing: str) -> list[list[str]]:
    return [line.split("\t") for line in listing.splitlines() if line.strip()]


def _remedy(words: str, options: Sequence[str]) -> str:
    """What there is instead of the name that Slurm did not take."""
    if "invalid partition" in words.lower():
        there = sorted({row[0].rstrip("*") for row in _rows(_ask(["sinfo", "--noheader", "--format=%P"]))})
        given = next((option.partition("=")[2] for option in options if option.startswith("--partition=")), "")
        return f"{did_you_mean(given, there)}; partitions here: {', '.join(there)}; set `slurm: {{partition: …}}` in compute.yaml"
    if "account" in words.lower():
        return "; set `slurm: {account: …}` in compute.yaml to one of yours (`sacctmgr show associations user=$USER`)"
    return "; see `slurm:` of the stage in compute.yaml"
