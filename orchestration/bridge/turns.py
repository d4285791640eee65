"""A stage's turn among several machines, as the bridge sees it. Who calls `materialize` says how turns are kept (`Surroundings.take_turn`)."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol


class TurnRefused(Exception):
    """There is no turn to be had, or it is another's by now; one line that says which, why and what to do."""


class Turn(Protocol):
    """A turn that was taken. made: the stage's entry of dvc.lock that another published from the same inputs, or None.

    is_made_meanwhile: whether that was published after this turn was asked for.
    """

    made: Mapping[str, Any] | None
    is_made_meanwhile: bool

    def confirm(self) -> None:
        """Raises TurnRefused when another has taken the turn."""

    def publish(self, made: Mapping[str, Any]) -> None:
        """Tell all others what was made; its bytes are in the remote. Raises TurnRefused as `confirm` does, and nothing is published then."""


# Called with the stage, the name of its inputs, whom to tell for whom it waits, and whether to stop waiting.
TakeTurn = Callable[[str, str, Callable[[str], None], Callable[[], bool]], AbstractContextManager[Turn | None]]
