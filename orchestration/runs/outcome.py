"""What a run came to, told on the terminal: errors in the stages' own words, and one row per artifact."""

import sys
from typing import TYPE_CHECKING

from orchestration.runs.display import HOW
from orchestration.terminal import paint, plural, short_id, table
from stages.durations import duration

if TYPE_CHECKING:
    from orchestration.runs.dagster_run import RunResult


def say(line: str) -> None:
    print(line, flush=True)


def report_run(result: "RunResult") -> None:
    """Errors on standard error, in the stages' own words; then one row per artifact."""
    for stage in result.stages.values():
        if stage.how == "failed":
            first, _, rest = stage.error.partition("\n")
            print(f"\n{paint(f'figment: {stage.name} failed: {first}', 'red', sys.stderr)}\n{rest.strip()}", file=sys.stderr)
    for check in result.failed_checks:
        print(paint(f"figment: check failed: {check}", "red", sys.stderr), file=sys.stderr)
    if result.error and not any(stage.error for stage in result.stages.values()) and not result.is_interrupted:
        print(f"figment: {result.error}", file=sys.stderr)
    if result.is_interrupted:
        print("\nfigment: interrupted; what was finished stays, the rest was not recorded", file=sys.stderr)
    # The table last, so that it is what stands at the bottom of the terminal.
    print(f"\nDagster run {result.run_id}: {plural(len(result.stages), 'artifact')} in {duration(result.seconds)}")
    rows = [
        (stage.name, HOW[stage.how][0], short_id(stage.id), f"{stage.seconds:,.1f}" if stage.seconds is not None else "-")
        for stage in result.stages.values()
    ]
    heading, *lines = table(rows, ("artifact", "outcome", "id", "seconds"))
    print(paint(heading, "dim"))
    for stage, line in zip(result.stages.values(), lines, strict=True):
        word, colour = HOW[stage.how]
        print(line.replace(f"  {word}", f"  {paint(word, colour)}", 1))
    sys.stdout.flush()
