"""The table of what was tried against Figment: each hostile test adds its lines, the end of a run prints them.

With `--hostile-table SECURITY.md` the lines between that page's two marks are written anew.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

MARKS = ("<!-- tried: written by make test-hostile -->", "<!-- end of tried -->")
PROPERTY = "hostile"
Tried = Callable[..., None]


def recorder(record_property: Callable[[str, object], None]) -> Tried:
    """What the fixture `tried` is: `tried("pages over the size limit", 12, got_through=0, lost=0)`; a set may be reported in several parts."""

    def tried(name: str, count: int, *, got_through: int = 0, lost: int = 0) -> None:
        if count < 1:
            raise ValueError(f"{name}: nothing was tried")
        record_property(PROPERTY, (name, count, got_through, lost))

    return tried


def table(user_properties: Iterable[tuple[str, object]]) -> list[str]:
    """Markdown lines of the sums by set, ordered by name; no line where no test reported anything."""
    sums: dict[str, list[int]] = {}
    for key, value in user_properties:
        if key == PROPERTY:
            name, *counts = value  # type: ignore[misc]
            sums[name] = [old + new for old, new in zip(sums.get(name, (0, 0, 0)), counts, strict=True)]
    if not sums:
        return []
    rows = [f"| {name} | {tried:,} | {through:,} | {lost:,} |" for name, (tried, through, lost) in sorted(sums.items())]
    return ["| set | tried | got through | lost |", "|---|--:|--:|--:|", *rows]


def write_into(page: Path, lines: list[str]) -> None:
    """Put `lines` between the two marks of a Markdown page."""
    before, first, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not (first and last):
        raise ValueError(f"{page} has not the two marks {' and '.join(MARKS)}")
    page.write_text("\n".join([before + MARKS[0], *lines, MARKS[1] + after]), encoding="utf-8")
