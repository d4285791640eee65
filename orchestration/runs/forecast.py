"""How long a run will still take, from what its stages took before; no answer where any would be a guess."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence

# A stage that takes so much longer than it used to is doing something else: the forecast waits for its end.
_BEYOND = 2.0
_BEYOND_AT_LEAST_S = 10.0
# Stages never timed are taken to be like those of this run, once there are so many.
_FEWEST_LIKE_IT = 3
# Seconds of evidence, this run's against the recorded times, before it counts half: the first stages are short, and mostly start of a process.
_PACE_EVIDENCE_S = 20.0


class Forecast:
    """Seconds to the end of a run.

    usual_s: what stages took before, by name. upstream: the names that a stage waits for. at_once: places for stages. pooled: stages that share
    the `places` of a pool of their own.
    """

    def __init__(
        self,
        names: Sequence[str],
        usual_s: Mapping[str, float],
        upstream: Callable[[str], Collection[str]],
        *,
        at_once: int,
        pooled: Collection[str] = (),
        places: int = 1,
    ) -> None:
        self._waiting = list(names)
        self._usual_s, self._upstream, self._at_once = usual_s, upstream, at_once
        self._pooled, self._places = pooled, places
        self._took_s: dict[str, float] = {}

    def ended(self, name: str, seconds: float | None) -> None:
        """A stage needs no more time. seconds: what its command took; None where none was run."""
        self._waiting = [other for other in self._waiting if other != name]
        if seconds is not None:
            self._took_s[name] = seconds

    def seconds_left(self, running_s: Mapping[str, float]) -> float | None:
        """To the end of all. running_s: for how long the stages now at work have been; None where nobody can know."""
        left = {name: self._left(name, running_s.get(name, 0.0)) for name in self._waiting}
        known = {name: seconds for name, seconds in left.items() if seconds is not None}
        return self._schedule(known, [name for name in known if name in running_s]) if len(known) == len(left) else None

    def _left(self, name: str, so_far_s: float) -> float | None:
        expected = self._expected(name)
        if expected is None or so_far_s > max(_BEYOND * expected, expected + _BEYOND_AT_LEAST_S):
            return None
        return max(expected - so_far_s, so_far_s / 10)

    def _expected(self, name: str) -> float | None:
        """At the pace of this run, which shares its machine with others than the recorded one did."""
        if name in self._usual_s:
            timed = [other for other in self._took_s if other in self._usual_s]
            now, then = (sum(times[other] for other in timed) + _PACE_EVIDENCE_S for times in (self._took_s, self._usual_s))
            return self._usual_s[name] * now / then
        return sum(self._took_s.values()) / len(self._took_s) if len(self._took_s) >= _FEWEST_LIKE_IT else None

    def _schedule(self, left: Mapping[str, float], running: Collection[str]) -> float:
        """When the last of `left` ends, if each starts as soon as there is a place and what it waits for is there."""
        now, ends = 0.0, {name: left[name] for name in running}
        waiting = [name for name in left if name not in ends]
        while waiting or ends:
            for name in list(waiting):
                is_held = any(before in ends or before in waiting for before in self._upstream(name))
                is_pool_taken = name in self._pooled and sum(other in self._pooled for other in ends) >= self._places
                if len(ends) < self._at_once and not is_held and not is_pool_taken:
                    waiting.remove(name)
                    ends[name] = now + left[name]
            first = min(ends, key=ends.__getitem__)
            now = ends.pop(first)
        return now


def rounded(seconds: float) -> float:
    """As exact as a forecast is: whole 5 s below a minute, 10 s below ten minutes, then minutes; always up, and never nothing."""
    step = 5 if seconds < 55 else 10 if seconds < 590 else 60
    return max(step, math.ceil(seconds / step) * step)
