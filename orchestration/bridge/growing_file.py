"""Pipes messages from a file that may hold some already: its command was started by a process that is gone, and goes on."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster_pipes import PipesDefaultMessageWriter, PipesParams

_POLL_S = 0.1


class GrowingFileMessageReader(dg.PipesMessageReader):
    """Hands on every line of `path` from its beginning, as they come; the file is made where there is none, and neither emptied nor removed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[PipesParams]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        is_over = threading.Event()
        thread = threading.Thread(target=self._read, args=(handler, is_over), daemon=True)
        thread.start()
        try:
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(self._path), PipesDefaultMessageWriter.INCLUDE_STDIO_IN_MESSAGES_KEY: False}
        finally:
            is_over.set()
            thread.join()

    def no_messages_debug_text(self) -> str:
        return f"Attempted to read messages from the file {self._path}."

    def _read(self, handler: dg.PipesMessageHandler, is_over: threading.Event) -> None:
        begun = b""
        try:
            with self._path.open("rb") as stream:
                while True:
                    # Asked before the last look, so that nothing written until then is missed.
                    was_over = is_over.is_set()
                    *lines, begun = (begun + stream.read()).split(b"\n")
                    for line in lines:
                        # A command that was killed and started again has left half a line before the first of its second life.
                        with contextlib.suppress(json.JSONDecodeError):
                            handler.handle_message(json.loads(line))
                    if was_over:
                        return
                    is_over.wait(_POLL_S)
        except Exception:
            handler.report_pipes_framework_exception(f"{type(self).__name__} thread", sys.exc_info())
            raise
