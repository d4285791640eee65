"""What an interface lets one do in a day: the credits that each source has spent, and the keys of sources.

A source with `daily_credits` asks for nothing more once they are spent, or once the server says that none are left; both are a problem of that source
for the night, told at its start address, and the next crawl goes on where this one stopped (harvests.py). Days are UTC, as OpenAlex counts them.
What was spent is written down at once, so that neither a killed crawl nor a second one on the same day spends it twice. metering.py keeps to it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.papers.crawl.config import SourceParams
from stages.files import write_file_atomically

EXHAUSTED = "credits_exhausted"


class Ledger:
    """The credits that each source has spent today, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            said = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            said = {}
        self._spent: dict[str, list[Any]] = said if isinstance(said, dict) else {}

    def spent(self, source: str) -> int:
        """Credits that the source has spent since midnight UTC."""
        day, count = self._spent.get(source, ("", 0))
        return int(count) if day == _today() else 0

    def spend(self, source: str, count: int) -> None:
        """Note that so many more are spent; a negative number gives back what was reserved."""
        self._spent[source] = [_today(), max(0, self.spent(source) + count)]
        write_file_atomically(self._path, json.dumps(self._spent).encode())


def keys_of(sources: Iterable[SourceParams], environment: Mapping[str, str]) -> dict[str, str]:
    """The key of each source that names a variable which is set."""
    return {source.name: key for source in sources if source.key_env and (key := environment.get(source.key_env, "").strip())}


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
