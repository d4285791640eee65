"""The files around the code agree with each other and with the code."""

import re
import subprocess
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestration.bridge.resolve import load_graph

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("assets", "bench", "docs", "formats", "orchestration", "presets", "scripts", "stages", "tests", "training")
PAGES = sorted([*ROOT.glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md"))])
# What the worked examples make up, and a word for any.
IMAGINED = re.compile(r"\b(letters_of_nothing|colours|mine|NAME)\b")


def test_dvc_ignores_nothing_inside_an_output_folder():
    """A pattern that is not bound to the root would leave files out of an artifact's id."""
    patterns = [line for line in (ROOT / ".dvcignore").read_text().splitlines() if line and not line.startswith("#")]
    assert [pattern for pattern in patterns if not pattern.startswith("/") or pattern.startswith("/data")] == []


def test_git_carries_of_the_outputs_folder_the_page_that_explains_it_and_nothing_else():
    tracked = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert tracked == ["data/README.md"]
    ignored = subprocess.run(["git", "check-ignore", "-q", "data/polygpt"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_dvc_plots_the_curves_of_every_training_and_shows_the_headline_of_every_report():
    graph = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    plots = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in graph["plots"]]
    modules = {name: ROOT / f"{stage['cmd'].split()[2].replace('.', '/')}.py" for name, stage in graph["stages"].items() if "cmd" in stage}
    texts = {name: path.read_text() for name, path in modules.items() if path.is_file()}
    trainings = {name for name, text in texts.items() if "run_job(" in text or "run_fine_tuning(" in text}
    reports = {name for name, text in texts.items() if "report_body(" in text}
    assert {f"data/{name}/plots/curves" for name in trainings} == {path for path in plots if path.endswith("/curves")}
    assert {f"data/{name}/headline.json" for name in reports} == set(graph["metrics"])
    assert {path.split("/")[1] for path in plots} <= set(modules)
    assert len(trainings) >= 2 and len(reports) >= 2


def test_the_figures_of_the_demo_say_when_and_on_which_processor_they_came_out():
    section = (ROOT / "docs/RESULTS.md").read_text().partition("## The demo\n")[2].partition("\n|")[0]
    assert re.search(r"`make demo`.*\b20\d\d-\d\d-\d\d\b.*\b\d+ cores of an? (AMD|Intel)", section, flags=re.DOTALL)


def test_every_make_target_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?:^|`|= )make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)}
    assert {"demo", "test"} <= named
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [link for link in links if "://" not in link and not link.startswith("mailto:") and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_and_module_that_a_page_names_is_there(page):
    rooms, text = "|".join(ROOMS), page.read_text()
    paths = re.findall(rf"`((?:{rooms})/[\w./-]*(?:/|\w\.(?:md|png|py|sh|txt|yaml)))`", text)
    paths += [f"{name.replace('.', '/')}.py" for name in re.findall(rf"python -m ((?:{rooms})\.[\w.]*\w)", text)]
    missing = [path for path in paths if not (ROOT / path).exists() and not (ROOT / path.removesuffix(".py") / "__main__.py").exists()]
    assert [path for path in missing if not IMAGINED.search(path)] == []


def test_the_picture_of_the_graph_is_that_of_dvc_yaml():
    spec = spec_from_file_location("draw_graph", ROOT / "scripts/draw_graph.py")
    draw_graph = module_from_spec(spec)
    spec.loader.exec_module(draw_graph)
    drawn = draw_graph.draw(load_graph(ROOT))
    assert drawn == (ROOT / "docs/images/graph.svg").read_text(), "dvc.yaml changed: python scripts/draw_graph.py"


def test_the_licence_is_the_one_that_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert project["license"] == citation["license"] == "Apache-2.0"
    assert project["version"] == citation["version"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert all((ROOT / name).is_file() for name in project["license-files"])


def test_every_lint_exception_says_why():
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("\nignore = [") : text.index("[tool.ruff.lint.mccabe]")]
    codes = re.findall(r'^  "[A-Z]+\d*",.*$', block, flags=re.MULTILINE)
    assert len(codes) > 20
    assert [line for line in codes if not re.search(r"# \S+ \S+", line)] == []


def test_the_scripts_are_shell_that_parses():
    scripts = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]
    assert len(scripts) > 2
    for script in scripts:
        assert "set -euo pipefail" in script.read_text()
        done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_setup_refuses_an_interpreter_that_is_too_old_and_says_what_to_do(tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.8.18" ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    command = ["bash", "scripts/make_venv.sh", str(tmp_path / "venv"), "all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)})
    assert done.returncode == 2
    assert "Python 3.8.18; Figment needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_make_help_lists_every_verb_with_a_sentence():
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"help", "setup", "demo", "test", "test-slow", "test-gpu", "test-browser", "lint", "bench", "up", "clean"} <= listed
