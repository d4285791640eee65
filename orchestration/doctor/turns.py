"""Turns of stages in a lab's database whose holders are gone (orchestration/launch/shared_lock.py)."""

from collections.abc import Callable, Iterator
from pathlib import Path

from orchestration.bridge.turns import TurnRefused
from orchestration.doctor.findings import CannotMendError, Finding
from orchestration.launch.shared_lock import LeftTurn, forget_turn, left_turns


def examine_turns(root: Path) -> Iterator[Finding]:
    """One finding for each turn that a killed process or a machine that is gone left behind. It hinders nobody: its lock is free."""
    try:
        lefts = left_turns(root)
    except TurnRefused as error:
        yield Finding("turns_unreadable", "turns", str(error), "then run `figment doctor` again")
        return
    for left in lefts:
        detail = f"was being made by {left.holder} since {left.since}, which is gone and published nothing; its lock is free"
        remedy = f"`figment materialize {left.stage}` takes over; `figment doctor --repair` notes that nobody makes it"
        yield Finding("turn_left", left.stage, detail, remedy, _forget(root, left))


def _forget(root: Path, left: LeftTurn) -> Callable[[], str]:
    def mend() -> str:
        try:
            forget_turn(root, left)
        except TurnRefused as error:
            raise CannotMendError(str(error)) from error
        return f"{left.stage}: noted that the turn of {left.holder} is over"

    return mend
