"""The whole examination, and the repair of what is safe to repair."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from orchestration.bridge.graph import GraphError
from orchestration.bridge.materialize import running_stages
from orchestration.bridge.project import Project
from orchestration.doctor.dagster import examine_dagster
from orchestration.doctor.evidence import CacheReader, OutputEvidence, Reader, gather
from orchestration.doctor.findings import CannotMendError, Finding
from orchestration.doctor.leftovers import examine_leftovers
from orchestration.doctor.lock import examine_lock, examine_lock_text, unreadable
from orchestration.doctor.mlflow import examine_mlflow, examine_withdrawals
from orchestration.doctor.objects import examine_objects
from orchestration.doctor.outputs import examine_outputs
from orchestration.doctor.records import known_ids, remembered_ids
from orchestration.records.dagster_records import DagsterRecords, DagsterUnreadableError

# Locks first, or DVC cannot be called; leftovers before outputs, which may hold them; the cache before what is restored from it.
_MENDING_ORDER = ("stale_lock", "leftover", "cache_object", "lock", "output", "dagster", "mlflow")


@dataclasses.dataclass(frozen=True)
class Examination:
    """findings in order of discovery; how much was read; running: stages that were left alone because they are being made."""

    findings: list[Finding]
    outputs: int
    files_read: int
    bytes_read: int
    running: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Mended:
    """What the repair of one finding did, or why it was not done."""

    finding: Finding
    did: str | None
    refused: str | None = None


def examine(project: Project, *, hear: Callable[[Path], None] | None = None) -> Examination:
    """Look at everything. Raises GraphError when dvc.yaml cannot be used; an unreadable dvc.lock is a finding."""
    reader = Reader(hear)
    cache = CacheReader(project.cache_dir, reader)
    running = running_stages(project)
    evidence: list[OutputEvidence] = []
    # Without a readable dvc.lock nothing can be compared; leftovers of killed processes can be told all the same.
    findings = [conflict] if (conflict := examine_lock_text(project.root)) else []
    if not findings:
        try:
            project.lock()
        except GraphError as error:
            findings.append(unreadable(error))
    if not findings:
        evidence = gather(project, reader, cache, but=set(running))
        findings += _compare(project, cache, evidence)
    findings += examine_leftovers(project, evidence, busy=set(running))
    return Examination(findings, len(evidence), reader.files, reader.bytes, tuple(running))


def mend(findings: list[Finding]) -> list[Mended]:
    """Do every safe repair, in an order in which each finds what it needs. What cannot be done is said, and the others go on."""
    done = []
    ordered = sorted(findings, key=lambda finding: next(i for i, prefix in enumerate(_MENDING_ORDER) if finding.kind.startswith(prefix)))
    for finding in ordered:
        if finding.mend is None:
            continue
        try:
            done.append(Mended(finding, finding.mend()))
        except (CannotMendError, OSError, GraphError) as error:
            done.append(Mended(finding, None, str(error)))
    return done


def _compare(project: Project, cache: CacheReader, evidence: list[OutputEvidence]) -> list[Finding]:
    """Everything that can be said once dvc.lock is readable."""
    lock, records = project.lock(), DagsterRecords(project.paths.state / "dagster")
    findings: list[Finding] = []
    try:
        remembered, ids = remembered_ids(project, records), known_ids(project, lock, records)
    except DagsterUnreadableError as error:
        findings.append(_unreadable_dagster(error))
        remembered = ids = set()
    # A wrong lock entry makes everything else about its stage look wrong: the other examinations leave those stages out.
    on_lock = list(examine_lock(project, lock, cache, evidence, remembered))
    wrongly_recorded = {finding.subject for finding in on_lock}
    rest = [one for one in evidence if one.stage not in wrongly_recorded]
    findings += on_lock
    findings += examine_outputs(project, cache, rest)
    findings += examine_objects(project, cache, rest)
    if not findings or findings[0].kind != "dagster_unreadable":
        findings += examine_dagster(project, lock, records, but=wrongly_recorded)
        findings += examine_mlflow(project.root, ids)
        findings += examine_withdrawals(project)
    return findings


def _unreadable_dagster(error: DagsterUnreadableError) -> Finding:
    return Finding("dagster_unreadable", ".figment/dagster", str(error), "end what holds or damaged the file, then run `figment doctor` again")
