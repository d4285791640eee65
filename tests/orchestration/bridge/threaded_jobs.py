"""Jobs for the tests of the threaded executor, importable by a second process."""

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import dagster as dg

from orchestration.bridge.executor import cancel_event, threaded_executor
from orchestration.bridge.process import run_command

AT_ONCE = Counter()
_LOCK = threading.Lock()


class _Presence:
    """Counts how many steps are inside at once: AT_ONCE[name] is the most there ever were."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        with _LOCK:
            AT_ONCE[f"now {self.name}"] += 1
            AT_ONCE[self.name] = max(AT_ONCE[self.name], AT_ONCE[f"now {self.name}"])

    def __exit__(self, *_: object) -> None:
        with _LOCK:
            AT_ONCE[f"now {self.name}"] -= 1


def job_of(assets: list, **settings) -> dg.JobDefinition:
    executor = threaded_executor.configured(settings) if settings else threaded_executor
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("job", "*")], executor=executor).resolve_job_def("job")


def wide() -> dg.JobDefinition:
    """20 independent assets that all write many events at the same time, and one that depends on all."""

    def leaf(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"leaf_{number:02}", tags={"kind": "leaf"})
        def compute(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            with _Presence("wide"):
                for line in range(5):
                    context.log.info("line %d of %d", line, number)
                    print(f"printed by {number}")
                time.sleep(0.1)
            return dg.MaterializeResult(metadata={"number": number}, data_version=dg.DataVersion(str(number)))

        return compute

    leaves = [leaf(number) for number in range(20)]

    @dg.asset(deps=leaves)
    def root() -> None:
        assert AT_ONCE["now wide"] == 0

    return job_of([*leaves, root], max_concurrent=20)


def narrow() -> dg.JobDefinition:
    """Six assets, two at once."""

    def leaf(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"leaf_{number}")
        def compute() -> None:
            with _Presence("narrow"):
                time.sleep(0.05)

        return compute

    return job_of([leaf(number) for number in range(6)], max_concurrent=2)


def pooled() -> dg.JobDefinition:
    """Three assets of one pool and one of none."""

    def leaf(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"leaf_{number}", pool="gpu")
        def compute() -> None:
            with _Presence("pooled"):
                time.sleep(0.05)

        return compute

    @dg.asset
    def free() -> None:
        pass

    return job_of([*(leaf(number) for number in range(3)), free], max_concurrent=4)


def failing() -> dg.JobDefinition:
    """One asset fails, what depends on it is not run, what does not is; another says no to its dependant."""

    @dg.asset
    def broken() -> None:
        raise ValueError("broken on purpose")

    @dg.asset(deps=[broken])
    def below_broken() -> None:
        raise AssertionError("must not run")

    @dg.asset
    def sound() -> None:
        pass

    @dg.asset(output_required=False)
    def silent():
        return
        yield

    @dg.asset(deps=[silent])
    def below_silent() -> None:
        raise AssertionError("must not run")

    return job_of([broken, below_broken, sound, silent, below_silent])


def retried() -> dg.JobDefinition:
    """Succeeds at the third attempt."""

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=3, delay=0.05))
    def flaky(context: dg.AssetExecutionContext) -> None:
        if context.retry_number < 2:
            raise ValueError(f"attempt {context.retry_number}")

    return job_of([flaky])


HOOKED: list[str] = []


def hooked() -> dg.JobDefinition:
    @dg.success_hook
    def remember(context: dg.HookContext) -> None:
        HOOKED.append(context.op.name)

    @dg.op
    def work() -> None:
        pass

    @dg.job(executor_def=threaded_executor, hooks={remember})
    def job() -> None:
        work()

    return job


def asynchronous() -> dg.JobDefinition:
    """Two coroutines at once: each thread has its own event loop."""

    def leaf(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"leaf_{number}")
        async def compute() -> int:
            import asyncio

            with _Presence("asynchronous"):
                await asyncio.sleep(0.2)
            return number

        return compute

    return job_of([leaf(1), leaf(2)], max_concurrent=2)


def _trivial(count: int) -> dg.JobDefinition:
    def leaf(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"leaf_{number:02}")
        def compute() -> dg.MaterializeResult:
            return dg.MaterializeResult()

        return compute

    return job_of([leaf(number) for number in range(count)])


def one_trivial() -> dg.JobDefinition:
    return _trivial(1)


def many_trivial() -> dg.JobDefinition:
    """To measure what a step costs."""
    return _trivial(21)


def commanding() -> dg.JobDefinition:
    """Runs a command that writes the numbers of its processes into $PIDS and stays."""

    @dg.asset(pool="gpu")
    def stage(context: dg.AssetExecutionContext) -> None:
        command = "setsid sh -c 'echo $$ >> $PIDS; exec sleep 300' & echo $$ >> $PIDS; sleep 300"
        outcome = run_command(
            command,
            cwd=Path.cwd(),
            env=os.environ,
            on_output=lambda stream, line: print(line, file=sys.stderr if stream == "stderr" else sys.stdout),
            cancelled=cancel_event(context.run_id),
            grace_s=1.0,
        )
        raise dg.Failure(f"ended with {outcome.returncode}", allow_retries=False)

    return job_of([stage])


def stubborn() -> dg.JobDefinition:
    """Does not look at its cancel event."""

    @dg.asset
    def busy() -> None:
        Path(os.environ["PIDS"]).write_text("1\n2\n")
        while True:
            time.sleep(0.05)

    return job_of([busy], interrupt_after_s=0.5)


def hanging() -> dg.JobDefinition:
    """Sleeps in foreign code, where nothing reaches it."""

    @dg.asset
    def asleep() -> None:
        Path(os.environ["PIDS"]).write_text("1\n2\n")
        time.sleep(300)

    return job_of([asleep], interrupt_after_s=0.5)
