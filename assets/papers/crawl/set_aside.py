"""Pages that took more than a page may to be read: they are stored and never read again, until they or their page objects change."""

import hashlib
import json
from pathlib import Path

from assets.papers.items import Page
from stages.files import write_file_atomically

# So many of one source in a crawl, and it is left alone until the next.
MOST_OF_A_SOURCE = 3


class SetAside:
    """What was set aside in this crawl and earlier ones, in the file `path`; a file that cannot be read is begun anew."""

    def __init__(self, path: Path, crawl: int) -> None:
        self._path, self._crawl = path, crawl
        try:
            self._pages = {str(url): [str(fact) for fact in facts] for url, facts in json.loads(path.read_bytes()).items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            self._pages = {}

    def words(self, page: Page, reader: str) -> str:
        """Why that page is not read by a page object of that version; "" where it may be."""
        facts = self._pages.get(page.url, [])
        return facts[-1] if facts[:2] == [reader, _digest(page)] else ""

    def add(self, page: Page, reader: str, words: str) -> None:
        """Remember it, before anything else happens."""
        self._pages[page.url] = [reader, _digest(page), page.source, str(self._crawl), words]
        write_file_atomically(self._path, json.dumps(self._pages, indent=0).encode("utf-8"))

    def is_left_alone(self, source: str) -> bool:
        """Whether this crawl asks nothing more of the source."""
        return sum(facts[2:4] == [source, str(self._crawl)] for facts in self._pages.values()) >= MOST_OF_A_SOURCE


def _digest(page: Page) -> str:
    return hashlib.sha256(page.body).hexdigest()
