"""`figment status` and `figment why` on a real project."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.bridge.stage_lock import stage_lock
from tests.orchestration.bridge.test_stage_lock import run_and_kill
from tests.orchestration.bridge.toy import STAGES, Toy, build
from tests.orchestration.cli.figment import figment


def test_a_fresh_project_is_said_to_be_fresh_with_ids_times_and_doors(known_toy: Toy):
    answer = figment(known_toy.root, "status")
    assert answer.code == 0
    lines = answer.out.splitlines()
    lock = known_toy.project().lock()
    for line, name in zip(lines[1:6], STAGES, strict=True):
        id = lock.entries[name].output_id(known_toy.project().graph[name])
        assert line.split()[:3] == [name, "fresh", id[:8]]
        assert line.split()[-1] == "figment"
    assert lines[-1] == "5 fresh"


def test_colours_are_left_out_where_nobody_looks(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    assert "\033" not in figment(known_toy.root, "status").out


def test_no_color_is_respected_on_a_terminal(monkeypatch):
    from orchestration.terminal import paint

    class Terminal:
        def isatty(self):
            return True

    assert paint("fresh", "green", Terminal()) == "\033[32mfresh\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("fresh", "green", Terminal()) == "fresh"


def test_a_stale_artifact_has_its_causes_in_words_and_those_below_it_wait(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    answer = figment(known_toy.root, "status")
    assert answer.code == 1
    assert "params.yaml: evens.modulo was 2, is now 3" in answer.out
    assert answer.out.count("waits for") == 2
    assert answer.out.splitlines()[-1].startswith("4 fresh, 1 stale; `figment materialize --stale`")


def test_the_json_of_status_has_everything_a_program_needs(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    answer = figment(known_toy.root, "status", "evens", "total", "--json")
    document = answer.json
    evens, total = document["artifacts"]
    assert (answer.code, document["all_fresh"], document["counts"]) == (1, False, {"fresh": 1, "stale": 1, "missing": 0, "running": 0})
    assert evens["causes"] == [{"kind": "param", "subject": "params.yaml:evens.modulo", "text": "params.yaml: evens.modulo was 2, is now 3"}]
    assert evens["made"]["door"] == "figment"
    assert evens["made"]["at"].endswith("Z")
    assert total["waits_for"] == ["evens"]
    assert total["running"] is None
    assert set(evens) == {"name", "state", "id", "causes", "waits_for", "made", "running"}


def test_what_dvc_repro_made_is_said_to_come_through_dvc(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    known_toy.repro()
    made = {one["name"]: one["made"]["door"] for one in figment(known_toy.root, "status", "--json").json["artifacts"]}
    assert made == {"rows": "figment", "evens": "dvc", "total": "dvc", "report": "dvc", "side": "figment"}


def test_a_stage_that_is_being_made_is_running(known_toy: Toy):
    with stage_lock(known_toy.project().paths.locks, "side", door="dagster"):
        document = figment(known_toy.root, "status", "side", "--json").json
    assert document["artifacts"][0]["state"] == "running"
    assert document["artifacts"][0]["running"]["door"] == "dagster"


def test_a_command_that_outlives_who_ran_it_is_named_while_it_ends(known_toy: Toy, project_root: Path):
    taker, command = run_and_kill(known_toy.project().paths.locks, project_root, "side", "keep", "sleep", "60")
    try:
        answer = figment(known_toy.root, "status", "side")
    finally:
        os.kill(command, signal.SIGKILL)
    assert f"was being materialized by process {taker} (elsewhere), which died; its command (process {command}) is still ending, since" in answer.out


def test_a_project_where_nothing_was_made_is_missing_everything(tmp_path):
    toy = build(tmp_path / "new")
    answer = figment(toy.root, "status")
    assert answer.code == 1
    assert answer.out.splitlines()[-1].startswith("5 missing")


def test_a_second_look_hashes_nothing(known_toy: Toy):
    figment(known_toy.root, "status")
    assert figment(known_toy.root, "status", "--json").json["work"] == {"files_hashed": 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "evans"], "dvc.yaml has no stage 'evans' (did you mean 'evens'?)"),
        (["why", "reprot"], "did you mean 'report'?"),
        (["statsu"], "no verb 'statsu' (did you mean 'status'?)"),
        (["materialize"], "name artifacts, or give --all or --stale"),
        (["materialize", "rows", "--jobs", "0"], "expected a number of at least 1, found '0'"),
        (["id", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(known_toy: Toy, words, said):
    answer = figment(known_toy.root, *words)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_malformed_dvc_yaml_is_one_line_that_names_the_place(known_toy: Toy):
    known_toy.replace("dvc.yaml", "stages:", "stagez:")
    answer = figment(known_toy.root, "status")
    assert answer.code == 2
    assert "dvc.yaml" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_status_and_an_idle_materialize_start_none_of_the_heavy_tools(known_toy: Toy):
    figment(known_toy.root, "status")
    for words in (["status"], ["materialize", "--stale"]):
        program = (
            f"import sys; from orchestration.cli.main import main; code = main(['--root', {str(known_toy.root)!r}, *{words!r}]); "
            "print(sorted({'dagster', 'dvc', 'mlflow', 'ruamel', 'pyarrow', 'torch', 'numpy'} & set(sys.modules)), code)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[] 0", done.stdout + done.stderr


# ---- why -----------------------------------------------------------------------------------------------------------------------------------


def test_why_names_the_chain_of_causes_above_a_waiting_artifact(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    answer = figment(known_toy.root, "why", "report")
    assert answer.code == 0, "report itself agrees with its record; evens does not"
    assert "before it, evens is stale:\n  params.yaml: evens.modulo was 2, is now 3" in answer.out


def test_why_names_everything_a_fresh_artifact_was_made_from(known_toy: Toy):
    answer = figment(known_toy.root, "why", "rows", "--json")
    known = answer.json
    source = known["made_from"]
    assert answer.code == 0
    assert source["command"] == "python -SB code/rows.py"
    assert source["params"]["params.yaml"] == {"rows": {"repeat": 1, "note": "first"}}
    assert set(source["params"]) == {"params.yaml", "versions.yaml", "libraries.yaml"}
    assert [one["path"] for one in source["inputs"]] == ["raw"]
    assert source["code"] is None and source["libraries"] == {}
    assert known["dagster"]["agrees"] is True
    assert known["dagster"]["run"]
    assert known["mlflow"] is None
    report = figment(known_toy.root, "why", "report", "--json").json["made_from"]["inputs"]
    assert {(one["path"], one["written_by"], one["made"]["door"]) for one in report if one["written_by"]} == {
        ("data/rows", "rows", "figment"),
        ("data/total", "total", "figment"),
    }


def test_why_says_when_an_input_has_since_been_replaced(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    known_toy.make("evens")
    answer = figment(known_toy.root, "why", "total")
    assert answer.code == 1
    assert "data/evens (written by evens) changed from" in answer.out
    assert "(since replaced by another version)" in answer.out
