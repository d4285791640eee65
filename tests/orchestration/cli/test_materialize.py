"""`figment materialize`: what it takes on, what it says, and how it ends, with real Dagster runs."""

import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from orchestration.bridge.status import StageStatus
from orchestration.runs.selection import plan_everything, plan_names
from tests.orchestration.bridge.toy import STAGES, Toy
from tests.orchestration.cli.figment import figment


def outcomes(text: str) -> dict[str, str]:
    """artifact -> outcome, from the final table."""
    rows = text.rpartition("artifact")[2].splitlines()[1:]
    return {row.split()[0]: re.split(r"\s{2,}", row)[1] for row in rows if row.strip()}


def statuses(stale: set[str]) -> dict[str, StageStatus]:
    return {name: StageStatus(name, "stale" if name in stale else "fresh", (), "id") for name in STAGES}


def test_a_name_takes_on_what_is_stale_above_it_and_nothing_beside_or_below_it(known_toy: Toy):
    graph = known_toy.project().graph
    plan = plan_names(graph, statuses({"evens", "side"}), ["total"], force=False, with_upstream=False)
    assert (plan.due, plan.following) == (("evens",), ("total",))


def test_a_fresh_name_with_a_fresh_upstream_is_nothing_to_do_unless_forced(known_toy: Toy):
    graph = known_toy.project().graph
    assert plan_names(graph, statuses({"side"}), ["total"], force=False, with_upstream=False).names == ()
    assert plan_names(graph, statuses(set()), ["total"], force=True, with_upstream=False).forced == {"total"}
    assert plan_names(graph, statuses(set()), ["total"], force=True, with_upstream=True).forced == {"rows", "evens", "total"}


def test_everything_stale_brings_what_is_made_from_it(known_toy: Toy):
    graph = known_toy.project().graph
    plan = plan_everything(graph, statuses({"evens"}), force=False, only_stale=True)
    assert (plan.due, plan.following) == (("evens",), ("total", "report"))
    assert plan_everything(graph, statuses(set()), force=True, only_stale=False).forced == set(STAGES)


def test_with_nothing_to_do_nothing_is_run(known_toy: Toy):
    before = {name: known_toy.runs(name) for name in STAGES}
    answer = figment(known_toy.root, "materialize", "--all")
    assert (answer.code, answer.out) == (0, "nothing to do: 5 artifacts up to date\n")
    assert {name: known_toy.runs(name) for name in STAGES} == before


def test_both_doors_agree_after_a_param_was_edited(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    answer = figment(known_toy.root, "materialize", "--stale")
    assert answer.code == 0, answer
    assert outcomes(answer.out) == {"evens": "made", "total": "made", "report": "made"}
    places = re.findall(r"^\[(\d of \d)\] (\w+): made in [\d.]+ s; .* so far", answer.out, flags=re.MULTILINE)
    assert places == [("1 of 3", "evens"), ("2 of 3", "total"), ("3 of 3", "report")]
    assert re.search(r"^Dagster run \S+: 3 artifacts in ", answer.out, flags=re.MULTILINE)
    assert known_toy.dvc_status() == {}
    assert known_toy.repro(dry=True) == set()
    assert figment(known_toy.root, "doctor").code == 0


def test_equal_bytes_stop_the_propagation(known_toy: Toy):
    known_toy.replace("params.yaml", "note: first", "note: second")
    before = known_toy.runs("evens")
    answer = figment(known_toy.root, "materialize", "rows", "report")
    assert outcomes(answer.out) == {"rows": "made", "evens": "unchanged", "total": "unchanged", "report": "unchanged"}
    assert known_toy.runs("evens") == before


def test_force_makes_a_fresh_artifact_again(known_toy: Toy):
    before = known_toy.runs("side")
    answer = figment(known_toy.root, "materialize", "side", "--force")
    assert (answer.code, outcomes(answer.out)) == (0, {"side": "made"})
    assert known_toy.runs("side") == before + 1


def test_a_failing_stage_speaks_in_its_own_words_and_the_independent_ones_finish(known_toy: Toy):
    known_toy.replace("code/evens.py", "modulo = int", "raise ValueError('seven is odd')\nmodulo = int")
    known_toy.replace("params.yaml", "word: tea", "word: coffee")
    answer = figment(known_toy.root, "materialize", "--stale")
    assert answer.code == 1
    assert outcomes(answer.out) == {"evens": "failed", "total": "not run", "report": "not run", "side": "made"}
    told = dict(re.findall(r"^\[\d of 4\] (\w+): (failed after|made in|not run)", answer.out, flags=re.MULTILINE))
    assert told == {"evens": "failed after", "total": "not run", "report": "not run", "side": "made in"}
    failure = answer.err[answer.err.index("figment: evens failed") :]
    assert failure.startswith("figment: evens failed: ValueError: seven is odd\n")
    assert "site-packages" not in answer.err
    assert "orchestration/" not in answer.err


def test_what_dvc_repro_made_is_told_to_dagster_even_when_there_is_nothing_to_do(known_toy: Toy):
    known_toy.replace("params.yaml", "word: tea", "word: coffee")
    known_toy.repro()
    answer = figment(known_toy.root, "materialize", "--all")
    assert answer.code == 0
    assert "side: dvc.lock has a version that Dagster did not know; reported" in answer.out
    assert figment(known_toy.root, "why", "side", "--json").json["dagster"]["agrees"] is True
    assert figment(known_toy.root, "materialize", "--all").out == "nothing to do: 5 artifacts up to date\n"


def test_a_malformed_compute_yaml_is_one_line_and_exit_code_2(known_toy: Toy):
    known_toy.write("compute.yaml", "gpuu: {limit: 1}\n")
    answer = figment(known_toy.root, "materialize", "side", "--force")
    assert answer.code == 2
    assert "compute.yaml" in answer.err
    assert len(answer.err.splitlines()) == 1


def start_sleeping_side(toy: Toy) -> tuple[subprocess.Popen, int]:
    """`figment materialize side` in a process of its own, once its command has started a child; that child's process id."""
    sleep = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\nwrite('data/pids', str(child.pid))\nchild.wait()\n"
    toy.replace("code/side.py", "write(", f"{sleep}write(")
    words = [sys.executable, "-m", "orchestration.cli.main", "--root", str(toy.root), "materialize", "side"]
    started = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    pids = toy.root / "data/pids"
    deadline = time.monotonic() + 60
    while not pids.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return started, int(pids.read_text())


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and whom nobody has buried yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_stage_and_its_children_and_records_nothing(known_toy: Toy, number: signal.Signals):
    started, child = start_sleeping_side(known_toy)
    started.send_signal(number)
    out, _ = started.communicate(timeout=60)
    assert started.returncode == 130, out
    assert "interrupted" in out
    assert outcomes(out) == {"side": "cancelled"}
    assert ends_within(5, child)
    assert "side" in known_toy.stale()
    assert figment(known_toy.root, "doctor", "--json").json["running"] == []


def test_after_a_kill_no_process_is_left_and_the_doctor_ends_the_run_in_dagster(known_toy: Toy):
    started, child = start_sleeping_side(known_toy)
    started.kill()
    started.communicate(timeout=60)
    assert ends_within(30, child)
    (known_toy.root / "data/pids").unlink()
    document = figment(known_toy.root, "doctor", "--repair", "--json").json
    assert "dagster_run_dead" in {finding["kind"] for finding in document["findings"]}
    assert {finding["kind"] for finding in document["remaining"]} <= {"output_missing"}
    known_toy.replace("code/side.py", "child.wait()", "child.kill()")
    assert figment(known_toy.root, "materialize", "side").code == 0
    assert figment(known_toy.root, "doctor").code == 0
