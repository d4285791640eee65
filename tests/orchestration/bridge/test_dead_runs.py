import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from orchestration.bridge.dead_runs import WORKER_TAG, build_dead_run_sensor, is_dead, reap_dead_runs, worker_tag
from orchestration.bridge.project import Project
from orchestration.bridge.survivors import is_running
from tests.orchestration.bridge import threaded_jobs
from tests.orchestration.bridge.test_process import wait_until

ROOT = Path(__file__).parents[3]
POOLS = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
RUN_PROGRAM = """
import sys
import dagster as dg
from dagster._utils.interrupts import capture_interrupts
from tests.orchestration.bridge import threaded_jobs
with capture_interrupts(), dg.DagsterInstance.get() as instance:
    dg.execute_job(dg.reconstructable(getattr(threaded_jobs, sys.argv[1])), instance=instance)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=POOLS, set_dagster_home=True) as instance:
        yield instance


@pytest.fixture
def worker(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[Callable[[Callable], tuple[subprocess.Popen, list[int]]]]:
    """Starts a run of a job in a second process; that process, and the numbers of those it started."""
    started: list[subprocess.Popen] = []

    def start(job: Callable[[], dg.JobDefinition]) -> tuple[subprocess.Popen, list[int]]:
        pids = tmp_path / "pids"
        environment = {**os.environ, "DAGSTER_HOME": str(tmp_path), "PIDS": str(pids)}
        with open(tmp_path / "output", "wb") as output:
            arguments = [sys.executable, "-c", RUN_PROGRAM, job.__name__]
            started.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True))
        wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, timeout_s=60)
        return started[-1], [int(pid) for pid in pids.read_text().split()]

    yield start
    for process in started:
        process.kill()
        process.wait()


def only_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    (run,) = instance.get_runs()
    return run


def engine_messages(instance: dg.DagsterInstance, run_id: str) -> str:
    return "\n".join(record.message for record in instance.all_logs(run_id))


def test_a_killed_worker_leaves_no_process_and_its_run_fails(instance, worker):
    process, pids = worker(threaded_jobs.commanding)
    run = only_run(instance)
    assert run.status == dg.DagsterRunStatus.STARTED
    assert run.tags[WORKER_TAG] == worker_tag(process.pid)
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 1
    assert reap_dead_runs(instance) == []

    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, pids)))

    assert reap_dead_runs(instance) == [run.run_id]
    assert only_run(instance).status == dg.DagsterRunStatus.FAILURE
    assert f"The process that worked on this run (pid {process.pid}) has died" in engine_messages(instance, run.run_id)
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
    assert reap_dead_runs(instance) == []


def test_a_killed_worker_of_a_run_that_was_being_canceled_makes_it_canceled(instance, worker):
    process, _ = worker(threaded_jobs.commanding)
    instance.report_run_canceling(only_run(instance))

    process.kill()
    process.wait()

    assert reap_dead_runs(instance) == [only_run(instance).run_id]
    assert only_run(instance).status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_run_ends_its_commands_and_is_canceled(instance, worker, number):
    process, pids = worker(threaded_jobs.commanding)
    instance.report_run_canceling(only_run(instance))

    process.send_signal(number)
    process.wait(timeout=30)

    assert not any(map(is_running, pids))
    assert only_run(instance).status == dg.DagsterRunStatus.CANCELED
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0


def test_a_step_that_does_not_look_at_its_cancel_event_is_interrupted(instance, worker):
    process, _ = worker(threaded_jobs.stubborn)
    instance.report_run_canceling(only_run(instance))

    process.terminate()
    process.wait(timeout=30)

    assert only_run(instance).status == dg.DagsterRunStatus.CANCELED
    assert "DagsterExecutionInterruptedError" in engine_messages(instance, only_run(instance).run_id) + str(
        instance.all_logs(only_run(instance).run_id)
    )


def test_a_step_that_hangs_in_foreign_code_is_left_behind(instance, worker):
    process, _ = worker(threaded_jobs.hanging)
    instance.report_run_canceling(only_run(instance))

    process.terminate()
    process.wait(timeout=30)

    assert only_run(instance).status == dg.DagsterRunStatus.CANCELED
    assert "it is left behind" in str(instance.all_logs(only_run(instance).run_id))


def run_in(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return instance.create_run_for_job(threaded_jobs.narrow(), status=status)


def test_a_run_that_never_starts_fails_after_a_while(instance):
    run = run_in(instance, dg.DagsterRunStatus.STARTING)

    assert reap_dead_runs(instance) == []
    time.sleep(0.05)
    assert reap_dead_runs(instance, starting_timeout_s=0.01) == [run.run_id]
    assert "No process has begun to work on this run" in engine_messages(instance, run.run_id)


def test_a_run_in_the_queue_waits_as_long_as_it_must(instance):
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("location"), "repository")
    run = dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.QUEUED, remote_job_origin=RemoteJobOrigin(repository, "job"))
    instance.add_run(run)
    assert only_run(instance).status == dg.DagsterRunStatus.QUEUED

    assert reap_dead_runs(instance, starting_timeout_s=0.0) == []


@pytest.mark.parametrize("tag", ["elsewhere.0a1b2c3d.1.1", "no tag of ours", "a.b.c.d"])
def test_a_worker_of_another_machine_is_not_judged(instance, tag):
    run = run_in(instance, dg.DagsterRunStatus.STARTED)
    instance.add_run_tags(run.run_id, {WORKER_TAG: tag})

    assert reap_dead_runs(instance) == []


def test_a_reused_process_number_and_a_reboot_are_no_life():
    host, boot, pid, start = worker_tag(os.getpid()).rsplit(".", maxsplit=3)

    assert is_dead(f"{host}.{boot}.{pid}.{start}") is False
    assert is_dead(f"{host}.{boot}.{pid}.{int(start) - 1}") is True
    assert is_dead(f"{host}.ffffffff.{pid}.{start}") is True
    assert is_dead(f"{host}.{boot}.{max(psutil.pids()) + 10_000}.{start}") is True


def test_the_tag_is_one_that_dagster_allows():
    tag = worker_tag(os.getpid())

    assert len(tag) <= 63
    assert set(tag) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def test_the_sensor_says_what_it_did(instance, tmp_path):
    run = run_in(instance, dg.DagsterRunStatus.STARTED)
    host, boot, pid, start = worker_tag(os.getpid()).rsplit(".", maxsplit=3)
    instance.add_run_tags(run.run_id, {WORKER_TAG: f"{host}.{boot}.{pid}.{int(start) - 1}"})

    sensor = build_dead_run_sensor(Project(tmp_path))
    said = [sensor(dg.build_sensor_context(instance=instance)).skip_message for _ in range(2)]

    assert said == [f"marked as failed: {run.run_id}", "every run in progress has a living worker"]
