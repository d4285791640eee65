"""What a person may set of a model that is looked at, and how settings are read from an address: bounded, and refused with a reason."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

from stages.near_misses import did_you_mean
from training.gans.seed_ranges import LARGEST_SEED

_WHOLE = re.compile(r"\d{1,10}", re.ASCII)


class SettingsError(ValueError):
    """An address asks for something that cannot be set so."""


@dataclass(frozen=True)
class Slider:
    """A number in [least, most]. step: of the knob and its keys; numbers between are fine unless is_whole. unit: stands behind the number."""

    name: str
    label: str
    group: str
    least: float
    most: float
    step: float
    start: float
    unit: str = ""
    hint: str = ""
    is_whole: bool = False

    def read(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # A NaN lies in no interval.
        if not self.least <= value <= self.most or (self.is_whole and not value.is_integer()):
            kind = "a whole number" if self.is_whole else "a number"
            raise SettingsError(f"{self.name}: expected {kind} from {self.least:g} to {self.most:g}, found {_shown(text)}")
        return int(value) if self.is_whole else value


@dataclass(frozen=True)
class Seed:
    """A seed, with a button for another one."""

    name: str
    label: str
    group: str
    start: int
    hint: str = ""

    def read(self, text: str) -> int:
        if not _WHOLE.fullmatch(text) or int(text) > LARGEST_SEED:
            raise SettingsError(f"{self.name}: expected a seed from 0 to {LARGEST_SEED}, found {_shown(text)}")
        return int(text)


@dataclass(frozen=True)
class Subset:
    """Some of `options`, by their places; written 0,1,4. None at the start."""

    name: str
    label: str
    group: str
    options: tuple[str, ...]
    start: tuple[int, ...] = ()
    hint: str = ""

    def read(self, text: str) -> tuple[int, ...]:
        parts = text.split(",") if text else []
        if len(parts) > len(self.options) or not all(_WHOLE.fullmatch(part) and int(part) < len(self.options) for part in parts):
            raise SettingsError(f"{self.name}: expected numbers from 0 to {len(self.options) - 1} like 0,1,4, found {_shown(text)}")
        return tuple(sorted({int(part) for part in parts}))


Control = Slider | Seed | Subset


def described(control: Control) -> dict[str, Any]:
    """For the page: the fields of a control, and its kind."""
    return {"kind": type(control).__name__.lower(), **asdict(control)}


def query_fields(query: str) -> dict[str, str]:
    """The fields of an address behind its question mark. Raises SettingsError for a field that is given twice, and for too many of them."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise SettingsError(f"the address cannot be read ({error})") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise SettingsError(f"{_shown(twice)} is given twice")
    return fields


def read_settings(controls: Sequence[Control], fields: Mapping[str, str]) -> dict[str, Any]:
    """A value for every control, its start where `fields` says nothing. Raises SettingsError."""
    known = {control.name: control for control in controls}
    if unknown := sorted(set(fields) - set(known)):
        raise SettingsError(f"nothing is called {_shown(unknown[0])}{did_you_mean(unknown[0], known)}; there are {', '.join(known)}")
    return {name: control.read(fields[name]) if name in fields else control.start for name, control in known.items()}


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
