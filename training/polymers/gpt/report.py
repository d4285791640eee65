"""Judge the samples of PolyGPT: numbers, tables and pictures.

    python -m training.polymers.gpt.report
    python -m training.polymers.gpt.report --set with_fcd=false --set bootstrap_rounds=100    # seconds on a CPU

Reads data/polygpt_samples, the tables of real molecules, and from data/polygpt which model was judged and what its auxiliary heads told in training.
Writes data/polygpt_report: headline.json, metrics.json, report.md, and the pictures molecules.png, novelty.png, near_copies.png,
requested_vs_obtained.png.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.polymers.report import EXPECTED, MoleculeReportConfig, judge_samples
from training.reports.numbers import cell
from training.reports.report import Report, report_body

STAGE = "polygpt_report"
_HEADS = "validation_property_r2_"


def judge(config: MoleculeReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the samples below `data`."""
    report = judge_samples(config, data, reporter, stage=STAGE, model="polygpt", samples="polygpt_samples", title="PolyGPT")
    told = _told_in_training(data / "polygpt/training_summary.json")
    for name, r2 in told.items():
        report.numbers.add(_HEADS + name, r2)
    return replace(report, text=report.text + _heads_section(told)) if told else report


def _told_in_training(summary: Path) -> dict[str, float]:
    """R² of the auxiliary heads by property, as the training's last validation found it; nothing where the model is not here or has none."""
    if not summary.is_file():
        return {}
    values = json.loads(summary.read_text(encoding="utf-8"))["last_values"]
    return {name.removeprefix(_HEADS): value for name, value in sorted(values.items()) if name.startswith(_HEADS)}


def _heads_section(told: Mapping[str, float]) -> str:
    rows = table(["property", "R²"], [[escape(name), cell(r2)] for name, r2 in told.items()])
    words = "Of held-out molecules shown without properties: what the auxiliary heads of the model tell of them, against what they have."
    return f"\n## What the model knows of molecules\n\n{rows}\n{words}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polygpt_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, MoleculeReportConfig, judge), argv, expected=EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
