"""Bringing files of sentences together."""

import hashlib
from pathlib import Path

import pytest

from assets.downloads.guarded_http import DownloadError
from assets.words.sentence_sources import SentenceSourcesConfig, SourceError, gather_sentences
from formats.sentence_grammar import is_grammatical
from stages.params import ParamsError, build_config
from stages.reporting import Reporter
from tests.assets.downloads.conftest import server  # noqa: F401 - a fixture
from tests.assets.words.papers_folder import all_bytes

FOLDER = {"name": "mine", "kind": "local", "path": "mine", "licence": "CC0-1.0"}


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(*sources: dict, **more) -> SentenceSourcesConfig:
    return build_config(SentenceSourcesConfig, {"sources": list(sources), **more}, where="params.yaml: sentence_sources")


def gathered(*sources: dict, target: str = "data/sentence_sources", **more) -> list[dict]:
    return gather_sentences(config(*sources, **more), Path(target), figment=Path(".figment"), reporter=Reporter())


def test_a_folder_gives_its_texts_by_content_and_sets_aside_what_is_none():
    Path("mine/deep/.hidden").mkdir(parents=True)
    for name, content in {
        "b.txt": b"two",
        "a.txt": "naïve".encode("cp1252"),
        "deep/c": b"two",
        "fortunes.dat": b"\0\0\0\2",
        "wide.txt": "wide".encode("utf-16"),
        "huge.txt": b"x" * (2**20 + 1),
        ".git": b"no",
        "deep/.hidden/d": b"no",
    }.items():
        Path("mine", name).write_bytes(content)
    Path("mine/link.txt").symlink_to("b.txt")
    rows = {row["where"]: row for row in gathered(FOLDER, max_file_mib=1)}
    assert list(rows) == ["a.txt", "b.txt", "deep/c", "fortunes.dat", "huge.txt", "wide.txt"]
    assert {where: row.get("reason") for where, row in rows.items() if "file" not in row} == {
        "fortunes.dat": "no text: it holds zero bytes",
        "huge.txt": "over 1 MiB (max_file_mib)",
    }
    assert rows["b.txt"]["file"] == rows["deep/c"]["file"] == f"files/{hashlib.sha256(b'two').hexdigest()}"
    assert Path("data/sentence_sources", rows["a.txt"]["file"]).read_bytes() == "naïve".encode("cp1252")
    # What was there before, and the order in which a file system lists, decide nothing.
    gathered(FOLDER, max_file_mib=1, target="again/sentence_sources")
    assert all_bytes(Path("data")) == all_bytes(Path("again"))


def test_the_project_makes_up_sentences_itself():
    source = {"name": "ours", "kind": "imaginary", "count": 50, "licence": "CC0-1.0"}
    (row,) = gathered(source)
    lines = Path("data/sentence_sources", row["file"]).read_text().splitlines()
    assert len(set(lines)) == 50
    assert all(map(is_grammatical, lines))
    (other,) = gathered({**source, "seed": 1})
    assert other["sha256"] != row["sha256"]
    assert not Path("data/sentence_sources", row["file"]).exists()


def test_a_file_is_what_its_checksum_says():
    Path("a.txt").write_text("one\n")
    sha256 = hashlib.sha256(b"one\n").hexdigest()
    source = {**FOLDER, "path": "a.txt"}
    assert gathered({**source, "sha256": sha256.upper()})[0]["where"] == "a.txt"
    with pytest.raises(SourceError, match=f"source 'mine': a.txt has sha256 {sha256}, expected 0"):
        gathered({**source, "sha256": "0" * 64})
    with pytest.raises(SourceError, match="no such folder or file; `path` is read from the project root"):
        gathered({**source, "path": "b.txt"})
    with pytest.raises(SourceError, match="source .mine.: mine: no such"):
        gathered(FOLDER)


def test_a_source_without_text_is_an_error_and_the_previous_output_stays():
    Path("mine").mkdir()
    Path("mine/a").write_bytes(b"text")
    gathered(FOLDER)
    Path("mine/a").write_bytes(b"\0")
    with pytest.raises(SourceError, match="no text in it: a: no text: it holds zero bytes"):
        gathered(FOLDER)
    Path("mine/a").unlink()
    with pytest.raises(SourceError, match="no text in it: it is empty"):
        gathered(FOLDER)
    assert Path("data/sentence_sources/files").is_dir()


def test_a_file_behind_an_address_is_checked(server):  # noqa: F811
    server.content = b"a far sentence\n"
    sha256 = hashlib.sha256(server.content).hexdigest()
    source = {"name": "far", "kind": "url", "url": server.url, "licence": "CC0-1.0"}
    (row,) = gathered(source, allow_private_addresses=True)
    assert (row["sha256"], row["origin"]) == (sha256, server.url)
    asked = len(server.requests)
    gathered({**source, "sha256": sha256}, allow_private_addresses=True)
    assert len(server.requests) == asked  # It lies here already.
    with pytest.raises(DownloadError, match="source 'far'"):
        gathered({**source, "sha256": "0" * 64}, allow_private_addresses=True)
    with pytest.raises(DownloadError, match="source 'far'"):
        gathered(source)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"licence": "unknown"}, "allow_unknown_licence"),
        ({"path": ""}, "needs `path`"),
        ({"sha256": "0"}, "sha256 must be 64 hexadecimal digits"),
        ({"kind": "imaginary"}, "needs `count`"),
        ({"kind": "imaginary", "count": 10**7}, "count must be from 1 to 100,000"),
        ({"kind": "zip"}, "must be one of"),
        ({"format": "lins"}, "did you mean 'lines'"),
    ],
)
def test_what_a_source_cannot_be_is_refused(changes, complaint):
    with pytest.raises(ParamsError, match=complaint):
        config({**FOLDER, **changes})
