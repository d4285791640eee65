import contextlib
import tempfile
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.orchestration.bridge.toy import STAGES, Toy, copy_of

# ---- edits a person makes, each as (kind, choice) so that a failing sequence can be read ------------------------------------------------

_OUTPUTS = ("data/rows/rows.txt", "data/evens/evens.txt", "data/total/total.txt", "data/total.json", "data/report.md", "data/side/side.txt")
_PARAMS = ("repeat: ", "note: ", "modulo: ", "unused: ", "word: ", "x: ")
_EDITS = st.one_of(
    st.tuples(st.just("param"), st.sampled_from(_PARAMS), st.integers(1, 3)),
    st.tuples(st.just("library"), st.sampled_from(["pillow", "pyarrow"]), st.integers(1, 2)),
    st.tuples(st.just("input"), st.sampled_from(["a", "b", "c"]), st.integers(0, 2)),
    st.tuples(st.just("output edited"), st.sampled_from(_OUTPUTS), st.integers(0, 1)),
    st.tuples(st.just("output deleted"), st.sampled_from(_OUTPUTS), st.just(0)),
    st.tuples(st.just("output added to"), st.sampled_from(["rows", "evens", "side"]), st.just(0)),
    st.tuples(st.just("command"), st.sampled_from(STAGES), st.integers(0, 1)),
    st.tuples(st.just("code"), st.sampled_from([*STAGES, "settings"]), st.integers(0, 2)),
    st.tuples(st.just("cache deleted"), st.just(""), st.integers(0, 30)),
    st.tuples(st.just("cache damaged"), st.just(""), st.integers(0, 30)),
    st.tuples(st.just("lock lost"), st.just(""), st.just(0)),
    st.tuples(st.just("make"), st.sampled_from(STAGES), st.just(0)),
)


def edit(toy: Toy, kind: str, what: str, number: int) -> None:
    if kind == "param":
        lines = (toy.root / "params.yaml").read_text().splitlines()
        toy.write("params.yaml", "\n".join(f"  {what}{number}" if line.strip().startswith(what) else line for line in lines) + "\n")
    elif kind == "library":
        others = [line for line in (toy.root / "libraries.yaml").read_text().splitlines() if not line.startswith(what)]
        toy.write("libraries.yaml", "\n".join([*others, f"{what}: '{number}'"]) + "\n")
    elif kind == "input":
        path = toy.root / f"raw/{what}.txt"
        path.unlink(missing_ok=True)
        if number:
            toy.write(f"raw/{what}.txt", f"{number}\n")
    elif kind == "output edited" and (toy.root / what).exists():
        toy.write(what, f"{number}\n")
    elif kind == "output deleted":
        (toy.root / what).unlink(missing_ok=True)
    elif kind == "output added to" and (toy.root / f"data/{what}").exists():
        toy.write(f"data/{what}/more.txt", "more")
    elif kind == "command":
        lines = (toy.root / "dvc.yaml").read_text().splitlines()
        command = f"    cmd: python -SB code/{what}.py"
        toy.write("dvc.yaml", "\n".join(command + number * " # again" if line.startswith(command) else line for line in lines) + "\n")
    elif kind == "code":
        text = (toy.root / f"code/{what}.py").read_text().partition("\n# edit")[0]
        toy.write(f"code/{what}.py", text + number * "\n# edit")
    elif kind.startswith("cache"):
        objects = sorted(path for path in (toy.root / ".dvc/cache/files").rglob("*") if path.is_file())
        path = objects[number % len(objects)]
        if kind == "cache deleted":
            path.unlink()
        else:
            text = path.read_bytes()
            path.unlink()
            path.write_bytes(text + b"damage")
    elif kind == "lock lost":
        (toy.root / "dvc.lock").unlink(missing_ok=True)
    elif kind == "make" and all((toy.root / dep).exists() for dep in toy.project().graph[what].deps):
        # A command may fail for lack of a file inside an input; the failure is DVC's to report and leaves the stage as it was.
        with contextlib.suppress(ReproductionError):
            toy.repro(what, single_item=True)


def check_against_dvc(template: Toy, edits: list[tuple[str, str, int]], *, each: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        toy = copy_of(template, Path(name) / "toy")
        for number, one in enumerate(edits):
            edit(toy, *one)
            # Asked first: DVC's own status may mend what it finds, such as the protection of a cache object.
            ours = toy.stale()
            if each or number == len(edits) - 1:
                # A prelude whose readers were never made is not seen to: there is nothing to judge. DVC lists it like any stage.
                assert ours == toy.dvc_stale() - set(toy.project().graph.preludes), f"after {one} of {edits}"


@settings(max_examples=14, suppress_health_check=[HealthCheck.too_slow])
@given(edits=st.lists(_EDITS, min_size=1, max_size=5))
def test_a_stage_is_fresh_exactly_when_dvc_says_so_after_any_sequence_of_edits(made_template: Toy, edits: list[tuple[str, str, int]]) -> None:
    check_against_dvc(made_template, edits, each=False)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(edits=st.lists(_EDITS, min_size=3, max_size=8))
def test_a_stage_is_fresh_exactly_when_dvc_says_so_at_every_step_of_many_edits(made_template: Toy, edits: list[tuple[str, str, int]]) -> None:
    check_against_dvc(made_template, edits, each=True)


def causes_of(toy: Toy, name: str) -> list[str]:
    return [cause.text for cause in toy.status()[name].causes]


def test_nothing_is_read_when_nothing_changed(toy: Toy) -> None:
    toy.status()
    # Files as young as a test's are read again until their time stamps can be trusted.
    import time

    time.sleep(0.06)
    toy.status()
    project = toy.project()
    from orchestration.bridge.status import project_status

    project_status(project)

    assert project.store.files_hashed == 0


@pytest.mark.parametrize(
    ("path", "old", "new", "stage", "words"),
    [
        ("params.yaml", "repeat: 1", "repeat: 3", "rows", ["params.yaml: rows.repeat was 1, is now 3"]),
        ("params.yaml", "modulo: 2", "modulo: two", "evens", ["params.yaml: evens.modulo was 2, is now 'two'"]),
        ("params.yaml", "  note: first\n", "", "rows", ["params.yaml: rows.note is gone (was 'first')"]),
        ("params.yaml", "modulo: 2", "odd: 2", "evens", ["params.yaml: evens.modulo is gone (was 2)"]),
        ("libraries.yaml", "13.0.0", "13.1.0", "rows", ["libraries.yaml: pillow was '13.0.0', is now '13.1.0'"]),
        ("code/evens.py", "== 0", "== 1", "evens", ["versions.yaml: evens was 'v", "', is now 'v"]),
        ("code/total.py", "total = sum", "# why\ntotal = sum", "total", ["code/total.py changed from"]),
        ("raw/a.txt", "1\n", "7\n", "rows", ["raw changed from"]),
        ("data/rows/rows.txt", "1\n", "7\n", "evens", ["data/rows (written by rows) changed from"]),
        ("data/rows/rows.txt", "1\n", "7\n", "rows", ["data/rows was changed by hand"]),
        ("dvc.yaml", "code/side.py\n    deps", "code/side.py now\n    deps", "side", ["the command changed from `python -SB code/side.py` to"]),
        ("dvc.yaml", "[code/total.py, data/evens]", "[code/total.py, data/evens, raw]", "total", ["raw is a new dependency"]),
        ("dvc.yaml", "outs: [data/side]", "outs: [data/side, data/more]", "side", ["data/more is not in dvc.lock yet"]),
    ],
)
def test_the_cause_is_said_in_words(toy: Toy, path: str, old: str, new: str, stage: str, words: list[str]) -> None:
    toy.replace(path, old, new)

    text = "\n".join(causes_of(toy, stage))

    assert [word for word in words if word not in text] == [], text


def test_missing_things_are_said_in_words(toy: Toy) -> None:
    import shutil

    shutil.rmtree(toy.root / "raw")
    shutil.rmtree(toy.root / "data/evens")
    (toy.root / "params.yaml").unlink()

    assert "raw is missing" in causes_of(toy, "rows")
    assert "params.yaml is gone" in causes_of(toy, "rows")
    assert any(text.startswith("data/evens was deleted") for text in causes_of(toy, "evens"))
    assert "data/evens (written by evens) is missing" in causes_of(toy, "total")


def test_a_stage_waits_for_what_is_stale_above_it_and_is_not_itself_stale(toy: Toy) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")

    status = toy.status()

    assert {name: status[name].state for name in STAGES} == {"rows": "stale", "evens": "fresh", "total": "fresh", "report": "fresh", "side": "fresh"}
    assert {name: status[name].waits_for for name in STAGES} == {
        "rows": (),
        "evens": ("rows",),
        "total": ("evens",),
        "report": ("rows", "total"),
        "side": (),
    }


def test_a_stage_never_made_is_missing_and_has_no_id(toy: Toy) -> None:
    (toy.root / "dvc.lock").unlink()

    status = toy.status()["rows"]

    assert status.state == "missing" and status.id is None and status.causes[0].kind == "never_made"


def test_the_status_of_one_stage_is_that_of_the_whole_project(toy: Toy) -> None:
    from orchestration.bridge.status import project_status

    toy.replace("params.yaml", "repeat: 1", "repeat: 2")

    assert project_status(toy.project(), ["rows"]) == {"rows": toy.status()["rows"]}


def test_a_frozen_stage_is_judged_by_its_outputs_only_as_dvc_does(toy: Toy) -> None:
    toy.replace("dvc.yaml", "    cmd: python -SB code/side.py", "    frozen: true\n    cmd: python -SB code/side.py")
    toy.replace("params.yaml", "word: tea", "word: ale")

    assert toy.stale() == toy.dvc_stale() == set()


def test_a_stage_that_runs_every_time_is_never_fresh_as_for_dvc(toy: Toy) -> None:
    toy.replace("dvc.yaml", "    cmd: python -SB code/side.py", "    always_changed: true\n    cmd: python -SB code/side.py")
    toy.replace("dvc.yaml", "stages:\n", "stages:\n  bell:\n    cmd: echo ding\n")
    toy.make("bell")

    assert toy.stale() == toy.dvc_stale() == {"side", "bell"}


def test_a_stage_without_dependencies_is_fresh_once_made_as_for_dvc(toy: Toy) -> None:
    toy.replace("dvc.yaml", "    deps: [raw]\n    params: [side, versions.yaml: [side]]\n", "")

    assert toy.stale() == toy.dvc_stale() == set()
