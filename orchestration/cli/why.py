"""Say why an artifact is stale, or what it was made from.

Walks the chain of causes upstream, and names the command, parameters, inputs, libraries and files of code on record, the files of code that
changed since, who wrote each input, and the Dagster run and MLflow runs and model versions that made or read the artifact.

Examples:
  figment why polygpt
  figment why molecules --json

exit codes: 0 it is fresh · 1 it is stale or missing · 2 wrong usage or configuration
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.graph import shown_command
from orchestration.bridge.lockfile import Lock
from orchestration.bridge.project import Project
from orchestration.bridge.status import StageStatus, project_status
from orchestration.bridge.versions import asset_name
from orchestration.checkout import open_prepared
from orchestration.errors import Exit
from orchestration.records.code_changes import RecordedCode, recorded_code
from orchestration.records.dagster_records import DagsterRecords, DagsterUnreadableError
from orchestration.records.history import Making, makings, past
from orchestration.terminal import local_time, paint, plural, print_json, short_id, utc_time
from stages.code_versions import FILE_NAME, FILES_KEY


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the artifact to explain")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of sentences")


def run(root: Path, arguments: argparse.Namespace) -> int:
    project = open_prepared(root)
    _ = project.graph.artifact(arguments.name)
    answer = explain(project, arguments.name)
    if arguments.json:
        print_json(answer)
    else:
        _print(answer)
    return Exit.WELL if answer["state"] == "fresh" else Exit.DISAGREES


def explain(project: Project, name: str) -> dict[str, Any]:
    """Everything that is known of one artifact, as plain values."""
    lock, statuses = project.lock(), project_status(project)
    status, entry = statuses[name], lock.entries.get(name)
    made = makings(project, lock)
    code = recorded_code(project, name)
    return {
        "name": name,
        "description": project.graph[name].desc,
        "state": status.state,
        "id": status.id,
        "causes": [cause.text for cause in status.causes],
        "code_changed": list(code.changed) if code and code.changed is not None else None,
        "upstream": _upstream_causes(project, statuses, name),
        "made": _making_json(made.get(name)),
        "made_from": _made_from(project, lock, name, code, made) if entry else None,
        "earlier": [_making_json(making) for making in past(project, name)],
        "dagster": _dagster(project, name, status.id),
        "mlflow": _mlflow(project.root, name, status.id),
    }


def _upstream_causes(project: Project, statuses: Mapping[str, StageStatus], name: str) -> list[dict[str, Any]]:
    """Every artifact above `name` that is not fresh, nearest the sources first: what will be made before it."""
    above: set[str] = set()
    pending = [name]
    while pending:
        for before in project.graph.upstream(pending.pop()):
            if before not in above:
                above.add(before)
                pending.append(before)
    return [
        {"name": before, "state": status.state, "causes": [cause.text for cause in status.causes]}
        for before, status in statuses.items()
        if before in above and status.state != "fresh"
    ]


def _made_from(project: Project, lock: Lock, name: str, code: RecordedCode | None, made: Mapping[str, Making]) -> dict[str, Any]:
    artifacts, entry = project.graph.artifact_deps(name), lock.entries[name]
    return {
        "command": shown_command(entry.cmd),
        "params": {path: dict(values) for path, values in entry.params.items() if code is None or path != FILE_NAME},
        "libraries": dict(code.libraries) if code else {},
        "inputs": [_input(lock, path, id, artifacts.get(path), made) for path, id in entry.deps.items()],
        "code": {"version": code.version, "files": list(code.files) if code.files is not None else None} if code else None,
        "outputs": dict(entry.outs),
    }


def _input(lock: Lock, path: str, id: str, writer: str | None, made: Mapping[str, Making]) -> dict[str, Any]:
    present = lock.entries[writer].outs.get(path) if writer and writer in lock.entries else None
    making = made.get(writer) if writer else None
    return {
        "path": path,
        "id": id,
        "written_by": writer,
        "is_present_version": present is None or present == id,
        "made": _making_json(making) if making and present == id else None,
    }


def _making_json(making: Making | None) -> dict[str, Any] | None:
    return None if making is None else {**dataclasses.asdict(making), "at": utc_time(making.at), "unix": making.at}


def _dagster(project: Project, name: str, id: str | None) -> dict[str, Any] | None:
    """The newest materialization that Dagster knows, or None where it knows none."""
    try:
        newest = DagsterRecords(project.paths.state / "dagster").newest().get(asset_name(name))
    except DagsterUnreadableError as error:
        return {"error": str(error)}
    if newest is None:
        return None
    return {"id": newest.id, "run": newest.run_id or None, "at": utc_time(newest.at), "unix": newest.at, "agrees": newest.id == id}


def _mlflow(root: Path, name: str, id: str | None) -> dict[str, Any] | None:
    """Runs that read this very version of the artifact, and model versions that it is or that were made from it; None without a store."""
    if not _has_mlflow_store(root):
        return None
    from orchestration.records import mlflow_runs

    try:
        readers = [use for use in mlflow_runs.dataset_digests_in_use(root) if use.digest == id]
        versions = mlflow_runs.model_versions(root)
        return {
            "read_by": [{"run": use.run_id, "experiment": use.experiment, "status": use.status, "link": _link(root, use.run_id)} for use in readers],
            "is_model": [_version_json(root, version) for version in versions if version.output_id == id],
            "models_made_from_it": [_version_json(root, version) for version in versions if version.inputs.get(name) == id],
        }
    except mlflow_runs.MlflowUnreachableError as error:
        return {"error": str(error)}


def _has_mlflow_store(root: Path) -> bool:
    import os

    from stages.stores import chosen_profile

    is_server = bool(os.environ.get("MLFLOW_TRACKING_URI")) or chosen_profile(root) is not None
    return is_server or (root / ".figment/mlflow/mlflow.db").is_file()


def _link(root: Path, run_id: str | None) -> str | None:
    """The run's page, where a web interface is known."""
    from orchestration.records.mlflow_runs import run_summary

    summary = run_summary(root, run_id) if run_id else None
    return summary.link if summary else None


def _version_json(root: Path, version: Any) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.version,
        "run": version.run_id,
        "link": _link(root, version.run_id),
        "is_champion": version.is_champion,
        "is_retracted": version.is_retracted,
    }


def _print(answer: Mapping[str, Any]) -> None:
    print(paint(answer["name"], "bold") + (f": {answer['description']}" if answer["description"] else ""))
    print(f"{answer['state']}, id {answer['id'] or 'none yet'}")
    if made := answer["made"]:
        print(f"made {local_time(made['unix'])} through {made['door']} ({made['how']})")
    if answer["causes"]:
        _list("why it is not fresh:", answer["causes"])
        _list("code that changed since:", _code_words(answer))
    for before in answer["upstream"]:
        _list(f"before it, {before['name']} is {before['state']}:", before["causes"])
    if answer["made_from"]:
        _print_made_from(answer["made_from"])
    if made and made["causes"]:
        _list("it was made because:", made["causes"])
    if answer["dagster"]:
        _print_dagster(answer["dagster"])
    if answer["mlflow"]:
        _print_mlflow(answer["mlflow"])
    if len(answer["earlier"]) > 1:
        _list("latest makings:", [f"{local_time(one['unix'])}  {short_id(one['id'])}  {one['door']} ({one['how']})" for one in answer["earlier"]])


def _print_made_from(source: Mapping[str, Any]) -> None:
    _list("made by:", [source["command"]])
    _list("from the inputs:", [_input_words(one) for one in source["inputs"]])
    _list("with the parameters:", [f"{path}: {key} = {value!r}" for path, values in source["params"].items() for key, value in _leaves(values)])
    _list("with the libraries:", [f"{name} {version}" for name, version in source["libraries"].items()])
    if code := source["code"]:
        known = code["files"]
        files = f"{plural(len(known), 'file')}: {', '.join(known)}" if known is not None else "nobody here knows which files that was"
        _list("by the code:", [f"{code['version']}, {files}"])


def _code_words(answer: Mapping[str, Any]) -> list[str]:
    """The files that changed; where only the hash of them is on record, that."""
    if not any(cause.startswith(f"{FILE_NAME}: ") and f".{FILES_KEY} " in cause for cause in answer["causes"]):
        return []
    changed: list[str] | None = answer["code_changed"]
    return ["which files is not known: neither .figment/memory nor git has that version of the code"] if changed is None else changed


def _input_words(one: Mapping[str, Any]) -> str:
    words = f"{one['path']}  {short_id(one['id'])}"
    if one["written_by"]:
        words += f"  written by {one['written_by']}"
    if one["made"]:
        words += f" {local_time(one['made']['unix'])} through {one['made']['door']}"
    return words if one["is_present_version"] else f"{words} (since replaced by another version)"


def _print_dagster(record: Mapping[str, Any]) -> None:
    if "error" in record:
        _list("Dagster:", [record["error"]])
        return
    run = f"run {record['run']}" if record["run"] else "reported without a run"
    agreement = "" if record["agrees"] else f"; it says id {short_id(record['id'])}, which is not dvc.lock's: `figment doctor` says more"
    _list("Dagster:", [f"{run}, {local_time(record['unix'])}{agreement}"])


def _print_mlflow(record: Mapping[str, Any]) -> None:
    if "error" in record:
        _list("MLflow:", [record["error"]])
        return
    _list("MLflow runs that read it:", [f"{use['experiment']} {use['link'] or use['run']} ({use['status']})" for use in record["read_by"]])
    _list("it is the model:", [_version_words(version) for version in record["is_model"]])
    _list("models made from it:", [_version_words(version) for version in record["models_made_from_it"]])


def _version_words(version: Mapping[str, Any]) -> str:
    marks = [word for word, holds in (("champion", version["is_champion"]), ("retracted", version["is_retracted"])) if holds]
    return (
        f"{version['model']} version {version['version']}"
        + (f" ({', '.join(marks)})" if marks else "")
        + f", run {version['link'] or version['run']}"
    )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
    return found


def _list(heading: str, lines: list[str]) -> None:
    if lines:
        print(f"\n{heading}")
        for line in lines:
            print(f"  {line}")
