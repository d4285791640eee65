import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("w3lib", reason="w3lib is not installed (extra: scrape)")

from formats.plain_text import clean, decode, plain_text, repair_mojibake, script

# Texts rich in what goes wrong: entities, tags, mojibake, invisible characters, combining marks.
PIECES = [
    "&",
    "amp;",
    "&lt;",
    "&#x3B1;",
    "<i>",
    "</i>",
    "<sub>2</sub>",
    "<p>",
    "Ã©",
    "â€™",
    "Â\u00a0",
    "\u00ad",
    "\u202e",
    "e\u0301",
    "\u3000",
    "\x00",
    " ",
    "x",
    "é",
    "日",
]
RICH = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=12).map("".join)


@given(RICH)
def test_cleaning_twice_changes_nothing_more(text):
    assert clean(clean(text)) == clean(text)
    assert plain_text(plain_text(text)) == plain_text(text)


@given(st.one_of(RICH, st.text()))
def test_clean_text_is_nfc_with_single_spaces_and_nothing_invisible(text):
    for cleaned in (clean(text), plain_text(text)):
        assert unicodedata.is_normalized("NFC", cleaned)
        assert cleaned == " ".join(cleaned.split())
        assert not [letter for letter in cleaned if unicodedata.category(letter) in ("Cc", "Cs")]
        assert not set(cleaned) & set("\u00ad\u200b\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\U000e0041\ufffe")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\ufeff")))
def test_text_that_went_through_utf8_comes_back(text):
    assert decode(text.encode(), "text/html; charset=utf-8") == text
    assert decode(text.encode(), "text/html; charset=utf-8") == decode(text.encode("utf-8-sig"))


@given(
    st.binary(max_size=200),
    st.one_of(st.text(max_size=30), st.sampled_from(["text/html; charset=utf-16", "x; charset=hex", "x; charset=idna", "x; charset=utf-7"])),
)
def test_any_bytes_have_a_text(body, content_type):
    assert isinstance(decode(body, content_type), str)


@given(st.text(alphabet="ÄÖÜäöüßéèàçñÅøæ –—’“”€αβ½", min_size=1, max_size=20))
def test_words_that_are_right_are_not_repaired(text):
    assert repair_mojibake(text) == text


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("cafÃ©", "café"),
        ("â€œquotedâ€\x9d", "“quoted”"),
        ("KÃ¸benhavn Ã\x85rhus", "København Århus"),
        ("cafÃƒÂ©", "café"),  # twice
        ("Ã©tude – déjà vu", "Ã©tude – déjà vu"),  # some of it is right: no proof, no repair
        ("LE CAFÉ»", "LE CAFÉ»"),
        ("IRMÃ", "IRMÃ"),
    ],
)
def test_utf8_read_as_windows_1252_is_repaired_only_where_all_of_it_proves_it(broken, right):
    assert repair_mojibake(broken) == right


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("naïve".encode("latin-1"), "text/html; charset=ISO-8859-1", "naïve"),
        ("“x”".encode("cp1252"), "text/html; charset=ISO-8859-1", "“x”"),  # Latin-1 means windows-1252 on the web
        ("naïve".encode(), "text/html; charset=ISO-8859-1", "naïve"),  # the header is wrong
        ("naïve".encode("latin-1"), "text/html; charset=utf-8", "naïve"),  # and so it is here
        ("naïve “x”".encode() + b"\xff", "text/html; charset=utf-8", "naïve “x”\ufffd"),  # one byte is damaged
        (b'<meta charset="windows-1251">' + "Привет".encode("cp1251"), "", '<meta charset="windows-1251">Привет'),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>' + "ł".encode("iso-8859-2"), "", '<?xml version="1.0" encoding="iso-8859-2"?>ł'),
        (b'<meta charset="utf-16">' + "é".encode(), "", '<meta charset="utf-16">é'),
        ("é".encode("utf-16"), "text/html; charset=latin-1", "é"),  # the byte order mark decides
        (b"\x81\xe9", "", "\x81é"),
        ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本"),
        (b"plain", "text/html; charset=rot13", "plain"),
        (b"", "", ""),
    ],
)
def test_the_charset_is_found(body, content_type, text):
    assert decode(body, content_type) == text


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("H<sub>2</sub>O and Ca<sup>2+</sup>", "H₂O and Ca²⁺"),
        ("10<SUP>-3</SUP> M, k<sub>cat</sub>, x<sup>n+1</sup>, 1<sup>st</sup>, p<sup>*</sup>", "10⁻³ M, k_cat, x^(n+1), 1st, p*"),
        ("AT&amp;amp;T &#150; caf&eacute; &unknown; R&D ?a=1&para=2", "AT&T – café &unknown; R&D ?a=1&para=2"),
        ("&lt;i&gt;E. coli&lt;/i&gt; &amp;alpha;", "E. coli α"),
        ("<p>One</p><p>Two<br/>three</p>", "One Two three"),
        ("<b>bold</b>face", "boldface"),
        ("<jats:p>Any <jats:italic>prefixed</jats:italic> element</jats:p>", "Any prefixed element"),
        ("the mean <p> of <x^2> and a<b and c>d", "the mean <p> of <x^2> and a<b and c>d"),
        (r"$\alpha < \beta_{i}$ and \textit{LaTeX}", r"$\alpha < \beta_{i}$ and \textit{LaTeX}"),
        ("soft\u00adhyphen, zero\u200bwidth, right\u202eto left, no\u00a0break", "softhyphen, zerowidth, rightto left, no break"),
        ("e\u0301 A\u030a", "é Å"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("  two\r\n lines\t\x0b ", "two lines"),
    ],
)
def test_marked_up_strings_become_plain(marked, plain):
    assert plain_text(marked) == plain


def test_scripts_that_have_no_unicode_are_marked():
    assert script("i,j", is_sub=True) == "_(i,j)"
    assert script("", is_sub=False) == ""


@pytest.mark.parametrize(
    "hostile", ["&amp;" * 50_000, "&" + "amp;" * 50_000, "<" * 50_000, "<a " * 20_000, "<a" + " b" * 30_000, "<sub>" * 20_000, "Ã©" * 50_000]
)
def test_hostile_strings_take_no_longer_than_their_length(hostile):
    begin = time.process_time()
    plain_text(hostile)
    assert time.process_time() - begin < 5
