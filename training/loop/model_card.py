"""What is said of a trained model where it is registered: what it is, what it was made from under which licences, and how its training went."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.markdown import counted, escape, table
from stages.params import ParamsError, read_yaml
from training.tracking.tracker import InputArtifact

_LICENCES = "## Licences"


def stage_description(root: Path, stage: str) -> str:
    """What dvc.yaml under `root` says of the stage; empty on a machine that has no dvc.yaml, or one that cannot be read."""
    path = root / "dvc.yaml"
    try:
        found = (read_yaml(path) or {}).get("stages", {}).get(stage, {}) if path.is_file() else {}
    except ParamsError:
        return ""
    return str(found.get("desc", "")) if isinstance(found, Mapping) else ""


def model_card(stage: str, module: str, description: str, inputs: Sequence[InputArtifact], numbers: Mapping[str, float]) -> str:
    """Markdown: the data by their ids, the licences that they name, and the numbers at the end of the training."""
    data = table(["data", "id"], [[escape(item.name), f"`{item.id}`"] for item in inputs])
    licences = [f"{escape(item.name)}:\n\n{said}\n" for item in inputs if (said := _licences(item.path))] or ["The data name none.\n"]
    shown = table(["number", "value"], [[escape(name), f"{value:.4g}"] for name, value in sorted(numbers.items())])
    made = f"Made by `python -m {module}`. The weights are with DVC, under the id in the tag `figment.output_id`.\n"
    sections = {"Data": [data], "Licences of the data": licences, "When the training ended": [shown]}
    return "\n".join([f"# {escape(stage)}\n", *([f"{description}\n"] if description else []), made, *_written(sections)])


def _written(sections: Mapping[str, Sequence[str]]) -> list[str]:
    return [line for title, lines in sections.items() for line in (f"## {title}\n", *lines)]


def _licences(folder: Path) -> str:
    """The table of licences that a dataset's own summary.json or card has; empty where it has neither."""
    summary, card = folder / "summary.json", folder / "README.md"
    if summary.is_file() and (counts := json.loads(summary.read_text(encoding="utf-8")).get("licences")):
        return counted("licence", "rows", counts)
    section = card.read_text(encoding="utf-8").partition(_LICENCES)[2].partition("\n## ")[0] if card.is_file() else ""
    return "".join(f"{line}\n" for line in section.splitlines() if line.startswith("|"))
