"""The table of what was tried."""

import pytest

from tests.hostility import MARKS, recorder, table, write_into


def test_sums_by_set_stand_between_the_marks(tmp_path):
    kept: list[tuple[str, object]] = [("other", 1)]
    tried = recorder(lambda key, value: kept.append((key, value)))
    tried("pickles", 20)
    tried("pages", 7, got_through=1)
    tried("pickles", 2_000, lost=3)

    lines = table(kept)

    assert lines[2:] == ["| pages | 7 | 1 | 0 |", "| pickles | 2,020 | 0 | 3 |"]
    page = tmp_path / "SECURITY.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write_into(page, lines)
    write_into(page, lines)
    assert page.read_text() == "\n".join(["before", MARKS[0], *lines, MARKS[1], "after", ""])
    with pytest.raises(ValueError, match="nothing was tried"):
        tried("pages", 0)


def test_a_page_without_marks_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("mine\n")
    with pytest.raises(ValueError, match="two marks"):
        write_into(page, ["| x |"])
    assert page.read_text() == "mine\n"
    assert table([]) == []
