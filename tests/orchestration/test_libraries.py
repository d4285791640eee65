import importlib.metadata

import pytest

from orchestration import libraries
from orchestration.libraries import ABSENT, BYTE_DECIDING, Change, LibrariesError, distributions_of, drift, write_versions


@pytest.fixture
def installed(monkeypatch):
    """The versions that this environment pretends to have; a name left out is not installed."""
    versions = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "pillow": "13.0.0"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


def test_the_written_file_holds_every_library_and_leaves_out_build_suffixes(tmp_path, installed):
    write_versions(tmp_path)
    lines = (tmp_path / "libraries.yaml").read_text().splitlines()
    assert "torch: '2.13.0'" in lines
    assert "pillow: '13.0.0'" in lines
    assert f"rdkit: '{ABSENT}'" in lines
    assert [line.partition(":")[0] for line in lines if not line.startswith("#")] == sorted(BYTE_DECIDING.values())


def test_dvc_reads_every_version_as_text(tmp_path, installed):
    from ruamel.yaml import YAML

    installed["numpy"] = "2.10"
    write_versions(tmp_path)
    assert YAML(typ="safe").load(tmp_path / "libraries.yaml")["numpy"] == "2.10"


def test_writing_twice_changes_nothing_and_leaves_the_file_alone(tmp_path, installed):
    write_versions(tmp_path)
    before = (tmp_path / "libraries.yaml").stat().st_mtime_ns
    assert write_versions(tmp_path) == []
    assert (tmp_path / "libraries.yaml").stat().st_mtime_ns == before


def test_a_bump_is_one_change_that_reads_well(tmp_path, installed):
    write_versions(tmp_path)
    installed["numpy"] = "2.5.0"
    assert drift(tmp_path) == [Change("libraries.yaml: numpy", ("2.4.6",), ("2.5.0",))]
    assert str(drift(tmp_path)[0]) == "libraries.yaml: numpy: - 2.4.6, + 2.5.0"
    write_versions(tmp_path)
    assert drift(tmp_path) == []


def test_another_build_of_the_same_release_is_no_drift(tmp_path, installed):
    write_versions(tmp_path)
    installed["torch"] = "2.13.0+cu130"
    assert drift(tmp_path) == []


def test_a_library_that_is_not_installed_here_keeps_its_version(tmp_path, installed):
    write_versions(tmp_path)
    del installed["numpy"]
    assert drift(tmp_path) == []
    installed["pillow"] = "14.0.0"
    write_versions(tmp_path)
    assert "numpy: '2.4.6'" in (tmp_path / "libraries.yaml").read_text()


def test_a_library_that_no_longer_decides_anything_goes(tmp_path, installed):
    write_versions(tmp_path)
    with open(tmp_path / "libraries.yaml", "a") as stream:
        stream.write("old: '1'\n")
    assert drift(tmp_path) == [Change("libraries.yaml: old", ("1",), ())]


def test_a_line_that_is_not_a_version_is_named_with_a_remedy(tmp_path):
    (tmp_path / "libraries.yaml").write_text("# heading\nnumpy\n")
    with pytest.raises(LibrariesError, match=r"libraries.yaml:2: expected .* delete libraries.yaml and run"):
        drift(tmp_path)


def test_import_names_become_distributions_once_each():
    assert distributions_of(["PIL", "os", "numpy", "PIL"]) == ["numpy", "pillow"]


def test_every_name_in_the_table_belongs_to_the_distribution_it_names():
    known = importlib.metadata.packages_distributions()
    present = {name: distribution for name, distribution in BYTE_DECIDING.items() if name in known}
    assert present
    for name, distribution in present.items():
        assert distribution.replace("_", "-") in {found.lower().replace("_", "-") for found in known[name]}


def test_reading_versions_imports_none_of_the_libraries(project_root):
    import subprocess
    import sys

    names = sorted(BYTE_DECIDING)
    program = (
        f"import sys; from orchestration.libraries import drift; from pathlib import Path; drift(Path('.')); print(set({names}) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_project_s_own_versions_are_the_ones_it_pins(project_root):
    pins = dict(line.split("==") for line in (project_root / "constraints.txt").read_text().splitlines() if "==" in line)
    recorded = libraries._recorded(project_root / "libraries.yaml")
    assert recorded.keys() == set(BYTE_DECIDING.values())
    for name, version in recorded.items():
        assert version == pins.get(name.replace("_", "-"), ABSENT), f"{name}: run `make setup && figment deps`"
