"""Pages that are empty until their scripts have run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assets.papers.crawl.rendering import MARK
from assets.papers.page_objects import find_page_object
from assets.papers.raw_pages import RawPages

from .misbehaving import Handler, Sites, picture

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[4]

SHELL = b"""<!DOCTYPE html><html><body><div id="list"></div><img src="http://elsewhere.example/pixel.png">
<script src="http://tracker.example/spy.js"></script><script src="/list.js"></script></body></html>"""
SCRIPT = b"""fetch('/items.json').then(answer => answer.json()).then(items => {
  document.getElementById('list').innerHTML = items.map(item => '<div class="issue-item clearfix"><h5 class="issue-item_title">'
    + '<a href="/doi/' + item.doi + '" title="' + item.title + '">' + item.title + '</a></h5><img data-src="/images/one.png"></div>').join('');
});"""


def test_a_page_made_by_scripts_is_drawn_read_and_stored_as_drawn(tmp_path: Path) -> None:
    sites = Sites()
    agents: list[str] = []

    def answer(handler: Handler, path: str) -> None:
        agents.append(handler.headers["User-Agent"])
        if path == "/toc/1/1":
            handler.send(200, SHELL)
        elif path == "/list.js":
            handler.send(200, SCRIPT, "text/javascript")
        elif path == "/items.json":
            handler.send(200, json.dumps([{"doi": "10.5555/scripted.1", "title": "Drawn at last"}]).encode(), "application/json")
        else:
            handler.send(200, picture(), "image/png")

    sites.answers = {"scripted.example": answer}
    source = {"name": "scripted", "page": "acs_lists", "start": ["http://scripted.example/toc/1/1"], "licence": "CC0-1.0", "via": sites.proxy}
    params = {"contact": "crawl@imaginary-letters.org", "delay_s": 0, "timeout_s": 30, "sources": [source | {"render": True}]}
    (tmp_path / "params.yaml").write_text(json.dumps({"journal_pages": params}))
    command = [sys.executable, "-m", "assets.papers.crawl", "--params", "params.yaml", "--data", "data"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    sites.close()
    assert done.returncode == 0, done.stderr

    with RawPages(tmp_path / "data/journal_pages") as raw:
        assert raw.problems() == []
        (record,) = [record for record in raw.records() if record.kind == "index"]
        (paper,) = find_page_object("acs_lists")(raw.page(record)).papers
        assert (paper.title, paper.doi) == ("Drawn at last", "10.5555/scripted.1")
        assert raw.headers(record)[MARK.lower()].startswith("Chromium ")
        assert [record.status for record in raw.records() if record.kind == "image"] == [200]
        assert raw.problems() == []
    assert not [url for url in sites.asked if "tracker" in url or "elsewhere" in url]
    assert all("figment/" in agent and "crawl@imaginary-letters.org" in agent for agent in agents)
