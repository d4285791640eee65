"""A training whose stores are killed under it, one at a time: afterwards every value is there once, every file too, and the doctor is content."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.ports import free_port
from tests import lab
from tests.orchestration.bridge.toy import Toy
from tests.orchestration.cli.figment import figment

pytestmark = [pytest.mark.cluster, lab.needs_lab()]

# Reports a value every 20 ms and a file every fiftieth, until told that the outage is over, and then for fifty more.
_TRAINING = """
import sys, time
from pathlib import Path
from stages.reporting import Reporter
from training.tracking import sender
from training.tracking.tracker import InputArtifact, open_tracker

sender._SEND_EVERY_S, sender._LONGEST_PAUSE_S = 0.1, 0.5
root, id = Path(sys.argv[1]), sys.argv[2]
read, step, last, note = InputArtifact("rows", root / "data/rows", id), 0, None, root.parent / "note.txt"
with open_tracker("total", run_key="k", config={}, inputs=[read], state_dir=root / ".figment", resume_step=None, reporter=Reporter()) as tracker:
    while last is None or step < last:
        tracker.metrics(step, {"loss": 1 / (step + 1)})
        if step % 50 == 0:
            note.write_text(str(step))
            tracker.artifact(note, f"at-{step}")
        (root.parent / "step").write_text(str(step))
        if last is None and (root.parent / "over").exists():
            last = step + 50
        step += 1
        time.sleep(0.02)
print(step)
"""


@pytest.mark.parametrize("victim", ["postgres", "s3", "mlflow"])
def test_a_series_is_whole_after_a_store_was_killed_in_the_middle_of_a_training(known_toy: Toy, victim: str, tmp_path: Path) -> None:
    root = known_toy.root
    project = known_toy.project()
    id = project.lock().entries["rows"].output_id(project.graph["rows"])
    with lab.postgres() as postgres, lab.s3() as s3:
        os.environ.update({**postgres.env, **s3.env})
        databases = {name: postgres.make_database(name) for name in ("dagster", "mlflow")}
        profile = {
            **databases,
            "artifacts": s3.make_bucket("figment"),
            "s3_endpoint": s3.endpoint,
            "mlflow_server": f"http://127.0.0.1:{free_port()}",
        }
        (root / "stores.yaml").write_text("use: lab\nprofiles:\n  lab:\n" + "".join(f"    {key}: {value}\n" for key, value in profile.items()))
        with lab.mlflow(root) as mlflow:
            server = {"postgres": postgres, "s3": s3, "mlflow": mlflow}[victim]
            training = subprocess.Popen([sys.executable, "-c", _TRAINING, str(root), str(id)], cwd=known_toy.root, stdout=subprocess.PIPE, text=True)
            try:
                _wait_for_steps(tmp_path, training, lambda step: step > 60 and _sent(root) > 0)
                server.kill()
                killed_at = int((tmp_path / "step").read_text())
                # Long enough that values and files had to wait.
                _wait_for_steps(tmp_path, training, lambda step: step > killed_at + 120)
                assert not server.answers()
                server.start()
                (tmp_path / "over").touch()
                out, _ = training.communicate(timeout=120)
                assert training.returncode == 0
            finally:
                training.kill()
                training.wait()
            _expect_whole(root, int(out))
            # The doctor tells Dagster of a lab what dvc.lock has: its database is new here.
            assert figment(root, "doctor", "--repair").code == 0
            answer = figment(root, "doctor")
            assert answer.code == 0, answer


def _sent(root: Path) -> int:
    from training.tracking.journal import journal_folders, read_sent

    return sum(read_sent(folder).get("offset", 0) for folder in journal_folders(root / ".figment"))


def _wait_for_steps(folder: Path, training: subprocess.Popen, enough: Callable[[int], bool]) -> None:
    def reached() -> bool:
        assert training.poll() is None, "the training ended"
        text = (folder / "step").read_text() if (folder / "step").exists() else ""
        return bool(text) and enough(int(text))

    lab.wait_for(reached, what="the training's steps", timeout_s=120)


def _expect_whole(root: Path, steps: int) -> None:
    from training.tracking.journal import has_unsent, journal_folders
    from training.tracking.store import open_client, tracking_uri
    from training.tracking.tracker import replay

    state = root / ".figment"
    # What the bounded time at the end did not suffice for.
    assert not replay(state).troubles
    (folder,) = journal_folders(state)
    assert not has_unsent(folder) and not (folder / "refused.jsonl").exists()
    client: Any = open_client(tracking_uri(state))
    (run,) = client.search_runs([client.get_experiment_by_name("total").experiment_id])
    assert run.info.status == "FINISHED"
    assert sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "loss")) == [
        (step, 1 / (step + 1)) for step in range(steps)
    ]
    folders = [entry.path for entry in client.list_artifacts(run.info.run_id) if entry.is_dir]
    files = [file.path for folder in folders for file in client.list_artifacts(run.info.run_id, folder)]
    assert sorted(files) == sorted(f"at-{step}/note.txt" for step in range(0, steps, 50))
