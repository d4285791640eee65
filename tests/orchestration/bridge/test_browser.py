"""What a person sees: an edited input makes an asset Unsynced, a click materializes it, and the page shows it fresh."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import find_chromium
from tests.orchestration.bridge.toy import Toy

pytestmark = pytest.mark.browser

_DEFINITIONS = """
from pathlib import Path

from orchestration.bridge.definitions import build_definitions
from orchestration.bridge.project import Project

defs = build_definitions(Project(Path({root!r})))
"""
# Without these, chromium looks for hosts outside of this machine when it starts.
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def dagster_page(toy: Toy, tmp_path: Path) -> Iterator[str]:
    """The address of a real webserver over the toy project, whose artifacts `dvc repro` has made; one of its inputs was then edited."""
    import dagster as dg

    from orchestration.bridge.mirror import report_outside_changes

    home = tmp_path / "dagster_home"
    home.mkdir()
    # Without a daemon nothing would take runs off Dagster's queue.
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nnux: {enabled: false}\nrun_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}\n"
    )
    (tmp_path / "definitions.py").write_text(_DEFINITIONS.format(root=str(toy.root)))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert report_outside_changes(instance, toy.project())
    toy.write("raw/more.txt", "8\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-h", "127.0.0.1", "-p", str(port), "-f", str(tmp_path / "definitions.py")]
    with (tmp_path / "webserver.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=Path(__file__).parents[3], env={**os.environ, "DAGSTER_HOME": str(home)}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/server_info", server, tmp_path / "webserver.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _wait_until_up(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"the webserver did not come up:\n{log.read_text()[-3000:]}")


def _wait_until_made(toy: Toy, name: str, address: str) -> None:
    deadline = time.monotonic() + 120
    while name in toy.stale():
        assert time.monotonic() < deadline, f"{name} was not made; runs: {_runs(address)}"
        time.sleep(0.5)


def _runs(address: str) -> str:
    """The runs the server knows and the errors they ended with."""
    query = """{ runsOrError { ... on Runs { results { status eventConnection { events {
        __typename ... on ExecutionStepFailureEvent { error { message } } ... on MessageEvent { message } } } } } } }"""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{address}/graphql", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()[-4000:]


def test_a_click_in_the_browser_materializes_an_unsynced_asset_and_it_becomes_fresh(dagster_page: str, toy: Toy) -> None:
    from playwright.sync_api import expect, sync_playwright

    assert toy.stale() == {"rows", "side"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=_QUIET)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(60_000)
            expect.set_options(timeout=60_000)
            page.goto(f"{dagster_page}/assets/rows")
            expect(page.get_by_text("Unsynced").first).to_be_visible()
            page.get_by_role("button", name="Materialize").first.click()
            _wait_until_made(toy, "rows", dagster_page)
            page.goto(f"{dagster_page}/assets/rows")
            expect(page.get_by_text("Latest materialization").first).to_be_visible()
            expect(page.get_by_text("Unsynced")).to_have_count(0)
        finally:
            browser.close()
    assert toy.runs("rows") == 2
    assert "rows" not in toy.stale()
    assert "rows" not in toy.dvc_stale()
