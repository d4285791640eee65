import html
import json
import re
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.words.imaginary.safety import UnfitTextError, make_safe

# Parts of what attackers write, so that random texts come near to it.
PARTS = [
    "<", ">", "b", "/", "!--", "-->", "script", "&", "lt", "&lt", "#60", "&#x3c;", ";", "amp;", "&notin", "javascript:", "onerror=", "'", '"', "\x00",
    "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\ufe0f", "\u00ad", "\u0301", "\u0489", "\x1b[31m", " ", "\n", "\u2028", "\ud800", "\uffff",
    "\U000e0041",
    "а", "a", "ο", "Σ", "Ж", "ﬁ", "①", "\u212b", "K", "é", "Ꭺ", "ß", "𝐁", "＜", "＞", "א", "ﷺ", "ͅ", "ˆ", "µ", "₂",
]  # fmt: skip


@settings(max_examples=250)
@given(st.one_of(st.lists(st.sampled_from(PARTS), max_size=16).map("".join), st.text(max_size=60)))
def test_whatever_comes_in_what_goes_out_is_safe_and_stays_as_it_is(text: str):
    try:
        safe = make_safe(text)
    except UnfitTextError:
        return
    # Nothing that controls, turns round or is invisible; no tag and no entity; one line.
    assert not [sign for sign in safe if unicodedata.category(sign)[0] == "C" or sign in "\ufe0f\u2028\u3164\u115f"]
    assert not re.search(r"<[a-zA-Z/!?]", safe) and html.unescape(safe) == safe
    assert safe == " ".join(safe.split()) == unicodedata.normalize("NFC", safe)
    # Made safe again it is the same, also after it was escaped, once or twice.
    assert make_safe(safe) == safe
    assert make_safe(html.escape(safe)) == safe == make_safe(html.escape(html.escape(safe)))
    assert html.unescape(html.escape(safe)) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<b>Bold</b> Claims", "Bold Claims"),
        ("A &lt;script&gt;alert(1)&lt;/script&gt; B", "A B"),
        ("&am\u200bp;lt;img src=x onerror=alert(1)&gt; C", "C"),
        ("<<b>script>alert(1)", "< script>alert(1)"),
        ("n<m, p < 0.05", "n< m, p < 0.05"),
        ("<m| x |n> and <img/src=x> D", "< m| x |n> and D"),
        ("\u202eevil\u202c \u2067x\u2069", "evil x"),
        ("zero\u200bwidth\u00ad", "zerowidth"),
        ("two\nlines\u2028and\tmore", "two lines and more"),
        ("раураl", "paypal"),
        ("сосо of benzene", "coco of benzene"),
        ("pаypal: ꓑᎪᎽᏢᎪᏞ, Ⲣay, օf, ⅼⅰne", "paypal: PAYPAL, Pay, of, line"),
        ("𝐁𝐨𝐥𝐝 Ｗｉｄｅ ﬁne", "Bold Wide fine"),
        ("λmax, μm, µm, ΔG and β-lactams of H₂O₂ at 10⁻³ Å", "λmax, μm, µm, ΔG and β-lactams of H₂O₂ at 10⁻³ Å"),
        ("Синтез бензола", "Синтез бензола"),
        ("تخليق البنزين", "تخليق البنزين"),
        ("ベンゼンの合成", "ベンゼンの合成"),
        ("e\u0301e\u0301\u0302\u0303\u0304", "éé\u0302\u0303"),
        ("R&D of AT&T", "R&D of AT&T"),
    ],
)
def test_what_becomes_of_texts(text: str, safe: str):
    assert make_safe(text) == safe


@pytest.mark.parametrize("word", ["Xбогx", "Teaʼﺏ".replace("ʼ", ""), "ベnzene"])
def test_a_word_of_scripts_that_do_not_mix_makes_a_text_unfit(word: str):
    with pytest.raises(UnfitTextError, match="mixes"):
        make_safe(f"On {word} in water")


@pytest.mark.parametrize(
    "bomb",
    ["&amp;" * 2_000_000, "&" + "amp;" * 2_000_000, "<b" * 4_000_000, "<script>" * 1_000_000, "a" * 10_000_000, "<" * 5_000_000 + ">" * 5_000_000],
)
def test_ten_megabytes_take_no_longer_than_a_long_title(bomb: str):
    started = time.process_time()
    assert len(make_safe(bomb)) <= 5_000 * 2
    assert time.process_time() - started < 5


@pytest.mark.shared_data
def test_real_titles_of_physics_and_computer_science_stay_as_they_are(shared_data: Path):
    text = (shared_data / "journals/scitldr/train.jsonl").read_text(encoding="utf-8")
    titles = [" ".join(json.loads(line)["title"].split()) for line in text.splitlines()]
    changed = [title for title in titles if make_safe(title) != unicodedata.normalize("NFC", title)]
    assert len(titles) > 1900 and len(changed) <= 5, changed
