"""docs/journals.md does what it says: its page object gives its output for its page, and its entries are accepted."""

import importlib
import json
import re
import sys

import pytest

from assets.papers.items import Page
from assets.papers.pages import PAGES
from tests.assets.papers.pages.cases import as_json

URL = "https://nothing.example/years/2024"


@pytest.fixture(scope="module")
def blocks(project_root):
    """The code blocks of the page, by language."""
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", (project_root / "docs" / "journals.md").read_text(), re.DOTALL | re.MULTILINE):
        found.setdefault(language, []).append(text)
    return found


@pytest.fixture
def parse(blocks, tmp_path, monkeypatch):
    """The page object of the example, imported from a file as a user would."""
    (tmp_path / "letters_of_nothing.py").write_text(blocks["python"][0])
    (tmp_path / "letters_at_home.py").write_text(blocks["python"][1])
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("letters_of_nothing").parse
    for name in ("letters_of_nothing", "letters_at_home"):
        sys.modules.pop(name, None)


def test_the_worked_example_says_what_the_page_claims(blocks, parse):
    said = as_json(parse(Page(URL, blocks["html"][0].encode(), "index", "letters_of_nothing", "text/html; charset=utf-8")))
    for link in said["links"]:
        link.pop("fingerprint", None)
    assert said == json.loads(blocks["json"][0])


def test_the_worked_example_sets_a_bad_item_aside(parse):
    result = parse(Page(URL, b'<article class="letter"><h2>No DOI</h2></article>', "index", "x"))
    assert not result.papers and "without title or DOI: 'No DOI'" in result.problems[0].words


def test_every_entry_is_accepted_as_a_source(blocks, parse, monkeypatch):
    yaml = pytest.importorskip("yaml")
    from assets.papers.crawl.config import JournalPagesConfig, SourceParams

    monkeypatch.setitem(PAGES, "letters_of_nothing", parse)
    sources = [SourceParams(**entry) for text in blocks["yaml"] for entry in yaml.safe_load(text)]
    assert len(sources) == 9
    JournalPagesConfig(contact="someone@lab.org", sources=sources)


def test_every_page_object_is_in_the_table(project_root):
    text = (project_root / "docs" / "journals.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])) == sorted(PAGES)
