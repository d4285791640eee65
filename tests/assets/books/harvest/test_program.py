"""The stage as a program: what it says, and how it fails."""

import json

import pytest

from assets.books.harvest.__main__ import main
from tests.assets.books.harvest.tiny_archive import Book


@pytest.fixture
def run(archive, tmp_path, monkeypatch, capsys):
    """Runs the stage in tmp_path; gives its exit status and the lines it said. Keywords are parameters."""
    monkeypatch.chdir(tmp_path)

    def once(**values) -> tuple[int, list[str]]:
        source = {"name": "tiny", "licence": "unknown", "host": archive.url, "collection": "books"}
        known = {"contact": "me@uni.edu", "allow_private_addresses": True, "delay_s": 0, "retries": 0, "sources": [source]}
        (tmp_path / "params.yaml").write_text(json.dumps({"archive_items": known | values}))
        status = main([])
        return status, capsys.readouterr().err.splitlines()

    return once


def test_it_tells_what_it_did_and_what_is_amiss(archive, run):
    archive.add("a", "b")
    archive.books["c"] = Book({"c.pdf": ("Text PDF", b"<html></html>")})
    status, lines = run()
    assert status == 0
    assert lines[-1] == ("archive_items: 2 items here, 0.0 MB; 3 asked about, 3 new, 0 changed, 0 gone dark, 1 set aside, 0 problems")
    assert "check licences_known failed (WARN): items_of_unknown_licence=2" in lines
    assert run()[1][-1].endswith("0 asked about, 0 new, 0 changed, 0 gone dark, 1 set aside, 0 problems; nothing new")


def test_a_source_that_does_not_answer_fails_its_check_and_not_the_stage(archive, run):
    archive.add("a")
    run()
    archive.answer = lambda handler, path: archive.send(handler, status=503)
    status, lines = run()
    assert status == 0
    assert any(line.startswith("check sources_answered failed (WARN): sources=['tiny'], first=http://127.0.0.1:") for line in lines)


def test_items_that_collapse_fail_their_check(archive, run):
    archive.add("a", "b", "c")
    run()
    for book in archive.books.values():
        book.is_dark = True
    assert "check items_did_not_collapse failed (WARN): items=0, items_before=3" in run()[1]


def test_it_fails_in_one_line(archive, run, monkeypatch):
    archive.answer = lambda handler, path: archive.send(handler, status=503)
    status, lines = run()
    assert (status, lines[-1].startswith("figment: nothing could be harvested: http://127.0.0.1:")) == (1, True)
    status, lines = run(contact="me@figment.example")
    assert (status, lines[-1].startswith("figment: params.yaml: archive_items.contact 'me@figment.example' reaches nobody")) == (2, True)
    monkeypatch.setenv("IA_ACCESS_KEY_ID", "half-a-key")
    status, lines = run()
    assert (status, "half-a-key" in lines[-1], "one of the two keys" in lines[-1]) == (2, False, True)


def test_keys_of_an_account_are_in_no_output_and_no_log(archive, run, monkeypatch, tmp_path):
    """They are not even told to an archive that is not archive.org."""
    monkeypatch.setenv("IA_ACCESS_KEY_ID", "the-access-key")
    monkeypatch.setenv("IA_SECRET_ACCESS_KEY", "the-secret-key")
    archive.add("a")
    _, lines = run()
    everything = "".join(lines).encode() + b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for key in ("the-access-key", "the-secret-key"):
        assert key.encode() not in everything
        assert not any(key in value for headers in archive.headers for value in headers.values())
