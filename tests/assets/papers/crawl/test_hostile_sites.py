"""One crawl of many sites that misbehave, each in its own way: what is good is kept, and every failure is told by its kind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.papers.page_objects import find_page_object
from assets.papers.raw_pages import RawPages, address

from .misbehaving import CAPTCHA, Handler, Sites, issue_page, picture

pytest.importorskip("scrapy", reason="scrapy is not installed (the `scrape` extra)")

ROOT = Path(__file__).resolve().parents[4]
LONG = "ä" * 100 + "%2F..%2F..%2Fetc%2Fpasswd" + "x" * 175
# What the images of one issue do, and the kind of problem that must be told; "" means that the image must be stored.
IMAGES = {
    "good": "",
    "busy": "",
    "later": "",
    "reset": "cut_off",
    "short": "cut_off",
    "drip": "timeout",
    "gzip-bomb": "too_large",
    "brotli-bomb": "too_large",
    "endless": "too_large",
    "page": "not_an_image",
    "loop": "redirect",
    "inside": "host_not_allowed",
    "file": "",
    LONG: "",
}


class BadImages:
    def __init__(self) -> None:
        self.tries = {"busy": 0, "later": 0}

    def __call__(self, handler: Handler, path: str) -> None:
        name = path.rpartition("/")[2].removesuffix(".png")
        if path == "/toc/1/1":
            urls = {f"p{number}": f"/images/{name}.png" for number, name in enumerate(IMAGES)}
            handler.send(200, issue_page("bad-images", urls))
        elif name == "busy" and self._first(name):
            handler.send(429, b"slow down", Retry_After="1")
        elif name == "later" and self._first(name):
            handler.send(503, b"come back", Retry_After=time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2)))
        elif name == "reset":
            handler.reset_mid_body()
        elif name == "short":
            handler.promise_more_than_comes()
        elif name == "drip":
            handler.drip()
        elif name == "gzip-bomb":
            handler.gzip_bomb()
        elif name == "brotli-bomb":
            handler.brotli_bomb()
        elif name == "endless":
            handler.endless()
        elif name == "page":
            handler.send(200, b"<!DOCTYPE html><html><body>No image here.</body></html>", "image/png")
        elif name == "loop":
            handler.send(302, b"", Location="/images/loop.png")
        elif name == "inside":
            handler.send(302, b"", Location="http://169.254.169.254/latest/meta-data")
        elif name == "file":
            handler.send(302, b"", Location="file:///etc/passwd")
        else:
            handler.send(200, picture(len(name) % 250), "image/png")

    def _first(self, name: str) -> bool:
        self.tries[name] += 1
        return self.tries[name] == 1


def one_issue(host: str) -> Any:
    def answer(handler: Handler, path: str) -> None:
        if path == "/toc/1/1":
            handler.send(200, issue_page(host, {"only": "/images/only.png"}))
        else:
            handler.send(200, picture(), "image/png")

    return answer


@dataclass
class Crawled:
    raw: RawPages
    sites: Sites
    problems: dict[str, str]
    seconds: float
    output: str

    def statuses(self, url: str) -> list[int]:
        return [record.status for record in self.raw.records() if record.url == url]


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    sites = Sites()
    sites.answers = {
        "bad-images.example": BadImages(),
        "walled.example": lambda handler, path: handler.send(200, CAPTCHA),
        "robots5xx.example": one_issue("robots5xx"),
        "shut.example": one_issue("shut"),
        "empty.example": lambda handler, path: handler.send(200, b"<html><body>Nothing was published.</body></html>"),
        "latin.example": lambda handler, path: handler.send(200, LATIN_PAGE, "text/html; charset=utf-8"),
        "forbidding.example": one_issue("forbidding"),
    }
    sites.robots = {
        "robots5xx.example": lambda handler: handler.send(503, b"down"),
        "forbidding.example": lambda handler: handler.send(200, b"User-agent: *\nDisallow: /images/\n", "text/plain"),
        "shut.example": lambda handler: handler.send(200, b"User-agent: *\nDisallow: /\n", "text/plain"),
    }
    folder = tmp_path_factory.mktemp("hostile")
    common = {"page": "acs_lists", "licence": "CC0-1.0", "via": sites.proxy, "delay_s": 0}
    sources = [{"name": host.partition(".")[0], "start": [f"http://{host}/toc/1/1"], **common} for host in sites.answers]
    patience = {"timeout_s": 7, "max_body_mib": 8, "retries": 1, "max_redirects": 4}
    pace = {"delay_s": 0, "concurrency_per_host": 8, "target_concurrency": 8.0}
    params = {"contact": "crawl@imaginary-letters.org", "sources": sources, **patience, **pace}
    (folder / "params.yaml").write_text(json.dumps({"journal_pages": params}))
    command = [sys.executable, "-m", "assets.papers.crawl", "--params", str(folder / "params.yaml"), "--data", str(folder / "data")]
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=120)
    seconds = time.monotonic() - started
    sites.close()
    assert done.returncode == 0, done.stderr
    with RawPages(folder / "data" / "journal_pages") as raw:
        problems = {problem.url: problem.kind for problem in raw.problems()}
        yield Crawled(raw, sites, problems, seconds, done.stderr)


LATIN_PAGE = issue_page("latin", {"only": "/images/only.png"}, title="Na\u00efve {}").decode().encode("latin-1")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def image_url(name: str) -> str:
    return address(f"http://bad-images.example/images/{name}.png")


def test_the_night_ends_well_and_in_time(crawled: Crawled) -> None:
    assert crawled.seconds < 90
    assert "Traceback" not in crawled.output


@pytest.mark.parametrize("name", [name for name, kind in IMAGES.items() if not kind and name != "file"], ids=lambda name: name[:12])
def test_what_is_good_in_the_end_is_stored(crawled: Crawled, name: str) -> None:
    assert crawled.statuses(image_url(name)) == [200]
    assert crawled.raw.body(next(record for record in crawled.raw.records() if record.url == image_url(name))).startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind in IMAGES.items() if kind not in {"", "redirect", "host_not_allowed"}])
def test_what_is_broken_is_told_by_its_kind_and_never_stored(crawled: Crawled, name: str, kind: str) -> None:
    assert crawled.problems.get(image_url(name)) == kind
    assert crawled.statuses(image_url(name)) == []


def test_a_server_that_asks_for_patience_gets_it(crawled: Crawled) -> None:
    first, second = crawled.sites.times[image_url("busy")]
    assert second - first >= 0.95
    first, second = crawled.sites.times[image_url("later")]
    assert second - first >= 0.9


def test_a_redirect_loop_ends(crawled: Crawled) -> None:
    assert crawled.sites.asked[image_url("loop")] <= 5


def test_redirects_into_the_own_network_or_to_files_are_not_followed(crawled: Crawled) -> None:
    assert not any("169.254" in url or url.startswith("file:") for url in crawled.sites.asked)
    assert crawled.problems.keys() & {"http://169.254.169.254/latest/meta-data", image_url("inside")}
    assert not any(record.url.startswith("file:") or "169.254" in record.url for record in crawled.raw.records())


def test_a_captcha_is_reported_and_never_stored(crawled: Crawled) -> None:
    assert crawled.problems["http://walled.example/toc/1/1"] == "bot_wall"
    assert crawled.statuses("http://walled.example/toc/1/1") == []


def test_a_host_whose_robots_txt_is_down_is_left_alone(crawled: Crawled) -> None:
    assert crawled.problems["http://robots5xx.example/toc/1/1"] == "robots_unreachable"
    assert [url for url in crawled.sites.asked if "robots5xx" in url] == ["http://robots5xx.example/robots.txt"]


def test_what_robots_txt_forbids_is_not_asked(crawled: Crawled) -> None:
    assert crawled.sites.asked["http://forbidding.example/images/only.png"] == 0
    assert crawled.problems["http://forbidding.example/images/only.png"] == "robots_disallowed"
    assert crawled.statuses("http://forbidding.example/toc/1/1") == [200]
    assert crawled.sites.asked["http://shut.example/toc/1/1"] == 0


def test_a_wrong_charset_and_an_empty_issue_are_no_trouble(crawled: Crawled) -> None:
    (latin,) = [record for record in crawled.raw.records() if record.url == "http://latin.example/toc/1/1"]
    (paper,) = find_page_object("acs_lists")(crawled.raw.page(latin)).papers
    assert paper.title == "Naïve only"
    assert crawled.statuses("http://empty.example/toc/1/1") == [200]


def test_no_name_of_a_site_becomes_a_name_of_a_file(crawled: Crawled) -> None:
    assert {path.name for path in crawled.raw.folder.iterdir()} == {"crawl-00001.warc.gz", "index.parquet", "sources.parquet", "problems.parquet"}
