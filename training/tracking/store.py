"""Where MLflow keeps its records, and the one place that imports it.

mlflow takes a second or two to import and several to make a new database, so nothing here does either before it is asked to.
"""

import importlib.util
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.stores import chosen_profile
from training.tracking import moved_store
from training.tracking.appearance import AS_TRAININGS, experiment_tags
from training.tracking.journal import FolderLock

URI_VARIABLE = "MLFLOW_TRACKING_URI"
# Limits of MLflow 3 (mlflow/utils/validation.py).
MAX_KEY_CHARACTERS = 250
MAX_PARAM_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 8000
MAX_EXPERIMENT_TAG_CHARACTERS = 5000
MAX_RUN_NAME_CHARACTERS = 250
MAX_DIGEST_CHARACTERS = 36

_settings = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # A server that is down must say so soon: trying again is the journal's business. Jitter would draw from the training's random numbers.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}

# Server of a profile on this machine -> the file with what lets in, which every start of `figment up` writes anew.
_token_files: dict[str, Path] = {}
# The one whose token MLflow's client sends.
_shown: list[Path] = []


def tracking_uri(state_dir: Path) -> str:
    """MLFLOW_TRACKING_URI, or the server of the profile in stores.yaml, or the SQLite file `<state_dir>/mlflow/mlflow.db`. Raises ParamsError."""
    if given := os.environ.get(URI_VARIABLE):
        return given
    profile = chosen_profile(state_dir.resolve().parent)
    if profile is None:
        return sqlite_uri(state_dir)
    if profile.is_served_here:
        _token_files[profile.mlflow_server] = state_dir.resolve() / "up.token"
    return profile.mlflow_server


def sqlite_uri(state_dir: Path) -> str:
    """Of the store that is kept here."""
    return f"sqlite:///{(state_dir / 'mlflow' / 'mlflow.db').resolve()}"


def store_name(uri: str, folder: Path) -> str:
    """`uri` for a note in `folder`: a SQLite file as seen from there, so that the note holds when both are moved."""
    path = sqlite_path(uri)
    return os.path.relpath(path, folder.resolve()) if path else uri


def sqlite_path(uri: str) -> Path | None:
    """The file behind a `sqlite:///` URI; None for a server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def is_installed() -> bool:
    """Whether mlflow can be imported, found out without importing it."""
    return importlib.util.find_spec("mlflow") is not None


def open_client(uri: str) -> Any:
    """A `MlflowClient` for `uri`. A first use of a SQLite file makes the database, one process at a time; that of a moved project is settled in."""
    for name, value in _settings.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # Making a database is none of the training's news.
    for talker in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(talker).setLevel(logging.WARNING)
    path = sqlite_path(uri)
    if path is None:
        if uri in _token_files:
            _show_token(_token_files[uri])
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    _keep_artifacts_beside_stores()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that make a new database at once get into each other's way.
    lock = FolderLock(path.parent, "create.lock")
    if not lock.acquire(timeout_s=120):
        raise TimeoutError(f"{lock.path}: another process has been making the MLflow database for two minutes; end it and run again")
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
        moved_store.settle(path)
        return client
    finally:
        lock.release()


def ensure_experiment(client: Any, name: str, uri: str, description: str = "", program: str = "") -> str:
    """The id of the experiment `name`, made if need be, with artifacts beside a SQLite store and wherever a server puts them.

    It is marked as one of trainings, by the module `program`, and described where no person has described it.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = f"{moved_store.PLACE}{name}" if sqlite_path(uri) else None
        id = client.create_experiment(name, artifact_location=location)
        experiment = client.get_experiment(id)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    for key, value in experiment_tags(experiment.tags, description, program).items():
        client.set_experiment_tag(experiment.experiment_id, key, _cut(value, MAX_EXPERIMENT_TAG_CHARACTERS))
    return experiment.experiment_id


def web_address(uri: str) -> str | None:
    """Where the web interface of the store is; for a SQLite store only where FIGMENT_MLFLOW_URL says that one is served."""
    address = uri if uri.startswith(("http://", "https://")) else os.environ.get("FIGMENT_MLFLOW_URL")
    return address.rstrip("/") if address else None


def run_link(uri: str, experiment_id: str, run_id: str) -> str | None:
    """The page of a run in the web interface; None where there is none."""
    address = web_address(uri)
    return f"{address}/#/experiments/{experiment_id}/runs/{run_id}?{AS_TRAININGS}" if address else None


def _show_token(file: Path) -> None:
    """Let MLflow's client send the token that is in `file` at that moment with every request; MLFLOW_TRACKING_TOKEN goes before it."""
    from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
    from mlflow.tracking.request_header.registry import _request_header_provider_registry as providers

    class TokenOfUp(RequestHeaderProvider):
        def in_context(self) -> bool:
            return _shown[-1].is_file()

        def request_headers(self) -> dict[str, str]:
            return {"Authorization": f"Bearer {_shown[-1].read_text(encoding='utf-8').strip()}"}

    if not _shown:
        providers.register(TokenOfUp)
    _shown[:] = [file]


def _keep_artifacts_beside_stores() -> None:
    """Teach MLflow that artifacts of a SQLite store, `mlflow-artifacts:/…` as a server over it calls them, lie in the folder beside the file."""
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry as repositories
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.tracking import get_tracking_uri

    def open_repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
        store = tracking_uri or get_tracking_uri()
        path = sqlite_path(store)
        if path is None:
            return MlflowArtifactsRepository(artifact_uri, tracking_uri=store, registry_uri=registry_uri)
        folder = path.parent / "artifacts" / artifact_uri.removeprefix(moved_store.PLACE)
        return LocalArtifactRepository(folder.as_uri(), tracking_uri=store, registry_uri=registry_uri)

    repositories.register("mlflow-artifacts", open_repository)


def safe_key(name: str) -> str:
    """`name` as MLflow takes it for metrics, params and tags: `uniqueness@1000` becomes `uniqueness_at_1000`."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"), flags=re.ASCII)[:MAX_KEY_CHARACTERS]


def flat_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as `a.b` → text, lists as JSON, cut to MLflow's limits; the journal keeps them whole."""
    return {safe_key(key): _cut(_as_text(value), MAX_PARAM_CHARACTERS) for key, value in _leaves(config, "")}


def safe_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags cut to MLflow's limits."""
    return {safe_key(key): _cut(str(value), MAX_TAG_CHARACTERS) for key, value in values.items()}


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _as_text(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, list | tuple | dict) else str(value)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 4] + " ..."
