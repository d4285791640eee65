"""A run whose worker has died does not stay "started": who works on a run is written into its tags, and this looks whether that one lives.

Dagster itself notices a dead worker only where the code server that started it still runs; after `kill -9` of a command-line run, or of everything,
the run would say "started", and hold its places in pools, for ever.
"""

import platform
import re
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.events import EngineEventData
from dagster._core.launcher import DefaultRunLauncher

from .project import Project

# Whoever executes the steps: host, boot, process number and start time, so that neither a reboot nor a reused number is taken for life.
# Dagster's pages do not show tags of this beginning: it is of no use to a reader.
WORKER_TAG = ".dagster/bridge_worker"
STARTING_TIMEOUT_S = 600.0
_IS_LINUX = sys.platform == "linux"

_BEGUN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_NOT_YET_BEGUN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]


def record_worker(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write into the run's tags that this process works on it."""
    instance.add_run_tags(run_id, {WORKER_TAG: worker_tag(psutil.Process().pid)})


def worker_tag(pid: int) -> str:
    """`<host>.<boot>.<pid>.<start>`: at most 63 characters of those that Dagster allows in tags. Raises psutil.NoSuchProcess."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:24] or "host"
    return f"{host}.{_boot()}.{pid}.{_start(pid)}"


def is_dead(tag: str) -> bool | None:
    """Whether the worker named by `tag` has ended; None if it ran on another machine, or the tag is not one of ours."""
    parts = tag.rsplit(".", maxsplit=3)
    if len(parts) != 4 or not parts[2].isdigit() or parts[0] != worker_tag(psutil.Process().pid).rsplit(".", maxsplit=3)[0]:
        return None
    pid = int(parts[2])
    try:
        return worker_tag(pid) != tag or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True


def reap_dead_runs(instance: dg.DagsterInstance, *, location: str | None = None, starting_timeout_s: float = STARTING_TIMEOUT_S) -> list[str]:
    """Mark runs nobody works on any more as failed (canceled, where that was asked) and free their places in pools; the ids of those runs.

    That is: begun runs whose recorded worker on this machine is dead, and runs that were to start but have no worker after
    `starting_timeout_s`. Runs in the queue wait for the daemon as long as they must and are left alone, as are workers of other machines.
    location: the code location whose runs are looked at; those of others, and with another run launcher those that start, are left to their owners.
    """
    reaped = [_reap_if_worker_died(instance, record) for record in _records(instance, _BEGUN, location)]
    # Another launcher may well take longer: an image is fetched, a cluster finds a place.
    if isinstance(instance.run_launcher, DefaultRunLauncher):
        reaped += [_reap_if_never_started(instance, record, starting_timeout_s) for record in _records(instance, _NOT_YET_BEGUN, location)]
    return [run_id for run_id in reaped if run_id]


def build_dead_run_sensor(project: Project) -> dg.SensorDefinition:
    """Looks after the runs of its own code location."""
    words = "Marks runs of this code location whose worker process has died as failed, and frees what they held."
    name, running = "_".join([*project.key_prefix, "dead_runs"]), dg.DefaultSensorStatus.RUNNING

    @dg.sensor(name=name, description=words, minimum_interval_seconds=30, default_status=running)
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Marks runs whose worker process has died as failed."""
        origin = context.code_location_origin
        reaped = reap_dead_runs(context.instance, location=origin.location_name if origin else None)
        return dg.SkipReason(f"marked as failed: {', '.join(reaped)}" if reaped else "every run in progress has a living worker")

    return dead_runs


def _records(instance: dg.DagsterInstance, statuses: list[dg.DagsterRunStatus], location: str | None) -> list[dg.RunRecord]:
    records = instance.get_run_records(dg.RunsFilter(statuses=statuses))
    return [record for record in records if location is None or _is_of(record.dagster_run, location)]


def _is_of(run: dg.DagsterRun, location: str) -> bool:
    """Whether the run is the location's. One that no server launched says nothing of that: it is, if an executor of ours works on it."""
    origin = run.remote_job_origin
    return origin.location_name == location if origin else WORKER_TAG in run.tags


def _reap_if_worker_died(instance: dg.DagsterInstance, record: dg.RunRecord) -> str | None:
    tag = record.dagster_run.tags.get(WORKER_TAG)
    if tag is None or not is_dead(tag):
        return None
    pid = tag.rsplit(".", maxsplit=2)[1]
    return _close(
        instance, record.dagster_run.run_id, f"The process that worked on this run (pid {pid}) has died without a word; it may have been killed."
    )


def _reap_if_never_started(instance: dg.DagsterInstance, record: dg.RunRecord, timeout_s: float) -> str | None:
    waited_s = time.time() - record.update_timestamp.timestamp()
    tag = record.dagster_run.tags.get(WORKER_TAG)
    if waited_s < timeout_s or (tag is not None and not is_dead(tag)):
        return None
    return _close(instance, record.dagster_run.run_id, f"No process has begun to work on this run within {waited_s:,.0f} s; launch it again.")


def _close(instance: dg.DagsterInstance, run_id: str, reason: str) -> str | None:
    # Read again: its worker, or another process like this one, may have closed the run since.
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return None
    instance.report_engine_event(reason, run, EngineEventData({"worker": dg.MetadataValue.text(run.tags.get(WORKER_TAG, "none"))}))
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message=reason)
    else:
        instance.report_run_failed(run, message=reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return run_id


def _boot() -> str:
    """Which start of the machine this is."""
    if _IS_LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return f"{int(psutil.boot_time()):x}"


def _start(pid: int) -> int:
    """When the process started: clock ticks since boot on Linux, which no change of the clock moves; elsewhere Unix seconds."""
    if _IS_LINUX:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])
    return int(psutil.Process(pid).create_time())
