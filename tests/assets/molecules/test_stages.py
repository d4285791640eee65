"""The three stages as their commands, in a project of their own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from stages.artifact_id import content_id
from tests.assets.molecules.building import bytes_of, rows_of

_PARAMS = """
molecule_sources:
  sources:
    - {name: mine, kind: file, path: mine.csv, licence: MIT, smiles_column: structure, properties: {boiling_point: {column: bp, unit: degC}}}
    - {name: units, kind: repeat_units, of: mine, count: 4, seed: 1, licence: MIT, role: polymers}
molecules: {descriptors: [mol_wt]}
polymers: {descriptors: [mol_wt], salts: reject}
"""


# Numbers in binary become small molecules, so that they are many and quick to parse.
_ATOMS = str.maketrans({"0": "C", "1": "N"})


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "params.yaml").write_text(_PARAMS)
    (tmp_path / "mine.csv").write_text("structure;bp\nCCO;78.4\nOCC;78.2\nCCCO;97\nbroken(;1\n")
    return tmp_path


def _command(project: Path, project_root: Path, module: str, *arguments: str) -> tuple[list[str], dict]:
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    return [sys.executable, "-m", module, *arguments], {"cwd": project, "env": environment, "text": True}


def _run(project: Path, project_root: Path, module: str, *arguments: str) -> subprocess.CompletedProcess:
    command, options = _command(project, project_root, module, *arguments)
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_sources_molecules_and_polymers_are_made_one_after_the_other(project, project_root):
    for module, arguments in [
        ("assets.molecules.sources", ()),
        ("assets.molecules.build", ("molecules",)),
        ("assets.molecules.build", ("polymers",)),
    ]:
        ended = _run(project, project_root, module, *arguments)
        assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    molecules = rows_of(project / "data/molecules")
    assert [(row["smiles"], row["boiling_point"]) for row in molecules] == [("CCO", pytest.approx(78.3)), ("CCCO", 97.0)]
    assert all(row["smiles"].count("*") == 2 for row in rows_of(project / "data/polymers"))
    summary = json.loads((project / "data/molecules/summary.json").read_text())
    assert (summary["rows_in"], summary["rejected"], summary["units"]["boiling_point"]) == (4, {"not a SMILES": 1}, "degC")
    assert sorted(path.name for path in (project / "data").iterdir()) == ["molecule_sources", "molecules", "polymers"]


def test_another_folder_locale_and_hash_seed_give_the_same_bytes(project, project_root, tmp_path_factory):
    _run(project, project_root, "assets.molecules.sources")
    _run(project, project_root, "assets.molecules.build", "molecules")
    other = tmp_path_factory.mktemp("ein Ordner für Moleküle")
    for name in ("params.yaml", "mine.csv"):
        (other / name).write_bytes((project / name).read_bytes())
    os.environ |= {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    _run(other, project_root, "assets.molecules.sources")
    ended = _run(other, project_root, "assets.molecules.build", "molecules")
    assert ended.returncode == 0, ended.stderr
    for name in ("molecule_sources", "molecules"):
        assert content_id(other / "data" / name) == content_id(project / "data" / name)


def test_a_mistake_in_a_parameter_is_one_line_and_code_two(project, project_root):
    ended = _run(project, project_root, "assets.molecules.build", "molecules", "--set", "salt=keep")
    assert ended.returncode == 2
    assert ended.stderr.startswith("figment: params.yaml: molecules.salt is not a known key (did you mean 'salts'?)")
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_output_and_its_workers_end(project, project_root):
    lines = "".join(f"C{index:016b};1\n".translate(_ATOMS) for index in range(30_000))
    _run(project, project_root, "assets.molecules.sources")
    _run(project, project_root, "assets.molecules.build", "molecules")
    before = bytes_of(project / "data/molecules")
    (project / "mine.csv").write_text("structure;bp\n" + lines)
    _run(project, project_root, "assets.molecules.sources")
    command, options = _command(project, project_root, "assets.molecules.build", "molecules", "--workers", "2")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True, **options) as running:
        workers = _wait_for_children(running.pid)
        running.send_signal(signal.SIGKILL)
    assert bytes_of(project / "data/molecules") == before
    assert _wait_until(lambda: not any(_is_alive(worker) for worker in workers))
    (project / "mine.csv").write_text("structure;bp\nCC;1\n")
    _run(project, project_root, "assets.molecules.sources")
    ended = _run(project, project_root, "assets.molecules.build", "molecules")
    assert ended.returncode == 0, ended.stderr
    assert not list((project / "data").glob(".tmp-*"))


def _wait_for_children(process_id: int) -> list[int]:
    import psutil

    found: list[int] = []

    def has_workers() -> bool:
        found[:] = [child.pid for child in psutil.Process(process_id).children() if "spawn_main" in " ".join(child.cmdline())]
        return len(found) == 2

    assert _wait_until(has_workers)
    return found


def _is_alive(process_id: int) -> bool:
    import psutil

    return psutil.pid_exists(process_id) and psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE


def _wait_until(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


_GRAPH = """
stages:
  molecule_sources:
    cmd: PYTHON -m assets.molecules.sources
    params: [molecule_sources]
    outs: [{data/molecule_sources: {persist: true}}]
  molecules:
    cmd: PYTHON -m assets.molecules.build molecules
    deps: [data/molecule_sources]
    params: [molecules]
    outs: [{data/molecules: {persist: true}}]
"""


@pytest.mark.slow
def test_under_dvc_with_a_hard_linked_cache_no_object_is_ever_changed(project, project_root):
    pytest.importorskip("dvc", reason="dvc is not installed")
    (project / "dvc.yaml").write_text(_GRAPH.replace("PYTHON", sys.executable))
    for arguments in (["init", "--no-scm", "-q"], ["config", "cache.type", "hardlink"], ["repro", "-q"]):
        assert _run(project, project_root, "dvc", *arguments).returncode == 0
    shard = project / "data/molecules/molecules-00000.parquet"
    assert shard.stat().st_nlink > 1
    (project / "mine.csv").write_text("structure;bp\nCCO;78.4\nCCCCO;117\n")
    assert _run(project, project_root, "dvc", "repro", "-q", "-f").returncode == 0
    assert [row["smiles"] for row in rows_of(project / "data/molecules")] == ["CCO", "CCCCO"]
    objects = [path for path in (project / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    assert len(objects) > 10
    for path in objects:
        assert hashlib.md5(path.read_bytes()).hexdigest() == path.parent.name + path.name.removesuffix(".dir")
