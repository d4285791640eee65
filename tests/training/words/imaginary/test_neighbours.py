import json
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.image_shards import ImageShards, write_shard
from formats.png import encode_png
from training.words.imaginary.neighbours import CopiedRun, NearestTitle, nearest_pictures, plain_words, small_grey

TITLES = ["Oxidation of Alkenes in Water", "Réduction of Ketones", "A Theory of Everything"]


def slow_dice(one: str, other: str) -> float:
    sets = [{text[place : place + 3] for place in range(len(text) - 2)} for text in (f" {' '.join(plain_words(it))} " for it in (one, other))]
    return 2 * len(sets[0] & sets[1]) / max(1, sum(map(len, sets)))


@given(st.text(alphabet="abc dé-,", max_size=20), st.lists(st.text(alphabet="abc dé-,", max_size=20), min_size=1, max_size=5))
def test_the_nearest_title_is_the_one_that_a_slow_search_finds(title: str, others: list[str]):
    place, similarity = NearestTitle(others)(title)
    assert similarity == pytest.approx(max(slow_dice(title, other) for other in others))
    assert similarity == pytest.approx(slow_dice(title, others[place]))


@pytest.mark.parametrize(
    "title", ["oxidation of alkenes, in water!", "OXIDATION OF ALKENES IN WATER", "Oxidation of  Alkenes\u00adin Water".replace("\u00ad", " ")]
)
def test_signs_and_letter_case_hide_no_copy(title: str):
    assert NearestTitle(TITLES)(title) == (0, 1.0)


def test_accents_hide_no_copy_and_another_word_is_seen():
    assert NearestTitle(TITLES)("Reduction of ketones") == (1, 1.0)
    place, similarity = NearestTitle(TITLES)("Oxidation of Alkynes in Water")
    assert place == 0 and 0.7 < similarity < 1


def test_a_run_of_words_is_found_whatever_stands_around_it():
    find = CopiedRun(["We show that iron, in water, is a good catalyst for it.", "Short."], 5)
    assert find("here IRON in water was a bad one") is None
    assert find("here iron in WATER is - a good one") == ("copied from a real text", "iron in water is a")
    assert find("short") is None and find("") is None
    assert CopiedRun([], 5)("one two three four five six") is None


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.lists(st.sampled_from("abcd"), max_size=12), max_size=4), st.integers(1, 4))
def test_runs_are_those_that_a_slow_search_finds(words: list[str], texts: list[list[str]], length: int):
    known = {tuple(text[place : place + length]) for text in texts for place in range(len(text) - length + 1)}
    expected = next((run for place in range(len(words) - length + 1) if (run := tuple(words[place : place + length])) in known), None)
    found = CopiedRun([" ".join(text) for text in texts], length)(" ".join(words))
    assert (found and found[1]) == (expected and " ".join(expected))


def write_set(folder: Path, pictures: list[numpy.ndarray]) -> ImageShards:
    folder.mkdir()
    write_shard(folder / "shard-00000.zip", ((serial, encode_png(picture)) for serial, picture in enumerate(pictures)))
    return ImageShards(folder)


def test_pictures_of_other_sizes_are_compared_in_levels(tmp_path: Path):
    random = numpy.random.default_rng(0)
    small = random.integers(0, 256, (3, 16, 16, 3), dtype=numpy.uint8)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    brighter = numpy.clip(small[1].astype(int) // 2 + 10, 0, 255).astype(numpy.uint8)
    fakes, reals = write_set(tmp_path / "fakes", [brighter, small[2]]), write_set(tmp_path / "reals", [*large[:2], large[2]])
    nearest, levels = nearest_pictures(small_grey(fakes), small_grey(reals))
    assert nearest[1] == 2 and levels[1] == pytest.approx(0, abs=0.2)
    away = numpy.sqrt(((brighter.mean(axis=2) - small[nearest[0]].mean(axis=2)) ** 2).mean())
    assert levels[0] == pytest.approx(away, rel=1e-3)


@pytest.mark.shared_data
def test_among_thousands_of_real_titles_each_is_nearest_to_itself(shared_data: Path):
    lines = (shared_data / "journals/scitldr/train.jsonl").read_text(encoding="utf-8").splitlines()
    titles = [json.loads(line)["title"] for line in lines]
    nearest = NearestTitle(titles)
    assert all(nearest(title)[1] == 1.0 for title in titles[:200])
    # A title with one word changed is still recognised.
    changed = [" ".join(["Rapid", *title.split()[1:]]) for title in titles[:200] if len(title.split()) > 7]
    assert numpy.mean([nearest(title)[1] > 0.75 for title in changed]) > 0.9
