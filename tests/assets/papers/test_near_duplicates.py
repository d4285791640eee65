"""Near-duplicates are found exactly as comparing all pairs would, and what is no duplicate is never called one."""

import sqlite3
from contextlib import closing
from itertools import combinations

import hypothesis.strategies as st
from hypothesis import given, settings

from assets.papers.near_duplicates import Judged, Text, first_of_each, judge, normalised
from assets.papers.text_index import TABLES, TextIndex

LONG = "we describe how a very small machine learned to draw molecules that nobody has made and why most of them cannot exist at all"


def found(*texts: Text, similarity: float = 0.8, min_words: int = 8, known_before: int = 0) -> dict[str, str]:
    """What repeats what. known_before: so many of the texts came in an earlier night than the others."""
    numbers: dict[str, int] = {}
    judged_of: dict[int, Judged] = {}
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES)
        for night in (texts[:known_before], texts[known_before:]):
            index = TextIndex(db, similarity)
            for text in night:
                if (judged := judge(text, min_words)) is not None:
                    numbers[text.id] = index.number_of(judged)
                    judged_of[numbers[text.id]] = judged
            index.update((), lambda known: {number: judged_of[number] for number in known})
        return first_of_each(((text.id, text.family, numbers[text.id]) for text in texts if text.id in numbers), index.similar())


def test_a_preprint_and_its_journal_version_are_near_duplicates():
    assert found(Text("a", "Drawing molecules", LONG), Text("b", "Drawing Molecules.", LONG.replace("very ", ""))) == {"b": "a"}


def test_case_accents_and_punctuation_do_not_count():
    assert normalised("Étude: Über-Moleküle") == ["etude", "uber", "molekule"]
    assert found(Text("a", LONG, ""), Text("b", LONG.upper() + "!", "")) == {"b": "a"}


def test_every_repetition_names_the_first_one():
    texts = [Text(name, "A title of its own", LONG) for name in "abcd"]
    assert found(*texts) == {"b": "a", "c": "a", "d": "a"}


def test_parts_of_a_series_are_not_duplicates():
    title = "Studies on the total synthesis of imaginary alkaloids from very common weeds part"
    assert found(Text("a", f"{title} 1", ""), Text("b", f"{title} 2", "")) == {}
    assert found(Text("a", f"{title} II", ""), Text("b", f"{title} III", "")) == {}


def test_a_correction_is_no_duplicate_of_what_it_corrects():
    title = "the total synthesis of imaginary alkaloids from very common weeds of northern gardens and their many uses"
    assert found(Text("a", title, ""), Text("b", f"Correction to {title}", ""), similarity=0.7) == {}


def test_short_texts_are_not_judged():
    assert found(Text("a", "Editorial", ""), Text("b", "Editorial", "")) == {}


def test_languages_and_translations_are_not_duplicates():
    same = {"title": LONG, "abstract": LONG}
    assert found(Text("a", **same, language="en"), Text("b", **same, language="es")) == {}
    assert found(Text("a", **same, family="a"), Text("b", **same, family="a")) == {}
    assert found(Text("a", **same, language="es"), Text("b", **same, language="en"), Text("c", **same, language="en")) == {"c": "b"}


def test_nothing_is_found_among_nothing():
    assert found() == {}


_WORDS = st.lists(st.sampled_from(["red", "green", "blue", "acid", "base", "salt"]), min_size=6, max_size=14).map(" ".join)


@settings(max_examples=150)
@given(st.lists(_WORDS, max_size=12), st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(0, 12))
def test_the_join_finds_what_comparing_all_pairs_finds_whichever_night_they_came_in(titles, similarity, known_before):
    shingles = [{tuple(words[i : i + 3]) for i in range(len(words) - 2)} for words in map(normalised, titles)]
    repeats: dict[int, list[int]] = {}
    for one, other in combinations(range(len(titles)), 2):
        if len(shingles[one] & shingles[other]) >= similarity * len(shingles[one] | shingles[other]) - 1e-9:
            repeats.setdefault(other, []).append(one)
    expected: dict[str, str] = {}
    for other in sorted(repeats):
        first = str(min(repeats[other]))
        expected[str(other)] = expected.get(first, first)
    texts = [Text(str(place), title, "") for place, title in enumerate(titles)]
    assert found(*texts, similarity=similarity, min_words=1, known_before=known_before) == expected
