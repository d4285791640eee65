"""What each step prints and logs, kept apart although all steps share one process: its own stdout and stderr in Dagster's log view.

Dagster's own capture redirects the file descriptors of the whole process, so that steps side by side would write into one file. And what a command
logs over Dagster Pipes is an event and nothing else: here it is a line of the step's stderr, too, so that the log reads as a terminal would.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType


class StreamByThread:
    """A text stream that also writes into the file of the writing thread, where that thread has one."""

    def __init__(self, shown: IO[str]) -> None:
        self.shown = shown
        self._of_thread = threading.local()

    def write(self, text: str) -> int:
        file = getattr(self._of_thread, "file", None)
        if file is not None:
            try:
                file.write(text)
                if "\n" in text:
                    file.flush()
            except OSError as error:
                # A full disk must not end a training that only wanted to say how far it is.
                self._of_thread.file = None
                self.shown.write(f"what this step prints is not kept any longer: {error}\n")
        return self.shown.write(text)

    def flush(self) -> None:
        self.shown.flush()

    @contextlib.contextmanager
    def into(self, file: IO[Any] | None) -> Iterator[None]:
        """Within the block, what this thread writes goes into `file` too."""
        self._of_thread.file = file
        try:
            yield
        finally:
            self._of_thread.file = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shown, name)


@contextlib.contextmanager
def streams_by_thread() -> Iterator[tuple[StreamByThread, StreamByThread]]:
    """Within the block, sys.stdout and sys.stderr are streams that can tell threads apart."""
    before = sys.stdout, sys.stderr
    streams = StreamByThread(sys.stdout), StreamByThread(sys.stderr)
    sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _logged_into(context: StepExecutionContext, file: IO[Any] | None) -> Iterator[None]:
    """Within the block, what the step logs, by whichever thread, is written into `file` too."""
    is_open = file is not None

    def hear(entry: EventLogEntry) -> None:
        if is_open and file is not None and entry.dagster_event is None and entry.step_key == context.step.key:
            # A full disk must not end a training, nor a line that comes as the file is closed.
            with contextlib.suppress(OSError, ValueError):
                file.write(f"{entry.user_message}\n")
                file.flush()

    # Dagster has no way to take a listener back; it goes with the run.
    context.instance.add_event_listener(context.run_id, hear)
    try:
        yield
    finally:
        is_open = False


@contextlib.contextmanager
def captured_output(context: StepExecutionContext, streams: tuple[StreamByThread, StreamByThread]) -> Iterator[DagsterEvent]:
    """Within the block, what this thread prints is kept as the output of the step; the event that tells Dagster so."""
    manager = context.instance.compute_log_manager
    log_key = manager.build_log_key_for_run(context.run_id, context.step.key)
    out, err = streams
    files = contextlib.ExitStack()
    try:
        printed = files.enter_context(manager.open_log_stream(log_key, ComputeIOType.STDOUT))
        told = files.enter_context(manager.open_log_stream(log_key, ComputeIOType.STDERR))
        with out.into(printed), err.into(told), _logged_into(context, told):
            yield DagsterEvent.capture_logs(context, [context.step.key], log_key, CapturedLogContext(log_key))
    finally:
        try:
            files.close()
        except OSError as error:
            context.log.warning("What %s printed was not kept whole: %s", context.step.key, error)
    if hasattr(manager, "complete_artifact_path"):
        # The local manager's mark that nothing more will come, so that viewers stop asking.
        with open(manager.complete_artifact_path(log_key), "w", encoding="utf-8"):
            pass
