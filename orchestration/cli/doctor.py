"""Compare files, DVC, Dagster and MLflow byte by byte, and mend what is safe to mend.

Every byte of every recorded output and of every DVC cache object behind it is read again: no time stamp, and no tool's memory, is trusted.
Found and named: damaged or edited outputs, damaged or absent cache objects, ids in dvc.lock that nobody has, a dvc.lock in the middle of a
merge, Dagster materializations and MLflow datasets and model versions that name other ids than DVC, runs whose process is dead, temporary
files, stale locks. Ordinary staleness is no finding: `figment status` tells it.

--repair restores outputs from good cache objects (what was there is kept in .figment/set-aside), writes cache objects anew from good outputs,
removes damaged ones that nothing can replace, reports to Dagster and MLflow what they missed, marks dead runs, removes leftovers and stale
locks. It says what it did, and looks again.

Examples:
  figment doctor
  figment doctor --repair

exit codes: 0 all agree (after the repair) · 1 something disagrees · 2 wrong usage or configuration
"""

import argparse
from pathlib import Path
from typing import Any

from orchestration.checkout import open_project
from orchestration.doctor.examine import Examination, Mended, examine, mend
from orchestration.errors import Exit
from orchestration.terminal import MovingLine, human_bytes, paint, plural, print_json
from stages.stores import chosen_profile


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repair", action="store_true", help="do what is safe, and say what was done")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of sentences")


def run(root: Path, arguments: argparse.Namespace) -> int:
    chosen_profile(root)  # a stores.yaml that cannot be read is no illness of what it names
    before = _examine(root)
    repairs = mend(before.findings) if arguments.repair else []
    # A repair is believed when a second look finds nothing.
    after = _examine(root) if any(repair.did for repair in repairs) else before
    if arguments.json:
        print_json(_document(root, before, repairs, after))
    else:
        _print(before, repairs, after)
    return Exit.DISAGREES if after.findings else Exit.WELL


def _examine(root: Path) -> Examination:
    line, files = MovingLine(), 0

    def hear(path: Path) -> None:
        nonlocal files
        files += 1
        line.say(f"{plural(files, 'file')} read: {path}")

    try:
        return examine(open_project(root), hear=hear)
    finally:
        line.clear()


def _print(before: Examination, repairs: list[Mended], after: Examination) -> None:
    for finding in before.findings:
        print(f"{paint(finding.kind, 'yellow')}  {paint(finding.subject, 'bold')} {finding.detail}")
        print(f"  {finding.remedy}")
    for repair in repairs:
        print(f"{paint('repaired', 'green')}  {repair.did}" if repair.did else f"{paint('not repaired', 'red')}  {repair.refused}")
    if before is not after:
        for finding in after.findings:
            print(f"{paint('remains', 'red')}  {finding.kind}  {finding.subject} {finding.detail}\n  {finding.remedy}")
    if after.running:
        print(f"left alone, because they are being made: {', '.join(after.running)}")
    read = f"{plural(after.outputs, 'output')}, {plural(after.files_read, 'file')}, {human_bytes(after.bytes_read)} read"
    verdict = plural(len(after.findings), "disagreement") if after.findings else "files, DVC, Dagster and MLflow agree"
    print(f"{verdict} ({read})")


def _document(root: Path, before: Examination, repairs: list[Mended], after: Examination) -> dict[str, Any]:
    return {
        "root": str(root),
        "agrees": not after.findings,
        "findings": [_finding(finding) for finding in before.findings],
        "repairs": [{"kind": one.finding.kind, "subject": one.finding.subject, "did": one.did, "refused": one.refused} for one in repairs],
        "remaining": [_finding(finding) for finding in after.findings],
        "running": list(after.running),
        "read": {"outputs": after.outputs, "files": after.files_read, "bytes": after.bytes_read},
    }


def _finding(finding: Any) -> dict[str, str | bool]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "detail": finding.detail,
        "remedy": finding.remedy,
        "can_be_repaired": finding.mend is not None,
    }
