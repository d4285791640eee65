"""The report per source counts what the tables hold, and says what is missing where there are none."""

import pytest

from assets.papers.sources_report import SourceReport, main, markdown


def test_without_the_artifacts_it_says_what_to_run(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 1
    assert "figment materialize papers" in capsys.readouterr().err


def test_names_of_others_cannot_break_the_table():
    text = markdown([SourceReport("a|b\n<script>", licence="CC-BY", papers=1_000, usable=3, set_aside={"too_small": 2})])
    (row,) = text.splitlines()[2:]
    assert "<script>" not in row and row.count("|") == 11
    assert "1,000" in row and "2 too small" in row


@pytest.mark.parametrize(("usable", "shown"), [(None, "| - |"), (0, "| 0 |")])
def test_pictures_that_were_not_decoded_are_not_called_none(usable, shown):
    assert shown in markdown([SourceReport("x", usable=usable)])
