"""Tell the caller how a stage is doing: progress, metadata, check results, pictures.

Under Dagster Pipes the reports become events of the running step; anywhere else progress goes to standard error and the rest is dropped,
because what must last is in the output folder already. The only `dagster_pipes` import of `assets` and `training`.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from stages.durations import duration

Item = TypeVar("Item")
Severity = Literal["ERROR", "WARN"]

# Set by every Pipes launcher; without it `open_dagster_pipes` would warn and return a mock.
_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
_WARNINGS = ("WARNING", "ATTENTION")


class Reporter:
    """Reports to standard error; a stage gets one from `open_reporter` and never asks which kind it has."""

    def log(self, message: str) -> None:
        """One line for the human who watches."""
        print(message, file=sys.stderr, flush=True)

    def notice(self, message: str) -> None:
        """One line that is to be seen even where a stage has one line for all it did. So is a `log` that begins with WARNING or ATTENTION."""
        self.log(message)

    def progress_words(self, message: str) -> None:
        """One line on how far it is, which the next one makes worthless."""
        self.log(message)

    def metadata(self, **values: Any) -> None:
        """Facts about the artifact (rows, files, bytes, metrics): str, int, float, bool, or a mapping/list of those. Later values win."""

    def markdown(self, name: str, text: str) -> None:
        """A Markdown fact, such as a table or pictures as data URIs. `text` must hold no unescaped foreign text."""

    def url(self, name: str, address: str) -> None:
        """A link to where more is to be seen, such as the MLflow run."""

    def path(self, name: str, path: Path) -> None:
        """Where a file lies that is worth opening, relative to the project."""

    def check(self, name: str, passed: bool, *, severity: Severity = "ERROR", **values: Any) -> None:
        """The result of an asset check that the stage itself made; `name` must be listed under meta.dagster.checks of the stage."""
        if not passed:
            self.log(f"check {name} failed ({severity}): " + ", ".join(f"{key}={value}" for key, value in values.items()))

    def progress(self, items: Iterable[Item], *, total: int | None, what: str, every_s: float = 5.0) -> Iterator[Item]:
        """The same items, with a line such as `molecules: 40,000 of 120,648 (33 %), 5,200/s, 16 s left` at most every `every_s` seconds."""
        started = last = time.monotonic()
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - last >= every_s:
                last = now
                self.progress_words(progress_line(done, total, now - started, what))
            yield item


class SilentReporter(Reporter):
    """The reporter of the other processes of a torchrun training: rank 0 talks for all."""

    def log(self, message: str) -> None:
        del message


class _PipesReporter(Reporter):
    def __init__(self, context: Any) -> None:
        self._context = context
        self._metadata: dict[str, Any] = {}

    def log(self, message: str) -> None:
        (self._context.log.warning if message.startswith(_WARNINGS) else self._context.log.info)(message)

    def notice(self, message: str) -> None:
        self._context.log.warning(message)

    def progress_words(self, message: str) -> None:
        self._context.log.debug(message)

    def metadata(self, **values: Any) -> None:
        self._metadata.update({key: _plain(value) for key, value in values.items()})

    def markdown(self, name: str, text: str) -> None:
        self._metadata[name] = {"raw_value": text, "type": "md"}

    def url(self, name: str, address: str) -> None:
        self._metadata[name] = {"raw_value": address, "type": "url"}

    def path(self, name: str, path: Path) -> None:
        self._metadata[name] = {"raw_value": path.as_posix(), "type": "path"}

    def check(self, name: str, passed: bool, *, severity: Severity = "ERROR", **values: Any) -> None:
        self._context.report_asset_check(
            check_name=name, passed=passed, severity=severity, metadata={key: _plain(value) for key, value in values.items()}
        )

    def close(self) -> None:
        # The materialization itself is the orchestrator's to record, after DVC has committed the bytes: metadata travel as a message.
        self._context.report_custom_message({"metadata": self._metadata})


@contextlib.contextmanager
def open_reporter() -> Iterator[Reporter]:
    """The reporter for this process. Metadata reach the orchestrator when the block ends without an exception."""
    if _PIPES_VARIABLE not in os.environ:
        yield Reporter()
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        reporter = _PipesReporter(context)
        yield reporter
        reporter.close()


def progress_line(done: int, total: int | None, seconds: float, what: str, *, before: int = 0) -> str:
    """`what: done of total (percent), rate, time left`; the parts that cannot be known are left out.

    before: of `done`, what an earlier process did; `seconds` are of the rest. A last batch that goes beyond the total is not counted beyond it.
    """
    here = done - before
    pace = f", {_rate(here / seconds)}" if here > 0 and seconds > 0 else ""
    if not total:
        return f"{what}: {done:,}{pace}"
    done = min(done, total)
    left = f", {duration((total - done) * seconds / here)} left" if pace and done < total else ""
    return f"{what}: {done:,} of {total:,} ({math.floor(100 * done / total)} %){pace}{left}"


def _rate(per_second: float) -> str:
    """`5,200/s`, `2.5/s`, or, of what takes longer than a second, `one in 12 s`."""
    if per_second >= 1:
        return f"{per_second:,.0f}/s" if per_second >= 9.95 else f"{per_second:.1f}/s"
    return f"one in {duration(1 / per_second)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict | list | tuple):
        return {"raw_value": list(value) if isinstance(value, tuple) else value, "type": "json"}
    return value
