"""An output folder: whole or not at all, without touching a byte of the old one."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.output_folder import OutputBusyError, OutputFolder


def _write(target: Path, **files: str) -> None:
    with OutputFolder(target) as output:
        for name, text in files.items():
            output.file(name).write_text(text)


def _content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_replaces_the_old_one_with_all_its_files(tmp_path):
    _write(tmp_path / "out", a="1", b="2")
    _write(tmp_path / "out", b="3", c="4")
    assert _content(tmp_path / "out") == {"b": "3", "c": "4"}
    assert _names(tmp_path) == ["out"]


def test_an_exception_leaves_the_old_folder_and_nothing_else(tmp_path):
    _write(tmp_path / "out", a="1")
    with pytest.raises(ZeroDivisionError), OutputFolder(tmp_path / "out") as output:
        output.file("a").write_text(str(1 / 0))
    assert _content(tmp_path / "out") == {"a": "1"}
    assert _names(tmp_path) == ["out"]


def test_an_unchanged_file_keeps_its_inode_and_time(tmp_path):
    _write(tmp_path / "out", same="1", other="2")
    os.utime(tmp_path / "out/same", (1, 1))
    before = (tmp_path / "out/same").stat()
    _write(tmp_path / "out", same="1", other="3")
    after = (tmp_path / "out/same").stat()
    assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)


def test_files_of_a_read_only_hard_linked_cache_are_never_written(tmp_path):
    """DVC's cache shares inodes with the workspace: a new version must be a new inode."""
    _write(tmp_path / "out", a="old", b="kept")
    (tmp_path / "cache").mkdir()
    for name in ("a", "b"):
        os.link(tmp_path / "out" / name, tmp_path / "cache" / name)
        (tmp_path / "cache" / name).chmod(0o444)
    with OutputFolder(tmp_path / "out") as output:
        output.file("a").write_text("new")
        output.keep("b")
    assert _content(tmp_path / "out") == {"a": "new", "b": "kept"}
    assert _content(tmp_path / "cache") == {"a": "old", "b": "kept"}


def test_keep_takes_over_a_file_without_copying_it(tmp_path):
    _write(tmp_path / "out", a="1")
    inode = (tmp_path / "out/a").stat().st_ino
    with OutputFolder(tmp_path / "out") as output:
        assert output.keep("a").stat().st_ino == inode


def test_take_brings_a_finished_file_from_elsewhere_which_stays_there(tmp_path):
    (tmp_path / "download").write_text("new")
    with OutputFolder(tmp_path / "data" / "out") as output:
        output.take(tmp_path / "download", "files/a.txt")
    assert (tmp_path / "data" / "out" / "files" / "a.txt").samefile(tmp_path / "download")


def test_a_file_name_cannot_leave_the_folder(tmp_path):
    with pytest.raises(ValueError, match="leaves the output folder"), OutputFolder(tmp_path / "out") as output:
        output.file("../escaped")


def test_two_writers_of_one_folder_are_told(tmp_path):
    with OutputFolder(tmp_path / "out") as output:
        output.file("a").write_text("1")
        with pytest.raises(OutputBusyError, match="another run is writing this output now"):
            OutputFolder(tmp_path / "out").__enter__()
    assert _content(tmp_path / "out") == {"a": "1"}


_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from stages.output_folder import OutputFolder
with OutputFolder(Path(sys.argv[1])) as output:
    output.file("half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, project_root):
    _write(tmp_path / "out", a="1")
    ended = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, str(tmp_path / "out")], cwd=project_root, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert _names(tmp_path) == [".tmp-out", "out"]
    assert _content(tmp_path / "out") == {"a": "1"}
    _write(tmp_path / "out", a="2")
    assert _names(tmp_path) == ["out"]
    assert _content(tmp_path / "out") == {"a": "2"}


def test_a_death_between_the_two_renames_is_put_right(tmp_path):
    _write(tmp_path / "out", a="1")
    (tmp_path / "out").rename(tmp_path / ".tmp-out-old")
    with OutputFolder(tmp_path / "out") as output:
        assert output.previous("a") is not None
        output.keep("a")
    assert _content(tmp_path / "out") == {"a": "1"}
    assert _names(tmp_path) == ["out"]


def test_a_full_disk_is_an_error_and_the_old_output_stays(tmp_path):
    """The limit on file size stands in for the disk: the system call fails in the middle of a write just the same."""
    _write(tmp_path / "out", a="old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        with pytest.raises(OSError, match="File too large"), OutputFolder(tmp_path / "out") as output:
            output.file("a").write_bytes(b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert _content(tmp_path / "out") == {"a": "old"}
    assert _names(tmp_path) == ["out"]


def test_json_is_the_same_bytes_for_equal_values(tmp_path):
    with OutputFolder(tmp_path / "out") as output:
        output.write_json("a.json", {"b": 1, "a": "ü"})
        output.write_json("b.json", {"a": "ü", "b": 1})
    assert (tmp_path / "out/a.json").read_bytes() == (tmp_path / "out/b.json").read_bytes()
    assert (tmp_path / "out/a.json").read_text(encoding="utf-8") == '{\n  "a": "ü",\n  "b": 1\n}\n'
