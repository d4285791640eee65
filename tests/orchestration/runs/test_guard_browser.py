"""A real browser that has been let in shows a page of another origin, which tries everything a page can: nothing reaches the server."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute

from orchestration.runs import up
from orchestration.runs.guard import TOKEN_PARAMETER, Guard, hosts_of
from stages.ports import free_port
from tests.conftest import find_chromium
from tests.orchestration.bridge.test_browser import _QUIET
from tests.orchestration.runs.test_up import DEFINITIONS, get, served, start_serving

pytestmark = pytest.mark.browser

TOKEN = "the-token-of-this-start-0123456789"
# What a page can make a browser send to another server, and what came of it. `open` counts windows that it could look into.
ATTACK = """<!doctype html><title>attack</title><body><script>
const target = TARGET, body = JSON.stringify({query: MUTATION}), got = [];
const attempt = (name, promise) => promise.then(() => got.push(name), () => {});
const ask = (path, options) => fetch(target + path, {credentials: "include", ...options}).then(answer => {
  if (answer.type !== "opaque" && !answer.ok) throw answer.status; if (answer.type === "opaque") throw "unreadable"; });
const channel = protocols => new Promise((well, ill) => {
  const socket = new WebSocket(target.replace("http", "ws") + "/graphql", protocols); socket.onopen = well; socket.onerror = ill; });
const element = (name, attributes) => new Promise((well, ill) => {
  const made = Object.assign(document.createElement(name), attributes, {onload: well, onerror: ill}); document.body.append(made); });
const form = (enctype, method) => {
  const frame = Object.assign(document.createElement("iframe"), {name: enctype + method}), sent = document.createElement("form");
  Object.assign(sent, {action: target + "/graphql?query=" + encodeURIComponent(MUTATION), enctype, method, target: frame.name});
  sent.append(Object.assign(document.createElement("input"), {name: body.replace("}", ', "x": "'), value: '"}'}));
  document.body.append(frame, sent); sent.submit(); };
Promise.all([
  attempt("POST JSON", ask("/graphql", {method: "POST", headers: {"Content-Type": "application/json"}, body})),
  attempt("POST text", ask("/graphql", {method: "POST", headers: {"Content-Type": "text/plain"}, body})),
  attempt("POST text, unread", fetch(target + "/graphql", {method: "POST", mode: "no-cors", credentials: "include", body}).then(() => { throw 0; })),
  attempt("GET", ask("/graphql?query=" + encodeURIComponent(MUTATION))),
  attempt("report", ask("/report_asset_materialization/thing", {method: "POST"})),
  attempt("beacon", new Promise((well, ill) => { navigator.sendBeacon(target + "/report_asset_materialization/thing", "x"); ill(); })),
  attempt("WebSocket", channel("graphql-ws")),
  attempt("WebSocket, plain", channel()),
  attempt("script", element("script", {src: target + "/page"})),
  attempt("image", element("img", {src: target + "/graphql?query=" + encodeURIComponent(MUTATION)})),
  attempt("style", element("link", {rel: "stylesheet", href: target + "/page"})),
]).then(() => { ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"].forEach(kind => form(kind, "post"));
  form("text/plain", "get");
  document.body.append(Object.assign(document.createElement("iframe"), {src: target + "/page", id: "framed"}));
  setTimeout(() => { document.title = "done"; window.got = got; }, 1500); });
</script>"""


@contextlib.contextmanager
def attacking_page(target: str, mutation: str) -> Iterator[int]:
    """The port of a server whose every page is the attack."""
    page = ATTACK.replace("TARGET", json.dumps(target)).replace("MUTATION", json.dumps(mutation)).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def what_got_through(printed: str, target: str, mutation: str) -> list[str]:
    """Attempts that a page could complete, from another port of this host (same site, so that the cookie goes along) and from another site."""
    from playwright.sync_api import sync_playwright

    got: list[str] = []
    with attacking_page(target, mutation) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=_QUIET)
        try:
            page = browser.new_page()
            page.goto(printed)
            assert TOKEN_PARAMETER not in page.url
            for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
                page.goto(origin)
                page.wait_for_function("document.title == 'done'", timeout=30_000)
                got += [f"{origin}: {name}" for name in page.evaluate("window.got")]
                framed = page.frame_locator("#framed").locator("#own")
                got += [f"{origin}: frame"] * framed.count()
            # A link from one's own other service: the page opens as ever.
            page.goto(target + "/page")
            own = "fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}).then(answer => answer.status)"
            # MLflow has no word for an empty query: what counts is that it was asked.
            assert page.evaluate(own) not in (401, 403, 405, 415, 421)
        finally:
            browser.close()
    return got


@pytest.fixture
def guarded() -> Iterator[tuple[str, list[str]]]:
    """The address of a small server behind the guard, and what reached it."""
    reached: list[str] = []

    async def page(request):
        reached.append(f"{request.method} {request.url.path}")
        return HTMLResponse("<p id=own>own</p>")

    async def channel(websocket):
        reached.append("WS")
        await websocket.accept()

    port = free_port()
    site = Starlette(routes=[WebSocketRoute("/graphql", channel), Route("/{path:path}", page, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(Guard(site, token=TOKEN, hosts=hosts_of(port)), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}", reached
    server.should_exit = True
    thread.join()


def test_a_page_of_another_origin_reaches_nothing(guarded):
    address, reached = guarded

    assert what_got_through(f"{address}/page?{TOKEN_PARAMETER}={TOKEN}", address, "mutation { wipe }") == []
    assert [request for request in reached if "favicon" not in request] == ["GET /page", "GET /page", "POST /graphql"]


@pytest.mark.hostile
def test_dagster_and_mlflow_of_figment_up_are_out_of_reach(tmp_path: Path, tried):
    process, lines = start_serving(tmp_path, DEFINITIONS)
    with process:
        try:
            token = up.token_file(tmp_path).read_text()
            addresses = served(lines)
            report = (
                'mutation { reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["thing"]}}) { __typename } }'
            )
            for name, address in addresses.items():
                got = what_got_through(f"{address}/?{TOKEN_PARAMETER}={token}", address, report)
                # From two origins, and beside the named attempts four forms and a frame.
                tried(f"a hostile page before {name.capitalize()}", 2 * (ATTACK.count('attempt("') + 5), got_through=len(got))
                assert got == [], name
            count = "{ assetNodes { assetMaterializations { runId } } }"
            assert json.loads(get(f"{addresses['dagster']}/graphql", token, count))["data"]["assetNodes"] == [{"assetMaterializations": []}]
            # The same words from one who has the token do it: the attempts failed because of who asked.
            get(f"{addresses['dagster']}/graphql", token, report)
            assert json.loads(get(f"{addresses['dagster']}/graphql", token, count))["data"]["assetNodes"][0]["assetMaterializations"]
        finally:
            process.terminate()
            process.wait(timeout=30)
