import pytest

from orchestration.bridge.versions import CODE_VERSION, DATA_VERSION, INPUT_VERSION, current_code_version, provenance_tags, recorded_code_version
from tests.orchestration.bridge.toy import STAGES, Toy


def current(toy: Toy, name: str) -> str:
    project = toy.project()
    return current_code_version(project, project.lock(), toy.status()[name])


def recorded(toy: Toy, name: str) -> str:
    project = toy.project()
    return recorded_code_version(project.graph, project.graph[name], project.lock().entries[name])


def test_what_is_recorded_and_what_would_run_have_one_code_version_while_nothing_changed(toy: Toy) -> None:
    assert {name: current(toy, name) for name in STAGES} == {name: recorded(toy, name) for name in STAGES}
    assert len({current(toy, name) for name in STAGES}) == len(STAGES)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("params.yaml", "word: tea", "word: ale"),
        ("code/side.py", "raw", "./raw"),
        ("dvc.yaml", "code/side.py\n", "code/side.py \n"),
        ("raw/a.txt", "1", "7"),
    ],
)
def test_command_params_code_and_plain_inputs_are_in_the_code_version(toy: Toy, path: str, old: str, new: str) -> None:
    if path == "dvc.yaml":
        new = "code/side.py x\n"
    before = current(toy, "side")
    toy.replace(path, old, new)

    assert current(toy, "side") != before == recorded(toy, "side")
    toy.make("side")
    assert current(toy, "side") == recorded(toy, "side") != before


def test_an_input_that_another_stage_writes_is_no_part_of_it(toy: Toy) -> None:
    before = current(toy, "evens")
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    toy.make("rows")

    assert current(toy, "evens") == before


def test_a_damage_only_the_file_system_knows_is_a_suffix(toy: Toy) -> None:
    before = current(toy, "evens")
    toy.write("data/evens/evens.txt", "lies")

    assert current(toy, "evens").startswith(f"{before}+")


def test_tags_say_what_dvc_lock_says(toy: Toy) -> None:
    project = toy.project()
    lock = project.lock()

    tags = provenance_tags(project, lock, "report")

    assert tags[DATA_VERSION] == lock.entries["report"].outs["data/report.md"]
    assert tags[CODE_VERSION] == recorded(toy, "report")
    assert {key: value for key, value in tags.items() if key.startswith(INPUT_VERSION)} == {
        INPUT_VERSION + "rows": lock.entries["rows"].outs["data/rows"],
        INPUT_VERSION + "total": lock.entries["total"].outs["data/total"],
    }


def test_an_input_remade_since_is_tagged_with_the_version_that_was_read(toy: Toy) -> None:
    old = toy.status()["rows"].id
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    toy.make("rows")
    project = toy.project()

    assert provenance_tags(project, project.lock(), "evens")[INPUT_VERSION + "rows"] == old != toy.status()["rows"].id
