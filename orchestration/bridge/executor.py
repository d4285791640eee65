"""A Dagster executor whose steps are threads of the run worker: side by side like the multiprocess executor's, at a hundredth of its price.

Right for steps that mostly wait for a process of their own (a stage's command) or do next to nothing. Pools, retries, priorities, skipping,
hooks and dynamic outputs are Dagster's own (`ActiveExecution`, `dagster_event_sequence_for_step`).

Signals reach only the main thread, and Python cannot end a thread from outside. So a step asks `cancel_event(run_id)`. One that does not ask gets
`DagsterExecutionInterruptedError` raised in its thread after `interrupt_after_s`; one that hangs in foreign code is given up after twice that time.
"""

import asyncio
import ctypes
import functools
import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext, StepExecutionContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import _trigger_hook, dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.objects import ErrorSource, StepFailureData
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._utils.error import SerializableErrorInfo

from .dead_runs import record_worker
from .step_output import StreamByThread, captured_output, streams_by_thread

_POLL_S = 0.1
_FALLBACK_CONCURRENCY = 4
_CANCEL_EVENTS: dict[str, threading.Event] = {}


def cancel_event(run_id: str) -> threading.Event:
    """Set once the run is to end. For a run that this executor does not execute: an event nobody sets."""
    return _CANCEL_EVENTS.get(run_id) or threading.Event()


@dg.executor(
    name="threaded",
    config_schema={
        "max_concurrent": dg.Field(
            dg.Noneable(int), default_value=None, description="How many steps run at once; the number of processors when not given."
        ),
        "interrupt_after_s": dg.Field(
            float,
            default_value=60.0,
            description="When a run is terminated: seconds until a step that does not look at its cancel event is interrupted where it stands.",
        ),
        "retries": get_retries_config(),
    },
)
def threaded_executor(init_context: dg.InitExecutorContext) -> "ThreadedExecutor":
    """Steps as threads of the run worker."""
    config = init_context.executor_config
    return ThreadedExecutor(
        max_concurrent=config["max_concurrent"] or os.cpu_count() or _FALLBACK_CONCURRENCY,  # type: ignore[arg-type]
        interrupt_after_s=config["interrupt_after_s"],  # type: ignore[arg-type]
        retries=RetryMode.from_config(config["retries"]),  # type: ignore[arg-type]
    )


class ThreadedExecutor(dg.Executor):
    def __init__(self, *, max_concurrent: int, interrupt_after_s: float, retries: RetryMode) -> None:
        if max_concurrent < 1:
            raise dg.DagsterInvalidConfigError(f"max_concurrent must be at least 1, found {max_concurrent}", [], None)
        self._max_concurrent = max_concurrent
        self._interrupt_after_s = interrupt_after_s
        self._retries = retries

    @property
    def retries(self) -> RetryMode:
        return self._retries

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        started = time.monotonic()
        about = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        record_worker(plan_context.instance, plan_context.run_id)
        yield DagsterEvent.engine_event(plan_context, f"Executing steps in threads, {self._max_concurrent} at once (pid: {os.getpid()})", about)
        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=functools.partial(run_steps, max_concurrent=self._max_concurrent, interrupt_after_s=self._interrupt_after_s),
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )
        yield DagsterEvent.engine_event(plan_context, f"Finished steps in {time.monotonic() - started:.2f} s (pid: {os.getpid()})", about)


def run_steps(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan, *, max_concurrent: int, interrupt_after_s: float
) -> Iterator[DagsterEvent]:
    """Run the plan's steps in threads, each as soon as what it needs is there; their events as they come.

    Raises DagsterExecutionInterruptedError when the run was interrupted, after every step has ended or was given up; the error of a step where
    the caller asked for errors to be raised.
    """
    _CANCEL_EVENTS[job_context.run_id] = threading.Event()
    try:
        with (
            InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as concurrency,
            execution_plan.start(
                retry_mode=job_context.retry_mode,
                max_concurrent=max_concurrent,
                instance_concurrency_context=concurrency,
                step_dependency_config=job_context.step_dependency_config,
            ) as active,
            streams_by_thread() as streams,
        ):
            yield from _Crew(job_context, active, streams, max_concurrent, interrupt_after_s).run()
    finally:
        # Also when the consumer stops listening: no step may wait for ever.
        _CANCEL_EVENTS.pop(job_context.run_id).set()


@dataclass(frozen=True)
class _Ended:
    """The last thing a step's thread says. `error`: what it raised instead of an event."""

    error: BaseException | None


@dataclass
class _Worker:
    context: StepExecutionContext
    thread: threading.Thread
    interrupted_at: float | None = field(default=None)


class _Crew:
    """The threads of one run. All state is touched by the main thread only; threads speak through one queue."""

    def __init__(
        self,
        job_context: PlanExecutionContext,
        active: ActiveExecution,
        streams: tuple[StreamByThread, StreamByThread],
        max_concurrent: int,
        interrupt_after_s: float,
    ) -> None:
        self._job_context = job_context
        self._active = active
        self._streams = streams
        self._max_concurrent = max_concurrent
        self._interrupt_after_s = interrupt_after_s
        self._said: queue.SimpleQueue[tuple[str, DagsterEvent | _Ended]] = queue.SimpleQueue()
        self._workers: dict[str, _Worker] = {}
        self._stopped_at: float | None = None
        self._error: BaseException | None = None

    def run(self) -> Iterator[DagsterEvent]:
        while self._workers or not (self._active.is_complete or self._is_stopping):
            if self._active.check_for_interrupts():
                yield from self._stop()
            if not self._is_stopping:
                yield from self._start_ready_steps()
            yield from self._hear()
            yield from self._active.plan_events_iterator(self._job_context)
            if self._stopped_at is not None:
                yield from self._press(time.monotonic() - self._stopped_at)
        if self._stopped_at is not None:
            yield DagsterEvent.engine_event(self._job_context, "Every running step was interrupted", EngineEventData({}))
            raise DagsterExecutionInterruptedError
        if self._error is not None:
            raise self._error

    @property
    def _is_stopping(self) -> bool:
        return self._stopped_at is not None or self._error is not None

    def _stop(self) -> Iterator[DagsterEvent]:
        """Tell the running steps to end, and start no more."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._active.mark_interrupted()
            _CANCEL_EVENTS[self._job_context.run_id].set()
            yield DagsterEvent.engine_event(self._job_context, "Asking the running steps to end", EngineEventData.interrupted(list(self._workers)))

    def _start_ready_steps(self) -> Iterator[DagsterEvent]:
        steps = self._active.get_steps_to_execute(limit=self._max_concurrent - len(self._workers))
        yield from self._active.concurrency_event_iterator(self._job_context)
        for step in steps:
            self._start(step)

    def _start(self, step: ExecutionStep) -> None:
        context = self._job_context.for_step(step, self._active.get_known_state())
        # A daemon: a step that hangs in foreign code cannot keep the worker process from ending.
        thread = threading.Thread(target=_run_step, args=(context, self._said, self._streams), name=f"step {step.key}", daemon=True)
        self._workers[step.key] = _Worker(context, thread)
        thread.start()

    def _hear(self) -> Iterator[DagsterEvent]:
        """Wait a moment for the threads; then hand on all that they have said."""
        wait_s = _POLL_S
        while True:
            try:
                key, said = self._said.get(timeout=wait_s)
            except queue.Empty:
                return
            wait_s = 0.0
            if key not in self._workers:
                continue  # given up before
            if isinstance(said, _Ended):
                yield from self._dismiss(key, said.error)
            else:
                yield said
                if said.step_key == key:
                    self._active.handle_event(said)

    def _dismiss(self, key: str, error: BaseException | None) -> Iterator[DagsterEvent]:
        self._workers.pop(key).thread.join()
        if isinstance(error, KeyboardInterrupt | DagsterExecutionInterruptedError):
            yield from self._stop()
        elif error is not None and self._error is None:
            self._error = error
        if error is None:
            self._active.verify_complete(self._job_context, key)

    def _press(self, waited_s: float) -> Iterator[DagsterEvent]:
        """Interrupt the steps that did not end when asked to; give up those that do not end even then."""
        for key, worker in list(self._workers.items()):
            if worker.interrupted_at is None and waited_s > self._interrupt_after_s:
                worker.interrupted_at = waited_s
                _raise_in(worker.thread, DagsterExecutionInterruptedError)
            elif waited_s > 2 * self._interrupt_after_s + 1:
                del self._workers[key]
                message = f"{key} did not end within {waited_s:.0f} s of being asked to, and hangs where it cannot be interrupted; it is left behind"
                failure = StepFailureData(SerializableErrorInfo(message, [], None), None, error_source=ErrorSource.INTERRUPT)
                event = DagsterEvent.step_failure_event(worker.context, failure)
                yield event
                self._active.handle_event(event)


def _run_step(
    context: StepExecutionContext,
    said: "queue.SimpleQueue[tuple[str, DagsterEvent | _Ended]]",
    streams: tuple[StreamByThread, StreamByThread],
) -> None:
    """The whole life of a step's thread. Events are stored where they arise, here; the main thread learns of them in the same order."""
    key = context.step.key
    error: BaseException | None = None
    # One loop a thread: the context's own is shared, and a loop runs in one thread at a time.
    context._event_loop = asyncio.new_event_loop()
    try:
        with captured_output(context, streams) as capture:
            said.put((key, capture))
            events = []
            for event in dagster_event_sequence_for_step(context):
                events.append(event)
                said.put((key, event))
            for event in _trigger_hook(context, events):
                said.put((key, event))
    except BaseException as raised:  # noqa: BLE001 (an interrupt too must reach the main thread, which raises it)
        error = raised
    finally:
        context._event_loop.close()
        said.put((key, _Ended(error)))


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raise `error` in `thread` at its next bytecode."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(error))
