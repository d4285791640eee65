"""Sources that a section of params.yaml lists: what each must state, and the files of those that lie behind addresses."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from assets.downloads.batch import download_all
from assets.downloads.guarded_http import DownloadError
from assets.downloads.one_file import DownloadRules, Wanted
from stages.reporting import Reporter

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class NamedSource(Protocol):
    """kind: url for an address; other kinds are the section's own. sha256: of the file; None until the first download has told it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def sha256(self) -> str | None: ...


def check_source(source: NamedSource, needed: Mapping[str, Sequence[str]]) -> None:
    """needed: what a source of each kind must state besides. Raises ValueError."""
    if not _NAME.fullmatch(source.name):
        raise ValueError(f"name '{source.name}' must be 1 to 64 letters, digits, - or _, and begin with a letter or digit")
    for key in needed[source.kind]:
        if not getattr(source, key):
            raise ValueError(f"source '{source.name}' of kind {source.kind} needs `{key}`")
    if source.kind == "url" and urlsplit(source.url).scheme not in {"http", "https"}:
        raise ValueError(f"source '{source.name}': url must begin with http:// or https://, found '{source.url[:80]}'")
    if source.sha256 is not None and not SHA256.fullmatch(source.sha256):
        raise ValueError(f"source '{source.name}': sha256 must be 64 hexadecimal digits, found '{source.sha256}'")
    if not source.licence.strip():
        raise ValueError(f"source '{source.name}': licence is empty; write its SPDX name, or `unknown`")


def check_names(names: Sequence[str]) -> None:
    """Of all sources of a section. Raises ValueError."""
    if not names:
        raise ValueError("sources is empty; name at least one")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"sources names '{name}' twice")


def check_sources(sources: Sequence[NamedSource], *, allow_unknown_licence: bool) -> None:
    """Of the whole list. Raises ValueError."""
    check_names([source.name for source in sources])
    unlicensed = [source.name for source in sources if source.licence == "unknown"]
    if unlicensed and not allow_unknown_licence:
        raise ValueError(f"source '{unlicensed[0]}' has licence `unknown`; find it out, or set allow_unknown_licence: true")


def part_of(source: NamedSource, origin: str, scratch: Path) -> Path:
    """Where its download lies and, when it was interrupted, waits to be continued."""
    return scratch / f"{source.name}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}.part"


def download_sources(wanted: Sequence[tuple[NamedSource, Wanted]], rules: DownloadRules, *, what: str, reporter: Reporter) -> None:
    """Fetch them side by side; what comes from an address without a checksum is told with it. Raises DownloadError naming the source."""
    outcomes = download_all([one for _, one in wanted], rules, what=what, reporter=reporter)
    for (source, _), outcome in zip(wanted, outcomes, strict=True):
        if outcome.problem:
            others = sum(bool(other.problem) for other in outcomes) - 1
            raise DownloadError(f"source '{source.name}': {outcome.problem}" + (f" ({others} more could not be had)" if others else ""))
    for (source, one), outcome in zip(wanted, outcomes, strict=True):
        if source.kind == "url" and not one.checksums:
            words = f"first download, nothing vouches for its bytes; pin this sha256: {outcome.sha256}"
            reporter.log(f"ATTENTION: source '{source.name}': {words}")
