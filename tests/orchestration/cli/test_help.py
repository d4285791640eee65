"""Every verb explains itself, and docs/commands.md knows every verb, option and finding."""

import re
from pathlib import Path

import pytest

from orchestration.cli.main import VERBS, verb_module, verb_parser
from tests.orchestration.cli.figment import figment


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_a_verb_does_with_an_example_and_exit_codes(verb: str, tmp_path: Path):
    answer = figment(tmp_path, verb, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"usage: figment {verb}")
    assert re.search(r"\nExamples:\n +figment " + verb, answer.out)
    assert "exit codes: 0" in answer.out
    assert "2 " in answer.out.partition("exit codes:")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_the_documentation_knows_every_verb_and_option(verb: str, project_root: Path):
    text = (project_root / "docs/commands.md").read_text()
    section = re.search(rf"^## figment {verb}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/commands.md has no section on {verb}"
    parser = verb_parser(verb, verb_module(verb))
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    general = {"--help", "--root", "--json"}
    assert {option for option in options - general if option not in section.group(1)} == set()


def test_the_documentation_names_every_finding(project_root: Path):
    text = (project_root / "docs/commands.md").read_text()
    sources = [*(project_root / "orchestration/doctor").glob("*.py"), project_root / "orchestration/records/mlflow_runs.py"]
    kinds = {
        kind
        for source in sources
        for kind in re.findall(r'"((?:output|cache_object|lock|dagster|mlflow)_[a-z_]+|leftover|stale_lock)"', source.read_text())
    }
    assert len(kinds) > 15
    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()


def test_figment_alone_lists_its_verbs(tmp_path: Path):
    answer = figment(tmp_path)
    assert answer.code == 2
    assert all(summary in answer.out for summary in VERBS.values())
    assert figment(tmp_path, "--version").out.startswith("figment ")


def test_outside_a_project_the_error_says_where_it_looked(tmp_path: Path):
    answer = figment(tmp_path, "status")
    assert answer.code == 2
    assert answer.err == f"figment: --root {tmp_path}: no dvc.yaml there; give the folder of a project\n"


def test_another_checkout_is_left_to_its_own_code(project_root: Path, tmp_path: Path):
    """As where a checkout was copied with its .venv, whose programs start the code of the original."""
    code = tmp_path / "orchestration/cli/main.py"
    code.parent.mkdir(parents=True)
    code.write_bytes((project_root / "orchestration/cli/main.py").read_bytes())
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")

    answer = figment(tmp_path, "status")

    assert answer.code == 2
    assert answer.err.startswith(f"figment: this program runs the code of {project_root}, and {tmp_path} has its own; there: `make setup`")
