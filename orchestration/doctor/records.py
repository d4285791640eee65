"""Which ids anybody ever knew: dvc.lock and its history in git, Dagster's materializations, the log of what was made here."""

import re
import subprocess
from pathlib import Path

from orchestration.bridge.lockfile import Lock
from orchestration.bridge.project import Project
from orchestration.records.dagster_records import DagsterRecords
from orchestration.records.history import logged_ids

_MD5_LINE = re.compile(rb"^[+-]?\s*md5: ['\"]?([0-9a-f]{32}(?:\.dir)?)['\"]?\s*$", re.MULTILINE)


def known_ids(project: Project, lock: Lock, dagster: DagsterRecords) -> set[str]:
    """Every id the project has or had. Raises DagsterUnreadableError."""
    now = {id for entry in lock.entries.values() for id in (*entry.deps.values(), *entry.outs.values())}
    artifacts = {entry.output_id(project.graph[name]) or "" for name, entry in lock.entries.items()}
    return (now | artifacts | remembered_ids(project, dagster)) - {""}


def remembered_ids(project: Project, dagster: DagsterRecords) -> set[str]:
    """The ids that something other than the present dvc.lock bears out."""
    return ids_in_git(project.root) | dagster.known_ids() | logged_ids(project)


def ids_in_git(root: Path) -> set[str]:
    """Every md5 that any committed version of dvc.lock held; none where there is no git."""
    done = subprocess.run(
        ["git", "-C", str(root), "log", "-p", "--no-color", "--no-ext-diff", "--format=", "--", "dvc.lock"], capture_output=True, check=False
    )
    return {match.decode() for match in _MD5_LINE.findall(done.stdout)} if done.returncode == 0 else set()
