"""Ask a server a question whose answer is small enough to be held: by the same rules as downloads, and bounded in size and time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from assets.downloads.guarded_http import TooLargeError
from assets.downloads.hosts import Hosts
from assets.downloads.one_file import DownloadRules, TransientError, opened, patiently, pieces_of


@dataclass(frozen=True)
class Answer:
    """url: where it came from, after redirects. headers: the last of each name."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(url: str, rules: DownloadRules, hosts: Hosts, *, method: str = "GET", body: bytes | None = None, max_bytes: int = 2**25) -> Answer:
    """The whole answer; it must have come within the time of the rules, however steadily it comes.

    hosts: shared by all who ask. Raises DownloadError, of which UnavailableError says that a later question may be answered.
    """

    def attempt() -> Answer:
        began = time.monotonic()
        with opened(url, {}, rules, method=method, body=body) as answer:
            pieces, size = [], 0
            for piece in pieces_of(answer, rules, hosts):
                pieces.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise TooLargeError(f"{url}: the answer is larger than {max_bytes:,} bytes, which is the limit")
                if time.monotonic() - began > rules.timeout_s:
                    raise TransientError(f"the answer did not come within {rules.timeout_s:,.0f} s")
            if answer.length:
                raise TransientError("the connection ended before the answer did")
            return Answer(answer.url, answer.status, dict(answer.headers.items()), b"".join(pieces))

    return patiently(url, rules, hosts, attempt)
