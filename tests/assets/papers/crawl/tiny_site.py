"""A site of JSON pages for the crawl's tests, its page object, and the crawl as a program of its own.

A listing is `{"articles": [{"path", "fingerprint"}], "lists": [path], "images": [...]}`, an article `{"key", "title", "images": [path]}`.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

from assets.demo_sites.exchange import Request, Response
from assets.demo_sites.server import RunningSite, serve
from assets.papers.items import Link, Page, Paper, Parsed

ROOT = Path(__file__).resolve().parents[4]
Answer = Response | Callable[[Request], Response]


def parse(page: Page) -> Parsed:
    """The page object; `page: tests.assets.papers.crawl.tiny_site:parse` in the parameters."""
    said = json.loads(page.body)
    links = [Link(urljoin(page.url, path), "index") for path in said.get("lists", [])]
    links += [Link(urljoin(page.url, entry["path"]), "article", entry.get("fingerprint", "")) for entry in said.get("articles", [])]
    links += [Link(urljoin(page.url, path), "image", paper_key=said.get("key", "")) for path in said.get("images", [])]
    papers = (Paper(key=said["key"], url=page.url, title=said.get("title", "")),) if "key" in said else ()
    return Parsed(papers=papers, links=tuple(links))


def page(**said) -> Response:
    return Response(json.dumps(said).encode(), "application/json")


def picture(name: str) -> Response:
    return Response(b"\x89PNG\r\n\x1a\n" + hashlib.sha256(name.encode()).digest() * 50, "image/png")


@dataclass
class TinySite:
    """answers: by `host/path`; what is not there is 404. The clock stands still at `day`."""

    hosts: tuple[str, ...] = ("tiny.example",)
    answers: dict[str, Answer] = field(default_factory=dict)
    day: datetime = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

    def now(self) -> datetime:
        return self.day

    def respond(self, request: Request) -> Response:
        answer = self.answers.get(f"{request.host}{request.path}", Response(b"there is nothing here", status=404))
        return answer(request) if callable(answer) else answer


def journal(papers: int = 6, host: str = "tiny.example") -> dict[str, Answer]:
    """A journal of two lists, with an image for each paper."""
    answers: dict[str, Answer] = {f"{host}/robots.txt": Response(b"User-agent: *\nAllow: /\n", "text/plain")}
    half = papers // 2
    entries = [{"path": f"/paper/{n}", "fingerprint": f"v1 of {n}"} for n in range(papers)]
    answers[f"{host}/"] = page(articles=entries[:half], lists=["/list/2"])
    answers[f"{host}/list/2"] = page(articles=entries[half:])
    for n in range(papers):
        answers[f"{host}/paper/{n}"] = page(key=f"paper-{n}", title=f"On the number {n}", images=[f"/image/{n}.png"])
        answers[f"{host}/image/{n}.png"] = picture(str(n))
    return answers


@dataclass
class Crawler:
    """The crawl as a program, in `folder`, of sources that are reached through the proxy of a running site, unless they say otherwise."""

    folder: Path
    running: RunningSite | None
    sources: list[dict] = field(default_factory=lambda: [{}])
    params: dict = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "data" / "journal_pages"

    def start(self, *program: str) -> subprocess.Popen:
        """The crawl, or the module `program[0]` with its arguments in the crawl's place."""
        sources = [
            {"name": "tiny", "page": f"{__name__}:parse", "start": ["http://tiny.example/"], "licence": "CC0-1.0", "delay_s": 0}
            | {"via": self.running.proxy if self.running else ""}
            | source
            for source in self.sources
        ]
        section = {"contact": "tests@figment.internal", "timeout_s": 10, "concurrency_per_host": 1, "sources": sources} | self.params
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "params.yaml").write_text(json.dumps({"journal_pages": section}), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::DeprecationWarning:assets"}
        command = [sys.executable, "-m", *(program or ("assets.papers.crawl",))]
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, code: int = 0) -> str:
        """Run it to its end; gives what it printed."""
        process = self.start()
        words, _ = process.communicate(timeout=120)
        assert process.returncode == code, words
        return words

    def run_and_kill(self, after: int) -> None:
        """Kill it without warning once the site has been asked `after` times in all."""
        process = self.start()
        deadline = time.monotonic() + 60
        while len(self.running.log) < after:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def asked(self) -> list[str]:
        """The addresses asked for since the last call, in order."""
        urls = [entry.url for entry in self.running.log]
        self.running.log.clear()
        return urls


def fingerprint(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def running(site: TinySite) -> Iterator[RunningSite]:
    with serve(site) as server:
        yield server
