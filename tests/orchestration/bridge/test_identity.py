import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.bridge.identity import ContentStore, file_md5, tree_id

# Names people give files: unicode, spaces, dots, characters that sort before and after "/".
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n\r", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..", ".dvcignore", ".git", ".dvc") and len(name.encode()) < 200
)
_TREES = st.recursive(st.binary(max_size=40), lambda inner: st.dictionaries(_NAMES, inner, min_size=1, max_size=4), max_leaves=12)


def write_tree(path: Path, tree: bytes | dict) -> None:
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, inner in tree.items():
        write_tree(path / name, inner)


def dvc_id(path: Path) -> str:
    """The id by DVC's own code, without any memory."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    filesystem = LocalFileSystem()
    _, _, built = build(HashFileDB(filesystem, str(path.parent / "odb")), str(path), filesystem, "md5", dry_run=True)
    return built.hash_info.value


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "state" / "state.db")


def settle(path: Path, *, seconds: float = 10.0) -> None:
    """Make everything below look written a while ago, so that the memory may trust it."""
    for entry in [path, *path.rglob("*")]:
        past = entry.stat().st_mtime_ns - int(seconds * 1e9)
        os.utime(entry, ns=(past, past))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(tree=_TREES)
def test_ids_are_those_of_dvc_for_any_tree(tree: bytes | dict) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "out"
        write_tree(place, tree)
        store = ContentStore(Path(name) / "state.db")

        content = store.content(place)

        assert content is not None
        assert content.id == dvc_id(place)
        assert content.files == (1 if place.is_file() else sum(path.is_file() for path in place.rglob("*")))


def test_a_link_to_a_file_is_that_file_and_a_link_to_a_folder_is_nothing_as_for_dvc(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "elsewhere", {"x.txt": b"x", "deep": {"y.txt": b"y"}})
    write_tree(tmp_path / "out", {"own file.txt": b"own", "empty": b""})
    (tmp_path / "out/link.txt").symlink_to(tmp_path / "elsewhere/x.txt")
    (tmp_path / "out/linked").symlink_to(tmp_path / "elsewhere/deep")

    content = store.content(tmp_path / "out")

    assert content is not None and content.id == dvc_id(tmp_path / "out")


def test_files_that_vanish_while_a_folder_is_read_are_no_error(tmp_path: Path, store: ContentStore) -> None:
    place = tmp_path / "out"
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        while not stop.is_set():
            write_tree(place, {str(n): f"{n} {number}".encode() for n in range(5)})
            shutil.rmtree(place)
            number += 1

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(200):
            store.content(place)
    finally:
        stop.set()
        thread.join()
    assert store.content(place) is None


def test_names_that_sort_before_the_slash_are_ordered_as_dvc_orders_them(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": {"x": b"1"}, "a!": {"x": b"2"}, "a-b": b"3", "a b": {"ä": b"4"}, "B": b"5"})

    content = store.content(tmp_path / "out")

    assert content is not None and content.id == dvc_id(tmp_path / "out")
    assert tree_id({"a!/x": "1", "a/x": "2"}) == tree_id({"a/x": "2", "a!/x": "1"}) != tree_id({"a!/x": "2", "a/x": "1"})


def test_nothing_is_read_again_when_nothing_changed(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1", "b": {"c": b"2", "d": b"3"}})
    settle(tmp_path / "out")
    first = store.content(tmp_path / "out")
    assert store.files_hashed == 3

    again = ContentStore(tmp_path / "state/state.db")

    assert again.content(tmp_path / "out") == first
    assert again.files_hashed == 0


def test_exactly_the_changed_and_new_files_are_read(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {f"{n:02}": str(n).encode() for n in range(40)})
    settle(tmp_path / "out")
    store.content(tmp_path / "out")
    before = store.files_hashed

    (tmp_path / "out/07").write_bytes(b"other")
    (tmp_path / "out/new").write_bytes(b"new")
    (tmp_path / "out/12").unlink()
    settle(tmp_path / "out/07", seconds=5)
    content = store.content(tmp_path / "out")

    assert store.files_hashed - before == 2
    assert content is not None and content.id == dvc_id(tmp_path / "out") and content.files == 40


def test_edits_of_equal_size_within_one_tick_of_the_clock_are_noticed(tmp_path: Path, store: ContentStore) -> None:
    place = tmp_path / "file"
    for number in range(200):
        text = f"{number:04}".encode()
        place.write_bytes(text)

        content = store.content(place)

        assert content is not None and content.id == file_md5(place), f"edit {number} was not noticed"


def test_an_equal_size_edit_in_a_folder_with_its_old_time_restored_at_once_is_noticed(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1111"})
    stamp = (tmp_path / "out/a").stat().st_mtime_ns
    first = store.content(tmp_path / "out")
    (tmp_path / "out/a").write_bytes(b"2222")
    os.utime(tmp_path / "out/a", ns=(stamp, stamp))

    second = store.content(tmp_path / "out")

    assert first and second and second.id != first.id


@pytest.mark.parametrize("text", [b"longer text", b""])
def test_a_changed_size_is_noticed_although_the_time_is_kept(tmp_path: Path, store: ContentStore, text: bytes) -> None:
    write_tree(tmp_path / "out", {"a": b"1111"})
    settle(tmp_path / "out")
    stamp = (tmp_path / "out/a").stat().st_mtime_ns
    store.content(tmp_path / "out")
    (tmp_path / "out/a").write_bytes(text)
    os.utime(tmp_path / "out/a", ns=(stamp, stamp))

    content = store.content(tmp_path / "out")

    assert content is not None and content.id == dvc_id(tmp_path / "out")


def test_a_file_replaced_by_another_of_equal_size_and_time_is_noticed(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1111"})
    settle(tmp_path / "out")
    stamp = (tmp_path / "out/a").stat().st_mtime_ns
    store.content(tmp_path / "out")
    (tmp_path / "new").write_bytes(b"2222")
    os.utime(tmp_path / "new", ns=(stamp, stamp))
    (tmp_path / "new").replace(tmp_path / "out/a")

    content = store.content(tmp_path / "out")

    assert content is not None and content.id == dvc_id(tmp_path / "out")


def test_a_new_time_on_equal_bytes_is_another_reading_and_the_same_id(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1111"})
    settle(tmp_path / "out")
    first = store.content(tmp_path / "out")
    settle(tmp_path / "out", seconds=100)

    assert store.content(tmp_path / "out") == first
    assert store.files_hashed == 2


def test_bytes_changed_behind_an_unchanged_stamp_are_found_when_stamps_are_not_trusted(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1111"})
    settle(tmp_path / "out")
    place = tmp_path / "out/a"
    stamp = place.stat().st_mtime_ns
    first = store.content(tmp_path / "out")
    with place.open("r+b") as stream:
        stream.write(b"2")
    os.utime(place, ns=(stamp, stamp))

    content = store.content(tmp_path / "out", trust_stamps=False)

    assert first and content and content.id == dvc_id(tmp_path / "out") != first.id


def test_a_rename_inside_a_folder_changes_its_id(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1", "b": b"2"})
    settle(tmp_path / "out")
    first = store.content(tmp_path / "out")
    (tmp_path / "out/a").rename(tmp_path / "out/c")

    second = store.content(tmp_path / "out")

    assert first and second and second.id == dvc_id(tmp_path / "out") != first.id


def test_a_folder_whose_name_begins_like_another_does_not_forget_the_others_files(tmp_path: Path, store: ContentStore) -> None:
    write_tree(tmp_path / "out", {"a": b"1"})
    write_tree(tmp_path / "out-2", {"b": b"2"})
    settle(tmp_path / "out")
    settle(tmp_path / "out-2")
    store.content(tmp_path / "out-2")
    store.content(tmp_path / "out")
    hashed = store.files_hashed

    store.md5_by_relpath(tmp_path / "out-2")

    assert store.files_hashed == hashed


def test_an_absent_path_has_no_content(tmp_path: Path, store: ContentStore) -> None:
    (tmp_path / "file").write_text("x")

    assert store.content(tmp_path / "nothing") is None
    assert store.content(tmp_path / "file/below") is None


def test_a_file_becomes_a_folder_and_back(tmp_path: Path, store: ContentStore) -> None:
    place = tmp_path / "out"
    for tree in (b"file", {"a": b"1"}, b"file again"):
        if place.is_dir():
            shutil.rmtree(place)
        elif place.exists():
            place.unlink()
        write_tree(place, tree)

        content = store.content(place)

        assert content is not None and content.id == dvc_id(place)


def test_threads_and_a_second_store_agree_while_files_change(tmp_path: Path) -> None:
    write_tree(tmp_path / "out", {f"{n:03}": str(n).encode() for n in range(100)})
    errors: list[BaseException] = []

    def ask(store: ContentStore) -> None:
        try:
            for _ in range(15):
                assert store.content(tmp_path / "out") is not None
        except BaseException as error:  # noqa: BLE001 - the test raises it
            errors.append(error)

    shared = ContentStore(tmp_path / "state/state.db")
    threads = [threading.Thread(target=ask, args=(store,)) for store in (shared, shared, ContentStore(tmp_path / "state/state.db"))]
    for thread in threads:
        thread.start()
    for number in range(30):
        (tmp_path / f"out/{number:03}").write_text(f"changed {number}")
        time.sleep(0.002)
    for thread in threads:
        thread.join()

    assert errors == []
    content = shared.content(tmp_path / "out")
    assert content is not None and content.id == dvc_id(tmp_path / "out")
