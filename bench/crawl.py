"""Our crawl beside plain Scrapy with its FilesPipeline, on the same site of issue pages and images on loopback.

    python -m bench.crawl                                # 20 issues, 200 images; 1 as large as real ones, 200 images
    python -m bench.crawl --scale std --json crawl.json  # 200 issues, 2,000 images; 10 as large as real ones, 2,000 images

The peer is what a Scrapy user writes: a spider that reads the issue pages with CSS selectors, items in a JSON Lines feed, images by FilesPipeline, no
delay, no robots.txt. Ours does what it always does: WARC, index, robots.txt, problems, resume. A first run checks that both have the same titles,
abstracts and images. Then the sides take turns, each in a fresh folder, and every round another one goes first; CPU seconds are those of the whole
process with its start (rusage), and also without it (less the CPU of a run on a site with one page); wall seconds beside them. Ratios, ours over
theirs, round by round; aim: at most 1.2 CPU a response. All of it twice: with pages of ten papers, and with pages of 200 papers and 700 KB, as real
issues are.
Counted besides: requests of our second night (unchanged: no image), of a third (one new issue: its images alone), and repeats after kill -9 at half.
Exits 1 when contents or counts are not as they should be.
"""

import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from bench.measuring import ROOT, cpu_and_wall_s, parser, spread, write_report

SCALES = {"smoke": (20, 1, 2), "std": (200, 10, 5)}  # issues, large issues, rounds
PER_ISSUE = 10
PER_LARGE_ISSUE = 200
MENU, LARGE_MENU = 20, 110  # entries of the menu beside each paper: 16 KB and 700 KB a page
IMAGE_BYTES = 15_000
AIM = 1.2
HOST = "letters.example"
OURS = [sys.executable, "-m", "assets.papers.crawl"]

PEER = """
import sys
import scrapy
from scrapy.crawler import AsyncCrawlerProcess


class Letters(scrapy.Spider):
    name = "letters"

    async def start(self):
        yield scrapy.Request(sys.argv[1])

    def parse(self, response):
        for item in response.css("div.issue-item"):
            link = item.css(".issue-item_title a")
            image = item.css("img::attr(data-src)").get()
            yield {"doi": link.attrib["href"].partition("/doi/")[2], "title": link.xpath("string()").get(),
                   "abstract": item.css(".hlFld-Abstract p").xpath("string()").get(), "file_urls": [response.urljoin(image)]}
        for href in response.css("a.issue::attr(href)"):
            yield response.follow(href)


process = AsyncCrawlerProcess({
    "ITEM_PIPELINES": {"scrapy.pipelines.files.FilesPipeline": 1}, "FILES_STORE": "files", "FEEDS": {"items.jsonl": {"format": "jsonlines"}},
    "LOG_LEVEL": "ERROR", "TELNETCONSOLE_ENABLED": False, "DOWNLOAD_DELAY": 0, "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
})
process.crawl(Letters)
process.start()
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A killed client leaves its connections behind; that is part of the bench."""


class Site:
    """Issue pages of `per_issue` papers with an image each; `asked` counts requests by path."""

    def __init__(self, issues: int, *, per_issue: int = PER_ISSUE, menu: int = MENU) -> None:
        self.issues, self.per_issue, self.menu = issues, per_issue, menu
        self.asked: Counter[str] = Counter()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65_536

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                site.asked[path] += 1
                kind, body = site.answer(path)
                tag = f'"{hashlib.md5(body).hexdigest()}"'
                if self.headers.get("If-None-Match") == tag:
                    self.send_response(304)
                    self.send_header("ETag", tag)
                    self.end_headers()
                    return
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", tag)
                self.end_headers()
                self.wfile.write(body)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[str, bytes]:
        parts = path.strip("/").split("/")
        if parts[0] == "toc":
            return "text/html; charset=utf-8", self._issue(int(parts[3]))
        if parts[0] == "images":
            return "image/png", b"\x89PNG\r\n\x1a\n" + hashlib.shake_128(path.encode()).digest(IMAGE_BYTES)
        return "text/plain", b""

    def _issue(self, number: int) -> bytes:
        # The first issue links to all the others, so that both sides find them by crawling.
        links = (
            "".join(f'<a class="issue" href="/toc/letters/1/{other}">Issue {other}</a>' for other in range(1, self.issues + 1)) if number == 1 else ""
        )
        items = "".join(
            f'<div class="issue-item clearfix"><h5 class="issue-item_title"><a href="/doi/10.5555/bench.{number}.{item}" title="t">'
            f"Paper {item} of issue {number}</a></h5><img data-src='/images/{number}-{item}.png'><span class='hlFld-Abstract'><p>"
            f"{f'What paper {item} of issue {number} found. ' * 25}</p></span><ul>{'<li class=nav>menu</li>' * self.menu}</ul></div>"
            for item in range(self.per_issue)
        )
        return f"<!DOCTYPE html><html><body>{links}{items}</body></html>".encode()

    def take_counts(self) -> dict[str, int]:
        """Requests since the last call, by kind."""
        counts = Counter(path.split("/")[1] for path, number in self.asked.items() for _ in range(number))
        self.asked.clear()
        return {"pages": counts["toc"], "images": counts["images"], "robots": counts["robots.txt"]}


def run_peer(site: Site, folder: Path) -> tuple[float, float]:
    """CPU and wall seconds."""
    (folder / "spider.py").write_text(PEER)
    return cpu_and_wall_s([sys.executable, "spider.py", f"{site.address}/toc/letters/1/1"], cwd=folder, variables={})


def run_ours(site: Site, folder: Path) -> tuple[float, float]:
    """CPU and wall seconds."""
    source = {
        "name": "letters",
        "page": "acs_lists",
        "start": [f"http://{HOST}/toc/letters/1/1"],
        "licence": "CC0-1.0",
        "via": site.address,
        "delay_s": 0,
    }
    pace = {"delay_s": 0, "concurrency_per_host": 8, "target_concurrency": 8.0}
    (folder / "params.yaml").write_text(json.dumps({"journal_pages": {"contact": "bench@figment-crawl.net", "sources": [source], **pace}}))
    return cpu_and_wall_s(OURS, cwd=folder, variables={})


def contents_of_peer(folder: Path) -> tuple[set[tuple[str, str, str]], set[str]]:
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    papers = {(item["doi"], item["title"], item["abstract"].strip()) for item in items}
    return papers, {hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "files").rglob("*") if path.is_file()}


def contents_of_ours(folder: Path) -> tuple[set[tuple[str, str, str]], set[str]]:
    from assets.papers.pages import PAGES
    from assets.papers.raw_pages import RawPages

    with RawPages(folder / "data/journal_pages") as raw:
        pages = [record for record in raw.records() if record.kind == "index" and record.status == 200]
        papers = {(paper.doi, paper.title, paper.abstract) for record in pages for paper in PAGES["acs_lists"](raw.page(record)).papers}
        return papers, {record.content_sha256 for record in raw.records() if record.kind == "image" and record.status == 200}


def kill_at_half(site: Site, folder: Path) -> dict[str, int]:
    """Kill our crawl when half of the images were asked for, run it again: requests in all, and how many were asked twice."""
    process = subprocess.Popen(OURS, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    # Killed when the site has been asked for half of the images, not after a time: the same on a slow machine.
    half = site.issues * site.per_issue // 2
    deadline = time.monotonic() + 120
    while sum(path.startswith("/images/") for path in list(site.asked)) < half and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    cpu_and_wall_s(OURS, cwd=folder, variables={})
    repeated = sum(number - 1 for path, number in site.asked.items() if number > 1 and path != "/robots.txt")
    return {**site.take_counts(), "repeated": repeated}


def measure(scale: str) -> dict:
    issues, large_issues, rounds = SCALES[scale]
    small = measure_site(Site(issues), rounds, with_nights=True)
    large = measure_site(Site(large_issues, per_issue=PER_LARGE_ISSUE, menu=LARGE_MENU), rounds)
    return {"scale": scale, **small, "large_pages": large}


def measure_site(site: Site, rounds: int, *, with_nights: bool = False) -> dict:
    """Both sides on one site, round by round, and the requests of the nights that follow."""
    one_page = Site(0)
    page_bytes = len(site.answer("/toc/letters/1/1")[1])
    report: dict = {"responses": site.issues * (1 + site.per_issue), "page_bytes": page_bytes, "rounds": []}
    sides = {"ours": run_ours, "peer": run_peer}
    try:
        # Round 0 checks contents and counts, and warms the disk cache; the others are timed. Each side starts from an empty folder.
        for number in range(rounds + 1):
            spent: dict[str, float] = {}
            for name in sides if number % 2 else reversed(sides):
                with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as small:
                    spent[f"{name}_start"], spent[f"{name}_start_wall"] = sides[name](one_page, Path(small))
                    spent[name], spent[f"{name}_wall"] = sides[name](site, Path(folder))
                    if number == 0:
                        report[name] = contents_of_ours(Path(folder)) if name == "ours" else contents_of_peer(Path(folder))
                        report.setdefault("requests", {})[name] = site.take_counts()
                        if name == "ours" and with_nights:
                            report["requests"] |= nights(site, Path(folder))
            site.take_counts()
            if number == 0:
                check_equal(report.pop("ours"), report.pop("peer"), site)
            else:
                report["rounds"].append(spent)
        if with_nights:
            report["requests"]["killed_at_half"] = killed(site, one_page)
    finally:
        site.close()
        one_page.close()
    return report


def killed(site: Site, one_page: Site) -> dict[str, int]:
    """The requests of a crawl that is killed at half and run again."""
    with tempfile.TemporaryDirectory() as folder:
        run_ours(one_page, Path(folder))
        params = json.loads((Path(folder) / "params.yaml").read_text())
        params["journal_pages"]["sources"][0]["via"] = site.address
        again = Path(folder) / "killed"
        again.mkdir()
        (again / "params.yaml").write_text(json.dumps(params))
        site.take_counts()
        return kill_at_half(site, again)


def nights(site: Site, folder: Path) -> dict[str, dict[str, int]]:
    """Requests of a second night on the unchanged site, and of a third with one more issue."""
    run_ours(site, folder)
    counts = {"second_night": site.take_counts()}
    site.issues += 1
    run_ours(site, folder)
    counts["third_night"] = site.take_counts()
    site.issues -= 1
    return counts


def check_equal(ours: tuple, peer: tuple, site: Site) -> None:
    wanted = site.issues * site.per_issue
    if ours != peer or len(ours[0]) != wanted or len(ours[1]) != wanted:
        raise SystemExit(
            f"crawl: contents differ: ours {len(ours[0])} papers, {len(ours[1])} images; peer {len(peer[0])}, {len(peer[1])}; {wanted} wanted"
        )


def check_counts(requests: dict[str, dict[str, int]]) -> list[str]:
    """What is wrong with the counts of requests."""
    wrong = []
    if requests["second_night"]["images"]:
        wrong.append(f"the second night asked for {requests['second_night']['images']} images, expected none")
    if requests["third_night"]["images"] != PER_ISSUE:
        wrong.append(f"the third night asked for {requests['third_night']['images']} images, expected those of the new issue, {PER_ISSUE}")
    if requests["killed_at_half"]["repeated"] > 8:
        wrong.append(f"after a kill {requests['killed_at_half']['repeated']} addresses were asked twice, expected those in flight at most (8)")
    return wrong


def main() -> int:
    arguments = parser(__doc__).parse_args()
    report = measure(arguments.scale)
    for words, part in (("pages of 10 papers", report), ("pages as large as real ones", report["large_pages"])):
        rounds = part["rounds"]
        ratios = {
            "CPU, whole process": [spent["ours"] / spent["peer"] for spent in rounds],
            "CPU, without the start": [(spent["ours"] - spent["ours_start"]) / (spent["peer"] - spent["peer_start"]) for spent in rounds],
            "wall, whole process": [spent["ours_wall"] / spent["peer_wall"] for spent in rounds],
        }
        part["ratios"] = {name: spread(values) for name, values in ratios.items()}
        print(f"{words}: {part['page_bytes']:,} bytes a page, {part['responses']:,} responses")
        for side in ("ours", "peer"):
            each = [1000 * spent[side] / part["responses"] for spent in rounds]
            print(f"  {side:<5} {statistics.median(each):6.2f} ms CPU a response ({min(each):.2f}-{max(each):.2f})")
        for name, found in part["ratios"].items():
            print(f"  {name}: {found['median']:.2f} ({found['lowest']:.2f}-{found['highest']:.2f})" + (f"; aim {AIM}" if "CPU" in name else ""))
    for name, counts in report["requests"].items():
        print(f"requests, {name}: {', '.join(f'{number:,} {kind}' for kind, number in counts.items())}")
    write_report(arguments.json, report)
    wrong = check_counts(report["requests"])
    for line in wrong:
        print(f"crawl: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
