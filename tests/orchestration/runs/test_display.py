"""What a person sees of a run: a line a stage, and a moving one on a terminal, or now and then one in a log."""

import io

from orchestration.runs.display import RunDisplay
from orchestration.runs.forecast import Forecast
from orchestration.terminal import MovingLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    @property
    def newest(self) -> str:
        """What the moving line shows."""
        return self.getvalue().rpartition("\r\033[K")[2]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def display(*, stream=None, usual=(("a", 10.0), ("b", 20.0)), is_verbose=False):
    """(display of the stages a and b, the lines that stay, the clock)."""
    lines, clock = [], Clock()
    forecast = Forecast(["a", "b"], dict(usual), {"a": (), "b": ("a",)}.__getitem__, at_once=2)
    return RunDisplay(2, forecast, lines.append, is_verbose=is_verbose, line=MovingLine(stream or io.StringIO()), clock=clock), lines, clock


def test_each_stage_has_one_line_with_its_place_its_time_and_what_is_to_come():
    shown, lines, clock = display()
    shown.began("a")
    shown.words("a", "a: 3 of 5", is_passing=True)
    shown.words("a", "a: five of them")
    clock.now += 12.0
    shown.ended("a", "ran", 11.4)
    shown.began("b")
    clock.now += 1.0
    shown.ended("b", "fresh")
    shown.ended("b", "fresh")
    assert lines == ["[1 of 2] a: made in 11 s; 12 s so far, about 25 s left", "[2 of 2] b: unchanged; 13 s so far"]


def test_what_failed_says_after_how_long():
    shown, lines, clock = display(usual=())
    shown.began("a")
    clock.now += 3.3
    shown.ended("a", "failed")
    assert lines == ["[1 of 2] a: failed after 3.3 s; 3.3 s so far"]


def test_a_terminal_has_a_line_that_moves_and_vanishes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    terminal = Terminal()
    shown, lines, clock = display(stream=terminal)
    shown.began("a")
    clock.now += 4.0
    shown.tell_now()
    assert terminal.newest == "[1 of 2] 4 s so far, about 30 s left · a: 4 s"
    shown.ended("a", "ran", 4.0)
    assert terminal.newest == "" and len(lines) == 1
    shown.began("b")
    shown.words("b", "molecules: 1 of 9", is_passing=True)
    shown.tell_now()
    assert terminal.newest == "[2 of 2] 4 s so far, about 20 s left · b: molecules: 1 of 9"
    assert len(lines) == 1


def test_a_narrow_terminal_cuts_the_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    shown, _, _ = display(stream=terminal)
    shown.began("a")
    shown.tell_now()
    assert terminal.newest == "[1 of 2] 0 s so fa…"


def test_a_log_says_every_half_minute_what_is_being_done():
    shown, lines, clock = display(usual=())
    shown.began("a")
    shown.words("a", "a: 3 of 5", is_passing=True)
    for _ in range(70):
        clock.now += 1.0
        shown.tell_now()
    assert lines == ["         a: 3 of 5; 30 s so far", "         a: 3 of 5; 1 min so far"]


def test_what_stages_say_is_shown_where_it_was_asked_for():
    shown, lines, _ = display(is_verbose=True)
    shown.words("a", "a: 3 of 5", is_passing=True)
    shown.words("a", "a: five of them")
    assert lines == ["a: five of them"]
