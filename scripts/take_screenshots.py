"""Take the pictures of Dagster, MLflow and `dvc plots` that the documentation shows, from a checkout whose demo has been made.

    .venv/bin/python scripts/take_screenshots.py
    .venv/bin/python scripts/take_screenshots.py --root ../demo --out docs/images --only dagster_graph,mlflow_run
    npm install --legacy-peer-deps --prefix /tmp/vega vega@5.20.2 vega-lite@5.2.0 vega-embed@6.18.2
    .venv/bin/python scripts/take_screenshots.py --node-modules /tmp/vega/node_modules

Starts `figment up` on free ports and ends it again. Nothing leaves this machine: the page of `dvc plots` asks a public server for three libraries,
which are taken from --node-modules instead; without it that picture is left out. Needs `make setup-test` and Chromium (`make test-browser` says
how to get one).
"""

import argparse
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

_HERE = Path(__file__).resolve().parents[1]
_MOST_BYTES = 150_000
_PALETTES = (256, 128, 64, 32)
_SIZE = {"width": 1400, "height": 900}
# Dagster makes a graph as wide as the window, however high it then is.
_SIZE_OF_GRAPH = {"width": 1300, "height": 1750}
_TIMEOUT_MS = 60_000.0
_SETTLED_MS = 2500.0
# Without these, Chromium looks for hosts outside of this machine when it starts.
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
_CDN = re.compile(r"https://cdn\.jsdelivr\.net/npm/([a-z-]+)@[0-9.]+")
_TRAININGS = "workflowType=machine_learning"
# What lets in to both servers while they are looked at.
_TOKEN = secrets.token_urlsafe(32)


class ScreenshotError(Exception):
    """A picture cannot be taken; the message says why and what to do."""


@dataclass(frozen=True)
class Shot:
    """One picture. prepare: what a person would do on the page before looking, such as closing a panel."""

    name: str
    address: str
    prepare: Callable[[Any], None] = lambda page: None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=_HERE, help="the checkout whose demo was made (default: this one)")
    parser.add_argument("--out", type=Path, default=_HERE / "docs" / "images", help="where the pictures go (default: docs/images)")
    parser.add_argument("--only", default="", metavar="NAMES", help="these pictures alone, separated by commas")
    parser.add_argument(
        "--node-modules", type=Path, metavar="DIR", help="a folder with vega, vega-lite and vega-embed, for the picture of `dvc plots`"
    )
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"), help="the Chromium to use")
    arguments = parser.parse_args(argv)
    try:
        return _take(arguments.root.resolve(), arguments.out, set(filter(None, arguments.only.split(","))), arguments.node_modules, arguments.browser)
    except ScreenshotError as error:
        print(f"take_screenshots: {error}", file=sys.stderr)
        return 1


def _take(root: Path, out: Path, only: set[str], node_modules: Path | None, browser: str | None) -> int:
    if not (root / ".figment" / "mlflow" / "mlflow.db").is_file():
        raise ScreenshotError(f"{root}: no training has been made here; make the demo first: make demo")
    if browser is None:
        raise ScreenshotError("no chromium on the path; `make test-browser` says how to get one, or give its place with --browser")
    with tempfile.TemporaryDirectory() as folder, _served(root) as (dagster, mlflow):
        shots = [*_dagster_shots(dagster), *_mlflow_shots(mlflow), *_plots_shots(root, Path(folder), node_modules)]
        if unknown := only - {shot.name for shot in shots}:
            raise ScreenshotError(f"no picture is called {', '.join(sorted(unknown))}; there are {', '.join(shot.name for shot in shots)}")
        out.mkdir(parents=True, exist_ok=True)
        with _page(browser, node_modules) as page:
            # The cookie of one is shown to the other as well: they share a host.
            page.goto(f"{dagster}/?figment_token={_TOKEN}")
            for shot in shots:
                if not only or shot.name in only:
                    _write(_look(page, shot), out / f"{shot.name}.png")
    return 0


# ---- what is looked at --------------------------------------------------------------------------------------------------------------------


def _dagster_shots(address: str) -> list[Shot]:
    nodes = _graphql(address, "{ assetNodes { groupName assetKey { path } latestMaterialization: assetMaterializations(limit: 1) { runId } } }")
    made = [node for node in nodes["assetNodes"] if node["latestMaterialization"] and node["latestMaterialization"][0]["runId"]]
    if not made:
        raise ScreenshotError("Dagster knows no run that made anything; make the demo first: make demo")
    groups = ",".join(dict.fromkeys(f"global%40global%3A{node['groupName'].replace('/', '%2F')}" for node in nodes["assetNodes"]))
    # A report has most to show; else the newest that was made.
    shown = next((node for node in reversed(made) if node["assetKey"]["path"][-1] == "toc_report"), made[-1])
    key, run = "/".join(shown["assetKey"]["path"]), shown["latestMaterialization"][0]["runId"]
    return [
        Shot("dagster_graph", f"{address}/asset-groups?expanded={groups.replace(',', '%2C')}", _graph_alone),
        Shot("dagster_asset", f"{address}/assets/{key}"),
        Shot("dagster_run", f"{address}/runs/{run}?logType=stderr&logFileKey={key.replace('/', '_')}", _no_place_of_this_machine),
    ]


def _no_place_of_this_machine(page: Any) -> None:
    """The path of a log from the project's folder on."""
    page.evaluate(
        """() => {
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replace(/\\/\\S*\\/\\.figment\\//, '.figment/');
        }"""
    )


def _graph_alone(page: Any) -> None:
    """The graph in all of the page, as large as fits."""
    page.get_by_text("Hide navigation").click()
    page.set_viewport_size(_SIZE_OF_GRAPH)
    page.reload()


def _mlflow_shots(address: str) -> list[Shot]:
    experiments = _post(f"{address}/api/2.0/mlflow/experiments/search", {"max_results": 50})["experiments"]
    named = {experiment["name"]: experiment["experiment_id"] for experiment in experiments}
    # The training of pictures has more to show than one of molecules.
    id = named.get("stylegan3_toc") or experiments[0]["experiment_id"]
    found = _post(f"{address}/api/2.0/mlflow/runs/search", {"experiment_ids": [id], "max_results": 1})
    run = found["runs"][0]["info"]["run_id"]
    versions = _get(f"{address}/api/2.0/mlflow/model-versions/search?max_results=100")["model_versions"]
    version = next((version for version in versions if version.get("run_id") == run), versions[0])
    return [
        Shot("mlflow_experiment", f"{address}/#/experiments/{id}/runs?viewStateShareKey=headline&{_TRAININGS}", _without_assistant),
        Shot("mlflow_run", f"{address}/#/experiments/{id}/runs/{run}?{_TRAININGS}", _without_assistant),
        Shot("mlflow_model", f"{address}/#/models/{version['name']}/versions/{version['version']}?{_TRAININGS}", _without_assistant),
    ]


def _without_assistant(page: Any) -> None:
    """MLflow opens a panel for questions to a language model beside everything, once for each browser."""
    button = page.get_by_role("button", name="Close").last
    if page.get_by_text("MLflow Assistant").count() and button.count():
        button.click()


def _plots_shots(root: Path, folder: Path, node_modules: Path | None) -> list[Shot]:
    if node_modules is None:
        print("dvc_plots is left out: its page needs libraries from a public server; give them with --node-modules (see --help)", file=sys.stderr)
        return []
    command = [sys.executable, "-m", "dvc", "plots", "show", "-o", str(folder / "plots")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScreenshotError(f"dvc plots show failed: {done.stderr.strip()}")
    return [
        Shot(
            "dvc_plots", (folder / "plots" / "index.html").as_uri(), lambda page: page.locator(".vega-embed canvas").first.wait_for(state="attached")
        )
    ]


# ---- how it is looked at ------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _served(root: Path) -> Iterator[tuple[str, str]]:
    """The addresses of Dagster and MLflow while `figment up` runs."""
    ports = [_free_port(), _free_port()]
    command = [sys.executable, "-m", "orchestration.cli.main", "--root", str(root), "up", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
    environment = {**os.environ, "FIGMENT_UP_TOKEN": _TOKEN}
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("up after"):
                break
        else:
            raise ScreenshotError(f"figment up did not come up:\n{''.join(lines)}")
        yield (f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
    finally:
        # `figment up` ends its whole tree itself.
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate()


@contextlib.contextmanager
def _page(browser: str, node_modules: Path | None) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    def answer(route: Any) -> None:
        """A library from --node-modules; nothing else that lies outside of this machine."""
        wanted = _CDN.match(route.request.url)
        path = node_modules / wanted[1] / "build" / f"{wanted[1]}.min.js" if wanted and node_modules else None
        if path is not None and path.is_file():
            route.fulfill(body=path.read_text(encoding="utf-8"), content_type="text/javascript")
        elif route.request.url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=_QUIET)
        try:
            page = chromium.new_page(viewport=_SIZE)
            page.set_default_timeout(_TIMEOUT_MS)
            page.route("**/*", answer)
            yield page
        finally:
            chromium.close()


def _look(page: Any, shot: Shot) -> bytes:
    page.set_viewport_size(_SIZE)
    page.goto(shot.address)
    _settle(page)
    shot.prepare(page)
    _settle(page)
    return bytes(page.screenshot())


def _settle(page: Any) -> None:
    """Both pages ask their servers now and then for ever, so that a quiet network is waited for in vain at times."""
    with contextlib.suppress(Exception):
        page.wait_for_load_state("networkidle", timeout=10_000)
    page.wait_for_timeout(_SETTLED_MS)


def _write(png: bytes, path: Path) -> None:
    """As a picture of so few colours that it is small enough."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in _PALETTES:
        data = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(data, format="PNG", optimize=True)
        if len(data.getvalue()) <= _MOST_BYTES:
            break
    else:
        raise ScreenshotError(f"{path}: {len(data.getvalue()):,} bytes even in {colours} colours; at most {_MOST_BYTES:,} are kept in the repository")
    path.write_bytes(data.getvalue())
    print(f"{os.path.relpath(path)}: {len(data.getvalue()):,} bytes")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _graphql(address: str, query: str) -> Mapping[str, Any]:
    answer = _post(f"{address}/graphql", {"query": query})
    return dict(answer["data"])


def _post(address: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return _asked(urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"}))


def _get(address: str) -> Mapping[str, Any]:
    return _asked(urllib.request.Request(address))


def _asked(request: urllib.request.Request) -> Mapping[str, Any]:
    """Without any proxy of the surroundings: it is this machine that is asked."""
    request.add_header("Authorization", f"Bearer {_TOKEN}")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return dict(json.load(answer))


if __name__ == "__main__":
    sys.exit(main())
