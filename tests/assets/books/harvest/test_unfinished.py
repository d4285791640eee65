"""What a harvest remembers outside its output may be lost or torn without harm."""

import os
import time
from datetime import date

import pytest

from assets.books.harvest.stated import Stated, StatedFile
from assets.books.harvest.unfinished import Remembered, keep_reply, read_memory, recall_reply, write_memory

STATED = Stated("a", title="One", creators=("A",), files=(StatedFile("a.pdf", "Text PDF", 3, "0" * 32, "", False),))
MEMORY = {("tiny", "a"): Remembered("{}", date(2026, 1, 6), {"a.pdf": "0" * 32})}


def test_an_answer_is_recalled_on_the_same_day_and_to_the_same_question(tmp_path):
    keep_reply(tmp_path, "archive a", STATED)
    assert recall_reply(tmp_path, "archive a") == STATED
    assert recall_reply(tmp_path, "archive b") is None
    (path,) = tmp_path.iterdir()
    os.utime(path, (time.time() - 90_000, time.time() - 90_000))
    assert recall_reply(tmp_path, "archive a") is None


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"identifier": "a"}', b'{"nobody": "knows"}'])
def test_what_is_torn_counts_as_not_there(archive, tmp_path, torn):
    keep_reply(tmp_path / "replies", "archive a", STATED)
    (path,) = (tmp_path / "replies").iterdir()
    path.write_bytes(torn)
    assert recall_reply(tmp_path / "replies", "archive a") is None
    (tmp_path / "memory.json").write_bytes(torn)
    assert read_memory(tmp_path / "memory.json", archive.config()) == {}


def test_the_memory_holds_for_the_same_choice_alone(archive, tmp_path):
    write_memory(tmp_path / "memory.json", MEMORY, archive.config())
    assert read_memory(tmp_path / "memory.json", archive.config(timeout_s=9.0)) == MEMORY
    for other in ({"prefer": "jp2"}, {"files": "all"}, {"max_file_mib": 1}, {"max_items": 5}):
        assert read_memory(tmp_path / "memory.json", archive.config(**other)) == {}
