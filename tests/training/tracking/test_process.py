import os
import socket
import subprocess
import sys
import time

from training.tracking.journal import TrackingError
from training.tracking.process import SystemSampler, is_dead, this_process


def test_this_process_lives_and_one_that_ended_is_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_dead(this_process())
    assert is_dead({**this_process(), "pid": ended.pid})


def test_a_process_id_taken_over_by_a_later_process_counts_as_dead() -> None:
    assert is_dead({**this_process(), "started": this_process()["started"] - 3600})


def test_a_clock_that_was_put_right_kills_nobody() -> None:
    assert not is_dead({**this_process(), "started": this_process()["started"] - 5})


def test_a_process_that_nobody_has_waited_for_yet_is_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = time.time()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead({"host": socket.gethostname(), "pid": ended.pid, "started": started})
    ended.wait()


def test_nothing_is_said_about_processes_of_other_machines() -> None:
    assert not is_dead({"host": "elsewhere.example", "pid": 1, "started": 0.0})
    assert not is_dead({})


def test_the_sampler_reads_the_machine_until_it_is_stopped_and_survives_a_reading_that_fails() -> None:
    readings: list[dict[str, float]] = []

    def record(values: dict[str, float]) -> None:
        readings.append(values)
        if len(readings) == 1:
            raise TrackingError("the disk is full")

    sampler = SystemSampler(record, every_s=0.02)
    sampler.start()
    deadline = time.monotonic() + 10
    while len(readings) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    sampler.stop()
    count = len(readings)
    time.sleep(0.1)
    assert count >= 3 and len(readings) == count
    assert readings[0]["system/process_memory_usage_megabytes"] > 1
    assert 0 <= readings[0]["system/system_memory_usage_percentage"] <= 100
