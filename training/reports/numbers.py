"""Numbers by flat names for programs, and as cells of a table for people; both with what qualifies them: denominator, 95 % interval, spread.

Of the hundreds of a report, the `Headline` says which few are told where there is place for a few: in DVC's tables, Dagster's metadata, the demo.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.metrics.intervals import Estimate, Number, Rate, Spread, value_of

# Numbers are rounded before they are written, so that the last bits of a sum do not change the bytes of a report.
SIGNIFICANT_DIGITS = 6
ABSENT = "–"
# Of a report's headline: more columns than these are no table any more.
MOST_HEADLINE_NUMBERS = 10

# By what was judged (such as `psi0.8` or `real`), the names of its numbers in the order they are read: {"real": ["swd_x1000"]} is `real_swd_x1000`.
Headline = Mapping[str, Sequence[str]]


@dataclass
class Numbers:
    """The numbers of a report, by flat name. What is not a number is left out.

    values: what was measured. qualifiers: denominators and the ends and spreads of intervals. ends: by value, the names of its interval's ends.
    """

    values: dict[str, float] = field(default_factory=dict)
    qualifiers: dict[str, float] = field(default_factory=dict)
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, name: str, number: Number | None, *, ending: str = "", with_n: bool = True) -> None:
        """A number as `<name><ending>`, beside it `<name>_low<ending>` and `_high`, or `_sd`, and with_n `_n`. None adds nothing."""
        beside: dict[str, float] = {}
        if isinstance(number, Rate | Estimate):
            beside = {"_low": number.low, "_high": number.high, **({"_n": number.n} if with_n else {})}
            self.ends[name + ending] = (f"{name}_low{ending}", f"{name}_high{ending}")
        elif isinstance(number, Spread):
            beside = {"_sd": number.sd}
        if number is not None:
            _put(self.values, name + ending, value_of(number))
        for qualifier, value in beside.items():
            self.qualify(f"{name}{qualifier}{ending}", value)

    def qualify(self, name: str, value: float) -> None:
        """A denominator that several values share."""
        _put(self.qualifiers, name, value)

    def take(self, prefix: str, others: "Numbers") -> None:
        """All of `others`, each name behind `prefix`."""
        self.values |= {prefix + name: value for name, value in others.values.items()}
        self.qualifiers |= {prefix + name: value for name, value in others.qualifiers.items()}
        self.ends |= {prefix + name: (prefix + low, prefix + high) for name, (low, high) in others.ends.items()}

    @property
    def flat(self) -> dict[str, float]:
        """All of them, sorted by name: what metrics.json holds."""
        return dict(sorted((self.values | self.qualifiers).items()))

    def headline(self, chosen: Headline) -> dict[str, dict[str, float]]:
        """The chosen values by what was judged and name: the first ten that are there, so that one which was not asked for makes room."""
        named = [(judged, name) for judged, names in chosen.items() for name in names if f"{judged}_{name}" in self.values]
        found: dict[str, dict[str, float]] = {}
        for judged, name in named[:MOST_HEADLINE_NUMBERS]:
            found.setdefault(judged, {})[name] = self.values[f"{judged}_{name}"]
        return found

    def interval(self, name: str, flat: Mapping[str, float]) -> tuple[float, float] | None:
        """The interval of the value `name` among `flat` (of this report or an earlier one); None where it has none."""
        low, high = (flat.get(end) for end in self.ends.get(name, ("", "")))
        return None if low is None or high is None else (low, high)


def cell(number: Number | None, *, with_n: bool = False) -> str:
    """Such as `0.931 (0.915…0.944, n = 1,000)`, `3.1 ± 0.2` or `12.4`; a dash for None and what is not a number."""
    if number is None:
        return ABSENT
    value, facts = value_of(number), []
    if isinstance(number, Rate | Estimate):
        facts += [f"{_shown(number.low)}…{_shown(number.high)}"] if all(map(math.isfinite, (value, number.low, number.high))) else []
        facts += [f"n = {number.n:,}"] if with_n else []
    spread = f" ± {_shown(number.sd)}" if isinstance(number, Spread) and math.isfinite(number.sd) else ""
    return _shown(value) + spread + (f" ({', '.join(facts)})" if facts else "")


def _shown(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ABSENT


def _put(numbers: dict[str, float], name: str, value: float) -> None:
    if math.isfinite(value):
        numbers[name] = value if isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
