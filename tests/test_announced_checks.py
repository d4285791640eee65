"""What a stage's code reports as a check is announced in dvc.yaml."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_every_check_that_code_reports_by_name_is_announced_by_some_stage():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    announced = {name for stage in stages for name in (stage.get("do", stage).get("meta") or {}).get("dagster", {}).get("checks", [])}
    sources = [path for folder in ("assets", "training", "app") for path in (ROOT / folder).rglob("*.py")]
    reported = {name for path in sources for name in re.findall(r"\breporter\.check\(\s*\"(\w+)\"", path.read_text())}
    assert "no_secrets_stored" in reported
    assert reported <= announced
