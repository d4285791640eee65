"""What the report before said of the same numbers, and which of them moved by more than chance explains.

Read from the journals that reports on the model left below `.figment/tracking` on their way to MLflow, so it needs no server. Told to whoever
watches and kept with the model's run, but never part of the report's own output, whose bytes depend on its inputs alone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stages.markdown import escape, table
from training.reports.numbers import Numbers, cell
from training.tracking.journal import last_event


@dataclass(frozen=True)
class Movement:
    """A number that two reports share. is_beyond: whether its 95 % intervals do not overlap; None where one of them has no interval.

    That is at least as strict as a test at 1 %, which suits so many numbers at once.
    """

    name: str
    before: float
    now: float
    is_beyond: bool | None

    def __str__(self) -> str:
        return f"{self.name}: {cell(self.before)} → {cell(self.now)}"


@dataclass(frozen=True)
class SinceLastReport:
    """summary: one sentence on what moved. movements: of all numbers that both reports have, by name."""

    summary: str
    movements: tuple[Movement, ...]

    @property
    def beyond(self) -> list[Movement]:
        """Those that moved beyond their interval."""
        return [movement for movement in self.movements if movement.is_beyond]

    @property
    def markdown(self) -> str:
        """The summary and a table of what changed, by more than chance first."""
        verdicts = {True: "beyond its interval", False: "within it", None: "has no interval"}
        changed = sorted((one for one in self.movements if one.before != one.now), key=lambda one: not one.is_beyond)
        rows = [[escape(one.name), cell(one.before), cell(one.now), verdicts[one.is_beyond]] for one in changed]
        return f"{self.summary[0].upper()}{self.summary[1:]}.\n\n{table(['number', 'before', 'now', 'moved'], rows) if rows else ''}"


def since_last_report(numbers: Numbers, model: str, output_id: str, state_dir: Path) -> SinceLastReport | None:
    """Beside the newest report on `model` that has numbers of the same names; None where there is none. output_id: of the model judged now."""
    # Reports on each content of the model have a folder of their own; several report stages may speak of one model, about other numbers.
    events = (last_event(folder, "report") for folder in (state_dir / "tracking" / model).glob("report-*"))
    shared = [event for event in events if event is not None and not numbers.values.keys().isdisjoint(event["metrics"])]
    if not shared:
        return None
    last = max(shared, key=lambda event: event["time_ms"])
    before = {name: float(value) for name, value in last["metrics"].items()}
    movements = []
    for name in sorted(numbers.values.keys() & before.keys()):
        ours, theirs = numbers.interval(name, numbers.qualifiers), numbers.interval(name, before)
        is_beyond = ours[1] < theirs[0] or theirs[1] < ours[0] if ours and theirs else None
        movements.append(Movement(name, before[name], numbers.values[name], is_beyond))
    time = datetime.fromtimestamp(last["time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    whose = "the same model" if last["output_id"] == output_id else "another version of the model"
    verdicts = [one.is_beyond for one in movements if one.is_beyond is not None]
    summary = f"since the report of {time} on {whose}, {sum(one.before != one.now for one in movements)} of {len(movements)} numbers changed"
    return SinceLastReport(f"{summary}; {sum(verdicts)} of {len(verdicts)} moved beyond their interval", tuple(movements))
