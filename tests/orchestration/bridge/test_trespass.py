import os
from pathlib import Path

from orchestration.bridge.trespass import differences, look_around


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_new_changed_and_removed_files_are_named_in_order(tmp_path: Path) -> None:
    for name in ("b/changed", "b/kept", "c/removed"):
        write(tmp_path / name)
    before = look_around(tmp_path, but=[])
    write(tmp_path / "a/new")
    write(tmp_path / "b/changed", "longer")
    (tmp_path / "c/removed").unlink()

    assert differences(before, look_around(tmp_path, but=[])) == ["a/new (new)", "b/changed (changed)", "c/removed (removed)"]


def test_a_file_replaced_by_one_of_equal_size_and_time_is_a_change(tmp_path: Path) -> None:
    write(tmp_path / "file", "1")
    before = look_around(tmp_path, but=[])
    info = (tmp_path / "file").stat()
    write(tmp_path / "other", "2")
    os.utime(tmp_path / "other", ns=(info.st_mtime_ns, info.st_mtime_ns))
    (tmp_path / "other").replace(tmp_path / "file")

    assert differences(before, look_around(tmp_path, but=[])) == ["file (changed)"]


def test_outputs_hidden_folders_and_what_dvc_writes_are_not_looked_at(tmp_path: Path) -> None:
    before = look_around(tmp_path, but=["data/mine", "one.txt"])
    for name in (".git/x", ".dvc/x", "code/__pycache__/x.pyc", "data/mine/deep/x", "one.txt", "dvc.lock", "data/.gitignore", "x.egg-info/y"):
        write(tmp_path / name)

    assert differences(before, look_around(tmp_path, but=["data/mine/", "one.txt"])) == []


def test_a_neighbour_whose_name_begins_alike_is_looked_at(tmp_path: Path) -> None:
    before = look_around(tmp_path, but=["data/mine"])
    write(tmp_path / "data/mine-2/x")

    assert differences(before, look_around(tmp_path, but=["data/mine"])) == ["data/mine-2/x (new)"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "outside/file")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/link").symlink_to(tmp_path / "outside")
    (tmp_path / "project/dangling").symlink_to(tmp_path / "nowhere")
    before = look_around(tmp_path / "project", but=[])
    write(tmp_path / "outside/more")

    assert differences(before, look_around(tmp_path / "project", but=[])) == []
