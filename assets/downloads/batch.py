"""Download many files side by side, politely: one that cannot be had is set aside with its reason, and the others come."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from assets.downloads.guarded_http import DownloadError
from assets.downloads.hosts import Hosts
from assets.downloads.one_file import DownloadRules, Wanted, download
from stages.reporting import Reporter, progress_line

_LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """What became of a wanted file: its SHA-256, or (then `problem` is not empty) why it is not there, and the same in one word."""

    wanted: Wanted
    sha256: str = ""
    problem: str = ""
    reason: str = ""


def download_all(files: Sequence[Wanted], rules: DownloadRules, *, what: str, reporter: Reporter, hosts: Hosts | None = None) -> list[Outcome]:
    """Fetch the files, as many at once as the rules say; gives their outcomes in the same order.

    what: opens each line of progress. hosts: of those who have asked there before; after this nobody asks with them any more.
    Files that cannot be had are told one by one. What concerns no single file, such as a full disk, ends it all.
    """
    one_at_a_time = threading.Lock()

    def told(tell: Callable[[str], None], line: str) -> None:
        with one_at_a_time:
            tell(line)

    log = partial(told, reporter.log)
    progress = _Progress(files, what, partial(told, reporter.progress_words))
    hosts = hosts or rules.hosts()

    def fetch(number: int) -> Outcome:
        wanted = files[number]
        try:
            found = download(wanted, rules, hosts=hosts, log=log, size_now=partial(progress.size_now, number))
        except DownloadError as error:
            told(reporter.notice, f"{what}: could not be had: {error}")
            return Outcome(wanted, problem=str(error), reason=error.reason)
        return Outcome(wanted, sha256=found)

    with ThreadPoolExecutor(max_workers=rules.at_once, thread_name_prefix="download") as pool:
        try:
            return list(pool.map(fetch, range(len(files))))
        finally:
            # After an error or Ctrl-C, those under way stop at their next piece, and nobody begins.
            hosts.stop.set()
            pool.shutdown(cancel_futures=True)


@dataclass
class _Progress:
    """A line every few seconds: how much of all files is here."""

    files: Sequence[Wanted]
    what: str
    log: Callable[[str], None]
    sizes: dict[int, int] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def size_now(self, number: int, size: int) -> None:
        with self.guard:
            self.sizes[number] = size
            now = time.monotonic()
            if now - self.told < _LINE_EVERY_S:
                return
            self.told = now
            sizes = [wanted.bytes for wanted in self.files]
            total = None if None in sizes else sum(size or 0 for size in sizes) // 1_000
            whole = sum(self.sizes.get(number) == wanted.bytes for number, wanted in enumerate(self.files) if wanted.bytes is not None)
            what = f"{self.what}, {whole:,} of {len(self.files):,} files, kB" if total is not None else f"{self.what}, kB"
            self.log(progress_line(sum(self.sizes.values()) // 1_000, total, now - self.began, what))
