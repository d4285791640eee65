"""Judge the samples of PolyGPT: numbers, tables and pictures.

    python -m training.polymers.gpt.report
    python -m training.polymers.gpt.report --set with_fcd=false --set bootstrap_rounds=100    # seconds on a CPU

Reads data/polygpt_samples, the tables of real molecules, and (only to say which model was judged) data/polygpt.
Writes data/polygpt_report: headline.json, metrics.json, report.md, and the pictures molecules.png, novelty.png, near_copies.png,
requested_vs_obtained.png.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from stages.program import program
from stages.reporting import Reporter
from training.polymers.report import EXPECTED, MoleculeReportConfig, judge_samples
from training.reports.report import Report, report_body

STAGE = "polygpt_report"


def judge(config: MoleculeReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the samples below `data`."""
    return judge_samples(config, data, reporter, stage=STAGE, model="polygpt", samples="polygpt_samples", title="PolyGPT")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polygpt_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, MoleculeReportConfig, judge), argv, expected=EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
