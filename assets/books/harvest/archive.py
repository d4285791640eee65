"""An archive, asked through the Internet Archive's own client (`internetarchive`, AGPL-3.0: imported here alone, and only when a harvest runs).

The client puts the questions together and pages through searches. How they reach a server is ours: it would follow a redirect anywhere, wait
without end, hold any answer, and believe what it downloads. So its requests go the way of all downloads (assets/downloads).
"""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from internetarchive import get_session
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from assets.books.harvest.config import IDENTIFIER, ArchiveItemsConfig, SourceParams
from assets.books.harvest.stated import Stated, StatedError, read_reply
from assets.downloads.answers import ask
from assets.downloads.guarded_http import DownloadError, UnavailableError
from assets.downloads.hosts import Hosts
from assets.downloads.one_file import DownloadRules

# What a search tells of each item besides its name: enough to see that it has changed since.
_FIELDS = ["identifier", "oai_updatedate", "imagecount"]
_MOST_PAGES = 10_000
_MOST_BYTES = 2**25  # of one answer; an item of 100,000 files has about 30 MB of metadata


class SearchError(DownloadError):
    """The search did not come to its end. Nothing may be concluded from what it did not find."""


class Archive:
    """address: where it is reached now; base: where tables say that it is."""

    def __init__(self, address: str, base: str, rules: DownloadRules) -> None:
        self.address, self.base, self.rules = address, base, rules
        self.hosts = rules.hosts()
        self._way = _Way(rules, self.hosts)
        parts = urlsplit(address)
        # Its own words go to the log a second time, and with addresses; what it raises says the same.
        logging.getLogger("internetarchive").setLevel(logging.CRITICAL)
        # No file of settings, no keys: those are told by the rules, to the archive alone, and are in no User-Agent.
        session: Any = get_session(config={"general": {"secure": parts.scheme == "https"}, "s3": {}}, config_file="/dev/null")
        session.host = parts.netloc  # Given as a setting, the client would write .archive.org behind it.
        session.trust_env = False
        session.access_key = session.secret_key = None
        session.adapters.clear()
        session.mount("https://", self._way)
        session.mount("http://", self._way)
        session.mount_http_adapter = lambda *_, **__: None  # A search would mount the client's own again.
        self._session = session

    @property
    def day(self) -> date:
        """The day that it is at the archive, by the Date of its first answer; the UTC day until then."""
        return self._way.day or datetime.now(UTC).date()

    def search(self, question: str) -> Iterator[tuple[str, str]]:
        """The items that fit, as (identifier, what the search tells of it, empty where it tells nothing). Raises DownloadError."""
        self._way.pages_left = _MOST_PAGES
        told: set[str] = set()
        try:
            for row in self._session.search_items(question, fields=list(_FIELDS)):
                identifier = row["identifier"]
                if isinstance(identifier, str) and IDENTIFIER.fullmatch(identifier) and identifier not in told:
                    told.add(identifier)
                    facts = {name: row[name] for name in _FIELDS[1:] if name in row}
                    yield identifier, json.dumps(facts, sort_keys=True) if "oai_updatedate" in facts else ""
        except DownloadError:
            raise
        # The client trusts the shape of the answer.
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, requests.RequestException) as error:
            raise SearchError(f"{self.base}: the search '{question}' ended with {type(error).__name__}: {str(error)[:200]}") from None

    def metadata(self, identifier: str) -> Stated:
        """What the archive states of an item. Raises UnavailableError where it cannot say it now, and other DownloadErrors."""
        try:
            return read_reply(identifier, self._session.get_metadata(identifier, request_kwargs={"timeout": None}))
        except DownloadError as error:
            raise (error.__context__ if isinstance(error.__context__, DownloadError) else error) from None
        except (ValueError, RecursionError, StatedError, requests.RequestException) as error:
            raise UnavailableError(f"{self.base}/metadata/{identifier}: not an answer that can be used: {str(error)[:200]}") from None

    def file_url(self, identifier: str, name: str) -> str:
        return f"{self.address}/download/{quote(identifier)}/{quote(name)}"

    def in_tables(self, words: str) -> str:
        """The words with the archive's lasting address in place of that of this harvest."""
        return words.replace(self.address, self.base)


@contextlib.contextmanager
def open_archive(source: SourceParams, config: ArchiveItemsConfig, authorization: str) -> Iterator[Archive]:
    """The archive of a source, served on loopback for the length of the block where it is ours. Raises ValueError or FileNotFoundError."""
    with contextlib.ExitStack() as open_things:
        address = source.base
        if source.embedded:
            from assets.demo_sites import open_site

            hosts = [urlsplit(source.base).netloc]
            address = open_things.enter_context(open_site(source.embedded, folder=source.folder or None, hosts=hosts))
        yield Archive(address, source.base, config.rules_for(source, urlsplit(address).netloc, authorization))


@dataclass
class _Way(BaseAdapter):
    """The way of the client's requests to a server. pages_left: how many more pages of a search it may ask for."""

    rules: DownloadRules
    hosts: Hosts
    day: date | None = None
    pages_left: int = _MOST_PAGES

    def __post_init__(self) -> None:
        super().__init__()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        url, body = request.url or "", request.body
        content: Any = body.encode() if isinstance(body, str) else body
        if "/search/" in url:
            self.pages_left -= 1
            if self.pages_left < 0:
                raise SearchError(f"the search has more than {_MOST_PAGES:,} pages, or goes in circles")
        answer = ask(url, self.rules, self.hosts, method=request.method or "GET", body=content, max_bytes=_MOST_BYTES)
        self.day = self.day or _day_of(answer.headers.get("Date", ""))
        response = requests.Response()
        response.status_code, response.url, response.request = answer.status, answer.url, request
        response.headers, response._content = CaseInsensitiveDict(answer.headers), answer.body
        response.encoding = "utf-8"
        return response

    def close(self) -> None:
        """Nothing is kept open between two requests."""


def _day_of(header: str) -> date:
    try:
        return parsedate_to_datetime(header).astimezone(UTC).date()
    except (ValueError, TypeError, OverflowError):
        return datetime.now(UTC).date()
