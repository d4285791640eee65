import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.papers.pages.front_matter import front_matter, text_fact, yaml_facts


def test_facts_are_texts_as_written_and_the_rest_is_the_rest():
    facts, rest = front_matter("---\ntitle: |\n    Two\ndate: 2018-01-15\ndraft: no\ntopics: [a, b]\n---\nbody\n---\n")
    assert facts == {"title": "Two\n", "date": "2018-01-15", "draft": "no", "topics": ["a", "b"]}
    assert rest == "body\n---\n"


def test_text_without_front_matter_is_all_rest():
    assert front_matter("# Heading\n---\nx: y\n---\n") == ({}, "# Heading\n---\nx: y\n---\n")


def test_of_what_is_no_yaml_the_plain_lines_are_read():
    assert yaml_facts('title: "A: b" c\nabstract: x: y: z\n  - bad\ndoi: 10.5555/a') == {
        "title": 'A: b" c',
        "abstract": "x: y: z",
        "doi": "10.5555/a",
    }


def test_the_first_fact_that_is_a_text_counts():
    assert text_fact({"a": ["x"], "b": " ", "c": "yes"}, "a", "b", "c", "d") == "yes"


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 65_000,
        "{" * 65_000,
        "- " * 32_000,
        "? " * 32_000,
        "a: &a [x]\n" + "".join(f"k{n}: &b{n} {{<<: [*a, *a]}}\n" for n in range(2_000)),
        "!!python/object/apply:os.system [x]",
    ],
)
def test_hostile_yaml_neither_ends_the_process_nor_runs_nor_multiplies(hostile):
    begin = time.process_time()
    assert isinstance(yaml_facts(hostile), dict)
    assert time.process_time() - begin < 10


@given(st.text())
def test_any_text_has_facts_and_a_rest(text):
    facts, rest = front_matter(f"---\n{text}\n---\n")
    assert isinstance(facts, dict) and isinstance(rest, str)
