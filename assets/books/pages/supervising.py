"""Have a process draw the pages of a file, and outlive whatever the file does to it: a page that ends it, or holds it up, is set aside, and a new
process goes on behind that page.

What comes back lies in one zip: `NNNNN.png`, `NNNNN.txt`, and `facts.json` last, so that a zip without it was not finished.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from assets.books.pages.config import BookPagesConfig
from formats.stored_zip import StoredZipWriter
from stages.bounded import BoundedProcess, Bounds, Ended
from stages.files import replacing

FACTS = "facts.json"
_PROGRAM = "assets.books.pages.worker"
# Of the clock, for a process that neither works nor ends; and pages of a file that may end it before the rest is given up.
_STALL_S, _MOST_FAILURES = 120.0, 5
# PNG never needs much more than the bare pixels.
_MOST_OF_PIXELS = 4


@dataclass(frozen=True)
class Page:
    """A page that was drawn. sha256: of its PNG."""

    number: int
    sha256: str
    engine: str
    has_text: bool


@dataclass
class FileFacts:
    """What a file was found to be.

    pages: as it states; 0 for a file that cannot be opened. drawn: in order. aside: (page, or None for the whole file; reason; words).
    is_final: whether drawing it again would give the same; not so where the clock decided.
    """

    pages: int = 0
    drawn: list[Page] = field(default_factory=list)
    aside: list[tuple[int | None, str, str]] = field(default_factory=list)
    is_final: bool = True

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self) | {"drawn": [list(asdict(page).values()) for page in self.drawn]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no such thing."""
        drawn = [Page(*row) for row in value["drawn"]]
        return cls(value["pages"], drawn, [(page, reason, words) for page, reason, words in value["aside"]], value["is_final"])


def member(number: int, kind: str) -> str:
    """Where in the zip the page lies; kind: png or txt."""
    return f"{number:05d}.{kind}"


def draw_file(path: Path, kind: str, config: BookPagesConfig, target: Path, *, is_unwanted: Callable[[], bool] = lambda: False) -> FileFacts:
    """Draw the file at `path` (kind: pdf or jp2_zip) into the new zip `target`.

    is_unwanted: asked before each page; then the drawing ends, with InterruptedError and without a zip.
    """
    with replacing(target) as temporary, StoredZipWriter(temporary) as archive:
        facts = _Drawing(path, kind, config, archive, is_unwanted).run()
        archive.add(FACTS, json.dumps(facts.to_json()).encode())
    return facts


class _Drawing:
    def __init__(self, path: Path, kind: str, config: BookPagesConfig, archive: StoredZipWriter, is_unwanted: Callable[[], bool]) -> None:
        self._path, self._kind, self._config, self._archive, self._is_unwanted = path, kind, config, archive, is_unwanted
        self._facts = FileFacts()
        self._bytes = 0
        self._failures = 0
        self._next, self._last = 1, 0
        self._deadline = time.monotonic() + config.seconds_per_file

    def run(self) -> FileFacts:
        while True:
            with self._process() as worker:
                try:
                    self._listen(worker)
                    return self._finished()
                except Ended as ended:
                    self._facts.is_final &= ended.is_final
                    if self._last == 0:  # before any page: the file is to blame
                        self._facts.aside.append((None, ended.reason, ended.words))
                        return self._finished()
                    self._failures += 1
                    is_over = self._failures >= _MOST_FAILURES or time.monotonic() > self._deadline or ended.reason == "too_many_bytes"
                    self._set_aside(self._next, ended.reason, ended.words)
                    if is_over:
                        words = f"the rest of the file, after {self._failures} pages that gave none; the last: {ended.words}"
                        for number in range(self._next, self._last + 1):
                            self._set_aside(number, "given_up", words)
                    if self._next > self._last:
                        return self._finished()

    def _process(self) -> BoundedProcess:
        """A new one, to begin with the next page."""
        config = self._config
        job = {"path": str(self._path.absolute()), "kind": self._kind, "first": self._next, "config": asdict(config)}
        bounds = Bounds(config.memory_mib, config.seconds_per_page, _STALL_S, cpu_name="seconds_per_page")
        late = f"the file took seconds_per_file = {config.seconds_per_file:g}"
        return BoundedProcess(_PROGRAM, job, bounds, deadline=self._deadline, late=late)

    def _listen(self, worker: BoundedProcess) -> None:
        """Take what the process says until it has told of the last page; how it ends then is its own affair. Raises Ended."""
        while self._last == 0 or self._next <= self._last:
            if self._is_unwanted():
                raise InterruptedError("drawing was stopped")
            line = worker.line()
            try:
                message = json.loads(line)
                if "pages" in message:
                    self._facts.pages = max(0, int(message["pages"]))
                    self._last = min(self._facts.pages, self._config.max_pages)
                elif "reason" in message and "page" not in message:
                    raise Ended(str(message["reason"]), str(message["words"]))
                else:
                    self._take(worker, message)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise Ended("crashed", f"the process that draws said what it never says: {error!r} in {line[:100]!r}") from None

    def _take(self, worker: BoundedProcess, message: dict[str, Any]) -> None:
        """A page, which must be the next one. Raises Ended; ValueError and the like for a message that is none."""
        if message["page"] != self._next or self._next > self._last:
            raise ValueError(f"page {message['page']}, expected {self._next} of {self._last}")
        if "reason" in message:
            self._set_aside(self._next, str(message["reason"]), str(message["words"]))
            return
        png_size, text_size = int(message["png"]), int(message["text"])
        self._bytes += png_size + text_size
        if png_size > _MOST_OF_PIXELS * self._config.page_px**2 + 1024 or self._bytes > self._config.max_output_mib << 20:
            raise Ended("too_many_bytes", f"the page images of the file have more than max_output_mib = {self._config.max_output_mib:,}")
        png, text = worker.read(png_size), worker.read(text_size)
        self._archive.add(member(self._next, "png"), png)
        if text:
            text.decode()  # raises ValueError
            self._archive.add(member(self._next, "txt"), text)
        self._facts.drawn.append(Page(self._next, sha256(png).hexdigest(), str(message["engine"]), bool(text)))
        self._next += 1

    def _set_aside(self, number: int, reason: str, words: str) -> None:
        self._facts.aside.append((number, reason, words))
        self._next += 1

    def _finished(self) -> FileFacts:
        facts = self._facts
        if facts.pages > self._last and self._last:
            words = f"it states {facts.pages:,} pages, max_pages = {self._config.max_pages:,} are drawn"
            facts.aside.append((None, "too_many_pages", words))
        return facts
