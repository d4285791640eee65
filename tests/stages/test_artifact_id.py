"""The id of an artifact is the hash that DVC gives it: asked of the real DVC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.artifact_id import content_id
from stages.params import read_yaml

# Names whose order differs between a sort of paths and a sort of their parts, and names that need care in JSON.
_FILES = {"a/b.txt": b"one", "a-b": b"two", "a/b/c": None, "ä ö/ü.bin": bytes(range(256)), "Z": b"", 'quo"te': b"three", "a/a/deep": b"four"}


def _write(folder: Path) -> None:
    for name, content in _FILES.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture(scope="module")
def dvc_ids(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder and a file added to a real DVC repository, with the ids DVC wrote down."""
    pytest.importorskip("dvc", reason="dvc is not installed")
    root = tmp_path_factory.mktemp("repository")
    _write(root / "folder")
    (root / "one_file").write_bytes(b"content")
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "folder", "one_file"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=root, check=True, env=environment, capture_output=True)
    return root, {name: read_yaml(root / f"{name}.dvc")["outs"][0]["md5"] for name in ("folder", "one_file")}


@pytest.mark.parametrize("name", ["folder", "one_file"])
def test_the_id_is_the_one_that_dvc_writes(dvc_ids, name):
    root, ids = dvc_ids
    assert content_id(root / name) == ids[name]


def test_any_change_of_a_byte_or_a_name_changes_the_id(tmp_path):
    _write(tmp_path / "x")
    before = content_id(tmp_path / "x")
    (tmp_path / "x/Z").rename(tmp_path / "x/Y")
    renamed = content_id(tmp_path / "x")
    (tmp_path / "x/Y").write_bytes(b"!")
    assert len({before, renamed, content_id(tmp_path / "x")}) == 3


def test_times_and_modes_do_not_matter(tmp_path):
    _write(tmp_path / "x")
    before = content_id(tmp_path / "x")
    os.utime(tmp_path / "x/Z", (0, 0))
    (tmp_path / "x/Z").chmod(0o444)
    assert content_id(tmp_path / "x") == before


def test_what_does_not_exist_has_no_id(tmp_path):
    with pytest.raises(FileNotFoundError):
        content_id(tmp_path / "nothing")
