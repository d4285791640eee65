"""Make the PNG of one size from originals, decoding each picture once for all sizes: with siblings' help, and helping them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import isal
import numpy
import PIL
from PIL import Image

from assets.images.dataset_config import DatasetConfig
from assets.images.handover import PICTURES_PER_CHUNK, Failure, Handover, Made
from assets.images.shard_memory import remembered_contents
from formats import image_shards, pad_resize, pictures, png, stored_zip
from formats.pad_resize import enlarged, fit_and_resize
from formats.pictures import NO_LIMITS, Undecodable, decode
from formats.png import encode_png
from formats.stored_zip import StoredZips
from stages.source_code import code_of


@dataclass
class WorkCounts:
    """Work done: pictures decoded, resized (each size counts), encoded (each size counts), taken from and given to other sizes, and reused."""

    decodes: int = 0
    resizes: int = 0
    encodes: int = 0
    taken: int = 0
    given: int = 0
    reused: int = 0


def recipe_of(config: DatasetConfig) -> str:
    """Names everything that decides a picture's bytes, whatever its size: settings, code and libraries."""
    modules = (pictures, pad_resize, png, image_shards, stored_zip)
    settings = [config.fit, config.canvas_px, config.enlarge, config.resample, config.colours]
    facts = [json.dumps(settings), PIL.__version__, isal.__version__, *map(code_of, modules)]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


class ImageMaker:
    """A context manager that makes pictures of `size` px.

    originals: what `gather` wrote. target: the output, `NAME@SIZE`; beside it lie those of the other sizes, which may still need something.
    """

    def __init__(self, size: int, config: DatasetConfig, originals: Path, target: Path, *, figment: Path, workers: int) -> None:
        self.size, self.recipe, self.counts = size, recipe_of(config), WorkCounts()
        self._config = config
        family = target.name.partition("@")[0]
        # Chunks never reach over the end of a shard, so that a chunk is asked for once by each size.
        self._chunks_per_shard = -(-config.images_per_shard // PICTURES_PER_CHUNK)
        key = hashlib.sha256(f"{self.recipe} {config.images_per_shard}".encode()).hexdigest()
        self._handover = Handover(figment / "handover" / family, recipe=key, limit_bytes=config.handover_mib << 20)
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._zips = StoredZips(originals)
        # A sibling that has a picture, or will never ask because there is no such size, needs none.
        self._siblings_have = {
            other: remembered_contents(figment / "reuse" / f"{family}@{other}.json", self.recipe)
            if target.with_name(f"{family}@{other}").is_dir()
            else set()
            for other in config.sizes
            if other != size
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._handover.close()

    def make(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Made]:
        """PNG bytes, or why there are none, by sha256 of the original. rows: serial, sha256, shard, member of the originals' index.

        Raises DamagedZipError when an original is not what it was when it was gathered.
        """
        # The chunk of a picture follows from its serial alone, so that every size, in any order and at any time, means the same pictures.
        chunks: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            shard, place = divmod(row["serial"], self._config.images_per_shard)
            chunks.setdefault(shard * self._chunks_per_shard + place // PICTURES_PER_CHUNK, []).append(row)
        made: dict[str, Made] = {}
        busy = []
        # First what nobody else is making: side by side, the sizes share the decoding between them.
        for number, members in chunks.items():
            with self._handover.chunk(number, wait=False) as is_ours:
                if is_ours:
                    made |= self._make_chunk(number, members)
                else:
                    busy.append(number)
        # What siblings were making a moment ago is likely done now.
        for number in busy:
            with self._handover.chunk(number, wait=True):
                made |= self._make_chunk(number, chunks[number])
        return made

    def finish(self) -> None:
        """Forget what siblings left for this size; call it when the output is complete."""
        self._handover.clear(self.size)

    def _make_chunk(self, number: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Made]:
        # What a sibling has made of this chunk for us is taken, and is gone from there.
        wanted = {row["sha256"] for row in rows}
        taken = {key: value for key, value in self._handover.take(self.size, number).items() if key in wanted}
        self.counts.taken += len(taken)
        todo = [row for row in rows if row["sha256"] not in taken]
        if not todo:
            return taken
        # The others are decoded, and made at every size whose program has not got them yet.
        lacking = self._sizes_lacking(number, {row["sha256"] for row in todo})
        jobs = [(self._zips.read(row["shard"], row["member"]), [self.size, *lacking[row["sha256"]]]) for row in todo]
        each = self._pool.map if self._pool else map
        made = each(lambda job: _make_sizes(job[0], job[1], self._config), jobs)
        results: dict[int, dict[str, Made]] = {}
        for row, by_size in zip(todo, made, strict=True):
            self.counts.decodes += 1
            for size, value in by_size.items():
                results.setdefault(size, {})[row["sha256"]] = value
                self.counts.resizes += isinstance(value, bytes)
                self.counts.encodes += isinstance(value, bytes)
        # The siblings' share is left for them while the chunk is still ours.
        ours = results.pop(self.size)
        for other, values in results.items():
            self._handover.give(other, number, values)
            self.counts.given += len(values)
        return taken | ours

    def _sizes_lacking(self, number: int, contents: set[str]) -> dict[str, list[int]]:
        """Which other sizes each picture should be made at."""
        lacking: dict[str, list[int]] = {content: [] for content in contents}
        if not self._handover.has_room():
            return lacking
        for other, have in self._siblings_have.items():
            there = self._handover.keys(other, number)
            for content in contents:
                if content not in have and content not in there:
                    lacking[content].append(other)
        return lacking


def _make_sizes(original: bytes, sizes: Sequence[int], config: DatasetConfig) -> dict[int, Made]:
    """PNG bytes, or why there are none, by size."""
    try:
        image = decode(original, limits=NO_LIMITS).image
    except Undecodable as error:
        return dict.fromkeys(sizes, Failure(error.reason, error.words))
    if config.enlarge and config.fit == "pad":
        image = enlarged(image, config.canvas_px)
    fitted = fit_and_resize(image, sizes, fit=config.fit, canvas_px=config.canvas_px, resample=config.resample)
    if config.colours == "grey":
        fitted = {size: numpy.asarray(Image.fromarray(pixels).convert("L")) for size, pixels in fitted.items()}
    return {size: encode_png(pixels) for size, pixels in fitted.items()}
