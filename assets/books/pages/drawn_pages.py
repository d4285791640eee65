"""The drawn pages of a build: taken from the previous output where a file is as it was, else drawn anew, several files side by side.

A file is as it was when it has the same name, number and content, and everything that decides its pages is the same; and its pages are taken from
shards that are, byte for byte, what was written. The memory lies outside the output, and nothing in it decides what is written. Files that were drawn
lie beside it until the output is published, so that a build that was interrupted goes on with the next file.
"""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from assets.books.pages import drawing, jp2, pdf, supervising, worker
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.supervising import FACTS, FileFacts, Page, draw_file, member, pages_of
from assets.books.tables import PAGE_TEXTS
from assets.images.look_memory import LookMemory
from formats import png
from formats.pictures import NO_LIMITS
from formats.stored_zip import DamagedZipError, StoredZip, StoredZips
from formats.tables import read_table, table_from_rows, write_table
from stages.files import sha256_of, write_file_atomically
from stages.output_folder import OutputFolder
from stages.reporting import Reporter, progress_line
from stages.source_code import code_of

_LIBRARIES = ("pypdfium2", "pillow", "isal", "numpy", "pdf2image")
_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class ItemFile:
    """A file of an item that may be used. serial: its number; those of its pages follow from it. kind: pdf or jp2_zip."""

    item_id: str
    name: str
    serial: int
    kind: str
    sha256: str
    path: Path

    @property
    def key(self) -> str:
        """Names the file, its place and its content."""
        return f"{self.item_id}/{self.name}/{self.serial}/{self.sha256}"

    def page_id(self, number: int) -> str:
        """Of one of its pages."""
        return f"{self.item_id}/{self.name}/{number}"

    def serial_of(self, number: int, config: BookPagesConfig) -> int:
        """Of one of its pages: it follows from the file's own, so no other file moves it."""
        return self.serial * config.max_pages + number - 1


def image_shard(serial: int, config: BookPagesConfig) -> str:
    """Which file `gather` puts a page into."""
    return f"images-{serial // config.images_per_shard:05d}.zip"


def text_shard(serial: int, config: BookPagesConfig) -> str:
    """Which file the text of a page is in."""
    return f"texts-{serial // config.images_per_shard:05d}.parquet"


class DrawnPages:
    """The pages of one build. drawn: files drawn in it. reused: files of which nothing was opened.

    target: the output. scratch: a folder for the memory, shared with `gather`.
    """

    def __init__(self, config: BookPagesConfig, target: Path, scratch: Path) -> None:
        self._config, self._target, self._scratch = config, target, scratch
        self._recipe = _recipe(config)
        self._path, self._folder = scratch / "files.json", scratch / "drawn"
        known = _load(self._path)
        self._old: dict[str, Any] = known["files"] if known.get("recipe") == self._recipe else {}
        self._old_texts: dict[str, list[str]] = known.get("texts", {})
        self._texts: dict[str, list[str]] = {}
        self._shards = LookMemory(scratch / "seen.json", NO_LIMITS, target)
        self._intact: dict[str, bool] = {}
        self._facts: dict[str, FileFacts] = {}
        self._zips, self._previous = StoredZips(self._folder), StoredZips(target)
        self._table: tuple[str, dict[str, str]] = ("", {})
        self.drawn = self.reused = 0

    def prepare(self, files: Sequence[ItemFile], *, workers: int, reporter: Reporter) -> dict[str, FileFacts]:
        """Draw what has to be drawn. Gives what each file was found to be, by its key."""
        # Equal files of several items are drawn once.
        todo = {file.sha256: file for file in files if not self._is_known(file)}
        self.reused = sum(file.sha256 not in todo for file in files)
        done = self._draw_all(list(todo.values()), workers, reporter)
        self._facts = {file.key: done[file.sha256] if file.sha256 in todo else FileFacts.from_json(self._old[file.key]) for file in files}
        return self._facts

    def png(self, file: ItemFile, page: Page) -> bytes:
        """The page image. Raises DamagedZipError."""
        if self._is_drawn(file):
            return self._zips.read(self._zip_name(file), member(page.number, "png"))
        return self._previous.read(image_shard(file.serial_of(page.number, self._config), self._config), f"{page.sha256}.png")

    def write_texts(self, output: OutputFolder, pages: Iterable[tuple[ItemFile, Page]]) -> int:
        """Write the texts of these pages, which come in the order of their serials; gives how many there are. Unchanged files are taken over."""
        shards: dict[str, list[tuple[ItemFile, Page]]] = {}
        for file, page in pages:
            if page.text:
                shards.setdefault(text_shard(file.serial_of(page.number, self._config), self._config), []).append((file, page))
        for name, members in shards.items():
            content = hashlib.sha256(json.dumps([[file.page_id(page.number), page.text] for file, page in members]).encode()).hexdigest()
            if self._has_texts(name) and self._old_texts[name][1] == content:
                path = output.keep(name)
            else:
                path = output.file(name)
                write_table(path, table_from_rows(PAGE_TEXTS, [self._text_row(name, file, page) for file, page in members]))
            self._texts[name] = [sha256_of(path), content]
        return sum(map(len, shards.values()))

    def save(self) -> None:
        """Remember the new output, and forget the drawn files; after it was published."""
        files = {key: facts.to_json() for key, facts in self._facts.items() if facts.is_final}
        new = {"recipe": self._recipe, "files": files, "texts": self._texts}
        if new != _load(self._path):
            write_file_atomically(self._path, json.dumps(new).encode())
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_known(self, file: ItemFile) -> bool:
        """Whether the previous output has all pages of the file, as they would be drawn now."""
        try:
            facts = FileFacts.from_json(self._old[file.key])
        except (KeyError, TypeError, ValueError):
            return False
        serials = [(file.serial_of(page.number, self._config), bool(page.text)) for page in facts.drawn]
        images = {image_shard(serial, self._config) for serial, _ in serials}
        texts = {text_shard(serial, self._config) for serial, has_text in serials if has_text}
        return all(map(self._has_images, images)) and all(map(self._has_texts, texts))

    def _has_images(self, name: str) -> bool:
        if name not in self._intact:
            self._intact[name] = self._shards.has_intact(name)
        return self._intact[name]

    def _has_texts(self, name: str) -> bool:
        if name not in self._intact:
            path = self._target / name
            self._intact[name] = name in self._old_texts and path.is_file() and sha256_of(path) == self._old_texts[name][0]
        return self._intact[name]

    def _draw_all(self, files: Sequence[ItemFile], workers: int, reporter: Reporter) -> dict[str, FileFacts]:
        self._folder.mkdir(parents=True, exist_ok=True)
        _remove_others(self._folder, {self._zip_name(file) for file in files})
        watch = _Watch(len(files), reporter)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            try:
                return dict(pool.map(lambda file: (file.sha256, self._draw(file, watch)), files))
            except BaseException:
                # Nobody waits for books that nobody wants any more.
                watch.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _draw(self, file: ItemFile, watch: "_Watch") -> FileFacts:
        path = self._folder / self._zip_name(file)
        facts = _finished(path)
        if facts is None:
            facts = draw_file(file.path, file.kind, self._config, path, on_page=lambda done, total: watch.page(file.sha256, done, total))
        self.drawn += 1
        watch.file_done(file.sha256, len(list(pages_of(facts))))
        return facts

    def _zip_name(self, file: ItemFile) -> str:
        return hashlib.sha256(f"{self._recipe} {file.kind} {file.sha256}".encode()).hexdigest()[:40] + ".zip"

    def _is_drawn(self, file: ItemFile) -> bool:
        return (self._folder / self._zip_name(file)).exists()

    def _text_row(self, name: str, file: ItemFile, page: Page) -> dict[str, Any]:
        page_id = file.page_id(page.number)
        if self._is_drawn(file):
            text = self._zips.read(self._zip_name(file), member(page.number, "txt")).decode()
        else:
            if self._table[0] != name:
                rows = read_table(self._target / name, ["page_id", "text"]).to_pylist()
                self._table = (name, {row["page_id"]: row["text"] for row in rows})
            text = self._table[1][page_id]
        return {"page_id": page_id, "item_id": file.item_id, "page": page.number, "text": text}


class _Watch:
    """Counts pages of all files that are being drawn, and tells of them now and then. stop: set it to have them give up."""

    def __init__(self, files: int, reporter: Reporter) -> None:
        self.stop = threading.Event()
        self._files, self._files_done, self._reporter = files, 0, reporter
        self._pages: dict[str, tuple[int, int]] = {}
        self._started = self._last = time.monotonic()
        self._lock = threading.Lock()

    def page(self, key: str, done: int, total: int) -> None:
        """So many pages of a file are done."""
        if self.stop.is_set():
            raise InterruptedError("drawing was stopped")
        with self._lock:
            self._pages[key] = (done, total)
            now = time.monotonic()
            if now - self._last >= _SECONDS_BETWEEN_LINES:
                self._last = now
                self._say(now)

    def file_done(self, key: str, pages: int) -> None:
        """One file more, of so many pages."""
        with self._lock:
            self._files_done += 1
            self._pages[key] = (pages, pages)
            if self._files_done == self._files:
                self._say(time.monotonic())

    def _say(self, now: float) -> None:
        # How many pages files have that were not opened yet is guessed from the others.
        done, opened = (sum(pair[place] for pair in self._pages.values()) for place in (0, 1))
        total = round(opened * self._files / max(1, len(self._pages)))
        line = progress_line(done, total, now - self._started, "book_pages: pages")
        self._reporter.progress_words(f"{line}; {self._files_done:,} of {self._files:,} files")


def _recipe(config: BookPagesConfig) -> str:
    """Names everything that decides the pages of a file: settings, code and libraries."""
    modules = (drawing, jp2, pdf, png, supervising, worker)
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    facts = [json.dumps(asdict(config)), *libraries, *map(code_of, modules), pdf.program_version(config.engine)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _finished(path: Path) -> FileFacts | None:
    """What an earlier, interrupted build found, if it came to the end of the file."""
    try:
        facts = FileFacts.from_json(json.loads(StoredZip(path).read(FACTS)))
    except (OSError, DamagedZipError, KeyError, TypeError, ValueError):
        return None
    return facts if facts.is_final else None


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _load(path: Path) -> Mapping[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and {"recipe", "files", "texts"} <= set(known) else {}
