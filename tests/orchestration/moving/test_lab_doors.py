"""`figment up`, `materialize`, `why` and `doctor` on a lab's stores."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.ports import free_port
from tests import lab
from tests.orchestration.bridge.toy import Toy
from tests.orchestration.cli.figment import figment

pytestmark = [pytest.mark.cluster, lab.needs_lab()]


def test_up_serves_a_lab_and_every_door_uses_its_stores(known_toy: Toy, tmp_path: Path, project_root: Path) -> None:
    import psycopg2

    root = known_toy.root
    with lab.postgres() as postgres, lab.s3() as s3:
        os.environ.update({**postgres.env, **s3.env})
        databases = {name: postgres.make_database(name) for name in ("dagster", "mlflow")}
        profile = {
            **databases,
            "artifacts": s3.make_bucket("figment"),
            "s3_endpoint": s3.endpoint,
            "mlflow_server": f"http://127.0.0.1:{free_port()}",
        }
        (root / "stores.yaml").write_text("profiles:\n  lab:\n" + "".join(f"    {key}: {value}\n" for key, value in profile.items()))
        command = [sys.executable, "-m", "orchestration.cli.main", "--root", str(root), "up", "--profile", "lab", "--port", str(free_port())]
        with (tmp_path / "up.log").open("wb") as log:
            up = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(project_root)}, cwd=project_root, stdout=log, stderr=log)
        try:

            def is_up() -> bool:
                assert up.poll() is None, (tmp_path / "up.log").read_text()
                return "up after" in (tmp_path / "up.log").read_text()

            lab.wait_for(is_up, what="figment up", timeout_s=180)
            assert f"mlflow   {profile['mlflow_server']}" in (tmp_path / "up.log").read_text()
            os.environ["FIGMENT_PROFILE"] = "lab"
            known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
            made = figment(root, "materialize", "--all")
            assert made.code == 0, made
            with psycopg2.connect(databases["dagster"]) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM runs WHERE status = 'SUCCESS'")
                assert cursor.fetchone()[0] >= 1
            assert figment(root, "doctor").code == 0
            assert figment(root, "why", "total").code == 0
        finally:
            up.send_signal(signal.SIGINT)
            assert up.wait(timeout=60) == 0
        postgres.kill()
        for words in (("materialize", "--all", "--force"), ("up",)):
            answer = figment(root, *words)
            assert answer.code == 2 and "cannot be reached" in answer.err and "Traceback" not in answer.err, answer
        assert figment(root, "status").code == 0
        answer = figment(root, "doctor")
        assert answer.code == 1 and "cannot be reached" in answer.out, answer
        (root / "stores.yaml").write_text("use: lap\nprofiles: {}\n")
        del os.environ["FIGMENT_PROFILE"]
        for words in (("materialize", "--all"), ("doctor",), ("why", "total")):
            answer = figment(root, *words)
            assert answer.code == 2 and "is 'lap', which is no profile" in answer.err and answer.err.count("\n") == 1, answer
