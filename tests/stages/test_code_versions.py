"""code.yaml says what the code of every stage says, and nothing else moves it."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.code_memory import CodeMemory
from stages.code_versions import CodeVersionsError, read_lines, stage_modules, write_code_versions
from stages.libraries import BYTE_DECIDING

DVC_YAML = """\
stages:
  code:
    cmd: python -m stages.code_versions
    deps: [assets, training]
    outs: [code.yaml: {cache: false, persist: true}]
  fetch:
    cmd: python -m assets.fetch
    meta: {source: true}
  rows:
    cmd: python -m assets.build rows
    params: [rows, code.yaml: [rows]]
  train:
    foreach: [1, 2]
    do:
      cmd: torchrun -m training.gpt.train ${item}
      params: [train, code.yaml: [train]]
  grid:
    matrix: {size: [1, 2]}
    cmd:
      - python -m assets.build ${item.size}
      - python -m training.gpt.train
    params: [code.yaml: [grid]]
  shell:
    cmd: wc -l data/rows
"""
FILES = {
    "dvc.yaml": DVC_YAML,
    "assets/fetch.py": "import scrapy\n",
    "assets/build.py": "import numpy\nimport assets.columns\n",
    "assets/columns.py": "import rdkit\n",
    "assets/unused.py": "import lxml\n",
    "training/gpt/train.py": "import torch\nimport training.gpt.nets\n",
    "training/gpt/nets.py": "",
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        # Older than a clock's tick, as any file is that was not saved this very moment.
        os.utime(path, ns=(path.stat().st_mtime_ns - 10**9,) * 2)


@pytest.fixture
def installed(monkeypatch) -> dict[str, str]:
    """The versions that this environment pretends to have; a name left out is not installed."""
    versions = {"numpy": "2.10", "torch": "2.13.0+cpu"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


@pytest.fixture
def project(tmp_path, installed) -> Path:
    write(tmp_path, FILES)
    write_code_versions(tmp_path)
    return tmp_path


def lines(root: Path) -> dict[str, dict[str, str]]:
    return read_lines((root / "code.yaml").read_text())


def moved(root: Path) -> tuple[str, ...]:
    return write_code_versions(root).moved


def test_every_stage_that_runs_code_has_a_line_and_sources_and_shell_commands_have_none(project):
    assert list(lines(project)) == ["rows", "train", "grid"]
    text = (project / "code.yaml").read_text()
    assert text.startswith("# The version of every stage's code")
    assert [line.rpartition("#")[2] for line in text.splitlines()[2:]] == [" 2 files", " 2 files", " 4 files"]


def test_dvc_reads_what_this_reads_and_every_version_as_text(project):
    read = YAML(typ="safe").load(project / "code.yaml")
    assert read == lines(project)
    assert read["rows"]["numpy"] == "2.10"
    assert all(len(line["files"]) == 16 for line in read.values())


def test_a_line_names_the_libraries_that_decide_bytes_with_their_releases(project):
    assert {key: version for key, version in lines(project)["grid"].items() if key != "files"} == {
        "numpy": "2.10",
        "rdkit": "absent",
        "torch": "2.13.0",
    }


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("assets/columns.py", "# a comment\nimport rdkit\n", ()),
        ("assets/columns.py", '"""Words."""\nimport rdkit\n', ()),
        ("assets/columns.py", "import rdkit\nx = 1\n", ("rows", "grid")),
        ("assets/columns.py", "import rdkit\nimport scipy\n", ("rows", "grid")),
        ("training/gpt/nets.py", "x = 1\n", ("train", "grid")),
        ("training/gpt/nets.py", "def (:\n", ("train", "grid")),
        ("assets/unused.py", "x = 1\n", ()),
        ("assets/fetch.py", "x = 1\n", ()),
        ("assets/__init__.py", "", ("rows", "grid")),
        ("dvc.yaml", DVC_YAML.replace("assets.build rows", "assets.unused rows"), ("rows",)),
        ("dvc.yaml", DVC_YAML + "  more:\n    cmd: python -m assets.unused\n    params: [code.yaml: [more]]\n", ("more",)),
        ("dvc.yaml", DVC_YAML.replace("wc -l", "wc -c"), ()),
    ],
)
def test_an_edit_moves_exactly_the_stages_whose_code_it_changes(project, file, text, expected):
    write(project, {file: text})
    assert moved(project) == expected
    assert moved(project) == ()


def test_taking_an_edit_back_brings_the_old_line_back(project):
    before = (project / "code.yaml").read_text()
    write(project, {"assets/build.py": "import numpy\n"})
    write_code_versions(project)
    write(project, {"assets/build.py": FILES["assets/build.py"]})
    write_code_versions(project)
    assert (project / "code.yaml").read_text() == before


def test_another_release_of_a_library_moves_the_stages_that_use_it_and_another_build_none(project, installed):
    installed["torch"] = "2.13.0+cu130"
    assert moved(project) == ()
    installed["torch"] = "2.14.0"
    assert moved(project) == ("train", "grid")


def test_a_library_that_is_not_installed_here_keeps_the_version_on_record_of_any_line(project, installed):
    del installed["numpy"]
    assert moved(project) == ()
    write(project, {"dvc.yaml": DVC_YAML + "  more:\n    cmd: python -m assets.build\n    params: [code.yaml: [more]]\n"})
    assert moved(project) == ("more",)
    assert lines(project)["more"]["numpy"] == "2.10"


def test_the_file_is_not_touched_when_it_says_what_the_code_says(project):
    before = (project / "code.yaml").stat()
    write_code_versions(project)
    assert (project / "code.yaml").stat() == before


def test_a_code_yaml_that_was_damaged_or_lost_is_written_again(project):
    before = (project / "code.yaml").read_text()
    for damaged in ("", "<<<<<<< ours\n" + before + "=======\n", before.replace("files", "flies")):
        (project / "code.yaml").write_text(damaged)
        write_code_versions(project)
        assert (project / "code.yaml").read_text() == before
    (project / "code.yaml").unlink()
    write_code_versions(project)
    assert (project / "code.yaml").read_text() == before


# ---- the memory ----------------------------------------------------------------------------------------------------------------------


def test_only_files_that_moved_are_read_again(project):
    assert write_code_versions(project).files_read == 0
    write(project, {"assets/columns.py": "import rdkit\nx = 1\n"})
    assert write_code_versions(project).files_read == 1
    os.utime(project / "assets/build.py", ns=(10**18, 10**18))
    assert write_code_versions(project).files_read == 1


def test_a_file_saved_this_very_moment_is_not_trusted_by_its_time(project):
    path = project / "assets/columns.py"
    path.write_text("import rdkit\nx = 1\n")
    assert moved(project) == ("rows", "grid")
    stamp = path.stat()
    path.write_text("import rdkit\nx = 2\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert moved(project) == ("rows", "grid")


def test_a_lost_or_damaged_memory_costs_time_and_nothing_else(project):
    before = (project / "code.yaml").read_text()
    memory = project / ".figment/memory/code/files.json"
    for damage in ("", "[]", '{"rules": "of another release", "files": {"assets/build.py": 1}}'):
        memory.write_text(damage)
        assert write_code_versions(project).files_read == 4
        assert (project / "code.yaml").read_text() == before


def test_what_a_version_stood_for_is_remembered_by_its_hash(project):
    version = lines(project)["rows"]["files"]
    write(project, {"assets/columns.py": "import rdkit\nx = 1\n"})
    write_code_versions(project)
    before, after = (CodeMemory(project).manifest(one) for one in (version, lines(project)["rows"]["files"]))
    assert before is not None and after is not None
    assert [path for path in after if before.get(path) != after[path]] == ["assets/columns.py"]
    assert CodeMemory(project).manifest("0" * 16) is None


# ---- what cannot be read -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("assets.build rows", "assets.nowhere", r"dvc.yaml: rows: no module assets.nowhere .* expected assets/nowhere.py"),
        ("[rows, code.yaml: [rows]]", "[rows]", r"dvc.yaml: rows runs assets.build and would not be made again .* add `- code.yaml: \[rows\]`"),
        ("    meta: {source", "    params: [code.yaml: [fetch]]\n    meta: {source", r"dvc.yaml: fetch is a source and lists its line"),
        ("wc -l data/rows", "wc 'x", r"dvc.yaml: shell: the command \"wc 'x\" cannot be split into words"),
        (
            "deps: [assets, training]",
            "deps: [assets]",
            r"dvc.yaml: train uses training/gpt/nets.py, but `training` is no dependency",
        ),
        ("stages:", "stages: [", r"dvc.yaml, line \d+: not valid YAML"),
    ],
)
def test_a_graph_that_cannot_be_followed_is_an_error_that_says_where(project, old, new, words):
    write(project, {"dvc.yaml": DVC_YAML.replace(old, new)})
    before = (project / "code.yaml").read_text()
    with pytest.raises(CodeVersionsError, match=words):
        write_code_versions(project)
    assert (project / "code.yaml").read_text() == before


def test_a_stage_with_a_working_directory_names_the_file_relative_to_it(project):
    write(project, {"dvc.yaml": DVC_YAML.replace("params: [rows, code.yaml: [rows]]", "wdir: data\n    params: [../code.yaml: [rows]]")})
    assert moved(project) == ()


@pytest.mark.parametrize(
    ("cmd", "modules"),
    [
        ("python -m assets.molecules.build molecules", ["assets.molecules.build"]),
        ("python3.12 -u -m training.gpt.train --set 'a=b c'", ["training.gpt.train"]),
        ("torchrun --nproc-per-node 2 -m training.gpt.train", ["training.gpt.train"]),
        (["python -m assets.a", "python -m assets.b ${item.name}"], ["assets.a", "assets.b"]),
        ("python -m assets.a && python -m assets.a", ["assets.a"]),
        ("echo hello", []),
    ],
)
def test_the_modules_of_a_command_are_found(cmd, modules):
    assert stage_modules("x", cmd) == modules


# ---- the program, and the project's own code.yaml ------------------------------------------------------------------------------------


def run(root: Path, project_root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    return subprocess.run([sys.executable, "-m", "stages.code_versions"], cwd=root, env=environment, capture_output=True, text=True)


def test_the_program_says_what_moved_and_ends_with_an_error_on_one_line(tmp_path, project_root):
    write(tmp_path, FILES)
    assert run(tmp_path, project_root).stdout == "code.yaml: rows, train, grid moved\n"
    assert run(tmp_path, project_root).stdout == "code.yaml says what the code says\n"
    (tmp_path / "assets/build.py").unlink()
    done = run(tmp_path, project_root)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("code: dvc.yaml: rows: no module assets.build below")
    assert len(done.stderr.splitlines()) == 1


def test_python_leaves_nothing_in_the_folders_that_code_depends_on_but_what_dvc_ignores(project_root):
    folders = YAML(typ="safe").load(project_root / "dvc.yaml")["stages"]["code"]["deps"]
    patterns = (project_root / ".dvcignore").read_text().splitlines()
    assert folders
    assert [folder for folder in folders if f"/{folder}/**/__pycache__" not in patterns] == []


def test_it_loads_neither_the_libraries_it_versions_nor_the_project(project_root):
    names = sorted({*BYTE_DECIDING, "dvc", "dagster", "assets", "training", "orchestration"})
    program = "import sys; from pathlib import Path; from stages.code_versions import write_code_versions; write_code_versions(Path('.'));"
    program += f"print(set({names}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_project_s_own_code_yaml_is_up_to_date_and_has_the_versions_it_pins(project_root, tmp_path):
    text = (project_root / "code.yaml").read_text()
    for package in ("dvc.yaml", "app", "assets", "formats", "stages", "training"):
        if (project_root / package).exists():
            (tmp_path / package).symlink_to(project_root / package)
    (tmp_path / "code.yaml").write_text(text)
    stale = write_code_versions(tmp_path).moved
    assert not stale, f"{', '.join(stale)}: run `python -m stages.code_versions` and commit code.yaml"
    pins = dict(line.split("==") for line in (project_root / "constraints.txt").read_text().splitlines() if "==" in line)
    recorded = {library: version for line in read_lines(text).values() for library, version in line.items() if library != "files"}
    assert recorded == {library: pins[library.replace("_", "-")] for library in recorded}
