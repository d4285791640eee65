"""Parse a stream of rows in batches: from the memo where it knows them, else here or in processes of their own; always in the order of the stream.

What may crash RDKit, hold it up or fill the memory (molfiles, coordinates) is only ever read by a process with bounds, and costs its own row.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Any, Self

from rdkit import rdBase

from assets.molecules.memo import Memo, MemoWriter, Recalled, row_key
from assets.molecules.rows import BadRow, Row
from assets.molecules.standardize import Rules, Standardized, Standardizer
from stages.bounded import BoundedReader, Bounds, Refused

BATCH_ROWS = 4_096
# Starting a worker costs about a second of importing rdkit: not worth it for what one process parses in the meantime.
ROWS_BEFORE_WORKERS = 3 * BATCH_ROWS


# Of one row. A molecule takes a thousandth of both.
BOUNDS = Bounds(memory_mib=1_024, cpu_s=10)
_REASONS = {"out_of_memory": "takes too much memory", "too_slow": "takes too long", "timed_out": "takes too long"}


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
    """Every row of every stream, in order. `workers` changes the speed, never the result."""
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
    """Parses lists of texts: SMILES in this process at first, everything else, and all once there is enough to do, in processes with bounds."""

    def __init__(self, rules: Rules, workers: int, counts: ParseCounts) -> None:
        self._workers, self._counts = workers, counts
        self._here = Standardizer(rules)
        self._readers: SimpleQueue[BoundedReader] = SimpleQueue()
        self._all_readers = [BoundedReader("assets.molecules.parsing:open_parser", asdict(rules), BOUNDS) for _ in range(max(1, workers))]
        for reader in self._all_readers:
            self._readers.put(reader)
        self._started = 0
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for reader in self._all_readers:
            reader.__exit__()

    @property
    def ahead(self) -> int:
        """Batches that may wait for their turn: enough to keep the workers busy, few enough to bound memory."""
        return 0 if self._pool is None else 2 * self._workers

    def start(self, texts: Sequence[tuple[str, str]]) -> Future:
        self._started += len(texts)
        if self._pool is None and self._workers > 1 and self._started > ROWS_BEFORE_WORKERS:
            self._pool = ThreadPoolExecutor(self._workers)
        if self._pool is not None:
            return self._pool.submit(self._elsewhere, texts)
        future: Future = Future()
        before = self._here.parses
        elsewhere, parses = self._elsewhere([text for text in texts if text[0] != "smiles"])
        given, here = iter(elsewhere), iter(self._here.many(text for text in texts if text[0] == "smiles"))
        future.set_result(([next(here if form == "smiles" else given) for form, _ in texts], parses + self._here.parses - before))
        return future

    def collect(self, future: Future) -> list[Standardized | str]:
        results, parses = future.result()
        self._counts.parsed += parses
        return results

    def _elsewhere(self, texts: Sequence[tuple[str, str]]) -> tuple[list[Standardized | str], int]:
        """(results, how many were handed to RDKit)."""
        if not texts:
            return [], 0
        reader = self._readers.get()
        try:
            answers = list(reader.read(texts))
        finally:
            self._readers.put(reader)
        return [_result(answer) for answer in answers], sum(isinstance(answer, Refused) or answer[0] for answer in answers)


def open_parser(rules: dict[str, Any]) -> Callable[[tuple[str, str]], list]:
    """What parses one (form, text), for a process with bounds. The answer: how many molecules that were, and the result as `_result` takes it."""
    lists: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in rules.items()}
    standardizer, quiet = Standardizer(Rules(**lists)), rdBase.BlockLogs()

    def parse_one(row: tuple[str, str]) -> list:
        before, _ = standardizer.parses, quiet
        result = standardizer.one(*row)
        return [standardizer.parses - before, result]

    return parse_one


def _result(answer: Any) -> Standardized | str:
    if isinstance(answer, Refused):
        return _REASONS.get(answer.reason, "crashes its reader")
    _, result = answer
    return result if isinstance(result, str) else Standardized(result[0], result[1], tuple(result[2]), result[3])
