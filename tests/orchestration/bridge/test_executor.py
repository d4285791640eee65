import threading
import time
from collections.abc import Callable, Iterator

import dagster as dg
import psutil
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from orchestration.bridge.executor import cancel_event
from tests.orchestration.bridge import threaded_jobs

POOLS = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """A real one: SQLite files, as users have."""
    with dg.instance_for_test(temp_dir=str(tmp_path_factory.mktemp("dagster")), overrides=POOLS) as instance:
        yield instance


@pytest.fixture(scope="module")
def wide_run(instance: dg.DagsterInstance) -> Iterator[dg.JobExecutionResult]:
    with execute(threaded_jobs.wide, instance) as result:
        yield result


def execute(job: Callable[[], dg.JobDefinition], instance: dg.DagsterInstance, *, raise_on_error: bool = False) -> dg.JobExecutionResult:
    return dg.execute_job(dg.reconstructable(job), instance=instance, raise_on_error=raise_on_error)


def step_keys(result: dg.JobExecutionResult, event_type: dg.DagsterEventType) -> list[str]:
    return sorted(event.step_key or "" for event in result.all_events if event.event_type == event_type)


def test_twenty_steps_write_into_sqlite_at_once_and_nothing_is_lost(instance, wide_run):
    assert wide_run.success
    assert threaded_jobs.AT_ONCE["wide"] >= 15
    assert len(step_keys(wide_run, dg.DagsterEventType.STEP_SUCCESS)) == 21
    events = instance.all_logs(wide_run.run_id)
    lines = [event.user_message for event in events if event.user_message.startswith("line ")]
    assert sorted(lines) == sorted(f"line {line} of {number}" for line in range(5) for number in range(20))
    for number in range(20):
        event = instance.get_latest_materialization_event(dg.AssetKey(f"leaf_{number:02}"))
        assert event.asset_materialization.metadata["number"].value == number
        assert event.asset_materialization.tags["dagster/data_version"] == str(number)


def test_what_steps_print_at_the_same_time_is_kept_apart(instance, wide_run):
    manager = instance.compute_log_manager
    for number in range(20):
        key = manager.build_log_key_for_run(wide_run.run_id, f"leaf_{number:02}")
        assert manager.get_log_data_for_type(key, ComputeIOType.STDOUT)[0].decode() == f"printed by {number}\n" * 5
        assert manager.is_capture_complete(key)


def test_what_a_step_logs_is_in_its_stderr_and_in_no_other(instance, wide_run):
    manager = instance.compute_log_manager
    for number in range(20):
        key = manager.build_log_key_for_run(wide_run.run_id, f"leaf_{number:02}")
        said = manager.get_log_data_for_type(key, ComputeIOType.STDERR)[0].decode().splitlines()
        assert [line for line in said if line.startswith("line ")] == [f"line {line} of {number}" for line in range(5)]


def test_no_more_steps_run_at_once_than_configured(instance):
    with execute(threaded_jobs.narrow, instance) as result:
        assert result.success
    assert threaded_jobs.AT_ONCE["narrow"] == 2


def test_a_pool_bounds_its_steps_and_is_free_afterwards(instance):
    with execute(threaded_jobs.pooled, instance) as result:
        assert result.success
    assert threaded_jobs.AT_ONCE["pooled"] == 1
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0


def test_a_failure_stops_what_depends_on_it_and_nothing_else(instance):
    with execute(threaded_jobs.failing, instance) as result:
        assert not result.success
        assert step_keys(result, dg.DagsterEventType.STEP_FAILURE) == ["broken"]
        assert step_keys(result, dg.DagsterEventType.STEP_SUCCESS) == ["silent", "sound"]
        assert step_keys(result, dg.DagsterEventType.STEP_SKIPPED) == ["below_silent"]
    assert "broken on purpose" in str(result.failure_data_for_node("broken").error)


def test_the_error_of_a_step_is_raised_where_the_caller_asked_for_that(instance):
    with pytest.raises(ValueError, match="broken on purpose"):
        execute(threaded_jobs.failing, instance, raise_on_error=True)


def test_a_step_is_retried_by_its_policy(instance):
    with execute(threaded_jobs.retried, instance) as result:
        assert result.success
        assert step_keys(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == ["flaky"] * 2
        assert step_keys(result, dg.DagsterEventType.STEP_RESTARTED) == ["flaky"] * 2


def test_hooks_run(instance):
    with execute(threaded_jobs.hooked, instance) as result:
        assert result.success
        assert step_keys(result, dg.DagsterEventType.HOOK_COMPLETED) == ["work"]
    assert threaded_jobs.HOOKED == ["work"]


def test_coroutines_run_side_by_side(instance):
    with execute(threaded_jobs.asynchronous, instance) as result:
        assert result.success
    assert threaded_jobs.AT_ONCE["asynchronous"] == 2


def test_a_run_of_another_executor_has_an_event_that_is_never_set():
    assert not cancel_event("unknown").is_set()
    assert cancel_event("unknown") is not cancel_event("unknown")


def test_nothing_is_left_of_a_run_afterwards(instance):
    before = threading.active_count(), psutil.Process().num_fds()
    for _ in range(3):
        with execute(threaded_jobs.narrow, instance) as result:
            assert result.success
    assert threading.active_count() == before[0]
    assert psutil.Process().num_fds() <= before[1] + 3


def test_a_trivial_step_costs_little(instance):
    def cpu_seconds(job: Callable[[], dg.JobDefinition]) -> float:
        started = time.process_time()
        with execute(job, instance) as result:
            assert result.success
        return time.process_time() - started

    cpu_seconds(threaded_jobs.one_trivial)
    marginal_s = (cpu_seconds(threaded_jobs.many_trivial) - cpu_seconds(threaded_jobs.one_trivial)) / 20

    print(f"marginal CPU per trivial asset: {1000 * marginal_s:.1f} ms")
    # 60 ms is the aim; the bound is wider because others' work may share the processor's caches.
    assert marginal_s < 0.12
