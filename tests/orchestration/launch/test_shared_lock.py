"""Machines of a lab, each with a clone, a cache and a memory of its own: what one makes the others take, nothing is made or published twice."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import lab
from tests.orchestration.bridge.toy import build, python_first

pytestmark = [pytest.mark.cluster, lab.needs_lab(), pytest.mark.timeout(300)]

_COMMAND = """\
import os, pathlib, sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
with open(os.environ["MADE"], "a") as log:
    log.write(name + "\\n")
out = pathlib.Path("data", name)
out.mkdir(parents=True, exist_ok=True)
time.sleep(seconds)
(out / "made.txt").write_text(pathlib.Path("raw.txt").read_text() * 1000)
"""


@dataclass
class Lab:
    """A PostgreSQL, an S3 with the DVC remote, and clones of one project."""

    folder: Path
    project_root: Path
    postgres: lab.Postgres
    s3: lab.S3
    env: dict[str, str]

    def clone(self, name: str) -> Path:
        subprocess.run(["git", "clone", "-q", str(self.folder / "first"), str(self.folder / name)], check=True)
        return self.folder / name

    def start(self, root: Path, *words: str, **env: str) -> subprocess.Popen:
        command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli.main", "--root", str(root), *words]
        variables = {**self.env, "PYTHONPATH": str(self.project_root), **env}
        return subprocess.Popen(
            command, cwd=self.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def ask(self, root: Path, *words: str, **env: str) -> tuple[int, str]:
        return ended(self.start(root, *words, **env))

    def made(self) -> list[str]:
        return Path(self.env["MADE"]).read_text().split()

    def await_made(self, count: int) -> None:
        lab.wait_for(lambda: len(self.made()) >= count, what=f"{count} commands", timeout_s=60)

    def await_turn(self) -> None:
        """Until somebody waits for a turn: for an advisory lock that it tries again and again, so by its session."""

        def sessions() -> int:
            return self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'figment turn'")[0][0]

        lab.wait_for(lambda: sessions() >= 2, what="one who waits", timeout_s=60)

    def sql(self, statement: str) -> list[tuple]:
        import psycopg2

        connection = psycopg2.connect(self.postgres.url_of("dagster"), password=self.postgres.env["PGPASSWORD"])
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()


def ended(process: subprocess.Popen) -> tuple[int, str]:
    words, _ = process.communicate(timeout=120)
    return process.returncode, words


def recorded(root: Path, stage: str) -> str:
    (out,) = yaml.safe_load((root / "dvc.lock").read_text())["stages"][stage]["outs"]
    return out["md5"]


@pytest.fixture
def shared(tmp_path: Path, project_root: Path) -> Iterator[Lab]:
    python_first()
    with lab.postgres() as postgres, lab.s3() as s3:
        made = tmp_path / "made.txt"
        made.touch()
        env = {**os.environ, **postgres.env, **s3.env, "MADE": str(made), "FIGMENT_TRACK": "jsonl"}
        stages = {
            name: {"cmd": f"python -SB command.py {name} {seconds}", "deps": ["command.py", "raw.txt"], "outs": [f"data/{name}"]}
            for name, seconds in (("slow", 6), ("quick", 0))
        }
        profile = {
            **{name: postgres.make_database(name) for name in ("dagster", "mlflow")},
            "artifacts": "s3://artifacts/mlflow",
            "s3_endpoint": s3.endpoint,
        }
        stores = {"use": "lab", "profiles": {"lab": profile}}
        ignored = "/.figment\n/data\n"
        files = {
            "dvc.yaml": yaml.safe_dump({"stages": stages}),
            "stores.yaml": yaml.safe_dump(stores),
            "command.py": _COMMAND,
            "raw.txt": "raw",
            ".gitignore": ignored,
            ".dvcignore": "/.figment\n",
        }
        toy = build(tmp_path / "first", files)
        remote = ["-q", "-d", "shared", s3.make_bucket("artifacts") + "/dvc"]
        toy.dvc("remote", "add", *remote)
        toy.dvc("remote", "modify", "shared", "endpointurl", s3.endpoint)
        toy.git_commit()
        yield Lab(tmp_path, project_root, postgres, s3, env)


def test_one_makes_and_the_other_takes_what_it_made_and_other_stages_go_on_beside(shared: Lab) -> None:
    first, second, third = shared.folder / "first", shared.clone("second"), shared.clone("third")
    makers = [shared.start(root, "materialize", "slow") for root in (first, second)]
    shared.await_made(1)
    code, words = shared.ask(third, "materialize", "quick")
    assert code == 0, words
    assert "quick" in shared.made() and any(maker.poll() is None for maker in makers)
    answers = [ended(maker) for maker in makers]
    assert [code for code, _ in answers] == [0, 0], answers
    assert sorted(shared.made()) == ["quick", "slow"]
    assert any(re.search(r"is being made by .* since .*; waiting to take what it makes", words) for _, words in answers), answers
    assert any("slow      restored" in words for _, words in answers), answers
    assert recorded(first, "slow") == recorded(second, "slow")
    assert (first / "data/slow/made.txt").read_bytes() == (second / "data/slow/made.txt").read_bytes()
    # Whoever comes later takes it as well, without a command.
    assert shared.ask(third, "materialize", "slow")[0] == 0 and len(shared.made()) == 2
    for root in (first, second):
        assert shared.ask(root, "materialize", "quick")[0] == 0
    assert len(shared.made()) == 2
    for root in (first, second, third):
        assert shared.ask(root, "status")[0] == 0
        # No server of MLflow runs here; everything else agrees.
        _, words = shared.ask(root, "doctor")
        assert "mlflow_unreachable" in words and "1 disagreement" in words, words


def test_a_holder_that_is_killed_gives_its_turn_away_and_takes_what_the_other_made(shared: Lab) -> None:
    first, second = shared.folder / "first", shared.clone("second")
    killed = shared.start(first, "materialize", "slow")
    shared.await_made(1)
    waiting = shared.start(second, "materialize", "slow")
    shared.await_turn()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    code, words = ended(waiting)
    assert code == 0, words
    assert shared.made() == ["slow", "slow"] and "taking over" in words
    code, words = shared.ask(first, "materialize", "slow")
    assert code == 0 and len(shared.made()) == 2 and "slow      restored" in words, words
    assert recorded(first, "slow") == recorded(second, "slow")


def test_a_database_that_is_killed_and_comes_back_costs_no_turn(shared: Lab) -> None:
    first, second = shared.folder / "first", shared.clone("second")
    maker = shared.start(first, "materialize", "slow")
    shared.await_made(1)
    shared.postgres.kill()
    time.sleep(1)
    shared.postgres.start()
    code, words = ended(maker)
    if code:  # Dagster's own events may have met the gap: the stage is made then, and only its run is not.
        code, words = shared.ask(first, "materialize", "slow")
    assert code == 0, words
    code, words = shared.ask(second, "materialize", "slow")
    assert code == 0 and shared.made() == ["slow"], words
    assert recorded(first, "slow") == recorded(second, "slow")


def test_a_holder_whose_turn_was_taken_publishes_nothing(shared: Lab) -> None:
    first, second = shared.folder / "first", shared.clone("second")
    cut_off = shared.start(first, "materialize", "slow")
    shared.await_made(1)
    # As when the network of one machine is gone: its session ends, and it hears of nothing for a while.
    os.kill(cut_off.pid, signal.SIGSTOP)
    shared.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'figment turn'")
    code, words = shared.ask(second, "materialize", "slow")
    assert code == 0 and "taking over" in words, words
    os.kill(cut_off.pid, signal.SIGCONT)
    code, words = ended(cut_off)
    assert code != 0 and "took over at" in words and "materialize slow again" in words, words
    assert "slow" not in ((yaml.safe_load((first / "dvc.lock").read_text()) or {}) if (first / "dvc.lock").exists() else {}).get("stages", {})
    code, words = shared.ask(first, "materialize", "slow")
    assert code == 0 and shared.made() == ["slow", "slow"] and recorded(first, "slow") == recorded(second, "slow"), words


def test_a_remote_that_lets_nobody_in_is_told_before_anything_runs(shared: Lab) -> None:
    first = shared.folder / "first"
    code, words = shared.ask(first, "materialize", "slow", AWS_SECRET_ACCESS_KEY="expired")
    assert code != 0 and "refuses the keys" in words and "renew AWS_ACCESS_KEY_ID" in words and "Traceback" not in words, words
    shared.s3.kill()
    code, words = shared.ask(first, "materialize", "slow")
    assert code != 0 and "cannot be reached" in words and "Traceback" not in words, words
    assert shared.made() == []


def test_a_remote_that_is_killed_while_a_stage_runs_is_waited_for(shared: Lab) -> None:
    first, second = shared.folder / "first", shared.clone("second")
    maker = shared.start(first, "materialize", "slow")
    shared.await_made(1)
    shared.s3.kill()
    assert maker.stdout is not None
    words = ""
    while "waits to be pushed" not in words:
        line = maker.stdout.readline()
        assert line, words
        words += line
    shared.s3.start()
    code, rest = ended(maker)
    assert code == 0, words + rest
    code, words = shared.ask(second, "materialize", "slow")
    assert code == 0 and shared.made() == ["slow"] and recorded(first, "slow") == recorded(second, "slow"), words
