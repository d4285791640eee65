"""A supervised program: as without a supervisor, except that a page can end it and that it then goes on without that page."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.papers.guarded_reading import BEYOND, is_beyond, read_guarded, seconds_for
from assets.papers.items import Page, Parsed

ROOT = Path(__file__).resolve().parents[3]
PAGE = Page("http://x.example/1", b"<p>", "article", "x")
PROGRAM = """
import os, re, sys, time
from assets.papers import guarded_reading as guarded
from assets.papers.items import Page, Paper, Parsed

def read(page):
    if page.url.endswith("costly"):
        re.match("(a+)+$", "a" * 60 + "b")
    if page.url.endswith("large"):
        return Parsed(papers=tuple(bytes(2**20) for _ in range(2**16)))
    return Parsed(papers=(Paper(page.url, page.url),))

def main():
    guarded._SECONDS, guarded._MEMORY = 0.1, 2**27
    for name in sys.argv[1:]:
        if name == "wait":
            print(os.getpid(), flush=True)
            time.sleep(60)
        said = guarded.read_guarded(read, Page(name, b"x", "article", "x"))
        print(name, len(said.papers), *(problem.words for problem in said.problems), flush=True)
    return 7

sys.exit(guarded.supervised(main))
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs are supervised on Linux")


def start(*names: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *names], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_without_a_supervisor_a_page_is_read_as_ever():
    assert read_guarded(lambda page: Parsed(), PAGE) == Parsed()
    assert not is_beyond(Parsed())
    assert seconds_for(PAGE) < seconds_for(Page(PAGE.url, b"x" * 2**20, "article", "x"))


def test_a_page_that_ends_the_program_is_set_aside_and_the_code_is_that_of_the_last():
    process = start("good", "large", "costly", "fine")
    words, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    lines = words.splitlines()
    assert lines[0] == "good 1" and lines[-1] == "fine 1", "it begins again, and comes to its end"
    told = {line.split()[0]: line for line in lines if BEYOND in line}
    assert "more than 128 MiB" in told["large"] and "longer than any page may" in told["costly"]
    assert "figment: costly: reading it took longer than any page may; it is set aside" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_its_supervisor_and_as_it_was_told_to(number):
    process = start("wait")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline, "the child goes on by itself"
        time.sleep(0.01)
