"""What is installed works together. dagster needs antlr 4.13, which stable hydra (and with it dvc) refuses: every resolver is content with a
combination in which one of the two is broken at run time (docs/installing.md), so each is used here for real.
"""

import importlib.metadata
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TOY_ASSETS = """
import dagster as dg


@dg.asset
def a() -> int:
    return 1


@dg.asset
def b(a: int) -> int:
    return a + 1


@dg.asset
def unrelated() -> int:
    return 0


defs = dg.Definitions(assets=[a, b, unrelated], executor=dg.in_process_executor)
"""

TOY_STAGES = """
stages:
  double:
    cmd: python double.py
    deps: [double.py]
    params: [double]
    outs: [doubled.txt]
"""

TOY_PROGRAM = """
import re, pathlib
value = int(re.search(r"value: (\\d+)", pathlib.Path("params.yaml").read_text())[1])
pathlib.Path("doubled.txt").write_text(str(2 * value))
"""


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in `folder`, and show all it said when it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path, **environment})
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def test_a_string_selection_and_hydra_and_omegaconf_work_in_one_process():
    from dagster import AssetSelection
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    assert OverridesParser.create().parse_override("train.lr=1e-3").value() == 1e-3
    assert OmegaConf.create({"a": 2, "b": "${a}"}).b == 2
    # `or` is understood by the antlr parser alone; a plain "a+" has a fallback that hides a broken one.
    selected = AssetSelection.from_string('key:"a"+ or key:"unrelated"').resolve(_chain())
    assert {key.to_user_string() for key in selected} == {"a", "b", "unrelated"}
    assert {key.to_user_string() for key in AssetSelection.from_string("a+").resolve(_chain())} == {"a", "b"}


def _chain() -> list:
    from dagster import AssetsDefinition, AssetSpec

    return [AssetsDefinition(specs=[AssetSpec("a"), AssetSpec("b", deps=["a"]), AssetSpec("unrelated")])]


def test_dagster_materializes_a_string_selection_from_the_shell(tmp_path):
    (tmp_path / "toy.py").write_text(TOY_ASSETS)
    (tmp_path / "home").mkdir()
    command = ["dagster", "asset", "materialize", "--select", "a+", "-f", "toy.py"]
    done = run([sys.executable, "-m", *command], tmp_path, DAGSTER_HOME=str(tmp_path / "home"))
    log = done.stdout + done.stderr
    assert "RUN_SUCCESS" in log
    assert "STEP_SUCCESS" in log
    assert "unrelated" not in log


def test_dvc_runs_an_experiment_with_a_changed_parameter(tmp_path):
    (tmp_path / "dvc.yaml").write_text(TOY_STAGES)
    (tmp_path / "double.py").write_text(TOY_PROGRAM)
    (tmp_path / "params.yaml").write_text("double:\n  value: 1\n")
    run(["git", "init", "-q"], tmp_path)
    run([sys.executable, "-m", "dvc", "init", "-q"], tmp_path)
    run(["git", "add", "."], tmp_path)
    run(["git", "commit", "-qm", "Start"], tmp_path)
    run([sys.executable, "-m", "dvc", "exp", "run", "-S", "double.value=21", "-n", "answer"], tmp_path)
    assert (tmp_path / "doubled.txt").read_text() == "42"
    assert "answer" in run([sys.executable, "-m", "dvc", "exp", "list"], tmp_path).stdout


def test_every_requirement_of_what_is_installed_is_met():
    """What `pip check` looks at, for the project and all it brings."""
    from packaging.requirements import Requirement

    versions = {_canonical(found.name): found.version for found in importlib.metadata.distributions()}
    unmet = []
    for found in importlib.metadata.distributions():
        for text in found.requires or []:
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = versions.get(_canonical(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                unmet.append(f"{found.name} {found.version} needs {text}, found {version}")
    assert unmet == []


def test_the_constraints_name_every_package_that_is_installed_and_no_place(project_root):
    text = (project_root / "constraints.txt").read_text()
    pins = dict(line.split("==") for line in text.splitlines() if line and not line.startswith("#"))
    assert "://" not in text
    assert pins["torch"] == "2.13.0"
    assert not [name for name in pins if name.startswith(("nvidia", "cuda", "triton"))]
    ours = {_canonical(found.name): found.version.partition("+")[0] for found in importlib.metadata.distributions()}
    others = {"figment", "pip", "setuptools", "uv", "wheel"}
    strays = {name: version for name, version in ours.items() if name not in others and not name.startswith(("nvidia", "cuda", "triton"))}
    assert {name: version for name, version in strays.items() if pins.get(name) != version} == {}


def test_dvc_reports_nothing_and_looks_for_no_newer_release(project_root):
    settings = run([sys.executable, "-m", "dvc", "config", "--list", "--project"], project_root).stdout.split()
    assert {"core.analytics=false", "core.check_update=false", "core.autostage=false"} <= set(settings)


def test_a_test_cannot_leave_this_machine():
    from tests.conftest import NetworkBlockedError

    with pytest.raises(NetworkBlockedError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(NetworkBlockedError, match="example"):
        socket.getaddrinfo("example.invalid", 80)


def test_a_test_can_use_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5) as client:
        assert client.getpeername() == server.getsockname()


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
