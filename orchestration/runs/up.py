"""Open Dagster (webserver and daemon) and MLflow on this machine, until Ctrl-C; then leave nothing behind.

Every service runs under the bridge's supervisor, so that its whole process tree ends with this one, even when this one is killed. Both web servers
stand behind the guard (guard.py), which lets in who has the token of this start.
"""

import contextlib
import importlib.util
import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from orchestration.bridge.graph import GraphError
from orchestration.bridge.meta import stage_meta
from orchestration.bridge.process import BEGIN, supervised
from orchestration.checkout import open_project
from orchestration.launch.compute import COMPUTE_FILE, load_compute
from orchestration.launch.local import gpu_limit
from orchestration.records.lab import LabError, check_profile
from orchestration.runs.guard import TOKEN_PARAMETER, hosts_of
from orchestration.runs.guarded import HOSTS_VARIABLE, TOKEN_FILE_VARIABLE, has_mlflow_plugin
from stages.files import replacing
from stages.locks import leave_note, read_note, take_lock
from stages.ports import free_port
from stages.stores import PROFILE_VARIABLE, Profile, chosen_profile, with_driver
from training.tracking import moved_store
from training.tracking.appearance import AS_TRAININGS

HOST = "127.0.0.1"
DAGSTER_PORT = 3000
MLFLOW_PORT = 5000
DEFINITIONS = "orchestration.definitions"
_START_TIMEOUT_S = 180.0
_STOP_GRACE_S = 20.0
_POLL_S = 0.2
_LOG_TAIL_LINES = 20
_LOCATIONS_QUERY = (
    "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on PythonError { message causes { message } } } } } } }"
)


class UpError(Exception):
    """The services cannot be opened: a port is taken, or they are open already."""


class _StopAskedError(Exception):
    """Somebody asked to stop before everything was up."""


@dataclass(frozen=True)
class Service:
    """One server. `health`: an address that answers 200 once it works; None where living is enough. `complaint`: asked once all is up.

    `page`: what a person is told, the address by default. `token`: what lets in to all of it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    health: str | None = None
    complaint: Callable[[], str | None] = lambda: None
    page: str | None = None
    token: str = ""


def service_addresses(root: Path) -> dict[str, str]:
    """Where `dagster` and `mlflow` of the project at `root` are served now; where `figment up` would serve them when they are not."""
    usual = {"dagster": f"http://{HOST}:{DAGSTER_PORT}", "mlflow": f"http://{HOST}:{MLFLOW_PORT}"}
    path = root / ".figment" / "up.lock"
    note = read_note(path) if path.is_file() else ""
    return usual | dict(re.findall(r"\b(dagster|mlflow) (http://\S+?)(?:,|$)", note))


def _graph_page(root: Path, address: str) -> str:
    """The graph of all assets in Dagster, with every group open."""
    groups: dict[str, None] = {}
    # A project whose dvc.yaml cannot be read is told so by Dagster.
    with contextlib.suppress(GraphError, OSError):
        groups = dict.fromkeys(stage_meta(stage).group for stage in open_project(root).graph.stages.values())
    opened = quote(",".join(f"global@global:{group}" for group in groups), safe="")
    return f"{address}/asset-groups" + (f"?expanded={opened}" if opened else "")


def prepare_dagster_home(root: Path) -> Path:
    """The folder `.figment/dagster` under `root` with a dagster.yaml, written anew when the settings differ; for DAGSTER_HOME.

    Raises ParamsError when compute.yaml or stores.yaml cannot be used.
    """
    profile = chosen_profile(root)
    home = root / ".figment" / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    text = _DAGSTER_YAML.format(gpu_limit=gpu_limit(load_compute(root / COMPUTE_FILE)))
    if profile is not None:
        text += _DAGSTER_POSTGRES.format(url=with_driver(profile.dagster))
    path = home / "dagster.yaml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        # Another process may be reading it this moment: it sees the old file or the new one.
        with replacing(path, many_writers=True) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return home


_DAGSTER_YAML = """\
# Written by Figment at every start; edits are lost. Storage is SQLite in this folder, unless `storage` names another.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    # Places in a pool that has no limit of its own yet: as many as there are GPUs, or `gpu.limit` of compute.yaml.
    default_limit: {gpu_limit}
    granularity: op
  runs:
    max_concurrent_runs: 10
run_retries:
  enabled: true
  max_retries: 0
  retry_on_asset_or_op_failure: false
"""
# The password is libpq's affair: PGPASSWORD or ~/.pgpass.
_DAGSTER_POSTGRES = """\
storage:
  postgres:
    postgres_url: {url}
"""


def serve(
    root: Path,
    *,
    dagster_port: int | None,
    mlflow_port: int | None,
    open_browser: bool = False,
    allow_hosts: Sequence[str] = (),
    definitions: str = DEFINITIONS,
    profile: str | None = None,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> int:
    """Run the services of the project at `root` until Ctrl-C, SIGTERM or SIGHUP; the exit code.

    dagster_port, mlflow_port: None takes 3000 and 5000, or any free port when these are taken. definitions: a module, or a path that ends in .py.
    allow_hosts: further names by which a browser may ask, of a proxy in front. profile: of stores.yaml, instead of the one chosen there.
    Returns 0 when stopped, 1 when a service did not start or ended by itself, 2 when a given port is taken or the services are open already.
    """
    root = root.resolve()
    if profile is not None:
        os.environ[PROFILE_VARIABLE] = profile
    stores = chosen_profile(root)
    try:
        if stores is not None:
            check_profile(stores)
            if mlflow_port is None and stores.is_served_here:
                mlflow_port = urlsplit(stores.mlflow_server).port or 80
        with _only_one(root) as announce, _asked_to_stop() as is_asked:
            services = _services(root, _choose_ports(dagster_port, mlflow_port), definitions, allow_hosts, stores)
            if len(services) < 3:
                say("MLflow is not installed, so only Dagster is opened; to have it: pip install 'figment[track]'")
            announce({service.name: service.health or "" for service in services})
            return _Fleet(root / ".figment" / "logs", is_asked, say).run(services, open_browser=open_browser)
    except (UpError, LabError) as error:
        print(f"figment: {error}", file=sys.stderr)
        return 2


def _choose_ports(dagster_port: int | None, mlflow_port: int | None) -> tuple[int, int]:
    if dagster_port is not None and dagster_port == mlflow_port:
        raise UpError(f"Dagster and MLflow cannot both have port {dagster_port}; give two different ports")
    dagster = _port(dagster_port, "dagster", DAGSTER_PORT, taken=mlflow_port)
    return dagster, _port(mlflow_port, "mlflow", MLFLOW_PORT, taken=dagster)


def _port(given: int | None, name: str, usual: int, *, taken: int | None) -> int:
    if given is None:
        return usual if usual != taken and is_free(usual) else free_port(HOST)
    if not 0 < given < 65_536:
        raise UpError(f"port {given} for {name}: a port is a number from 1 to 65535")
    if not is_free(given):
        raise UpError(f"port {given} for {name}: something else listens on {HOST}:{given}; stop it, or give another port (or none, for any free one)")
    return given


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of a server that has just ended do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def token_file(root: Path) -> Path:
    """The file with the token of the last start, which only the user who started can read."""
    return root / ".figment" / "up.token"


def _new_token(root: Path) -> str:
    """The token of this start, kept in its file: FIGMENT_UP_TOKEN, which a proxy in front may know, or 256 random bits."""
    token = os.environ.get("FIGMENT_UP_TOKEN", "") or secrets.token_urlsafe(32)
    if len(token) < 32 or not re.fullmatch(r"[\w.~+/-]+=*", token, re.ASCII):
        raise UpError("FIGMENT_UP_TOKEN: expected 32 or more letters, digits and -._~+/ as in `openssl rand -hex 32`; unset it for a random one")
    path = token_file(root)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(token)
    return token


def _with_token(page: str, token: str) -> str:
    """The address with the token in its query, before what the browser keeps to itself."""
    address, mark, fragment = page.partition("#")
    address += ("/" if address.count("/") == 2 else "") + ("&" if "?" in address else "?") + f"{TOKEN_PARAMETER}={token}"
    return address + mark + fragment


def _services(root: Path, ports: tuple[int, int], definitions: str, allow_hosts: Sequence[str], stores: Profile | None) -> list[Service]:
    """In starting order: the daemon last, because two processes that create Dagster's tables at once get into each other's way."""
    dagster_url, mlflow_url = (f"http://{HOST}:{port}" for port in ports)
    has_mlflow = importlib.util.find_spec("mlflow") is not None
    if has_mlflow and not has_mlflow_plugin():
        raise UpError("this environment was installed before MLflow's server had a guard; install again: pip install -e '.[track]', or make setup")
    token = _new_token(root)
    # Everything the servers would otherwise learn from the user's own settings, or tell somebody.
    environment = {
        **os.environ,
        **(stores.environment if stores else {}),
        "DAGSTER_HOME": str(prepare_dagster_home(root)),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_WEBSERVER_URL": dagster_url,
        "DAGSTER_WEBSERVER_TOKEN_FILE": str(token_file(root)),
        TOKEN_FILE_VARIABLE: str(token_file(root)),
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # MLflow's runner of background jobs: four more processes that nothing here uses.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
        "SHELL": "/bin/sh",
    }
    if has_mlflow:
        environment["FIGMENT_MLFLOW_URL"] = mlflow_url
    code = ["-f" if definitions.endswith(".py") else "-m", definitions]
    web = [sys.executable, "-m", "orchestration.runs.guarded", "dagster", "-h", HOST, "-p", str(ports[0]), *code]
    daemon = [sys.executable, "-m", "dagster._daemon", "run", *code]
    behind = {**environment, HOSTS_VARIABLE: ",".join(hosts_of(ports[0], allow_hosts))}
    services = [Service("dagster", web, behind, f"{dagster_url}/server_info", lambda: _broken_definitions(dagster_url, token), token=token)]
    if has_mlflow:
        page = f"{mlflow_url}/#/experiments?{AS_TRAININGS}"
        behind = {**environment, HOSTS_VARIABLE: ",".join(hosts_of(ports[1], allow_hosts))}
        command = _mlflow_command(root, ports[1], allow_hosts, stores)
        tidied = (lambda: None) if stores else (lambda: _tidied(root))
        services.append(Service("mlflow", command, behind, f"{mlflow_url}/health", tidied, page, token))
    return [*services, Service("dagster-daemon", daemon, environment)]


def _mlflow_command(root: Path, port: int, allow_hosts: Sequence[str], stores: Profile | None) -> list[str]:
    if stores is not None:
        storage = ["--backend-store-uri", with_driver(stores.mlflow), "--artifacts-destination", stores.artifacts]
    else:
        store = _mlflow_store(root)
        artifacts = store.parent / "artifacts"
        artifacts.mkdir(parents=True, exist_ok=True)
        moved_store.settle(store)
        storage = ["--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", artifacts.as_uri()]
    # MLflow asks for the host as well; it has its own list.
    hosts = ["--allowed-hosts", ",".join(hosts_of(port, allow_hosts))] if allow_hosts else []
    return [sys.executable, "-m", "orchestration.runs.guarded", "mlflow", "--host", HOST, "--port", str(port), "--workers", "1", *hosts, *storage]


def _mlflow_store(root: Path) -> Path:
    return root / ".figment" / "mlflow" / "mlflow.db"


def _tidied(root: Path) -> None:
    """No complaint: a store that the server has just made is given the shape of ours."""
    moved_store.settle(_mlflow_store(root))


class _Running:
    """A service under the supervisor, which ends its tree when `alive` is shut."""

    def __init__(self, service: Service, log: Path, root: Path) -> None:
        self.service = service
        self.log = log
        self.alive, theirs = socket.socketpair()
        with theirs, open(log, "wb") as output:
            arguments = supervised(f"exec {shlex.join(service.command)}", keep_fds=[theirs.fileno()], grace_s=_STOP_GRACE_S)
            self.process = subprocess.Popen(
                arguments,
                cwd=root,
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.alive.send(BEGIN)

    def log_tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])


class _Fleet:
    """Starts the services, watches them, and ends them all."""

    def __init__(self, logs: Path, is_asked: Callable[[], bool], say: Callable[[str], None]) -> None:
        self._logs = logs
        self._is_asked = is_asked
        self._say = say
        self._running: list[_Running] = []

    def run(self, services: Sequence[Service], *, open_browser: bool) -> int:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            # Up, then watched, then ended; whatever happens in between, nothing is left running.
            self._bring_up(services)
            if open_browser:
                webbrowser.open(_with_token(_graph_page(self._logs.parent.parent, _address(services[0])), services[0].token))
            while not self._is_asked():
                if self._has_lost_one():
                    return 1
                time.sleep(_POLL_S)
            self._say("stopping …")
        except _StopAskedError:
            self._say("stopping before all was up …")
        except TimeoutError as error:
            self._say(str(error))
            return 1
        finally:
            self._end()
        return 0

    def _bring_up(self, services: Sequence[Service]) -> None:
        started = time.monotonic()
        for service in services:
            if service.health is None:
                self._wait_until_healthy(started)
            self._running.append(_Running(service, self._logs / f"{service.name}.log", self._logs.parent.parent))
            self._say(f"starting {service.name} (log: {self._logs / service.name}.log)")
        self._wait_until_healthy(started)
        for service in services:
            if complaint := service.complaint():
                self._say(complaint)
        for service in services:
            if service.health:
                self._say(f"{service.name:8} {_with_token(service.page or _address(service), service.token)}")
        self._say(f"up after {time.monotonic() - started:.0f} s; stop with Ctrl-C")

    def _wait_until_healthy(self, started: float) -> None:
        waiting = [running for running in self._running if running.service.health]
        while waiting:
            if self._is_asked():
                raise _StopAskedError
            if self._has_lost_one():
                raise TimeoutError("not everything could be started")
            if time.monotonic() - started > _START_TIMEOUT_S:
                names = ", ".join(f"{running.service.name} (log: {running.log})" for running in waiting)
                raise TimeoutError(f"no answer within {_START_TIMEOUT_S:.0f} s from {names}")
            waiting = [running for running in waiting if not _answers(running.service)]
            time.sleep(_POLL_S)

    def _has_lost_one(self) -> bool:
        lost = [running for running in self._running if running.process.poll() is not None]
        for running in lost:
            name, status = running.service.name, running.process.returncode
            self._say(f"{name} has ended by itself with status {status}; the end of {running.log}:\n{running.log_tail()}")
        return bool(lost)

    def _end(self) -> None:
        """End every tree; each supervisor uses SIGKILL after the grace period, so this takes little longer."""
        for running in self._running:
            with contextlib.suppress(OSError):
                running.alive.shutdown(socket.SHUT_WR)
        for running in self._running:
            try:
                running.process.wait(_STOP_GRACE_S + 10)
            except subprocess.TimeoutExpired:
                self._say(f"{running.service.name} does not end; killing process {running.process.pid}")
                running.process.kill()
                running.process.wait()
            running.alive.close()


def _broken_definitions(address: str, token: str) -> str | None:
    """What Dagster says of definitions that it could not load."""
    body = json.dumps({"query": _LOCATIONS_QUERY}).encode()
    try:
        with _open(f"{address}/graphql", token, body, timeout_s=30.0) as answer:
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"Dagster does not say whether its definitions are sound ({error})"
    errors = [entry["locationOrLoadError"] for entry in entries if (entry["locationOrLoadError"] or {}).get("message")]
    # The last cause is the user's own error; what stands before it tells how Dagster came there.
    return "\n".join(f"Dagster could not load the definitions: {[error, *error['causes']][-1]['message'].strip()}" for error in errors) or None


def _address(service: Service) -> str:
    return (service.health or "").rpartition("/")[0]


def _answers(service: Service) -> bool:
    try:
        with _open(service.health or "", service.token, timeout_s=2.0) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _open(address: str, token: str, body: bytes | None = None, *, timeout_s: float) -> Any:
    """Without any proxy of the surroundings: it is this machine that is asked."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address, body, headers)  # noqa: S310 (an address of our own)
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout_s)


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """A lock on the project's services; what writes their addresses into it. Raises UpError while another process has it."""
    path = root / ".figment" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = take_lock(path)
    if lock is None:
        raise UpError(f"the services of {root} are open already ({read_note(path) or 'just starting'}); use them, or stop them first")

    def announce(addresses: Mapping[str, str]) -> None:
        told = [f"{name} {address.rpartition('/')[0]}" for name, address in addresses.items() if address]
        leave_note(lock, f"process {os.getpid()}, {', '.join(told)}")

    try:
        yield announce
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether a signal asked to stop. Outside the main thread, where signals cannot be heard: never."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
