"""Jobs on a Slurm cluster whose nodes see the project's folder: queued by sbatch, followed by what they write, found again by whoever comes later.

A stage has one folder, `.figment/slurm/<stage>/`: `job.json` says what runs, `stdout` and `stderr` are what it prints, `outcome.json` is how it ended
(written by on_node.py beside the command). Slurm itself remembers which stage a job makes (its name) and from what (its comment), so that nothing
written here has to be believed: a restarted Dagster, `dvc repro` or a second `figment materialize` finds the job that runs and follows it instead of
starting another.
"""

import contextlib
import dataclasses
import hashlib
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestration.bridge.process import LineReader, Outcome, Stream
from orchestration.launch.compute import COMPUTE_FILE, Compute
from orchestration.launch.jobs import Job, LaunchError
from orchestration.launch.slurm_commands import ControllerSilent, SlurmJob, cancel, job_of, living_jobs, queue_position, release, submit
from stages.files import write_file_atomically

_PACKAGES = Path(__file__).parents[2]
_READ_S = 0.25
_ASK_S = 2.0
# How long a shared file system may take to show what a node has written before the job ended.
_SETTLE_S = 5.0
_NOT_SEEN = 96
_NOT_STARTED = "launch_failed_requeued_held"
_MOST_RELEASES = 5
# Why a job waits that will wait for ever.
_HOPELESS = (
    *("AccountNotAllowed", "BadConstraints", "InvalidAccount", "InvalidQOS", "PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit"),
    *("QOSNotAllowed", _NOT_STARTED),
)
_WORDS = {
    "OUT_OF_MEMORY": "ran out of memory on {nodes}: raise `slurm: {{memory: …}}` in compute.yaml, or make its batch smaller",
    "TIMEOUT": "reached its time limit on {nodes} before it could end in order: raise `slurm: {{time: …}}`, or `grace_s`, in compute.yaml",
    "NODE_FAIL": "was lost with its node {nodes}, and the cluster does not queue such jobs again; materialize it again",
    "CANCELLED": "was cancelled with scancel, by a user or an administrator",
    "PREEMPTED": "had to make room for another job, and the cluster does not queue such jobs again; materialize it again",
    "DEADLINE": "could not end before its deadline",
    "BOOT_FAIL": "got a node that did not start ({nodes}); materialize it again",
    "GONE": "is not known to Slurm any more, and left no outcome: look into `sacct -j {id}`; materialize it again",
}


class SlurmLauncher:
    """Jobs by sbatch. state: the project's folder for such things, on the file system that the nodes share."""

    def __init__(self, compute: Compute, root: Path, state: Path) -> None:
        self._compute = compute
        self._root = root
        self._state = state

    def __call__(self, job: Job, *, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Outcome:
        folder = job_folder(self._state, job.stage)
        made_from = job.hold.made_from or _digest(job.cmd)
        started = time.monotonic()
        running = self._end_others(job.stage, made_from, on_output)
        if running is not None:
            on_output("stderr", f"slurm: following job {running.id}, which makes this already ({_whereabouts(running)})")
        elif outcome_of(folder, made_from) is not None:
            on_output("stderr", "slurm: the job has ended while nobody looked; taking its outcome")
        else:
            running = SlurmJob(self._submit(job, folder, made_from), "PENDING")
            on_output("stderr", f"slurm: queued as job {running.id}")
        # Whatever ends this process but a wish to end the job leaves the job alone.
        wanted = self._compute.of(job.stage)
        outcome = _Following(folder, made_from, running, on_output, is_cancelled, grace_s=wanted.grace_s).to_the_end()
        (folder / "outcome.json").unlink(missing_ok=True)
        return dataclasses.replace(outcome, seconds=time.monotonic() - started)

    def is_under_way(self, stage: str, made_from: str) -> bool:
        folder = job_folder(self._state, stage)
        return outcome_of(folder, made_from) is not None or any(job.comment == made_from for job in living_jobs(job_name(self._root, stage)))

    def start_anew(self, stage: str, on_output: Callable[[str, str], None]) -> None:
        """End whatever job makes the stage, and forget how one has ended: its output has been removed meanwhile."""
        self._end_others(stage, "", on_output)
        (job_folder(self._state, stage) / "outcome.json").unlink(missing_ok=True)

    def _end_others(self, stage: str, made_from: str, on_output: Callable[[str, str], None]) -> SlurmJob | None:
        """The job that makes this, if there is one; what makes the stage from something else is ended first, since both would write one output."""
        found = None
        for job in living_jobs(job_name(self._root, stage)):
            if job.comment == made_from and found is None:
                found = job
                continue
            on_output("stderr", f"slurm: ending job {job.id}, which makes {stage} from inputs, or into an output, that are gone")
            end_in_order(job_folder(self._state, stage), job)
            overdue = time.monotonic() + self._compute.of(stage).grace_s + _SETTLE_S
            while not job_of(job.id).has_ended:
                if time.monotonic() > overdue:
                    cancel(job.id)
                time.sleep(_READ_S)
        return found

    def _submit(self, job: Job, folder: Path, made_from: str) -> str:
        wanted = self._compute.of(job.stage)
        asked = wanted.slurm
        gpus = self._compute.gpus_of(job.stage, job.pool)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        processes = wanted.processes or max(1, gpus)
        about = {
            "stage": job.stage,
            "cmd": [line for line in job.cmd if line.strip()],
            "cwd": str(job.cwd),
            "made_from": made_from,
            "grace_s": wanted.grace_s,
            "requeues": asked.requeues,
            "nodes": asked.nodes,
            "processes": processes if asked.nodes > 1 or processes > 1 else 0,
        }
        write_file_atomically(folder / "job.json", json.dumps(about, indent=1).encode())
        (folder / "job.sh").write_text(_script(folder, made_from), encoding="utf-8")
        options = {
            "job-name": job_name(self._root, job.stage),
            "comment": made_from,
            "chdir": str(self._root),
            # sbatch replaces %x and the like in names of files.
            "output": str(folder / "stdout").replace("%", "%%"),
            "error": str(folder / "stderr").replace("%", "%%"),
            "open-mode": "append",
            "partition": asked.partition,
            "account": asked.account,
            "qos": asked.qos,
            "time": asked.time,
            "gres": asked.gres or (f"gpu:{gpus}" if gpus else None),
            "mem": asked.memory,
            "nodes": str(asked.nodes),
            "ntasks-per-node": "1",
            "cpus-per-task": asked.cpus and str(asked.cpus),
            # Slurm sends signals up to a minute late: the command must have ended, and the job be queued again, before the limit.
            "signal": f"B:USR1@{round(wanted.grace_s) + 60}" if asked.time else None,
        }
        words = [f"--{name}={value}" for name, value in options.items() if value]
        threads = {name: str(wanted.threads) for name in ("OMP_NUM_THREADS", "FIGMENT_THREADS") if wanted.threads is not None}
        return submit(folder / "job.sh", [*words, "--requeue", *asked.options], {**job.env, **threads, **wanted.env}, self._root)


def job_folder(state: Path, stage: str) -> Path:
    """Where the stage's job keeps what it prints and how it ended."""
    return state / "slurm" / quote(stage, safe="@")


def job_name(root: Path, stage: str) -> str:
    """What Slurm calls the stage's job: two checkouts of one project do not take each other's jobs for their own."""
    return f"{job_prefix(root)}{stage}"


def job_prefix(root: Path) -> str:
    """How the names of all of a project's jobs begin."""
    return f"figment-{_digest([str(root.resolve())])[:8]}-"


def end_in_order(folder: Path, job: SlurmJob) -> None:
    """Tell the job's command to end, so that a training writes its checkpoint; one that waits leaves the queue."""
    # on_node.py must know this from a preemption, after which the job would run again.
    (folder / "cancel").touch()
    cancel(job.id, batch_signal="TERM" if job.state == "RUNNING" else None)


def read_about(folder: Path) -> dict[str, Any]:
    """What job.json says."""
    about: dict[str, Any] = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    return about


class _Following:
    """One job, from wherever it is to its end."""

    def __init__(
        self,
        folder: Path,
        made_from: str,
        job: SlurmJob | None,
        on_output: Callable[[str, str], None],
        is_cancelled: Callable[[], bool],
        *,
        grace_s: float,
    ) -> None:
        self._folder = folder
        self._made_from = made_from
        self._job = job
        self._on_output = on_output
        self._is_cancelled = is_cancelled
        self._grace_s = grace_s
        self._logs: dict[Stream, Log] = {"stdout": Log(folder / "stdout"), "stderr": Log(folder / "stderr")}
        self._told = ""
        self._releases = 0
        self._cancelled_at: float | None = None

    def to_the_end(self) -> Outcome:
        ask_at = ended_at = 0.0
        while True:
            self._hand_on()
            if (found := outcome_of(self._folder, self._made_from)) is not None:
                self._hand_on(last=True)
                return self._of_node(found)
            now = time.monotonic()
            if now >= ask_at and self._job is not None:
                ask_at = now + _ASK_S
                self._ask()
            if self._job is None or self._job.has_ended:
                ended_at = ended_at or now
                if now - ended_at > _SETTLE_S or self._cancelled_at is not None:
                    self._hand_on(last=True)
                    return self._without_word()
            else:
                ended_at = 0.0
                self._end_if_asked(now)
            time.sleep(_READ_S)

    def _hand_on(self, *, last: bool = False) -> None:
        for stream, log in self._logs.items():
            for line in log.lines(last=last):
                self._on_output(stream, line)

    def _ask(self) -> None:
        """Where the job is now, said when it has moved. While the controller does not answer, what the job writes is seen all the same."""
        assert self._job is not None
        try:
            self._job = job_of(self._job.id)
            words = f"job {self._job.id} {_whereabouts(self._job)}"
            if self._job.state == "PENDING" and (place := queue_position(self._job.id)):
                words += f", number {place} in the queue"
            if self._job.state == "PENDING" and self._job.reason == _NOT_STARTED and self._releases < _MOST_RELEASES:
                # A node could not start it (its daemon had just come back, or its prolog failed), and Slurm holds it until somebody says otherwise.
                self._releases += 1
                words += "; a node could not start it, so it is released to be tried again"
                release(self._job.id)
            elif self._job.state == "PENDING" and self._job.reason in _HOPELESS:
                cancel(self._job.id)
                raise LaunchError(
                    f"slurm: job {self._job.id} would wait for ever ({self._job.reason}) and was taken out of the queue: the partition, account or "
                    f"nodes that `slurm:` of the stage names in {COMPUTE_FILE} do not give what it asks for (`sinfo` shows what there is)"
                )
        except ControllerSilent as error:
            words = f"the controller does not answer ({error}); job {self._job.id} goes on, asking again"
        if words != self._told:
            self._told = words
            self._on_output("stderr", f"slurm: {words}")

    def _end_if_asked(self, now: float) -> None:
        assert self._job is not None
        if self._cancelled_at is None and self._is_cancelled():
            self._cancelled_at = now
            with contextlib.suppress(ControllerSilent):
                end_in_order(self._folder, self._job)
        elif self._cancelled_at is not None and now - self._cancelled_at > self._grace_s + _SETTLE_S:
            with contextlib.suppress(ControllerSilent):
                cancel(self._job.id)
            self._cancelled_at = now

    def _of_node(self, found: Mapping[str, Any]) -> Outcome:
        return Outcome(
            returncode=found["returncode"],
            signal=found["signal"],
            cancelled=self._cancelled_at is not None,
            stdout_tail=self._logs["stdout"].reader.tail(),
            stderr_tail=self._logs["stderr"].reader.tail(),
            seconds=0.0,
            peak_rss_bytes=found["peak_rss_bytes"],
            cpu_seconds=found["cpu_seconds"],
            leftovers=found["leftovers"],
        )

    def _without_word(self) -> Outcome:
        """The job has ended and on_node.py has not said how: Slurm's word is the last one."""
        job = self._job or SlurmJob("?", "GONE")
        code, _, number = job.exit.partition(":")
        status, by_signal = int(code or 0), int(number or 0)
        if (status == _NOT_SEEN or by_signal == 53) and job.state == "FAILED":
            words = f"did not find {self._folder} on {job.nodes}: the project must lie on a file system that all nodes see, under the same path"
        else:
            words = _WORDS.get(job.state, "ended in state {state} with exit code {exit}").format(**dataclasses.asdict(job))
        words = f"slurm: job {job.id} {words}"
        self._on_output("stderr", words)
        tail = "\n".join(filter(None, [self._logs["stderr"].reader.tail(), words]))
        returncode = status or (128 + by_signal if by_signal else 1)
        return Outcome(returncode, None, self._cancelled_at is not None, self._logs["stdout"].reader.tail(), tail, 0.0, None, None, 0)


class Log:
    """A growing file, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.reader = LineReader()

    def lines(self, *, last: bool = False) -> list[str]:
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                grown = stream.read()
        except FileNotFoundError:
            grown = b""
        self._offset += len(grown)
        return [*self.reader.feed(grown), *(self.reader.close() if last else [])]


def outcome_of(folder: Path, made_from: str) -> dict[str, Any] | None:
    """How the job ended, if it has and was made from that."""
    try:
        found: dict[str, Any] = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found if found.get("made_from") == made_from else None


def _whereabouts(job: SlurmJob) -> str:
    if job.state == "PENDING":
        return f"waits ({job.reason})" if job.reason not in ("", "None") else "waits"
    return f"is {job.state.lower().replace('_', ' ')}" + (f" on {job.nodes}" if job.nodes else "")


def _script(folder: Path, made_from: str) -> str:
    """What sbatch is given. Before anything long starts it sees to it that the node has the project and this Python."""
    there, python = shlex.quote(str(folder)), shlex.quote(sys.executable)
    return f"""\
#!/bin/sh
if ! grep -qs {made_from} {there}/job.json; then
  echo "figment: node $(hostname) does not see" {there} >&2
  exit {_NOT_SEEN}
fi
if ! [ -x {python} ]; then
  echo "figment: node $(hostname) has no" {python}"; put the environment on the shared file system, or install it there as well" >&2
  exit 97
fi
PYTHONPATH={shlex.quote(str(_PACKAGES))}${{PYTHONPATH:+:$PYTHONPATH}} exec {python} -m orchestration.launch.on_node {there}
"""


def _digest(words: Any) -> str:
    return hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()[:32]
