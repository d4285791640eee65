"""Which of the installed packages a local copy of OSV's database knows vulnerabilities of: nothing is asked over the network.

The file is OSV's export for PyPI, a zip of one JSON document each (https://ossf.github.io/osv-schema/). Versions are compared as PEP 440 says.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_MOST_RECORDS = 500_000
_MOST_BYTES = 16 << 20


class DatabaseError(Exception):
    """The file is no export of OSV's, or cannot be read."""


@dataclass(frozen=True)
class Known:
    """A vulnerability of an installed package. fixed: the releases that mend it, as far as the record says."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    summary: str
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """records: in the database. unreadable: how many of them, which say nothing."""

    known: list[Known]
    records: int
    unreadable: int


def look_up(versions: Mapping[str, str], database: Path) -> Findings:
    """What the database knows of these packages (version by canonical name), by package and id. Raises DatabaseError."""
    known: list[Known] = []
    records = unreadable = 0
    try:
        with zipfile.ZipFile(database) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".json")]
            if not members or len(members) > _MOST_RECORDS:
                raise DatabaseError(f"{database}: holds {len(members):,} records; expected OSV's all.zip for PyPI")
            for info in members:
                records += 1
                try:
                    known += _of_record(_read(archive, info), versions)
                except (ValueError, TypeError, AttributeError, LookupError, RecursionError, zipfile.BadZipFile, zlib.error):
                    unreadable += 1
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DatabaseError(f"{database}: cannot be read as a zip ({error}); fetch OSV's all.zip for PyPI anew") from None
    return Findings(sorted(known, key=lambda one: (one.package, one.id)), records, unreadable)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    with archive.open(info) as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError("larger than any record")
    return json.loads(content)


def _of_record(record: Any, versions: Mapping[str, str]) -> Iterator[Known]:
    if record.get("withdrawn"):
        return
    seen = set()
    for affected in record.get("affected", ()):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") != "PyPI" or name not in versions or name in seen or not is_affected(versions[name], affected):
            continue
        seen.add(name)
        fixed = [
            event["fixed"] for span in affected.get("ranges", ()) if span.get("type") == "ECOSYSTEM" for event in span["events"] if "fixed" in event
        ]
        aliases, summary = tuple(map(str, record.get("aliases", ()))), " ".join(str(record.get("summary", "")).split())
        yield Known(name, versions[name], str(record["id"]), aliases, summary[:200], tuple(map(str, fixed)))


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether the release is listed, or lies in a range of releases. A local part, as of `2.13.0+cpu`, says how it was built, not what it is."""
    own = Version(Version(version).public)
    if any(_version(other) == own for other in affected.get("versions", ())):
        return True
    return any(_is_within(own, span["events"]) for span in affected.get("ranges", ()) if span.get("type") == "ECOSYSTEM")


def _is_within(own: Version, events: Sequence[Mapping[str, str]]) -> bool:
    # The events in the order of their versions; the last one before or at ours decides. `last_affected` ends after its version, `fixed` at it.
    places = [(_version(text), kind) for event in events for kind, text in event.items() if kind in ("introduced", "fixed", "last_affected")]
    is_in = False
    for place, kind in sorted(((place, kind) for place, kind in places if place is not None), key=lambda pair: (pair[0], pair[1] == "introduced")):
        if kind == "introduced" and place <= own:
            is_in = True
        elif (kind == "fixed" and place <= own) or (kind == "last_affected" and place < own):
            is_in = False
    return is_in


def _version(text: Any) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None
