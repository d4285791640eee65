"""A run while it goes on: one line a stage with its place, its time and what is still to come, and what is being done now.

A terminal has a moving line of the stages at work; a log, where nobody sees lines move, gets one about them after every half minute without a word.
"""

import threading
import time
from collections.abc import Callable
from typing import Self

from orchestration.runs.forecast import Forecast, rounded
from orchestration.terminal import Colour, MovingLine, paint
from stages.durations import duration

# What can become of a stage, as a person calls it.
HOW: dict[str, tuple[str, Colour]] = {
    "ran": ("made", "green"),
    "restored": ("restored", "green"),
    "verified": ("frozen", "green"),
    "fresh": ("unchanged", "dim"),
    "failed": ("failed", "red"),
    "cancelled": ("cancelled", "yellow"),
    "not run": ("not run", "yellow"),
}

_REDRAW_EVERY_S = 0.5
_LOG_EVERY_S = 30.0
_BEFORE_TIME = {"ran": "in", "failed": "after", "cancelled": "after"}


class RunDisplay:
    """Tells of a run of `total` stages. May be told from any thread; within the block a thread of its own keeps the moving line up to date.

    say: gets one whole line at a time. is_verbose: also what stages say of themselves. line: the moving one.
    """

    def __init__(
        self,
        total: int,
        forecast: Forecast,
        say: Callable[[str], None],
        *,
        is_verbose: bool = False,
        line: MovingLine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._forecast, self._say, self._is_verbose = total, forecast, say, is_verbose
        self._line, self._clock = line or MovingLine(), clock
        self._began = self._told_at = clock()
        self._running: dict[str, float] = {}
        self._words: dict[str, str] = {}
        self._ended: set[str] = set()
        # Telling of an end may, through an interruption, be an end itself.
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep_telling, name="run display", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._line.clear()

    def began(self, name: str) -> None:
        """A stage is at work."""
        with self._lock:
            self._running.setdefault(name, self._clock())

    def words(self, name: str, text: str, *, is_passing: bool = False) -> None:
        """What a stage says. is_passing: of how far it is, which is worth nothing a moment later."""
        with self._lock:
            self._words[name] = text
            if self._is_verbose and not is_passing:
                self.note(text)

    def note(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._line.clear()
            self._told_at = self._clock()
            self._say(text)

    def ended(self, name: str, how: str, seconds: float | None = None) -> None:
        """A stage came to its end, once. how: as in HOW. seconds: of its command."""
        with self._lock:
            if name in self._ended:
                return
            began = self._running.pop(name, None)
            self._words.pop(name, None)
            self._ended.add(name)
            took = seconds if seconds is not None or began is None else self._clock() - began
            self._forecast.ended(name, seconds if how == "ran" else None)
            word, colour = HOW[how]
            # What is unchanged or restored took no time worth telling.
            time_of_it = f" {_BEFORE_TIME[how]} {duration(took)}" if how in _BEFORE_TIME and took is not None else ""
            self.note(f"{self._place()} {paint(name, 'bold')}: {paint(word, colour)}{time_of_it}; {self._time()}")

    def seconds(self) -> float:
        """Since the run began."""
        return self._clock() - self._began

    def tell_now(self) -> None:
        """Draw the moving line anew; in a log, say what is being done if nothing was said for long."""
        with self._lock:
            if not self._running:
                return
            if self._line.is_shown:
                # The time first: of a line that is too long, the end is cut.
                self._line.say(f"{self._place(live=True)} {self._time()} · {self._doing()}")
            elif self._clock() - self._told_at >= _LOG_EVERY_S:
                self.note(f"{' ' * len(self._place())} {self._doing()}; {self._time()}")

    def _keep_telling(self) -> None:
        while not self._is_over.wait(_REDRAW_EVERY_S):
            self.tell_now()

    def _place(self, *, live: bool = False) -> str:
        """`[ 5 of 17]`: how many have ended; live: which one is being made."""
        number = min(self._total, len(self._ended) + live)
        return f"[{number:>{len(str(self._total))}} of {self._total}]"

    def _doing(self) -> str:
        """Each stage at work with its newest words, which name it, or for how long it has been."""
        now = self._clock()
        return " · ".join(_named(name, self._words.get(name) or duration(now - began)) for name, began in self._running.items())

    def _time(self) -> str:
        now = self._clock()
        left = self._forecast.seconds_left({name: now - began for name, began in self._running.items()})
        so_far = f"{duration(now - self._began)} so far"
        return so_far if not left else f"{so_far}, about {duration(rounded(left))} left"


def _named(name: str, text: str) -> str:
    return text if text.startswith(f"{name}:") else f"{name}: {text}"
