"""Turns at a host: few at once, with pauses, and silence where it asks for it."""

import datetime
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import format_datetime

import pytest

from assets.downloads.guarded_http import DownloadError
from assets.downloads.hosts import Hosts, seconds_asked


def begin(hosts: Hosts, name: str, *, hold_s: float = 0.0) -> float:
    with hosts.turn(name):
        moment = time.monotonic()
        time.sleep(hold_s)
        return moment


def test_requests_at_one_host_begin_with_a_pause_between_them_and_those_at_another_do_not_wait():
    hosts = Hosts(at_once=5, pause_s=0.2)
    with ThreadPoolExecutor(6) as pool:
        began = time.monotonic()
        slow = [pool.submit(begin, hosts, "a") for _ in range(4)]
        other = pool.submit(begin, hosts, "b").result() - began
        moments = sorted(future.result() for future in slow)
    assert other < 0.15
    assert all(later - earlier >= 0.195 for earlier, later in itertools.pairwise(moments))


def test_no_more_than_so_many_are_at_a_host_at_once():
    hosts, guard, now, most = Hosts(at_once=2), threading.Lock(), [0], [0]

    def visit(_) -> None:
        with hosts.turn("a"):
            with guard:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.03)
            with guard:
                now[0] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(8)))
    assert most == [2]


def test_a_host_that_asks_for_silence_gets_it_also_from_those_who_wait_already():
    hosts = Hosts(at_once=5, pause_s=0.1)
    begin(hosts, "a")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(begin, hosts, "a")
        time.sleep(0.02)
        hosts.hold("a", 0.5)
        held = time.monotonic()
        assert waiting.result() - held >= 0.49


def test_a_host_that_asks_for_too_long_a_silence_is_not_asked():
    hosts = Hosts(longest_wait_s=60)
    begin(hosts, "a")
    hosts.hold("a", 300)
    with pytest.raises(DownloadError, match=r"a asks to be left alone for (300|299) s more; try again later"):
        begin(hosts, "a")


def test_a_host_that_fails_again_and_again_is_left_alone():
    hosts = Hosts()
    for is_well in (False, False, False, False, True, False, False, False, False, False):
        begin(hosts, "a")
        hosts.note("a", is_well=is_well)
    with pytest.raises(DownloadError, match="a failed 5 times in a row and is left alone"):
        begin(hosts, "a")


def test_nobody_begins_or_waits_when_all_is_to_stop():
    hosts = Hosts()
    begin(hosts, "a")
    hosts.hold("a", 30)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(begin, hosts, "a")
        time.sleep(0.05)
        hosts.stop.set()
        with pytest.raises(DownloadError, match="stopped"):
            waiting.result(timeout=5)


def test_what_a_server_asks_for_may_be_seconds_or_a_date():
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    assert seconds_asked("7") == 7.0
    assert 98 <= seconds_asked(format_datetime(later, usegmt=True)) <= 100
    assert seconds_asked("Thu, 01 Jan 2015 00:00:00 GMT") == 0.0
    assert seconds_asked("") is None is seconds_asked("soon")
