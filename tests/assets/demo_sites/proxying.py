"""A client that goes through the proxy of an embedded site, one connection for a whole test."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Client:
    connection: http.client.HTTPConnection

    def get(self, url: str, *, method: str = "GET", **headers: str) -> "Answer":
        """headers: names with _ for -."""
        self.connection.request(method, url, headers={"Host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}})
        response = self.connection.getresponse()
        return Answer(response.status, response.read(), {name.lower(): value for name, value in response.getheaders()})


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def client_of(proxy: str) -> Iterator[Client]:
    connection = http.client.HTTPConnection(urlsplit(proxy).netloc, timeout=10)
    try:
        yield Client(connection)
    finally:
        connection.close()
