"""Stages that write parameters of others: run before anybody is judged by what they write, and seen by nobody."""

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest

from orchestration.bridge.graph import GraphError
from orchestration.bridge.materialize import InputsMoved, StageFailed
from orchestration.bridge.mirror import asset_key, report_outside_changes
from orchestration.bridge.preludes import prepared
from orchestration.bridge.status import project_status
from tests.orchestration.bridge.test_materialize import go, lock_entry, slow, wait_for
from tests.orchestration.bridge.toy import STAGES, Toy, build, stage_name

COMMENT = ("code/evens.py", "modulo = int", "# why\nmodulo = int")
EDIT = ("code/evens.py", "== 0", "== 1")
SHARED_EDIT = ("code/settings.py", "values[key] = value", "values[key] = value.strip()")


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions that a test may change."""
    folder = tmp_path / "site-packages"
    (folder / "numpy-2.4.6.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return folder


def value(toy: Toy, name: str) -> str:
    lines = (toy.root / "versions.yaml").read_text().splitlines()
    return next(line for line in lines if line.startswith(name))


# ---- what it is ------------------------------------------------------------------------------------------------------------------------


def test_a_prelude_is_no_artifact(toy: Toy) -> None:
    graph = toy.project().graph

    assert set(graph.stages) == set(toy.status()) == set(STAGES) and list(graph.preludes) == ["versions"]
    assert graph.preludes_of("rows") == ("versions",) and graph.preludes_of("total") == ()
    assert graph.upstream("rows") == () and graph.upstream("evens") == ("rows",)
    keys = toy.definitions().resolve_asset_graph().materializable_asset_keys
    assert {stage_name(key) for key in keys} == set(STAGES)
    with pytest.raises(GraphError, match=r"versions is no artifact: it writes parameters of others \(versions.yaml\)"):
        toy.make("versions")


def test_nothing_is_started_while_nothing_moved(toy: Toy) -> None:
    before = toy.runs("versions")
    toy.stale()

    project = toy.project()

    assert prepared(project) is project
    assert toy.runs("versions") == before


def test_where_nothing_was_made_nothing_is_started_until_something_is(tmp_path: Path) -> None:
    toy = build(tmp_path / "new")

    assert toy.stale() == set(STAGES) and toy.runs("versions") == 0
    assert [cause.kind for cause in toy.status()["side"].causes] == ["never_made"]
    toy.definitions()
    assert not (toy.root / "dvc.lock").exists()
    toy.make("side")
    assert toy.runs("versions") == 1 and toy.stale() == set(STAGES) - {"side"}
    toy.replace("code/versions.py", "begin(", 'raise SystemExit("no")\nbegin(')
    with pytest.raises(StageFailed, match="rows: versions.yaml, which versions writes, is not up to date: .*: no"):
        toy.make("rows")
    assert toy.runs("rows") == 0


# ---- edits -----------------------------------------------------------------------------------------------------------------------------


def test_after_an_edit_dvc_says_at_once_that_the_prelude_is_to_run(toy: Toy) -> None:
    toy.replace(*COMMENT)

    assert toy.dvc_stale() == {"versions"}


def test_an_edit_of_comments_runs_the_prelude_alone(toy: Toy) -> None:
    before = {name: toy.runs(name) for name in (*STAGES, "versions")}
    toy.replace(*COMMENT)

    toy.make_all()

    assert {name: toy.runs(name) - before[name] for name in before} == dict.fromkeys(STAGES, 0) | {"versions": 1}
    assert toy.stale() == toy.dvc_stale() == set() and toy.repro(dry=True) == set()


@pytest.mark.parametrize(("edit", "readers"), [(EDIT, {"evens"}), (SHARED_EDIT, {"rows", "evens", "side"})])
def test_an_edit_of_meaning_makes_exactly_those_stale_whose_value_moved(toy: Toy, edit: tuple[str, str, str], readers: set[str]) -> None:
    toy.replace(*edit)

    assert toy.stale() == toy.dvc_stale() == readers
    toy.make_all()
    assert toy.stale() == toy.dvc_stale() == set()


def test_taking_an_edit_back_makes_everything_fresh_again_without_a_run(toy: Toy) -> None:
    toy.replace(*EDIT)
    assert toy.stale() == {"evens"}
    toy.replace(EDIT[0], EDIT[2], EDIT[1])

    assert toy.stale() == toy.dvc_stale() == set()


@pytest.mark.parametrize("damage", [lambda path: path.write_text("evens: 'v0'\n"), lambda path: path.unlink()])
def test_what_it_wrote_is_written_again_when_it_was_changed_by_hand_or_lost(toy: Toy, damage) -> None:
    text = (toy.root / "versions.yaml").read_text()
    damage(toy.root / "versions.yaml")

    assert toy.stale() == set()
    assert (toy.root / "versions.yaml").read_text() == text


def test_judging_without_preparing_is_never_silently_fresh(toy: Toy) -> None:
    toy.replace(*EDIT)

    statuses = project_status(toy.project())

    assert {name for name, status in statuses.items() if status.state != "fresh"} == {"rows", "evens", "side"}
    assert "versions.yaml, which versions writes, is not up to date: code changed from" in statuses["side"].causes[0].text


# ---- surroundings ----------------------------------------------------------------------------------------------------------------------


def test_a_library_that_is_bumped_runs_it_once_and_nothing_is_recorded_when_its_values_hold(toy: Toy, distributions: Path) -> None:
    toy.stale()
    before, lock = toy.runs("versions"), (toy.root / "dvc.lock").stat()
    (distributions / "numpy-2.4.6.dist-info").rename(distributions / "numpy-2.5.0.dist-info")

    assert toy.stale() == toy.stale() == set()
    assert toy.runs("versions") == before + 1
    assert (toy.root / "dvc.lock").stat() == lock


def test_a_value_that_follows_a_library_makes_its_readers_stale_through_every_door(
    toy: Toy, instance: dg.DagsterInstance, distributions: Path
) -> None:
    toy.replace("code/versions.py", "begin(", f"release = sorted(pathlib.Path({str(distributions)!r}).iterdir())[0].name\nbegin(")
    toy.replace("code/versions.py", 'write("versions.yaml", "', 'lines[2] = f"side: \'{release}\'\\n"\nwrite("versions.yaml", "')
    toy.make_all()
    report_outside_changes(instance, toy.project())
    (distributions / "numpy-2.4.6.dist-info").rename(distributions / "numpy-2.5.0.dist-info")

    assert toy.stale() == toy.dvc_stale() == toy.dagster_stale(instance) == {"side"}
    (cause,) = toy.status()["side"].causes
    assert cause.text == "versions.yaml: side was 'numpy-2.4.6.dist-info', is now 'numpy-2.5.0.dist-info'"


def test_an_edit_of_dvc_yaml_runs_it_because_dvc_cannot_list_that_file(toy: Toy) -> None:
    toy.stale()
    before = toy.runs("versions")
    toy.replace("dvc.yaml", "The numbers of all", "All the numbers of all")

    assert toy.stale() == toy.stale() == set()
    assert toy.runs("versions") == before + 1


# ---- when it cannot be run -------------------------------------------------------------------------------------------------------------


def test_a_prelude_that_fails_makes_its_readers_stale_with_its_last_words_and_nobody_else(toy: Toy) -> None:
    text = (toy.root / "versions.yaml").read_text()
    toy.replace("code/versions.py", "begin(", 'raise SystemExit("the moon is full")\nbegin(')

    words = "versions.yaml, which versions writes, is not up to date: its command ended with status 1: the moon is full"
    assert {name: [cause.text for cause in status.causes] for name, status in toy.status().items() if status.causes} == {
        name: [words] for name in ("rows", "evens", "side")
    }
    with pytest.raises(StageFailed, match="side: versions.yaml, which versions writes, is not up to date: .* the moon is full"):
        toy.make("side", force=True)
    assert toy.make("total").how == "fresh"
    assert (toy.root / "versions.yaml").read_text() == text
    toy.replace("code/versions.py", 'raise SystemExit("the moon is full")\n', "")
    assert toy.stale() == toy.dvc_stale() == set()


def test_a_prelude_without_its_input_or_its_output_says_so(toy: Toy) -> None:
    toy.replace("dvc.yaml", "deps: [code]", "deps: [code, settings]")
    assert "its input settings does not exist" in toy.status()["rows"].causes[0].text
    (toy.root / "settings").mkdir()
    toy.write("settings/x", "")
    toy.replace("dvc.yaml", "      - versions.yaml:\n          cache: false\n          persist: true\n", "      - versions.yaml: {cache: false}\n")
    toy.replace("code/versions.py", 'write("versions.yaml"', 'write("elsewhere.yaml"')
    assert "its command ended well but did not write versions.yaml" in toy.status()["rows"].causes[0].text


def test_what_a_dvc_command_is_reading_is_not_changed_under_its_hands(toy: Toy) -> None:
    """At its end DVC records the parameters that it finds then, as what made an output of the old ones."""
    toy.replace("params.yaml", "modulo: 2", "modulo: 1")
    begun = slow(toy, "evens")
    toy.stale()
    recorded = value(toy, "evens")
    repro = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "-s", "evens"], cwd=toy.root)
    wait_for(begun)
    toy.replace(*EDIT)

    statuses = project_status(prepared(toy.project(), patience_s=0.0))

    assert f"(PID {repro.pid})" in statuses["side"].causes[0].text
    assert value(toy, "evens") == recorded
    go(toy)
    assert repro.wait(60) == 0
    assert {"versions.yaml": {"evens": recorded.partition("'")[2].strip("'")}}.items() <= toy.project().lock().entries["evens"].params.items()
    assert "evens" in toy.stale() and value(toy, "evens") != recorded


# ---- while a command of a reader runs ---------------------------------------------------------------------------------------------------


def test_an_edit_of_code_during_a_run_leaves_the_output_withheld(toy: Toy) -> None:
    begun = slow(toy, "rows")
    recorded = lock_entry(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.replace(*SHARED_EDIT)
    # Somebody looks meanwhile, so that DVC would find the new value at the end.
    assert "rows" in toy.stale()
    go(toy)

    with pytest.raises(InputsMoved, match=r"rows: versions.yaml changed while its command ran"):
        background.result()

    assert lock_entry(toy, "rows") == recorded
    assert any("made by a run during which versions.yaml changed" in cause.text for cause in toy.status()["rows"].causes)
    assert toy.make("rows").how == "ran" and "rows" not in toy.stale() | toy.dvc_stale()


def test_an_edit_of_comments_during_a_run_is_no_reason_to_withhold(toy: Toy) -> None:
    begun = slow(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.replace("code/settings.py", "def write", "# a note\ndef write")
    go(toy)

    assert background.result().how == "ran"
    assert "rows" not in toy.stale() | toy.dvc_stale()


def test_an_edit_during_a_run_after_which_the_prelude_fails_leaves_the_output_withheld(toy: Toy) -> None:
    begun = slow(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.replace("code/versions.py", "begin(", 'raise SystemExit("no")\nbegin(')
    go(toy)

    with pytest.raises(InputsMoved, match="rows: versions.yaml changed"):
        background.result()


# ---- several at once -------------------------------------------------------------------------------------------------------------------


def test_many_that_ask_at_once_run_it_once(toy: Toy) -> None:
    toy.stale()
    before = toy.runs("versions")
    toy.replace(*EDIT)
    answers: list[set[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(toy.stale())) for _ in range(6)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert answers == [{"evens"}] * 6
    assert toy.runs("versions") == before + 1


def test_an_edit_of_its_inputs_while_it_runs_makes_it_run_again(toy: Toy) -> None:
    toy.stale()
    before = toy.runs("versions")
    once = "if not os.path.exists('.runs/edited'):\n    open('.runs/edited', 'w').close()\n    open('code/side.py', 'a').write('x = 1')\n"
    text = (toy.root / "code/versions.py").read_text()
    toy.write("code/versions.py", text.replace('begin("versions")\n', 'begin("versions")\nimport os\n') + once)

    assert toy.stale() == toy.dvc_stale() == {"side"}
    assert toy.runs("versions") == before + 2


def test_one_that_edits_its_own_input_is_given_up_and_says_so(toy: Toy) -> None:
    toy.replace("code/versions.py", "begin(", "open('code/side.py', 'a').write('x = 1\\n')\nbegin(")

    assert "its inputs changed during each of 3 runs" in toy.status()["side"].causes[0].text


# ---- DVC's own commands ----------------------------------------------------------------------------------------------------------------


def test_dvc_repro_of_one_stage_runs_the_prelude_first_and_reads_what_it_wrote(toy: Toy) -> None:
    toy.replace(*EDIT)

    assert toy.repro("total") == {"versions", "evens", "total"}
    assert toy.stale() == toy.dvc_stale() == {"report"}


def test_an_experiment_with_another_parameter_leaves_the_prelude_alone(toy: Toy) -> None:
    before = toy.runs("versions")
    toy.dvc("exp", "run", "-q", "-S", "side.word=ale")

    assert (toy.root / "data/side/side.txt").read_text() == "ale 2"
    assert toy.runs("versions") == before
    assert toy.stale() == toy.dvc_stale() == set()


def test_a_clone_that_pulled_is_fresh_with_a_clean_git(toy: Toy, tmp_path: Path) -> None:
    toy.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    toy.dvc("push", "-q")
    toy.git_commit()
    subprocess.run(["git", "clone", "-q", str(toy.root), str(tmp_path / "clone")], check=True)
    clone = Toy(tmp_path / "clone")
    clone.dvc("pull", "-q")

    assert clone.dvc_stale() == set()
    # It has never run here, and who knows what is installed: a look finds the same.
    assert clone.stale() == set() and clone.runs("versions") == 1
    assert clone.shell("git", "status", "--short") == "" and clone.runs("side") == 0


def test_a_single_stage_is_forced_without_the_prelude(toy: Toy) -> None:
    toy.replace(*EDIT)

    assert toy.repro("side", single_item=True, force=True) == {"side"}
    assert toy.dvc_stale() == {"versions"}


def test_a_new_stage_gets_its_value_at_the_next_look(toy: Toy) -> None:
    toy.replace("dvc.yaml", "  side:\n", "  more:\n    cmd: mkdir data/more\n    params: [versions.yaml: [more]]\n    outs: [data/more]\n  side:\n")
    toy.replace("code/versions.py", '"evens", "side"', '"evens", "side", "more"')
    toy.write("code/more.py", "")

    assert toy.stale() == toy.dvc_stale() == {"more"}
    assert toy.repro() == {"more"}


# ---- the general rule -------------------------------------------------------------------------------------------------------------------

TUNE = """\
  tune:
    cmd: python -SB code/tune.py
    deps: [data/rows, code/tune.py]
    outs:
      - best.yaml: {cache: false}
  side:
"""
TUNE_CODE = """\
import pathlib
pathlib.Path("best.yaml").write_text("width: " + str(len(pathlib.Path("data/rows/rows.txt").read_text().split()) % 3) + "\\n")
"""


@pytest.fixture
def tuned(toy: Toy, instance: dg.DagsterInstance) -> Toy:
    """A stage made from data writes what side lists among its parameters; Dagster knows all of it."""
    toy.write("code/tune.py", TUNE_CODE)
    toy.replace("dvc.yaml", "  side:\n", TUNE)
    toy.replace("dvc.yaml", "params: [side, ", "params: [side, best.yaml: [width], ")
    toy.make_all()
    report_outside_changes(instance, toy.project())
    return toy


def test_a_stage_made_from_artifacts_that_writes_parameters_is_an_artifact_and_its_readers_follow_it(tuned: Toy) -> None:
    graph = tuned.project().graph

    assert list(graph.preludes) == ["versions"] and "tune" in graph.stages
    assert graph.upstream("side") == ("tune",) and graph.upstream("tune") == ("rows",)
    assert list(graph.stages).index("tune") < list(graph.stages).index("side")
    assert tuned.definitions().resolve_asset_graph().get(asset_key("side")).parent_keys == {asset_key("tune")}


def test_parameters_made_from_data_make_their_readers_stale_when_their_values_moved_in_all_three(tuned: Toy, instance: dg.DagsterInstance) -> None:
    tuned.replace("params.yaml", "repeat: 1", "repeat: 4")
    tuned.make("rows")
    report_outside_changes(instance, tuned.project())
    assert {"tune"} == (tuned.stale() - {"evens", "report"}) == (tuned.dagster_stale(instance) - {"evens", "report"})
    # Twenty rows instead of five: the same width.
    tuned.make("tune")
    report_outside_changes(instance, tuned.project())
    assert tuned.stale() == tuned.dvc_stale() == tuned.dagster_stale(instance) == {"evens", "report"}
    tuned.replace("params.yaml", "repeat: 4", "repeat: 3")
    tuned.make("rows")
    tuned.make("tune")
    report_outside_changes(instance, tuned.project())

    assert tuned.stale() == tuned.dvc_stale() == tuned.dagster_stale(instance) == {"side", "evens", "report"}
    assert tuned.dagster_make(instance, *tuned.project().graph.stages).success
    assert tuned.stale() == tuned.dvc_stale() == tuned.dagster_stale(instance) == set()


def test_preludes_follow_one_another(toy: Toy) -> None:
    chain = "  depth:\n    cmd: cp versions.yaml depth.yaml\n    params: [versions.yaml: ]\n    outs: [depth.yaml: {cache: false}]\n  side:\n"
    toy.replace("dvc.yaml", "  side:\n", chain)
    toy.replace("dvc.yaml", "params: [side, versions.yaml: [side]]", "params: [side, depth.yaml: [side]]")
    assert toy.project().graph.preludes_of("side") == ("versions", "depth")
    toy.make_all()
    toy.replace("code/side.py", "word", "w0rd")

    assert toy.stale() == toy.dvc_stale() == {"side"}
    assert (toy.root / "depth.yaml").read_text() == (toy.root / "versions.yaml").read_text()


@pytest.mark.parametrize("options", ["", ": {persist: true}", ": {cache: false}"])
def test_a_prelude_may_leave_its_output_to_dvcs_cache(toy: Toy, options: str) -> None:
    toy.replace("dvc.yaml", "      - versions.yaml:\n          cache: false\n          persist: true\n", f"      - versions.yaml{options}\n")
    if "cache" not in options:
        assert "is already tracked by SCM" in toy.status()["side"].causes[0].text
        toy.shell("git", "rm", "-q", "--cached", "versions.yaml")
    toy.make_all()
    for edit in (EDIT, SHARED_EDIT):
        toy.replace(*edit)
        assert toy.stale() == toy.dvc_stale() != set()
    toy.make_all()
    assert toy.stale() == toy.dvc_stale() == set()


def test_one_that_runs_every_time_is_no_reason_for_its_readers(toy: Toy) -> None:
    toy.replace("dvc.yaml", "    cmd: python -SB code/versions.py\n", "    cmd: python -SB code/versions.py\n    always_changed: true\n")
    toy.stale()
    before = toy.runs("versions")

    assert toy.stale() == set() and toy.runs("versions") == before + 1


def test_a_stage_that_says_how_it_is_to_be_seen_is_an_artifact(toy: Toy) -> None:
    toy.replace("dvc.yaml", "    deps: [code]\n", "    deps: [code]\n    meta: {dagster: {group: settings}}\n")
    toy.replace(*EDIT)

    assert toy.project().graph.preludes == {} and toy.project().graph.upstream("evens") == ("rows", "versions")
    assert toy.stale() == toy.dvc_stale() == {"versions"}
    toy.make_all()
    assert toy.stale() == toy.dvc_stale() == set()


def test_two_items_of_a_group_share_one_value(toy: Toy) -> None:
    body = "      cmd: echo ${item} > ${item}.txt\n      params: [versions.yaml: [side]]\n      outs: ['${item}.txt']\n"
    group = f"  pair:\n    foreach: [x, y]\n    do:\n{body}"
    toy.replace("dvc.yaml", "  side:\n", group + "  side:\n")
    toy.make_all()
    toy.replace("code/side.py", "word", "w0rd")

    assert toy.stale() == toy.dvc_stale() == {"side", "pair@x", "pair@y"}


def test_dagster_makes_what_an_edit_of_code_touches_and_nothing_else(toy: Toy, instance: dg.DagsterInstance) -> None:
    report_outside_changes(instance, toy.project())
    before = {name: toy.runs(name) for name in STAGES}
    toy.replace(*EDIT)
    assert toy.dagster_stale(instance) == {"evens"}

    assert toy.dagster_make(instance, *STAGES).success

    assert {name for name in STAGES if toy.runs(name) != before[name]} == {"evens", "total", "report"}
    assert toy.stale() == toy.dvc_stale() == toy.dagster_stale(instance) == set()


def test_a_stage_that_trespasses_is_told_and_a_prelude_that_runs_meanwhile_is_not(toy: Toy) -> None:
    begun = slow(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.write("code/copy.txt", "somebody's own")
    toy.stale()
    go(toy)

    assert background.result().trespasses == ("code/copy.txt (new)",)
