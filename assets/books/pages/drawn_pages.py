"""The drawn pages of a build: taken from the previous output where a file is as it was, else drawn anew, several files side by side.

A file is as it was when it has the same name, number and content, and everything that decides its pages is the same; and its pages are taken from
shards that are, byte for byte, what was written. The memory lies outside the output, and nothing in it decides what is written. Files that were drawn
lie beside it until the output is published, so that a build that was interrupted goes on with the next file.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from assets.books.items import ItemFile
from assets.books.pages import drawing, jp2, pdf, supervising, worker
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.supervising import FACTS, FileFacts, Page, draw_file, member
from assets.books.tables import PAGE_TEXTS
from assets.images.look_memory import LookMemory
from formats import png
from formats.pictures import NO_LIMITS
from formats.stored_zip import DamagedZipError, StoredZip, StoredZips
from formats.tables import read_table, table_from_rows, write_table
from stages.files import sha256_of, write_file_atomically
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from stages.source_code import code_of

_LIBRARIES = ("pypdfium2", "pillow", "isal", "numpy", "pdf2image")


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
        self._old_texts: dict[str, str] = known.get("texts", {})
        self._texts: dict[str, str] = {}
        self._shards = LookMemory(scratch / "seen.json", NO_LIMITS, target)
        self._intact: dict[str, bool] = {}
        self._facts: dict[str, FileFacts] = {}
        self._zips, self._previous = StoredZips(self._folder), StoredZips(target)
        self.drawn = self.reused = 0

    def prepare(self, files: Sequence[ItemFile], *, workers: int, reporter: Reporter) -> list[FileFacts]:
        """Draw what has to be drawn. Gives what each file was found to be, in the same order."""
        # Equal files of several items are drawn once.
        todo = {file.sha256: file for file in files if not self._is_known(file)}
        self.drawn, self.reused = len(todo), sum(file.sha256 not in todo for file in files)
        done = self._draw_all(list(todo.values()), workers, reporter)
        self._facts = {_key(file): done[file.sha256] if file.sha256 in todo else FileFacts.from_json(self._old[_key(file)]) for file in files}
        return list(self._facts.values())

    def serial(self, file: ItemFile, number: int) -> int:
        """Of a page of the file: it follows from the file's own, so no other file moves it."""
        return file.serial * self._config.max_pages + number - 1

    def png(self, file: ItemFile, page: Page) -> bytes:
        """The page image. Raises DamagedZipError."""
        if self._is_drawn(file):
            return self._zips.read(self._zip_name(file), member(page.number, "png"))
        return self._previous.read(self._shard("images", file, page), f"{page.sha256}.png")

    def write_texts(self, output: OutputFolder, pages: Iterable[tuple[ItemFile, Page]]) -> int:
        """Write the texts of these pages, which come in the order of their serials; gives how many there are."""
        count = 0
        with_text = (pair for pair in pages if pair[1].has_text)
        for name, members in groupby(with_text, key=lambda pair: self._shard("texts", *pair)):
            before = read_table(self._target / name, PAGE_TEXTS.names).to_pylist() if self._is_intact(name) else []
            known = {row["page_id"]: row["text"] for row in before}
            rows = [self._text_row(known, file, page) for file, page in members]
            write_table(output.file(name), table_from_rows(PAGE_TEXTS, rows))
            self._texts[name] = sha256_of(output.folder / name)
            count += len(rows)
        return count

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
            facts = FileFacts.from_json(self._old[_key(file)])
        except (KeyError, TypeError, ValueError):
            return False
        images = {self._shard("images", file, page) for page in facts.drawn}
        return all(map(self._is_intact, images | {self._shard("texts", file, page) for page in facts.drawn if page.has_text}))

    def _shard(self, kind: str, file: ItemFile, page: Page) -> str:
        """Which file of the output a page image is in, as `gather` has it, and which its text."""
        number = self.serial(file, page.number) // self._config.images_per_shard
        return f"{kind}-{number:05d}.{'zip' if kind == 'images' else 'parquet'}"

    def _is_intact(self, name: str) -> bool:
        if name not in self._intact:
            path = self._target / name
            is_text = name in self._old_texts and path.is_file() and sha256_of(path) == self._old_texts[name]
            self._intact[name] = is_text or self._shards.has_intact(name)
        return self._intact[name]

    def _draw_all(self, files: Sequence[ItemFile], workers: int, reporter: Reporter) -> dict[str, FileFacts]:
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in set(self._folder.iterdir()) - {self._folder / self._zip_name(file) for file in files}:
            path.unlink()
        stop = threading.Event()

        def draw(file: ItemFile) -> tuple[str, FileFacts]:
            path = self._folder / self._zip_name(file)
            return file.sha256, _finished(path) or draw_file(file.path, file.kind, self._config, path, is_unwanted=stop.is_set)

        with ThreadPoolExecutor(max(1, workers)) as pool:
            try:
                return dict(reporter.progress(pool.map(draw, files), total=len(files), what="book_pages: files"))
            finally:
                # After an error or Ctrl-C nobody waits for books that nobody wants any more.
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _zip_name(self, file: ItemFile) -> str:
        return hashlib.sha256(f"{self._recipe} {file.kind} {file.sha256}".encode()).hexdigest()[:40] + ".zip"

    def _is_drawn(self, file: ItemFile) -> bool:
        return (self._folder / self._zip_name(file)).exists()

    def _text_row(self, known: Mapping[str, str], file: ItemFile, page: Page) -> dict[str, Any]:
        name = page_id(file, page.number)
        text = self._zips.read(self._zip_name(file), member(page.number, "txt")).decode() if self._is_drawn(file) else known[name]
        return {"page_id": name, "item_id": file.identifier, "page": page.number, "text": text}


def page_id(file: ItemFile, number: int) -> str:
    return f"{file.identifier}/{file.name}/{number}"


def _key(file: ItemFile) -> str:
    """Names the file, its place and its content."""
    return f"{file.identifier}/{file.name}/{file.serial}/{file.sha256}"


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


def _load(path: Path) -> Mapping[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and {"recipe", "files", "texts"} <= set(known) else {}
