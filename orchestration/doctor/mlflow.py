"""MLflow's records against the ids anybody ever knew, and trainings that ended without a word."""

import functools
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from orchestration.bridge.project import Project
from orchestration.doctor.findings import CannotMendError, Finding
from stages.stores import chosen_profile


def examine_mlflow(root: Path, known_ids: Collection[str]) -> Iterator[Finding]:
    """Datasets and model versions that name an id nobody has, dead runs, journals not sent. Nothing is imported where nothing was trained."""
    is_server = bool(os.environ.get("MLFLOW_TRACKING_URI")) or chosen_profile(root) is not None
    if not (root / ".figment/mlflow").is_dir() and not (root / ".figment/tracking").is_dir() and not is_server:
        return
    from orchestration.records.mlflow_copies import copy_findings
    from orchestration.records.mlflow_runs import open_findings

    for found in open_findings(root, known_ids):
        mend = _MENDS.get(found.kind)
        yield Finding(found.kind, found.subject, found.detail, found.remedy, functools.partial(mend, root) if mend else None)
    try:
        yield from (Finding(found.kind, found.subject, found.detail, found.remedy) for found in copy_findings(root))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        yield Finding("mlflow_unreachable", ".figment/mlflow/mlflow.db", str(error), "free the file, or restore it; then run `figment doctor` again")


def examine_withdrawals(project: Project) -> Iterator[Finding]:
    """Models made from papers or books that were withdrawn since, and do not say so."""
    from orchestration.nights.retractions import flag_withdrawn, untagged_models, withdrawn_items

    if not withdrawn_items(project.root):
        return
    from orchestration.records.mlflow_runs import MlflowUnreachableError

    def mend() -> str:
        try:
            return "; ".join(flag_withdrawn(project).lines()) or "all are tagged already"
        except MlflowUnreachableError as error:
            raise CannotMendError(str(error)) from error

    try:
        for version in untagged_models(project):
            detail = "was made from items that are listed as withdrawn, and is not tagged as such"
            yield Finding("mlflow_model_withdrawn", f"{version.model} version {version.version}", detail, "`figment doctor --repair` tags it", mend)
    except MlflowUnreachableError:
        return  # examine_mlflow says so.


def _reap(root: Path) -> str:
    from orchestration.records.mlflow_runs import MlflowUnreachableError, reap_dead_runs

    try:
        reaped = reap_dead_runs(root)
    except MlflowUnreachableError as error:
        raise CannotMendError(str(error)) from error
    return f"marked MLflow runs as KILLED: {', '.join(reaped)}" if reaped else "all dead MLflow runs are marked already"


def _replay(root: Path) -> str:
    from orchestration.records.mlflow_runs import replay_missed

    return f"sent MLflow what it missed: {replay_missed(root)}"


_MENDS: dict[str, Callable[[Path], str]] = {"mlflow_run_dead": _reap, "mlflow_journal_open": _replay, "mlflow_journal_unsent": _replay}
