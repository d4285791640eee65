"""Drawn pages that reach for what lies inside: through a browser that has no network they get nothing, and good ones are drawn all the same."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from assets.papers.raw_pages import RawPages
from assets.papers.warc_store import read_exchange, whole_records
from tests.hostility import Tried

from .outside import INSIDE, OUTSIDE

pytestmark = [pytest.mark.browser, pytest.mark.hostile]
ROOT = Path(__file__).resolve().parents[4]
SECRET = "what-only-those-inside-may-read"
GOOD = "<script src='/list.js'></script>"
LIST = "fetch('/items.json').then(a => a.json()).then(said => { document.getElementById('said').textContent = said.word; });"

# name -> what a page holds. IN is a server inside, as is IN6; GO leads there by a redirect of a host that may be asked; UDP is a socket inside.
REACHES = {
    "script": "<script src='IN/script'></script>",
    "redirected-script": "<script src='GOIN/redirected-script'></script>",
    "redirected-to-metadata": "<script src='GOhttp://169.254.169.254/latest/meta-data'></script>",
    "redirected-to-ipv6": "<script src='GOIN6/redirected-to-ipv6'></script>",
    "redirected-to-number": "<script>fetch('GOhttp://2130706433:PORT/redirected-to-number').then(show)</script>",
    "redirected-to-file": "<script>fetch('GOfile://FILE').then(show)</script>",
    "twice-redirected": "<script>fetch('GO' + encodeURIComponent('GOIN/twice-redirected')).then(show)</script>",
    "style": "<link rel=stylesheet href='IN/style'><style>@import 'IN/import'; body { background: url(IN/background) }</style>",
    "picture": "<img src='IN/picture'><img srcset='GOIN/redirected-picture 1x'><video src='IN/video' autoplay></video>",
    "frame": "<iframe src='IN/frame'></iframe><iframe src='GOIN/redirected-frame'></iframe><object data='IN/object'></object><embed src='IN/embed'>",
    "frame-of-data": "<iframe src=\"data:text/html,<script>fetch('IN/frame-of-data',{mode:'no-cors'})</script>\"></iframe>",
    "frame-of-words": "<iframe srcdoc=\"<script src='IN/frame-of-words'></script>\"></iframe>",
    "frame-of-file": "<iframe src='file://FILE'></iframe><script>fetch('file://FILE').then(show)</script>",
    "fetch": "<script>fetch('IN/fetch', {mode: 'no-cors'}).then(show)</script>",
    "redirected-fetch": "<script>fetch('GOIN/redirected-fetch').then(show)</script>",
    "post": "<script>fetch('IN/post', {method: 'POST', body: 'x', mode: 'no-cors'})</script>",
    "xhr": "<script>var x = new XMLHttpRequest(); x.open('GET', 'IN/xhr'); x.send()</script>",
    "beacon": "<script>navigator.sendBeacon('IN/beacon', 'x')</script>",
    "events": "<script>new EventSource('IN/events')</script>",
    "socket": "<script>new WebSocket('ws://INHOST/socket')</script>",
    "socket-of-a-worker": "<script>new Worker(URL.createObjectURL(new Blob([\"new WebSocket('ws://INHOST/socket-of-a-worker')\"])))</script>",
    "worker": "<script>new Worker(URL.createObjectURL(new Blob([\"importScripts('IN/worker'); fetch('GOIN/worker-fetch')\"])))</script>",
    "shared-worker": "<script>new SharedWorker(URL.createObjectURL(new Blob([\"importScripts('IN/shared-worker')\"])))</script>",
    "service-worker": "<script>navigator.serviceWorker && navigator.serviceWorker.register('/worker.js?IN/service-worker')</script>",
    "transport": "<script>new WebTransport('https://INHOST/transport')</script>",
    "stun": "<script>dial([{urls: 'stun:UDP'}])</script>",
    "stun-in-a-frame": "<iframe id=f></iframe><script>dial([{urls: 'stun:UDP'}], document.getElementById('f').contentWindow)</script>",
    "turn": "<script>dial(['turn:INHOST?transport=tcp', 'turn:UDP'].map(urls => ({urls, username: 'a', credential: 'b'})))</script>",
    "refresh": "<meta http-equiv=refresh content='0;url=IN/refresh'>",
    "refresh-by-redirect": "<meta http-equiv=refresh content='0;url=GOIN/refresh-by-redirect'>",
    "location": "<script>location = 'IN/location'</script>",
    "window": "<script>window.open('IN/window'); window.open('GOIN/redirected-window')</script>",
    "form": "<form id=f action='IN/form' method=post><input name=a></form><script>document.getElementById('f').submit()</script>",
    "download": "<a id=d download href='IN/download'>x</a><script>document.getElementById('d').click()</script>",
    "download-of-data": "<a id=d download=x href='data:application/octet-stream,x'>x</a><script>document.getElementById('d').click()</script>",
    "ping": "<a id=p href='#x' ping='IN/ping'>x</a><script>document.getElementById('p').click()</script>",
    "hints": "<link rel=preconnect href='IN'><link rel=dns-prefetch href='IN'><link rel=prefetch href='IN/prefetch'>"
    "<link rel=modulepreload href='IN/module'><link rel=preload as=fetch href='IN/preload'>"
    "<link rel=manifest href='IN/manifest'><link rel=icon href='IN/icon'>",
    "speculation": '<script type=speculationrules>{"prefetch":[{"source":"list","urls":["IN/speculation"]}],'
    '"prerender":[{"source":"list","urls":["/go?to=IN/prerender"]}]}</script>',
    "other-host": "<script src='http://elsewhere.example:PORT/other-host'></script>",
    "forbidden": "<script>fetch('/private/forbidden').then(show)</script>",
}  # fmt: skip
# Those that keep the browser busy: each must end, and the next page be drawn.
WEARS_OUT = {
    "loop": "<script>while (true) {}</script>",
    "late-loop": "<script>setTimeout(() => { while (true) {} }, 50)</script>",
    "big-script": "<script src='/big.js'></script>",
    "endless-script": "<script src='/endless.js'></script>",
    "big-page": "<script>document.body.append('x'.repeat(5000000))</script>",
    "reload": "<script>location.reload()</script>",
    "dialogs": "<script>alert(1); confirm(2); prompt(3); print()</script>",
    "requests": "<script>for (let i = 0; i < 600; i++) fetch('/items.json?' + i)</script>",
    "memory": "<script>var a = []; while (true) a.push(new Array(1000000).fill(Math.random()))</script>",
}
# Several on each page: none keeps the next from being tried, since a page stays where it is.
_NAMES = list(REACHES)
PAGES = {_NAMES[first]: [REACHES[name] for name in _NAMES[first : first + 4]] for first in range(0, len(_NAMES), 4)}
PAGES |= {name: [held] for name, held in WEARS_OUT.items()} | {"headers": []}
HELPERS = """<script>
  const show = answer => answer.text().then(text => document.body.append(text));
  const dial = (servers, from = window) => { const call = new from.RTCPeerConnection({iceServers: servers});
    call.createDataChannel('x'); call.createOffer().then(offer => call.setLocalDescription(offer)); };
</script>"""


class Servers:
    """The Internet on 127.0.0.2, and on 127.0.0.1 and [::1], at the same port, what must not be reached. reached: what was, by whatever way."""

    def __init__(self, secret: Path) -> None:
        self.reached: list[str] = []
        self.outside: list[str] = []
        servers = self

        class Outside(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                servers.outside.append(self.path)
                servers.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Inside(Outside):
            def setup(self) -> None:
                servers.reached.append("a connection")
                super().setup()

            def do_GET(self) -> None:
                servers.reached.append(self.path)
                send(self, SECRET.encode())

            def do_POST(self) -> None:
                self.do_GET()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who is refused goes away in the middle."""

        class Server6(Server):
            address_family = socket.AF_INET6

        self._servers: list[Server] = [Server((OUTSIDE, 0), Outside)]
        self.port = self._servers[0].server_address[1]
        self._servers += [Server((INSIDE, self.port), Inside), Server6(("::1", self.port), Inside)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((INSIDE, 0))
        threading.Thread(target=self._listen, daemon=True).start()
        inside = f"http://{INSIDE}:{self.port}"
        self._words = (("INHOST", f"{INSIDE}:{self.port}"), ("IN6", f"http://[::1]:{self.port}"), ("IN", inside), ("GO", "/go?to="),
                       ("UDP", f"{INSIDE}:{self._udp.getsockname()[1]}"), ("PORT", str(self.port)), ("FILE", str(secret)))  # fmt: skip

    def page(self, name: str) -> bytes:
        """The page of that attack, which is a good one besides."""
        held = "".join(PAGES.get(name, ()))
        for word, value in self._words:
            held = held.replace(word, value)
        return f"<!DOCTYPE html><html><body><p id=said>empty</p>{HELPERS}{GOOD}{held}</body></html>".encode()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        if url.path == "/robots.txt":
            send(handler, b"User-agent: *\nDisallow: /private/\n", "text/plain")
        elif url.path == "/go":
            send(handler, b"", status=302, Location=parse_qs(url.query)["to"][0])
        elif url.path == "/main":
            send(handler, b"", status=302, Location=f"http://{INSIDE}:{self.port}/main")
        elif url.path == "/list.js":
            send(handler, LIST.encode(), "text/javascript")
        elif url.path == "/items.json":
            send(handler, b'{"word": "drawn"}', "application/json")
        elif url.path == "/worker.js":
            send(handler, f"self.addEventListener('install', () => fetch('{url.query}'));".encode(), "text/javascript")
        elif url.path == "/big.js":
            send(handler, b"/" * 5_000_000, "text/javascript")
        elif url.path == "/endless.js":
            handler.send_response(200)
            handler.send_header("Content-Type", "text/javascript")
            handler.end_headers()
            while True:
                handler.wfile.write(b"/" * 65_536)
        elif url.path.startswith("/private/"):
            self.reached.append(url.path)
            send(handler, SECRET.encode())
        else:
            inside = f"http://{INSIDE}:{self.port}"
            told = {"Link": f"<{inside}>; rel=preconnect, <{inside}/link>; rel=preload; as=script", "Refresh": f"0;url={inside}/refresh-header",
                    "Content-Security-Policy-Report-Only": f"script-src 'none'; report-uri {inside}/report",
                    "Report-To": json.dumps({"group": "default", "max_age": 100, "endpoints": [{"url": f"{inside}/report-to"}]}),
                    "NEL": json.dumps({"report_to": "default", "max_age": 100, "success_fraction": 1.0}),
                    "Alt-Svc": f'h2="{INSIDE}:{self.port}"'}  # fmt: skip
            send(handler, self.page(url.path[1:]), **(told if url.path == "/headers" else {}))

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._udp.close()

    def _listen(self) -> None:
        while True:
            try:
                self._udp.recvfrom(2048)
            except OSError:
                return
            self.reached.append("a datagram")


def send(handler: http.server.BaseHTTPRequestHandler, body: bytes, kind: str = "text/html", *, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Access-Control-Allow-Origin": "*", **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def test_pages_that_reach_for_inside_get_nothing_and_good_ones_are_drawn(tmp_path: Path, tried: Tried) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    servers = Servers(secret)
    names = [*PAGES, "good"]
    hosts = {"outside": "outside.example", "rebinding": "localhost", "flipping": "flips.example"}
    starts = {name: [f"http://{host}:{servers.port}/good"] for name, host in hosts.items()}
    starts["outside"] = [f"http://outside.example:{servers.port}/{name}" for name in [*names, "main"]]
    sources = [{"name": name, "page": "tests.assets.papers.crawl.outside:parse", "start": start, "licence": "CC0-1.0", "render": True}
               for name, start in starts.items()]  # fmt: skip
    params = {"contact": "crawl@imaginary-letters.org", "delay_s": 0, "timeout_s": 6, "max_body_mib": 2, "retries": 0, "sources": sources}
    (tmp_path / "params.yaml").write_text(json.dumps({"journal_pages": params}))
    done = subprocess.run([sys.executable, "-m", "assets.papers.crawl"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=400)  # fmt: skip
    servers.close()
    assert done.returncode == 0, done.stderr
    with RawPages(tmp_path / "data/journal_pages") as raw:
        drawn = {urlsplit(record.url).path[1:] for record in raw.records() if b'id="said">drawn' in raw.body(record)}
        problems = {problem.url: problem.kind for problem in raw.problems()}
    stored = [
        read_exchange(path, record.place).body
        for path in (tmp_path / "data/journal_pages").glob("*.warc.gz")
        for record in whole_records(path)
        if record.kind in {"response", "part"}
    ]
    told = sum(SECRET.encode() in body and b"id=said" not in body for body in stored) + (SECRET in json.dumps(problems))
    got_through, lost = len(servers.reached) + told, sorted({*PAGES, "good"} - {*WEARS_OUT} - drawn)
    tried("rendered pages that reach for inside", len(REACHES) + 9, got_through=got_through, lost=len(lost))
    tried("rendered pages that wear the browser out", len(WEARS_OUT), lost="good" not in drawn)
    assert not servers.reached and not told, (servers.reached, problems)
    assert not lost, (lost, problems, done.stderr)
    # Where there are user namespaces, and for root too, the sandbox is on.
    has_namespaces = subprocess.run(["unshare", "--user", "--map-user=1000", "--map-group=1000", "--net", "true"], check=False).returncode == 0
    assert ("gives Chromium no sandbox" in done.stdout + done.stderr) != has_namespaces
    assert sum(path.startswith("/items.json?") for path in servers.outside) <= 200
