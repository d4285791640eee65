"""The whole examination, and the repair of what is safe to repair."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from orchestration.bridge.graph import GraphError
from orchestration.bridge.materialize import running_stages
from orchestration.bridge.project import Project
from orchestration.doctor.dagster import examine_dagster
from orchestration.doctor.evidence import CacheReader, OutputEvidence, Reader, gather
from orchestration.doctor.findings import CannotMendError, Finding
from orchestration.doctor.leftovers import examine_leftovers
from orchestration.doctor.lock import examine_lock, examine_lock_text
from orchestration.doctor.memory import examine_memory
from orchestration.doctor.mlflow import examine_mlflow, examine_withdrawals
from orchestration.doctor.objects import examine_objects
from orchestration.doctor.outputs import examine_outputs
from orchestration.doctor.records import ids_in_git, known_ids, remembered_ids
from orchestration.doctor.state import examine_state
from orchestration.records.dagster_records import DagsterRecords, DagsterUnreadableError
from orchestration.records.history import logged_ids

# Locks first, or DVC cannot be called; leftovers before outputs, which may hold them; the cache before what is restored from it.
_MENDING_ORDER = ("stale_lock", "state", "leftover", "cache_object", "lock", "output", "dagster", "mlflow")


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
    running = running_stages(project)
    evidence: list[OutputEvidence] = []
    # Without a readable dvc.lock nothing can be compared; leftovers of killed processes can be told all the same.
    findings = list(examine_lock_text(project))
    if not findings:
        with _trouble_told("its outputs and DVC's cache", findings):
            cache = CacheReader(project.cache_dir, reader)
            evidence = gather(project, reader, cache, but=set(running))
            findings += _compare(project, cache, evidence)
    findings += _told("files that killed processes left", examine_leftovers(project, evidence, busy=set(running)))
    findings += _told(".figment", examine_state(project, hear=hear, is_busy=bool(running)))
    return Examination(findings, len(evidence), reader.files, reader.bytes, tuple(running))


def mend(findings: list[Finding]) -> list[Mended]:
    """Do every safe repair, in an order in which each finds what it needs. What cannot be done is said, and the others go on."""
    done = []
    places = range(len(_MENDING_ORDER))
    ordered = sorted(findings, key=lambda finding: next((i for i in places if finding.kind.startswith(_MENDING_ORDER[i])), len(places)))
    for finding in ordered:
        if finding.mend is None:
            continue
        try:
            done.append(Mended(finding, finding.mend()))
        except (CannotMendError, GraphError) as error:
            done.append(Mended(finding, None, str(error)))
        except Exception as error:  # noqa: BLE001 - one repair that fails must not stop the others
            done.append(Mended(finding, None, f"{finding.subject}: {type(error).__name__}: {' '.join(str(error).split())}"))
    return done


def _compare(project: Project, cache: CacheReader, evidence: list[OutputEvidence]) -> list[Finding]:
    """Everything that can be said once dvc.lock is readable."""
    lock, records = project.lock(), DagsterRecords(project.paths.state / "dagster")
    findings: list[Finding] = []
    try:
        remembered, ids = remembered_ids(project, records), known_ids(project, lock, records)
    except DagsterUnreadableError as error:
        findings.append(_unreadable_dagster(error))
        remembered = ids = ids_in_git(project.root) | logged_ids(project)
    # A wrong lock entry makes everything else about its stage look wrong: the other examinations leave those stages out.
    on_lock = _told("dvc.lock", examine_lock(project, lock, cache, evidence, remembered))
    wrongly_recorded = {finding.subject for finding in on_lock}
    rest = [one for one in evidence if one.stage not in wrongly_recorded]
    findings += on_lock
    findings += _told("outputs", examine_outputs(project, cache, rest, remembered))
    findings += _told("DVC's cache", examine_objects(project, cache, rest))
    findings += _told(".figment/state.db", examine_memory(project, rest))
    if not findings or findings[0].kind != "dagster_unreadable":
        findings += _told(".figment/dagster", examine_dagster(project, lock, records, but=wrongly_recorded))
        findings += _told(".figment/mlflow", examine_mlflow(project.root, ids))
        findings += _told("withdrawn papers and books", examine_withdrawals(project))
    return findings


@contextlib.contextmanager
def _trouble_told(subject: str, findings: list[Finding]) -> Iterator[None]:
    """What cannot be examined is a finding, whatever ails it: the rest is examined all the same."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - bytes that somebody, or a disk, wrote anyhow lead to any error
        words = f"{type(error).__name__}: {' '.join(str(error).split())}"
        findings.append(Finding("unreadable", subject, f"cannot be examined: {words}", "mend or remove what this names, then look again"))


def _told(subject: str, examination: Iterable[Finding]) -> list[Finding]:
    findings: list[Finding] = []
    with _trouble_told(subject, findings):
        for finding in examination:
            findings.append(finding)  # noqa: PERF402 - what was found before a trouble stays
    return findings


def _unreadable_dagster(error: DagsterUnreadableError) -> Finding:
    return Finding("dagster_unreadable", ".figment/dagster", str(error), "end what holds or damaged the file, then run `figment doctor` again")
