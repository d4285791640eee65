"""What an archive states is read whatever shape it has, or refused."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.books.harvest.stated import Stated, StatedError, read_reply

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("title", "creator", "date", "language", "collection", "licenseurl", "imagecount", "identifier")
ENTRY = st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "format", "md5", "sha1", "size", "private"), JSON))
REPLY = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))},
    optional={"files": st.lists(ENTRY | JSON, max_size=4) | JSON, "item_last_updated": JSON, "is_dark": JSON},
)


@given(JSON | REPLY)
def test_any_answer_is_read_or_refused_and_what_is_read_survives_being_written_down(reply):
    try:
        stated = read_reply("a", reply)
    except StatedError:
        return
    assert Stated.from_json(json.loads(json.dumps(asdict(stated)))) == stated
    assert all(text.isprintable() and len(text) <= 1_000 for text in (stated.title, stated.date, *stated.creators, *(f.name for f in stated.files)))


def test_strings_lists_numbers_and_nothing_are_the_same_to_it():
    reply = {"metadata": {"title": ["One", " Two "], "creator": "A", "language": ["eng", ""], "imagecount": 7}, "item_last_updated": "12"}
    stated = read_reply("a", reply)
    assert (stated.title, stated.creators, stated.languages, stated.pages, stated.updated) == ("One; Two", ("A",), ("eng",), 7, 12)
    assert (stated.date, stated.collections, stated.licence_url, stated.files) == ("", (), "", ())


def test_of_several_licences_the_first_counts():
    assert read_reply("a", {"metadata": {"licenseurl": ["http://a", "http://b"]}}).licence_url == "http://a"


def test_words_are_one_line_that_can_be_printed():
    assert read_reply("a", {"metadata": {"title": "a\x00\n\u202eb\ud800 c" + "x" * 5_000}}).title.startswith("a b cxxx")


def test_dark_and_empty_are_told_apart():
    assert read_reply("a", {}).is_empty
    assert read_reply("a", {"is_dark": True, "metadata": {}}).is_dark
    assert read_reply("a", {"is_dark": "true"}).is_gone
    assert not read_reply("a", {"is_dark": False, "metadata": {"identifier": "a"}}).is_gone


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ([], "expected an object, found list"),
        ({"error": "Couldn't connect"}, "expected metadata, found the error Couldn't connect"),
        ({"metadata": {"identifier": "b"}}, "expected the item that was asked for, found 'b'"),
        ({"files": []}, "expected metadata, found none"),
    ],
)
def test_an_answer_of_another_kind_says_nothing_of_the_item(reply, words):
    with pytest.raises(StatedError, match=words):
        read_reply("a", reply)


def test_files_that_hold_no_pages_are_left_out_and_sums_are_checked():
    entries = [
        {"name": "a.txt", "format": "Text", "md5": "0" * 32},
        {"name": "a.pdf", "format": "Text PDF", "md5": "A" * 32, "sha1": "x", "size": "12"},
        {"name": "b.PDF", "md5": "short", "size": "-1", "private": "true"},
        {"name": "a.pdf", "format": "Text PDF", "md5": "A" * 32, "sha1": "x", "size": "12"},
        {"name": 7},
        "c.pdf",
    ]
    first, second = read_reply("a", {"metadata": {}, "files": entries}).files
    assert (first.name, first.md5, first.sha1, first.bytes, first.is_private) == ("a.pdf", "a" * 32, "", 12, False)
    assert (second.name, second.md5, second.bytes, second.is_private) == ("b.PDF", "", None, True)
