"""Open Dagster and MLflow on this machine until Ctrl-C.

Starts Dagster's webserver and daemon and an MLflow server on 127.0.0.1, says where they are, and ends all of them again, with whatever they
started. Their logs are in .figment/logs.

The addresses carry a token of this start: who has not come by them once, and every page of another site, is kept out. Programs send it as
`Authorization: Bearer` (MLflow's client: MLFLOW_TRACKING_TOKEN); it stands in .figment/up.token. FIGMENT_UP_TOKEN gives one that stays.

Examples:
  figment up
  figment up --allow-host figment.lab.example    # behind a proxy: docs/sharing.md
  figment up --profile lab                       # on a lab's PostgreSQL and S3: docs/lab.md
  figment up --port 3001 --mlflow-port 5001 --open

exit codes: 0 stopped · 1 a server did not start, or ended by itself · 2 a port is taken, the servers run already, or wrong configuration
"""

import argparse
from pathlib import Path

from orchestration.errors import CommandError
from stages.ports import port_number


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port_number, default=None, metavar="N", help="Dagster's port (default: 3000, or a free one)")
    parser.add_argument("--mlflow-port", type=port_number, default=None, metavar="N", help="MLflow's port (default: 5000, or a free one)")
    parser.add_argument("--profile", default=None, metavar="NAME", help="the stores to serve: a profile of stores.yaml, or local (docs/lab.md)")
    parser.add_argument("--open", action="store_true", help="open Dagster in the browser once it answers")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="a name, with its port if it has one, by which a proxy in front is asked; repeatable",
    )


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.runs.up import serve
    from stages.params import ParamsError

    try:
        return serve(
            root,
            dagster_port=arguments.port,
            mlflow_port=arguments.mlflow_port,
            open_browser=arguments.open,
            allow_hosts=arguments.allow_host,
            profile=arguments.profile,
        )
    except ParamsError as error:
        raise CommandError(str(error)) from error
