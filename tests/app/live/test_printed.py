"""What models wrote, as HTML: nothing of it is run, nothing rude or personal is shown, and it is always said that it was made up."""

import pytest

pytest.importorskip("gradio", reason="gradio is not installed (the `app` extra)")

from app.live.inputs import printed


def test_texts_and_facts_are_text():
    shown = printed([("Light <script>alert(1)</script> & <b>water", "5 < 6")], {"<i>": "<u>"})
    assert "<script" not in shown and "<b>" not in shown and "<i>" not in shown and "<u>" not in shown
    assert "<h2>Light &amp; water</h2><p>5 &lt; 6</p>" in shown and "this does not exist" in shown


@pytest.mark.parametrize("text", ["Write to ann@example.org", "w\u0430ter \u0436ight l\u0436ght", "10.1021/acs.orglett.1c00001 says"])
def test_what_leads_to_a_person_or_a_paper_or_mixes_scripts_is_not_shown(text: str):
    assert "<em>words that are not shown: " in printed([(text, None)]) and text not in printed([(text, None)])


def test_a_text_without_words_says_so():
    assert "<em>no words</em>" in printed([("\u202e", None)])
