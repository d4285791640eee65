"""The command line that every stage shares."""

import re
import sqlite3
import sys

import pytest

from stages.params import ParamsError
from stages.program import program


class _OwnError(Exception):
    pass


def _run(body, argv=(), **options):
    return program("Do a thing.\n\nAt length.", body, list(argv), expected=(_OwnError,), **options)


def _raise(error):
    def body(arguments, reporter):
        raise error

    return body


def test_the_shared_flags_reach_the_body():
    seen = []
    code = _run(lambda arguments, _: seen.append(arguments), ["--params", "p.yaml", "--data", "d", "--set", "a=1", "--set", "b=2"])
    assert code == 0
    assert (str(seen[0].params), str(seen[0].data), seen[0].overrides) == ("p.yaml", "d", ["a=1", "b=2"])


def test_without_flags_the_project_root_is_meant():
    seen = []
    _run(lambda arguments, _: seen.append(arguments))
    assert (str(seen[0].params), str(seen[0].data), seen[0].overrides) == ("params.yaml", "data", [])


def test_a_module_adds_its_own_arguments():
    seen = []
    _run(lambda arguments, _: seen.append(arguments.which), ["left"], configure=lambda parser: parser.add_argument("which", choices=["left"]))
    assert seen == ["left"]


@pytest.mark.parametrize(("error", "code"), [(ParamsError("key x"), 2), (_OwnError("no rows"), 1), (OSError(5, "Input/output error", "data/x"), 1)])
def test_an_expected_failure_is_one_line_without_traceback(capsys, error, code):
    assert _run(_raise(error)) == code
    assert capsys.readouterr().err == f"figment: {error}\n"


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), sqlite3.OperationalError("database or disk is full"), _OwnError("os error 28: No space left on device")],
)
def test_a_full_disk_is_one_line_with_path_and_free_space_whatever_library_said_so(capsys, tmp_path, error):
    assert _run(_raise(error), ["--data", str(tmp_path)]) == 1
    assert re.fullmatch(rf"figment: {tmp_path}: the disk or a quota is full: more is needed, [\d,]+ are free; make room.*\n", capsys.readouterr().err)


def test_ctrl_c_is_one_line(capsys):
    assert _run(_raise(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.startswith("figment: interrupted")


def test_a_message_of_several_lines_becomes_one(capsys):
    _run(_raise(_OwnError("first\n  second")))
    assert capsys.readouterr().err == "figment: first second\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        _run(_raise(ZeroDivisionError()))


def test_wrong_usage_ends_with_code_two():
    with pytest.raises(SystemExit) as ended:
        _run(_raise(AssertionError("not reached")), ["--prams", "x"])
    assert ended.value.code == 2


def test_help_shows_the_first_line_of_the_description(capsys):
    with pytest.raises(SystemExit):
        _run(_raise(AssertionError("not reached")), ["--help"])
    assert "Do a thing." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("compute", "launched", "goes"),
    [
        ("stages: {squares: {launcher: slurm}}", False, True),
        ("stages: {squares: {launcher: slurm}}", True, False),
        ("default:\n  launcher: local  # or slurm\n#  launcher: torchrun\n", False, False),
        (None, False, False),
    ],
)
def test_under_dvc_a_stage_that_may_belong_elsewhere_hands_its_command_to_the_launcher(tmp_path, monkeypatch, compute, launched, goes):
    class Replaced(Exception):
        pass

    def become(path, words):
        raise Replaced(words)

    if compute is not None:
        (tmp_path / "compute.yaml").write_text(compute)
    monkeypatch.setattr("os.execv", become)
    monkeypatch.setattr(sys, "argv", ["squares"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "squares"])
    for name, value in {"DVC_STAGE": "squares", "DVC_ROOT": str(tmp_path), **({"FIGMENT_LAUNCHED": "slurm"} if launched else {})}.items():
        monkeypatch.setenv(name, value)
    ran = []

    if goes:
        with pytest.raises(Replaced) as replaced:
            program("Squares.", lambda arguments, reporter: ran.append(1), expected=())
        assert replaced.value.args[0] == [sys.executable, "-m", "orchestration.launch", "squares", "python", "-m", "squares"]
    else:
        assert program("Squares.", lambda arguments, reporter: ran.append(1), expected=()) == 0
    assert ran == ([] if goes else [1])
