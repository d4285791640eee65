"""What every test gets: no network but loopback, one thread, and nothing of the surrounding user's settings.

Programs that tests start inherit all of it but the socket guard, which is this process's own.
"""

import contextlib
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# absl, which rouge_score loads, keeps the standard error of that moment and closes it when logging is configured anew. It must not be pytest's.
with contextlib.redirect_stderr(sys.__stderr__), contextlib.suppress(ImportError):
    import absl.logging  # noqa: F401

from tests import hostility

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# Set before any library reads them, so that importing one in a test module is already safe.
ENVIRONMENT = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "FIGMENT_THREADS": "1",
    "GIT_AUTHOR_EMAIL": "tests@example.invalid",
    "GIT_AUTHOR_NAME": "Figment tests",
    "GIT_COMMITTER_EMAIL": "tests@example.invalid",
    "GIT_COMMITTER_NAME": "Figment tests",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
}
# A developer's shell, or a stage that runs the tests, may have set these; a test decides them for itself.
FOREIGN_PREFIXES = ("DAGSTER_", "DVC_", "FIGMENT_", "GIT_", "MLFLOW_")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hostile-table", type=Path, help="the page whose table of what was tried is written anew, as SECURITY.md")
    parser.addoption("--tries", type=int, help="how many random edits or kills the tests that draw them try, instead of a few")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports if getattr(report, "when", "") == "call"]
    if lines := hostility.table(kept for report in reports for kept in report.user_properties):
        terminalreporter.write_sep("=", "what was tried")
        terminalreporter.write_line("\n".join(lines))
        if (page := config.getoption("--hostile-table")) is not None:
            hostility.write_into(page, lines)


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> hostility.Tried:
    """`tried(set name, how many, got_through=0, lost=0)` adds to the table of what was tried against Figment."""
    return hostility.recorder(record_property)


@pytest.fixture(scope="session")
def tries(pytestconfig: pytest.Config) -> int | None:
    """How many random things to try; None for the few that a test tries by itself."""
    return pytestconfig.getoption("--tries")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    # A shell may start what it sends to the background deaf to these, and so would be every server that a test ends with them.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    # Reproducible examples, and no deadline: the machine may be busy with other things.
    hypothesis.settings.register_profile("figment", deadline=None, database=None, derandomize=True)
    hypothesis.settings.load_profile("figment")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
        pytest.skip("the real data is not here (looked for ../shared/data beside the checkout)")
    if item.get_closest_marker("gpu") and not _has_accelerator():
        pytest.skip("no accelerator that torch can use on this machine")
    if item.get_closest_marker("browser") and find_chromium() is None:
        pytest.skip("no chromium on this machine; `make test-browser` says how to get one")


@pytest.fixture(scope="session", autouse=True)
def dvc_settings_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> None:
    """DVC's global and system settings and its site cache lie in an empty folder, for this process and all it starts."""
    folder = tmp_path_factory.mktemp("dvc-settings")
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        os.environ[name] = str(folder / name.lower())


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], Path]:
    """`made_once(name, make)` gives the path that `make(path)` made, once for all workers of a run. Tests copy it and leave it as it is."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"

    def once(name: str, make: Callable[[Path], Any]) -> Path:
        path, is_made = shared / name, shared / f"{name}.made"
        shared.mkdir(exist_ok=True)
        # Whoever comes while it is being made waits here; should making it fail, the next one tries again.
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_made.exists():
                shutil.rmtree(path, ignore_errors=True)
                make(path)
                is_made.touch()
        return path

    return once


@pytest.fixture(scope="session")
def empty_store(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Path:
    """A migrated SQLite store of MLflow without runs; making one takes seconds, copying it none."""
    pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")
    from training.tracking.store import open_client

    return made_once("mlflow.db", lambda path: open_client(f"sqlite:///{path}"))


@pytest.fixture(autouse=True)
def environment_as_found() -> Iterator[None]:
    """Environment variables and the working directory are put back after each test."""
    variables, folder = dict(os.environ), Path.cwd()
    yield
    if dict(os.environ) != variables:
        os.environ.clear()
        os.environ.update(variables)
    os.chdir(folder)


class NetworkBlockedError(RuntimeError):
    """A test tried to leave this machine. Use a server on loopback, or mark the test `network`."""


@pytest.fixture(autouse=True)
def loopback_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name look-ups that leave this machine, unless the test is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    for method in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, method, _guarded_connect(getattr(socket.socket, method)))
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_unless_local(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def _guarded_connect(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_unless_local(address[0])
        return connect(self, address)

    return guarded


def _refuse_unless_local(host: str | bytes | None) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return
    try:
        if ipaddress.ip_address(name.partition("%")[0]).is_loopback or name in ("0.0.0.0", "::"):
            return
    except ValueError:
        pass  # a host name, and not one of this machine's
    raise NetworkBlockedError(f"a test tried to reach {name}; tests may only use loopback")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout these tests belong to."""
    return ROOT


@pytest.fixture
def project_copy(tmp_path: Path) -> Path:
    """A checkout like this one, without outputs, tests and pages: judging it brings its code.yaml and dvc.lock up to date, and leaves ours."""
    root = tmp_path / "project"
    listed = subprocess.run(["git", "ls-files", "-z", "--", ":!tests", ":!docs"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data is not here (looked for ../shared/data beside the checkout)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def chromium() -> str:
    """The executable of a Chromium that playwright can drive; the test is skipped where there is none."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no chromium on this machine; `make test-browser` says how to get one")
    return executable


def find_chromium() -> str | None:
    """The system's Chromium, or the one that `playwright install chromium` brought."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    browsers = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(browsers.glob("chromium-*/chrome-linux*/chrome"))), None)


def _has_accelerator() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
