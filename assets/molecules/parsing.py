"""Parse a stream of rows in batches: from the memo where it knows them, else here or in worker processes; always in the order of the stream."""

import itertools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Self

from assets.molecules.memo import Memo, MemoWriter, Recalled, row_key
from assets.molecules.rows import BadRow, Row
from assets.molecules.standardize import Rules, Standardized, Standardizer

BATCH_ROWS = 4_096
# Starting a worker costs about a second of importing rdkit: not worth it for what one process parses in the meantime.
ROWS_BEFORE_WORKERS = 3 * BATCH_ROWS


class WorkerDiedError(Exception):
    """A worker process ended without an answer: killed for memory, or RDKit crashed on a row."""


@dataclass
class ParseCounts:
    """parsed: molecules handed to RDKit in this build. reused: rows whose result the memo knew."""

    parsed: int = 0
    reused: int = 0


@dataclass(frozen=True)
class ParsedBatch:
    """Rows of one source in order, with what became of each: a result, or the reason for rejection."""

    source: int
    rows: list[Row | BadRow]
    keys: list[bytes]
    results: list[Standardized | str]


def parse(
    streams: Iterable[Iterable[Row | BadRow]], rules: Rules, *, memo: Memo, writer: MemoWriter, workers: int, counts: ParseCounts
) -> Iterator[ParsedBatch]:
    """Every row of every stream, in order. `workers` changes the speed, never the result. Raises WorkerDiedError."""
    with _Crew(rules, workers, counts) as crew:
        waiting: deque[tuple[int, list[Row | BadRow], list[bytes], Recalled, Future | None]] = deque()
        for source, rows in _batches(streams):
            # What the memo knows is taken from it; only the others are handed to a parser, a batch at a time.
            keys = [b"" if isinstance(row, BadRow) else row_key(row.form, row.text) for row in rows]
            known = _recall(rows, keys, memo, counts)
            missing = [(row.form, row.text) for row, result in zip(rows, known.results, strict=True) if result is None and isinstance(row, Row)]
            waiting.append((source, rows, keys, known, crew.start(missing) if missing else None))
            # Results leave in the order in which rows came, whichever worker is done first.
            while len(waiting) > crew.ahead:
                yield _finish(waiting.popleft(), crew, writer)
        while waiting:
            yield _finish(waiting.popleft(), crew, writer)


def _batches(streams: Iterable[Iterable[Row | BadRow]]) -> Iterator[tuple[int, list[Row | BadRow]]]:
    for source, stream in enumerate(streams):
        iterator = iter(stream)
        while rows := list(itertools.islice(iterator, BATCH_ROWS)):
            yield source, rows


def _recall(rows: Sequence[Row | BadRow], keys: Sequence[bytes], memo: Memo, counts: ParseCounts) -> Recalled:
    known = memo.lookup(keys)
    counts.reused += sum(result is not None for result in known.results)
    results = [row.reason if isinstance(row, BadRow) else result for row, result in zip(rows, known.results, strict=True)]
    return Recalled(results, known.batch)


def _finish(waited: tuple, crew: "_Crew", writer: MemoWriter) -> ParsedBatch:
    source, rows, keys, known, future = waited
    fresh = iter(crew.collect(future) if future is not None else ())
    results = [result if result is not None else next(fresh) for result in known.results]
    # What was known throughout goes from memo to memo as it is.
    if known.batch is not None:
        writer.copy(known.batch)
    else:
        is_row = [isinstance(row, Row) for row in rows]
        writer.add(list(itertools.compress(keys, is_row)), list(itertools.compress(results, is_row)))
    return ParsedBatch(source, rows, keys, results)


class _Crew:
    """Parses lists of texts: in this process at first, in worker processes once there is enough to do."""

    def __init__(self, rules: Rules, workers: int, counts: ParseCounts) -> None:
        self._rules, self._workers, self._counts = rules, workers, counts
        self._here = Standardizer(rules)
        self._started = 0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def ahead(self) -> int:
        """Batches that may wait for their turn: enough to keep the workers busy, few enough to bound memory."""
        return 0 if self._pool is None else 2 * self._workers

    def start(self, texts: Sequence[tuple[str, str]]) -> Future:
        self._started += len(texts)
        if self._pool is None and self._workers > 1 and self._started > ROWS_BEFORE_WORKERS:
            # Spawned, not forked: the parent has threads (Arrow's), and a fork may inherit a lock that one of them holds.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_begin_work, initargs=(self._rules,))
        if self._pool is not None:
            return self._pool.submit(_work, texts)
        future: Future = Future()
        before = self._here.parses
        results = self._here.many(texts)
        future.set_result((results, self._here.parses - before))
        return future

    def collect(self, future: Future) -> list[Standardized | str]:
        try:
            results, parses = future.result()
        except BrokenProcessPool:
            raise WorkerDiedError(
                "a worker process died: memory ran out, or RDKit crashed on a row; run again with --workers 1 to see which it is"
            ) from None
        self._counts.parsed += parses
        return results


_worker: Standardizer | None = None


def _begin_work(rules: Rules) -> None:
    global _worker  # noqa: PLW0603 - a worker process has one standardizer for its life
    _worker = Standardizer(rules)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work(texts: Sequence[tuple[str, str]]) -> tuple[list[Standardized | str], int]:
    assert _worker is not None
    before = _worker.parses
    return _worker.many(texts), _worker.parses - before


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
