"""Foreign text in Markdown stays text."""

from hypothesis import given
from hypothesis import strategies as st

from stages.markdown import counted, escape, png_data_uri, table


@given(st.text(max_size=300))
def test_escaped_text_holds_no_html_no_cell_border_and_no_line_break(text):
    escaped = escape(text)
    assert not set("<>|\n\r") & set(escaped)


def test_links_and_emphasis_lose_their_meaning():
    assert escape("[*]CC[*]") == r"\[\*\]CC\[\*\]"
    assert escape("![x](javascript:y)") == r"\!\[x\]\(javascript:y\)"


def test_long_text_is_cut_with_a_sign():
    assert escape("C" * 1000) == "C" * 199 + "…"


def test_a_table_has_a_head_a_rule_and_its_rows():
    assert table(["name", "value"], [["a", "1"]]) == "| name | value |\n|:---|---:|\n| a | 1 |\n"


def test_counts_come_most_first_with_their_names_escaped():
    assert counted("reason", "rows", {"b": 1, "a_1": 1, "c": 2_000}) == "| reason | rows |\n|:---|---:|\n| c | 2,000 |\n| a\\_1 | 1 |\n| b | 1 |\n"


def test_a_picture_becomes_its_own_address(tmp_path):
    path = tmp_path / "dot.png"
    path.write_bytes(b"\x89PNG")
    assert png_data_uri(path) == png_data_uri(b"\x89PNG") == "data:image/png;base64,iVBORw=="
