import os
import shlex
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from orchestration.bridge.graph import command_of
from orchestration.bridge.process import Hold, LineReader, Outcome, run_command
from orchestration.bridge.survivors import is_running


def run(cmd: str | list[str], cwd: Path, **changes) -> tuple[Outcome, list[tuple[str, str]]]:
    lines: list[tuple[str, str]] = []
    options = {"env": os.environ, "on_output": lambda stream, line: lines.append((stream, line)), "cancelled": lambda: False} | changes
    return run_command(cmd, cwd=cwd, **options), lines


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_text_is_its_lines_and_a_list_its_items_as_in_dvc(tmp_path):
    """A stage keeps a text as one item, and a list of one with an empty second (`graph.command_of`)."""
    outcome, lines = run(command_of("cd /\nfalse\necho never"), tmp_path)
    assert (outcome.returncode, lines) == (1, [])

    outcome, lines = run(command_of(["cd /\nfalse\npwd"]), tmp_path)
    assert (outcome.returncode, lines) == (0, [("stdout", "/")])
    assert command_of("pwd") != command_of(["pwd"]) and command_of(["a", "b"]) == ("a", "b")


def test_the_lines_of_both_streams_arrive_with_the_exit_status(tmp_path):
    outcome, lines = run("echo one; echo two >&2; exit 3", tmp_path)

    assert sorted(lines) == [("stderr", "two"), ("stdout", "one")]
    assert (outcome.returncode, outcome.signal, outcome.stdout_tail, outcome.stderr_tail) == (3, None, "one", "two")
    assert not outcome.succeeded


def test_commands_run_in_order_until_one_fails(tmp_path):
    outcome, lines = run(["echo first", "false", "echo never"], tmp_path)

    assert (outcome.returncode, lines) == (1, [("stdout", "first")])


def test_each_line_of_a_string_is_a_command_of_its_own_as_for_dvc(tmp_path):
    _, lines = run("cd /\n\npwd", tmp_path)

    assert lines == [("stdout", str(tmp_path.resolve()))]


def test_an_empty_command_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="the command is empty"):
        run(" \n", tmp_path)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        run("true", tmp_path / "absent")


def test_a_shell_that_does_not_exist_is_named(tmp_path):
    outcome, lines = run("true", tmp_path, env={"SHELL": "/no/such/shell"})

    assert outcome.returncode == 127
    assert "/no/such/shell: No such file or directory" in lines[0][1]


def test_the_environment_is_exactly_what_was_given(tmp_path):
    _, lines = run("env", tmp_path, env={"SHELL": "/bin/sh", "ONLY": "this", "PATH": os.environ["PATH"]})

    names = {line.partition("=")[0] for _, line in lines}
    assert "ONLY" in names
    assert names <= {"SHELL", "ONLY", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}


def test_death_by_a_signal_is_reported_as_128_plus_its_number(tmp_path):
    outcome, _ = run("kill -SEGV $$", tmp_path)

    assert (outcome.returncode, outcome.signal) == (128 + signal.SIGSEGV, signal.SIGSEGV)


def test_a_signal_that_the_shell_passes_on_as_a_status_is_named_too(tmp_path):
    outcome, _ = run("sh -c 'kill -KILL $$'; exit $?", tmp_path)

    assert (outcome.returncode, outcome.signal) == (128 + signal.SIGKILL, signal.SIGKILL)


def test_peak_memory_and_processor_time_of_the_tree_are_measured(tmp_path):
    program = "x = bytearray(b'1') * 120_000_000; sum(i for i in range(2_000_000))"
    outcome, _ = run(f"{sys.executable} -S -c {shlex.quote(program)}", tmp_path)

    assert 120e6 < outcome.peak_rss_bytes < 400e6
    assert 0.02 < outcome.cpu_seconds <= outcome.seconds * os.cpu_count() + 0.1


def test_cancelling_ends_children_that_left_the_session(tmp_path):
    cancelled = threading.Event()
    pids: list[int] = []

    def on_output(_, line):
        pids.append(int(line))
        cancelled.set()

    started = time.monotonic()
    outcome, _ = run("setsid sh -c 'echo $$; exec sleep 300' & sleep 300", tmp_path, on_output=on_output, cancelled=cancelled)

    assert (outcome.cancelled, outcome.returncode) == (True, 128 + signal.SIGTERM)
    assert not is_running(pids[0])
    assert time.monotonic() - started < 5


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path):
    cancelled = threading.Event()
    outcome, _ = run(
        "trap '' TERM; echo ready; while :; do sleep 0.1; done", tmp_path, on_output=lambda *_: cancelled.set(), cancelled=cancelled, grace_s=0.5
    )

    assert outcome.signal == signal.SIGKILL
    assert 0.5 < outcome.seconds < 5


def test_a_command_may_clean_up_within_the_grace_period(tmp_path):
    cancelled = threading.Event()
    command = "trap 'echo saved > checkpoint; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    outcome, _ = run(command, tmp_path, on_output=lambda *_: cancelled.set(), cancelled=cancelled)

    assert (tmp_path / "checkpoint").read_text() == "saved\n"
    assert (outcome.returncode, outcome.cancelled) == (5, True)


def test_what_a_finished_command_left_in_the_background_is_ended_and_counted(tmp_path):
    outcome, lines = run("setsid sh -c 'echo $$; exec sleep 300' & sleep 0.3", tmp_path)

    assert (outcome.returncode, outcome.leftovers) == (0, 1)
    assert not is_running(int(lines[0][1]))


def test_an_exception_in_on_output_ends_the_tree_and_is_raised_on(tmp_path):
    pids: list[int] = []

    def on_output(_, line):
        pids.append(int(line))
        raise RuntimeError("the listener failed")

    with pytest.raises(RuntimeError, match="the listener failed"):
        run("echo $$; sleep 300", tmp_path, on_output=on_output)
    assert not is_running(pids[0])


def test_a_killed_supervisor_takes_the_command_with_it(tmp_path):
    pids: list[int] = []

    def on_output(_, line):
        pids.append(int(line))
        psutil.Process(pids[0]).parent().kill()

    outcome, _ = run("echo $$; exec sleep 300", tmp_path, on_output=on_output)

    assert (outcome.returncode, outcome.signal, outcome.peak_rss_bytes) == (128 + signal.SIGKILL, signal.SIGKILL, None)
    wait_until(lambda: not is_running(pids[0]))


def test_what_outlives_a_killed_supervisor_is_found_by_its_mark_and_ended(tmp_path):
    pids: list[int] = []
    # Started by Python, which hands on no open file, and in a session of its own: only its environment still says where it belongs.
    child = "import subprocess; subprocess.Popen(['sh', '-c', 'echo $$; exec sleep 300'], start_new_session=True).wait()"

    def on_output(_, line):
        pids.append(int(line))
        if len(pids) == 2:
            psutil.Process(pids[0]).kill()

    outcome, _ = run(f"echo $PPID; {shlex.quote(sys.executable)} -c {shlex.quote(child)}", tmp_path, on_output=on_output, hold=Hold(mark="test-mark"))

    assert outcome.signal == signal.SIGKILL and outcome.leftovers > 0
    assert not is_running(pids[1])


def test_a_command_that_ends_well_because_its_supervisor_was_told_to_end_has_not_succeeded(tmp_path):
    def on_output(stream, line):
        if stream == "stdout":
            os.kill(int(line), signal.SIGTERM)

    outcome, _ = run("trap 'exit 0' TERM; echo $PPID; while :; do sleep 0.05; done", tmp_path, on_output=on_output)

    assert not outcome.succeeded and (outcome.returncode, outcome.signal) == (128 + signal.SIGTERM, signal.SIGTERM)


def test_many_threads_run_commands_at_once_without_mixing_them_up(tmp_path):
    results: dict[int, list[tuple[str, str]]] = {}

    def work(number: int) -> None:
        results[number] = run(f"echo {number}; sleep 0.1; echo {number}", tmp_path)[1]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [("stdout", str(number))] * 2 for number in range(16)}


def test_a_line_of_ten_megabytes_is_cut_and_costs_no_memory(tmp_path):
    program = "import sys; sys.stdout.write('x' * 10_000_000 + '\\nnext\\n')"
    tracemalloc.start()
    _, lines = run(f"{sys.executable} -S -c {shlex.quote(program)}", tmp_path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [len(line) < 17_000 for _, line in lines] == [True, True]
    assert lines[0][1].endswith("(9,983,616 more bytes of this line are not shown)")
    assert lines[1] == ("stdout", "next")
    assert peak_bytes < 2_000_000


def test_bytes_that_are_no_utf8_are_replaced():
    assert LineReader().feed(b"caf\xe9\n") == ["caf\ufffd"]


def test_a_character_cut_in_two_by_the_pipe_stays_whole():
    reader = LineReader()

    assert reader.feed("é\n".encode()[:1]) + reader.feed("é\n".encode()[1:]) == ["é"]


def test_line_ends_of_three_kinds_are_understood_wherever_the_pipe_cuts():
    text = b"one\r\ntwo\n\nthree\r\nfour"
    for cut in range(len(text)):
        reader = LineReader()
        assert reader.feed(text[:cut]) + reader.feed(text[cut:]) + reader.close() == ["one", "two", "", "three", "four"], cut


def test_a_progress_bar_is_let_through_now_and_then_and_in_its_last_state():
    reader = LineReader(progress_every_s=60.0)

    lines = [line for percent in range(101) for line in reader.feed(f"\r{percent} %".encode())] + reader.feed(b"\ndone\n")

    assert lines == ["0 %", "100 %", "done"]


def test_a_progress_bar_that_ends_without_a_line_end_shows_its_last_state():
    reader = LineReader(progress_every_s=60.0)

    assert reader.feed(b"1 %\r2 %\r3 %\r") + reader.close() == ["1 %", "3 %"]
