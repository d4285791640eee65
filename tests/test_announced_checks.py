"""What a stage's code reports as a check is announced in dvc.yaml."""

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_every_check_that_code_reports_by_name_is_announced_by_some_stage():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    announced = {name for stage in stages for name in (stage.get("do", stage).get("meta") or {}).get("dagster", {}).get("checks", [])}
    reported = {}
    for path in [*ROOT.glob("assets/**/*.py"), *ROOT.glob("training/**/*.py"), *ROOT.glob("app/**/*.py"), *ROOT.glob("stages/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            is_check = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "check" and node.args
            if is_check and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                reported[node.args[0].value] = path
    assert "no_secrets_stored" in reported
    assert {name: str(path) for name, path in reported.items() if name not in announced} == {}
