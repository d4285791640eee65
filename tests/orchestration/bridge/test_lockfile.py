from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.bridge.graph import GraphError
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


def test_no_lock_file_and_an_empty_one_have_no_entries(toy: Toy) -> None:
    graph = toy.project().graph
    toy.write("dvc.lock", "")
    assert read_lock(graph).entries == {}
    (toy.root / "dvc.lock").unlink()
    assert read_lock(graph).entries == {}


@pytest.mark.parametrize(
    "text",
    [
        "schema: '2.0'\nstages:\n<<<<<<< ours\n  a: {cmd: x}\n=======\n  a: {cmd: y}\n>>>>>>> theirs\n",
        "a: [",
        "- just\n- a list\n",
        "stages: 3\n",
        "stages: {rows: 3}\n",
    ],
)
def test_a_merge_conflict_or_garbage_is_an_error_that_says_how_to_mend_it(toy: Toy, text: str) -> None:
    toy.write("dvc.lock", text)

    with pytest.raises(GraphError, match=r"dvc\.lock.*git checkout dvc\.lock"):
        toy.project().lock()


def test_an_entry_in_the_old_format_of_dvc_2_is_no_id(toy: Toy) -> None:
    # DVC 2 hashed text with its line ends translated: such an md5 means something else.
    text = (toy.root / "dvc.lock").read_text()
    toy.write("dvc.lock", text.replace("      hash: md5\n", ""))

    assert set(toy.project().lock().entries["rows"].outs.values()) == {""}
    assert toy.stale() == set(STAGES)


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
