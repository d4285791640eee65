"""A file is the old one or the new one, whole, whatever happens to its writer."""

import hashlib
import os
import signal
import subprocess
import sys

import pytest

from stages.files import replacing, sha256_of, write_file_atomically


def test_a_file_is_replaced_by_a_new_inode(tmp_path):
    path = tmp_path / "folder/file"
    write_file_atomically(path, b"old")
    os.link(path, tmp_path / "cache")
    path.chmod(0o444)
    write_file_atomically(path, b"new")
    assert (path.read_bytes(), (tmp_path / "cache").read_bytes()) == (b"new", b"old")
    assert sorted(found.name for found in tmp_path.rglob("*")) == ["cache", "file", "folder"]


@pytest.mark.parametrize("many_writers", [False, True])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, many_writers):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path, many_writers=many_writers) as temporary:
            assert temporary.suffix == ".png"
            temporary.write_bytes(b"ne")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_half()
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["picture.png"]


_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from stages.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_taken_away_by_the_next(tmp_path, project_root):
    path = tmp_path / "file"
    path.write_text("old")
    ended = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, str(path)], cwd=project_root, check=False)
    assert (ended.returncode, path.read_text(), (tmp_path / ".tmp-file").read_text()) == (-signal.SIGKILL, "old", "half")
    write_file_atomically(path, b"new")
    assert (path.read_text(), [found.name for found in tmp_path.iterdir()]) == ("new", ["file"])


def test_two_writers_at_once_do_not_write_into_one_another(tmp_path, project_root):
    path = tmp_path / "file"
    code = "import os, sys; from pathlib import Path; from stages.files import replacing\n"
    code += "with replacing(Path(sys.argv[1]), many_writers=True) as t:\n    t.write_text('theirs')\n    input()"
    with replacing(path, many_writers=True) as temporary:
        temporary.write_text("ours")
        other = subprocess.run([sys.executable, "-c", code, str(path)], cwd=project_root, input="\n", text=True, check=True)
        assert (other.returncode, path.read_text(), temporary.read_text()) == (0, "theirs", "ours")
    assert path.read_text() == "ours"


def test_a_file_is_named_by_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
