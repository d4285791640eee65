"""Start Dagster's webserver or MLflow's server behind the guard.

    python -m orchestration.runs.guarded dagster -h 127.0.0.1 -p 3000 -m orchestration.definitions
    python -m orchestration.runs.guarded mlflow --host 127.0.0.1 --port 5000 …

The arguments are those of `dagster-webserver` and of `mlflow server`. FIGMENT_GUARD_TOKEN_FILE names the file with the token, FIGMENT_GUARD_HOSTS the
hosts by which the server may be asked, with commas.
"""

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestration.runs.guard import Guard

TOKEN_FILE_VARIABLE = "FIGMENT_GUARD_TOKEN_FILE"  # noqa: S105 (the name of it)
HOSTS_VARIABLE = "FIGMENT_GUARD_HOSTS"
# The name under which MLflow finds `mlflow_app` among its plugins (`mlflow.app` in pyproject.toml).
MLFLOW_PLUGIN = "figment-guard"


def has_mlflow_plugin() -> bool:
    """Whether this environment was installed since Figment has the plugin."""
    return any(point.name == MLFLOW_PLUGIN for point in importlib.metadata.entry_points(group="mlflow.app"))


def mlflow_app() -> Guard:
    """MLflow's application behind the guard; called by the server that `mlflow server --app-name` starts."""
    from mlflow.server.fastapi_app import app

    return _guarded(app)


def _guarded(application: Any) -> Guard:
    token = Path(os.environ[TOKEN_FILE_VARIABLE]).read_text(encoding="utf-8").strip()
    return Guard(application, token=token, hosts=os.environ[HOSTS_VARIABLE].split(","))


def _dagster(arguments: Sequence[str]) -> None:
    from dagster_webserver import cli

    # The webserver has no door for middleware from outside; its command line makes the application by this name, once.
    create = cli.create_app_from_workspace_process_context
    cli.create_app_from_workspace_process_context = lambda *given, **named: _guarded(create(*given, **named))  # type: ignore[assignment]
    cli.cli(arguments, prog_name="dagster-webserver")


def _mlflow(arguments: Sequence[str]) -> None:
    from mlflow.cli import cli

    cli(["server", "--app-name", MLFLOW_PLUGIN, *arguments], prog_name="mlflow")


if __name__ == "__main__":
    {"dagster": _dagster, "mlflow": _mlflow}[sys.argv[1]](sys.argv[2:])
