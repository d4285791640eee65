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
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from orchestration.bridge.survivors import is_running
from orchestration.runs import up
from orchestration.runs.up import prepare_dagster_home, serve
from stages.ports import free_port
from tests.orchestration.bridge.test_process import wait_until

ROOT = Path(__file__).parents[3]
DEFINITIONS = "import dagster as dg\n\n@dg.asset\ndef thing():\n    pass\n\ndefs = dg.Definitions([thing])\n"
SERVE = """
import sys
from pathlib import Path
from orchestration.runs.up import serve
sys.exit(serve(Path(sys.argv[1]), dagster_port=None, mlflow_port=None, definitions=sys.argv[2]))
"""


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_the_dagster_home_takes_the_limit_of_the_gpu_pool_from_compute_yaml(tmp_path):
    (tmp_path / "compute.yaml").write_text("gpu: {limit: 3}\n")

    home = prepare_dagster_home(tmp_path)

    assert home == tmp_path / ".figment" / "dagster"
    assert "default_limit: 3\n" in (home / "dagster.yaml").read_text()


def test_dagster_accepts_the_home_and_stays_there(tmp_path):
    program = (
        "import sys, dagster as dg; i = dg.DagsterInstance.from_config(sys.argv[1]); print(i.telemetry_enabled, i.nux_enabled, i.root_directory)"
    )

    home = prepare_dagster_home(tmp_path)
    said = subprocess.run([sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=True).stdout

    assert said.split() == ["False", "False", str(home)]


def test_preparing_again_leaves_an_equal_file_alone(tmp_path):
    path = prepare_dagster_home(tmp_path) / "dagster.yaml"
    before = path.stat()

    prepare_dagster_home(tmp_path)

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [entry.name for entry in path.parent.iterdir()] == ["dagster.yaml"]


@pytest.mark.parametrize("name", ["dagster", "mlflow"])
def test_a_taken_port_is_named(tmp_path, capsys, listening, name):
    ports = {"dagster_port": None, "mlflow_port": None} | {f"{name}_port": listening}

    assert serve(tmp_path, **ports) == 2
    assert f"figment: port {listening} for {name}: something else listens on 127.0.0.1:{listening}" in capsys.readouterr().err
    assert not (tmp_path / ".figment" / "up.lock").exists()


def test_a_port_that_is_none_is_named(tmp_path, capsys):
    assert serve(tmp_path, dagster_port=70_000, mlflow_port=None) == 2
    assert "port 70000 for dagster: a port is a number from 1 to 65535" in capsys.readouterr().err


def test_one_port_for_both_is_refused(tmp_path, capsys):
    assert serve(tmp_path, dagster_port=4001, mlflow_port=4001) == 2
    assert "cannot both have port 4001" in capsys.readouterr().err


def test_the_usual_port_gives_way_when_it_is_taken(monkeypatch, listening):
    monkeypatch.setattr(up, "DAGSTER_PORT", listening)

    dagster_port, mlflow_port = up._choose_ports(None, None)

    assert dagster_port not in (listening, mlflow_port)


def test_a_second_one_is_told_where_the_first_is(tmp_path, capsys):
    with up._only_one(tmp_path) as announce:
        announce({"dagster": "http://127.0.0.1:1234/server_info", "dagster-daemon": ""})

        assert serve(tmp_path, dagster_port=None, mlflow_port=None) == 2

    said = capsys.readouterr().err
    assert f"open already (process {os.getpid()}, dagster http://127.0.0.1:1234)" in said
    assert not (tmp_path / ".figment" / "up.lock").exists()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000/?figment_token=T"),
        ("http://127.0.0.1:3000/asset-groups?expanded=a", "http://127.0.0.1:3000/asset-groups?expanded=a&figment_token=T"),
        ("http://127.0.0.1:5000/#/experiments?a=b", "http://127.0.0.1:5000/?figment_token=T#/experiments?a=b"),
    ],
)
def test_the_printed_address_carries_the_token_before_the_fragment(page, expected):
    assert up._with_token(page, "T") == expected


def test_every_start_has_a_token_of_its_own_that_only_the_user_can_read(tmp_path, monkeypatch):
    monkeypatch.delenv("FIGMENT_UP_TOKEN", raising=False)
    (tmp_path / ".figment").mkdir()
    up.token_file(tmp_path).write_text("of yesterday")
    up.token_file(tmp_path).chmod(0o644)

    tokens = [up._new_token(tmp_path), up._new_token(tmp_path)]

    assert len(set(tokens)) == 2 and min(map(len, tokens)) >= 43
    assert up.token_file(tmp_path).read_text() == tokens[1]
    assert up.token_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_given_token_is_kept_and_a_weak_one_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / ".figment").mkdir()
    monkeypatch.setenv("FIGMENT_UP_TOKEN", "0123456789abcdef" * 2)
    assert up._new_token(tmp_path) == "0123456789abcdef" * 2

    monkeypatch.setenv("FIGMENT_UP_TOKEN", "hunter2")
    assert serve(tmp_path, dagster_port=None, mlflow_port=None) == 2
    assert "FIGMENT_UP_TOKEN: expected 32 or more letters" in capsys.readouterr().err


def test_the_page_that_is_opened_is_the_graph_with_every_group_open(project_copy):
    page = up._graph_page(project_copy, "http://127.0.0.1:3000")

    opened = parse_qs(urlsplit(page).query)["expanded"][0].split(",")
    assert page.startswith("http://127.0.0.1:3000/asset-groups?")
    assert {"global@global:papers", "global@global:papers/toc_dataset", "global@global:stylegan"} <= set(opened)


def test_a_graph_that_cannot_be_read_is_opened_as_it_is(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: [")

    assert up._graph_page(tmp_path, "http://127.0.0.1:3000") == "http://127.0.0.1:3000/asset-groups"


def fleet(tmp_path: Path, said: list[str]) -> up._Fleet:
    return up._Fleet(tmp_path / ".figment" / "logs", lambda: False, said.append)


def test_a_service_that_ends_by_itself_is_shown_with_the_end_of_its_log(tmp_path):
    said: list[str] = []
    lasting = up.Service("lasting", ["sh", "-c", "echo $$; sleep 300"], os.environ)
    failing = up.Service("failing", ["sh", "-c", "sleep 0.3; echo the reason; exit 7"], os.environ)

    assert fleet(tmp_path, said).run([lasting, failing], open_browser=False) == 1

    assert f"failing has ended by itself with status 7; the end of {tmp_path}/.figment/logs/failing.log:\n  the reason" in said
    assert not is_running(int((tmp_path / ".figment" / "logs" / "lasting.log").read_text()))


def test_a_service_that_never_answers_is_given_up(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(up, "_START_TIMEOUT_S", 0.5)
    silent = up.Service("silent", ["sleep", "300"], os.environ, f"http://127.0.0.1:{free_port()}/health")

    assert fleet(tmp_path, said).run([silent], open_browser=False) == 1
    assert said[-1].startswith("no answer within 0 s from silent (log: ")


def start_serving(project: Path, definitions: str) -> tuple[subprocess.Popen[str], list[str]]:
    """The program that serves, once it is up, and the lines it has said."""
    (project / "trivial_definitions.py").write_text(definitions)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(project), "trivial_definitions.py"], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("up after"):
            return process, lines
    raise AssertionError("\n".join(lines))


def served(lines: list[str]) -> dict[str, str]:
    """The addresses of the services, without the token."""
    return dict(line.partition("/?figment_token")[0].split() for line in lines if "http://" in line)


def get(address: str, token: str, query: str | None = None) -> str:
    body = json.dumps({"query": query}).encode() if query else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with opener.open(urllib.request.Request(address, body, headers), timeout=20) as answer:
        return answer.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_both_servers_answer_and_nothing_is_left_when_the_program_ends(tmp_path, number):
    process, lines = start_serving(tmp_path, DEFINITIONS)
    with process:
        addresses = served(lines)
        token = up.token_file(tmp_path).read_text()
        assert up.token_file(tmp_path).stat().st_mode & 0o777 == 0o600
        assert '"thing"' in get(f"{addresses['dagster']}/graphql", token, "{ assetNodes { assetKey { path } } }")
        assert get(f"{addresses['mlflow']}/health", token) == "OK"
        for address in (f"{addresses['dagster']}/server_info", f"{addresses['mlflow']}/health"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(address, "another")
        tree = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert len(tree) >= 6

        started = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=30)

        wait_until(lambda: not any(map(is_running, tree)), timeout_s=20)
        print(f"{signal.Signals(number).name}: {len(tree)} processes ended within {time.monotonic() - started:.1f} s")
    if number != signal.SIGKILL:
        assert process.returncode == 0
        assert not (tmp_path / ".figment" / "up.lock").exists()
    assert {path.name for path in (tmp_path / ".figment").iterdir()} <= {"dagster", "mlflow", "logs", "up.lock", "up.token"}


@pytest.mark.slow
def test_definitions_that_do_not_load_are_said_so(tmp_path):
    process, lines = start_serving(tmp_path, "raise ValueError('no definitions today')\n")
    with process:
        process.terminate()

        assert process.wait(timeout=30) == 0
    assert "Dagster could not load the definitions: ValueError: no definitions today" in lines
