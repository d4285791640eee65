"""Bounds of options, refused in the same words everywhere. `load_params` puts file and section before the message of a ValueError."""

from typing import Any


def at_least(options: Any, least: float, *names: str) -> None:
    """Raises ValueError naming the first of the attributes `names` that is below `least`, or not a number."""
    for name in names:
        if not getattr(options, name) >= least:
            raise ValueError(f"{name} must be at least {least}, found {getattr(options, name)}")


def above(options: Any, bound: float, *names: str) -> None:
    """Raises ValueError naming the first of the attributes `names` that is not above `bound`."""
    for name in names:
        if not getattr(options, name) > bound:
            raise ValueError(f"{name} must be above {bound}, found {getattr(options, name)}")


def within(options: Any, low: float, high: float, *names: str) -> None:
    """Raises ValueError naming the first of the attributes `names` that does not lie in [low, high]."""
    for name in names:
        if not low <= getattr(options, name) <= high:
            raise ValueError(f"{name} must lie in [{low}, {high}], found {getattr(options, name)}")
