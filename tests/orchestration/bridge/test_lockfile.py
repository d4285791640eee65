import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.bridge.graph import GraphError
from orchestration.bridge.identity import tree_id
from orchestration.bridge.lockfile import combined_id, read_lock
from orchestration.bridge.yaml_memory import read_yaml
from tests.orchestration.bridge.toy import STAGES, Toy


def test_every_stage_that_was_made_has_an_entry_with_ids_by_path(toy: Toy) -> None:
    project = toy.project()

    lock = read_lock(project.graph)

    assert set(lock.entries) == {*STAGES, "versions"}
    assert lock.entries["evens"].deps["data/rows"] == lock.entries["rows"].outs["data/rows"] == project.content("data/rows").id
    params = {file: dict(values) for file, values in lock.entries["rows"].params.items() if file != "versions.yaml"}
    assert params == {"libraries.yaml": {"pillow": "13.0.0"}, "params.yaml": {"rows": {"repeat": 1, "note": "first"}}}
    assert lock.entries["total"].cmd == ("python -SB code/total.py",)


def test_the_id_of_an_artifact_leaves_out_the_metrics_git_keeps(toy: Toy) -> None:
    project = toy.project()
    entry = project.lock().entries["total"]

    assert entry.output_id(project.graph["total"]) == entry.outs["data/total"]


def test_an_artifact_of_several_outputs_has_one_id_that_moves_with_each() -> None:
    first = combined_id([("a", "1"), ("b", "2")])

    assert first == combined_id([("b", "2"), ("a", "1")])
    assert first not in (combined_id([("a", "1"), ("b", "3")]), combined_id([("a", "2"), ("b", "1")]), combined_id([("a", "1"), ("c", "2")]))
    assert combined_id([("a", "1")]) == "1" and combined_id([]) is None


def test_stages_that_dvc_yaml_no_longer_has_are_left_out(toy: Toy) -> None:
    toy.replace("dvc.yaml", "  side:\n", "  other:\n")

    assert set(read_lock(toy.project().graph).entries) == {*STAGES, "versions"} - {"side"}


def test_no_lock_file_has_no_entries(toy: Toy) -> None:
    (toy.root / "dvc.lock").unlink()
    assert read_lock(toy.project().graph).entries == {}


def test_a_lock_file_that_dvc_is_writing_is_read_when_it_is_whole(toy: Toy) -> None:
    text = (toy.root / "dvc.lock").read_text()
    toy.write("dvc.lock", "")
    writer = threading.Timer(0.1, toy.write, ("dvc.lock", text))
    writer.start()
    assert set(toy.project().lock().entries) == {*STAGES, "versions"}
    writer.join()


@pytest.mark.parametrize(
    "text",
    [
        "schema: '2.0'\nstages:\n<<<<<<< ours\n  a: {cmd: x}\n=======\n  a: {cmd: y}\n>>>>>>> theirs\n",
        "a: [",
        "- just\n- a list\n",
        "stages: 3\n",
        "",
    ],
)
def test_a_merge_conflict_or_garbage_is_an_error_that_says_how_to_mend_it(toy: Toy, text: str) -> None:
    toy.write("dvc.lock", text)

    with pytest.raises(GraphError, match=r"dvc\.lock.*git checkout dvc\.lock"):
        toy.project().lock()


@pytest.fixture
def dvc_2(toy: Toy) -> Toy:
    """The project as DVC 2 left it: ids of text with its line ends translated, objects in its own folders, no word in dvc.lock of which hash."""
    from dvc_data.hashfile.hash import fobj_md5

    toy.write("raw/a.txt", "1\r\n2\r\n3\r\n")
    toy.make_all()
    text = (toy.root / "dvc.lock").read_text().replace("      hash: md5\n", "")
    ids = {name: fobj_md5(io.BytesIO((toy.root / "raw" / name).read_bytes()), name="md5-dos2unix") for name in ("a.txt", "b.txt")}
    assert ids["a.txt"] != toy.project().store.md5_by_relpath(toy.root / "raw")["a.txt"]
    toy.write("dvc.lock", text.replace(toy.project().content("raw").id, tree_id(ids)))
    for folder in (toy.root / ".dvc/cache/files/md5").iterdir():
        folder.rename(toy.root / ".dvc/cache" / folder.name)
    return toy


def test_what_dvc_2_recorded_is_judged_as_dvc_judges_it(dvc_2: Toy) -> None:
    assert dvc_2.stale() == dvc_2.dvc_stale() == set()

    dvc_2.write("raw/a.txt", "1\n2\n3\n")
    assert dvc_2.stale() == dvc_2.dvc_stale() == set()
    dvc_2.write("raw/a.txt", "1\n2\n4\n")
    dvc_2.write("data/evens/evens.txt", "by hand\n")
    assert dvc_2.stale() == dvc_2.dvc_stale() == {"rows", "evens", "total", "side"}


def test_an_object_that_is_not_where_dvc_2_kept_it_is_missed(dvc_2: Toy) -> None:
    report = (dvc_2.root / "data/report.md").read_bytes()
    [stored] = [path for path in (dvc_2.root / ".dvc/cache").glob("??/*") if path.read_bytes() == report]
    stored.unlink()

    assert dvc_2.stale() == dvc_2.dvc_stale() == {"report"}


def test_what_is_made_anew_is_recorded_as_dvc_3_does(dvc_2: Toy) -> None:
    dvc_2.replace("params.yaml", "modulo: 2", "modulo: 3")
    dvc_2.make_all()

    assert dvc_2.stale() == dvc_2.dvc_stale() == set()
    lock = dvc_2.project().lock()
    assert "data/evens" not in lock.entries["evens"].of_dvc_2 and "data/rows" in lock.entries["rows"].of_dvc_2


def test_what_is_remembered_of_a_lock_file_is_what_it_says(toy: Toy) -> None:
    graph, memory = toy.project().graph, toy.root / ".figment/memory"

    first, second = read_lock(graph, memory=memory), read_lock(graph, memory=memory)

    assert first == second == read_lock(graph)
    for path in memory.glob("*.json"):
        path.write_text("{")
    assert read_lock(graph, memory=memory) == first


def test_steps_that_read_one_file_at_the_same_moment_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Two steps that end together both look into a dvc.lock that nobody has read yet."""
    path = tmp_path / "dvc.lock"
    for number in range(30):
        path.write_text(f"stages: {{rows: {{cmd: python rows.py {number}}}}}\n")
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: read_yaml(path, tmp_path / "memory", remedy="none"), range(16)))
        assert all(data == {"stages": {"rows": {"cmd": f"python rows.py {number}"}}} for data in found)
