"""Titles and abstracts to learn from: what is kept, what is set aside, and on which side of a split a work is."""

import json
import re
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from assets.papers.tables import PAPERS
from assets.words.paper_texts import _NAMES, PaperTextsConfig, build_paper_texts, group_works, main, split_leaks
from formats.tables import read_table
from formats.text_tables import PaperText, TextTableError, read_paper_texts
from stages.params import ParamsError, build_config
from tests.assets.words.papers_folder import all_bytes, paper, write_papers

HALVES = {"valid_fraction": 0.25, "test_fraction": 0.25}


def config(**values) -> PaperTextsConfig:
    return build_config(PaperTextsConfig, values, where="params.yaml: paper_texts")


def built(tmp_path: Path, *rows: dict, **values) -> dict[int, PaperText]:
    """What is kept of these papers, by serial."""
    build_paper_texts(config(**values), write_papers(tmp_path / "papers", rows), tmp_path / "paper_texts")
    return {text.serial: text for text in read_paper_texts(tmp_path / "paper_texts")}


def rejected(tmp_path: Path) -> dict[int, tuple[str, str]]:
    rows = read_table(tmp_path / "paper_texts" / "rejected.parquet").to_pylist()
    return {row["serial"]: (row["what"], row["reason"]) for row in rows}


def test_the_columns_that_are_read_are_those_that_papers_writes():
    assert set(_NAMES) <= set(PAPERS.names)


# Texts.


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  Cafe\u0301  \n and\ttea ", "Café and tea"),
        ("left\u202eright\u2066 and\u200f back", "leftright and back"),
        ("H<sub>2</sub>O &amp;lt; <i>E. coli</i>", "H₂O < E. coli"),
        (r"On $\alpha_{i} < \beta$ and \textit{so on}", r"On $\alpha_{i} < \beta$ and \textit{so on}"),
        ("Before<script>alert(1)</script> after", "Before after"),
        ("How the <script> element works", "How the <script> element works"),
        ("A <SCR<!-- x -->IPT>alert(1)</script> b", "A b"),
        ("&lt;style&gt;p{}&lt;/style&gt;Title", "Title"),
        ("שלום עולם and мир and 世界", "שלום עולם and мир and 世界"),
        ("دراسة حول البوليمرات", "دراسة حول البوليمرات"),
    ],
)
def test_titles_become_plain_text_in_any_script(tmp_path, raw, clean):
    assert built(tmp_path, paper(0, title=raw))[0].title == clean


@given(st.lists(st.sampled_from(["<script", ">", "<!--", "-->", "</script>", "<", "style", "&lt;", "a ", "<i>"]), max_size=40).map("".join))
@settings(max_examples=30)
def test_no_script_is_left_of_any_title(raw):
    with TemporaryDirectory() as folder:
        kept = built(Path(folder), paper(0, title=f"Some words {raw}"), paper(1))
    assert not re.search("<script[^<>]*>.*</script", kept[0].title if 0 in kept else "", re.IGNORECASE)


def test_what_is_no_title_is_set_aside_and_what_is_no_abstract_is_left_out(tmp_path):
    kept = built(
        tmp_path,
        paper(0, title=""),
        paper(1, title=None),
        paper(2, title="x" * 10_000_000),
        paper(3, title="ab"),
        paper(4, title="--- 123 ---"),
        paper(5, abstract=None),
        paper(6, abstract="Too short"),
        paper(7, abstract="Words. " * 2_000),
        paper(8, abstract="This abstract is as long as it has to be, and says why."),
        paper(9, title="<b></b>"),
        paper(10, abstract="9" * 50),
    )
    assert {serial: text.abstract for serial, text in kept.items()} == {
        **dict.fromkeys((5, 6, 7, 10)),
        8: "This abstract is as long as it has to be, and says why.",
    }
    assert rejected(tmp_path) == {
        0: ("paper", "no_title"),
        1: ("paper", "no_title"),
        2: ("paper", "title_too_long"),
        3: ("paper", "title_too_short"),
        4: ("paper", "title_without_letters"),
        6: ("abstract", "abstract_too_short"),
        7: ("abstract", "abstract_too_long"),
        9: ("paper", "no_title"),
        10: ("abstract", "abstract_without_letters"),
    }


@pytest.mark.parametrize("hostile", ["<script>" * 25_000, "<!--" * 50_000, "<scr<!---->ipt>" * 13_000, "<" * 199_999])
def test_hostile_titles_take_no_longer_than_their_length(tmp_path, hostile):
    began = time.process_time()
    built(tmp_path, paper(0, title=hostile), paper(1))
    assert time.process_time() - began < 10


def test_licences_reservations_and_languages_decide_what_may_be_learned_from(tmp_path):
    rows = [
        paper(0, licence="unknown"),
        paper(1, licence=None),
        paper(2, tdm_reserved=True),
        paper(3, language="en-GB"),
        paper(4, language="fr"),
        paper(5),
        paper(6, tdm_reserved=False),
    ]
    assert set(built(tmp_path, *rows)) == {3, 4, 5, 6}
    assert set(built(tmp_path, *rows, allow_unknown_licence=True, respect_tdm_reservation=False)) == set(range(7))
    assert set(built(tmp_path, *rows, languages=["EN"])) == {3, 5, 6}
    assert rejected(tmp_path)[4] == ("paper", "other_language")


def test_nothing_to_learn_from_is_an_error_that_says_why_and_keeps_what_was_there(tmp_path):
    with pytest.raises(TextTableError, match="figment materialize papers"):
        build_paper_texts(config(), tmp_path / "papers", tmp_path / "paper_texts")
    built(tmp_path, paper(0))
    with pytest.raises(TextTableError, match="no paper of .* can be used: 2 unknown_licence, 1 no_title; widen"):
        built(tmp_path, paper(0, licence="unknown"), paper(1, licence="unknown"), paper(2, title=" "))
    assert len(read_paper_texts(tmp_path / "paper_texts")) == 1


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"min_title_chars": 500}, "must be in order"),
        ({"max_abstract_chars": 10**7}, "from 1 to 100,000"),
        ({"languages": []}, "languages null or name one"),
        ({"rows_per_shard": 0}, "rows_per_shard must be at least 1"),
        ({"split": {"valid_fraction": 0.6, "test_fraction": 0.6}}, "must be >= 0 and leave some for training"),
        ({"split": {"valid": 0.1}}, "split.valid is not a known key"),
    ],
)
def test_what_the_section_cannot_mean_is_refused(values, complaint):
    with pytest.raises(ParamsError, match=complaint):
        config(**values)


# Groups and splits.


def test_a_work_is_one_group_whatever_ties_its_papers_to_each_other(tmp_path):
    rows = [
        paper(0, title="On Gels!"),
        paper(1, near_duplicate_of=paper(0)["id"]),
        paper(2, translation_of=paper(1)["id"], language="fr"),
        paper(3, image_sha256="a" * 64),
        paper(4, image_sha256="a" * 64, title="on  gels"),
        paper(5, translation_of="an original nobody has"),
        paper(6, translation_of="an original nobody has"),
        paper(7),
        # Set aside, but it is what ties the next two.
        paper(8, licence="unknown", title="Between"),
        paper(9, near_duplicate_of=paper(8)["id"]),
        paper(10, translation_of=paper(8)["id"]),
    ]
    groups = {serial: text.group for serial, text in built(tmp_path, *rows).items()}
    first = {serial: paper(serial)["id"] for serial in range(11)}
    assert groups == {
        **dict.fromkeys(range(5), first[0]),
        **dict.fromkeys((5, 6), first[5]),
        7: first[7],
        **dict.fromkeys((9, 10), first[8]),
    }


@st.composite
def tied_papers(draw) -> list[dict]:
    serials = draw(st.lists(st.integers(0, 60), min_size=1, max_size=25, unique=True))
    some_id = st.one_of(st.none(), st.sampled_from([paper(serial)["id"] for serial in serials]))
    return [
        paper(
            serial,
            near_duplicate_of=draw(some_id),
            translation_of=draw(some_id),
            image_sha256=draw(st.sampled_from([None, None, "a", "b"])),
            title=draw(st.sampled_from([f"Title {serial}", f"Title {serial}", "A title", "a  Title?"])),
            licence=draw(st.sampled_from(["CC0-1.0", "CC0-1.0", "unknown"])),
        )
        for serial in sorted(serials)
    ]


@given(tied_papers(), st.integers(0, 5))
@settings(max_examples=40)
def test_no_tie_ever_reaches_into_another_split(rows, seed):
    kept = config(split={**HALVES, "seed": seed})
    groups = group_works(rows)
    splits = {row["id"]: kept.split.split_of(groups[row["id"]]) for row in rows}
    assert split_leaks(rows, splits) == []
    assert len({groups[row["id"]] for row in rows}) <= len(rows)
    assert all(groups[groups[id]] == groups[id] for id in splits)


def test_a_new_paper_that_ties_two_works_of_two_splits_takes_the_later_one_along(tmp_path):
    rows = [paper(serial) for serial in range(60)]
    before = {serial: text.split for serial, text in built(tmp_path, *rows, split=HALVES).items()}
    early, late = next((a, b) for a in before for b in before if a < b and before[a] == "test" and before[b] == "train")

    new = paper(99, title=rows[early]["title"], near_duplicate_of=rows[late]["id"])
    after = {serial: text.split for serial, text in built(tmp_path, *rows, new, split=HALVES).items()}

    assert {serial for serial in before if after[serial] != before[serial]} == {late}
    assert after[early] == after[late] == after[99] == "test"
    assert split_leaks([*rows, new], {f"{serial:016x}": split for serial, split in after.items()}) == []
    # When the tie goes, all is as before.
    assert {serial: text.split for serial, text in built(tmp_path, *rows, split=HALVES).items()} == before


def test_a_leak_is_seen():
    rows = [paper(0, image_sha256="p"), paper(1, image_sha256="p"), paper(2, title="Same"), paper(3, title="same!"), paper(4)]
    ids = [row["id"] for row in rows]
    assert split_leaks(rows, dict(zip(ids, ["train", "test", "valid", "train", "test"], strict=True))) == ["picture:p", "title:same"]
    assert split_leaks(rows, {ids[0]: "train", ids[2]: "valid"}) == []


def test_the_fractions_are_of_the_groups_and_another_seed_draws_others(tmp_path):
    rows = [paper(serial) for serial in range(400)]
    ours = {serial: text.split for serial, text in built(tmp_path, *rows, split=HALVES).items()}
    assert all(70 < list(ours.values()).count(name) < 130 for name in ("valid", "test"))
    others = {serial: text.split for serial, text in built(tmp_path, *rows, split={**HALVES, "seed": 1}).items()}
    assert sum(ours[serial] != others[serial] for serial in ours) > 100


# Bytes.


@given(st.lists(tied_papers(), min_size=2, max_size=4))
@settings(max_examples=10)
def test_what_was_there_before_decides_nothing(versions):
    """Any sequence of papers that come, change and leave gives the bytes that the last of them give alone."""
    kept = config(rows_per_shard=8, allow_unknown_licence=True)
    with TemporaryDirectory() as name:
        root = Path(name)
        for number, rows in enumerate(versions):
            papers = write_papers(root / "papers", rows, per_shard=4 + number)
            build_paper_texts(kept, papers, root / "data" / "paper_texts")
        build_paper_texts(kept, papers, root / "again" / "paper_texts")
        assert all_bytes(root / "data" / "paper_texts") == all_bytes(root / "again" / "paper_texts")


def test_a_paper_that_changes_rewrites_its_own_shard_alone(tmp_path):
    rows = [paper(serial) for serial in range(1_000)]
    values = {"rows_per_shard": 50}
    built(tmp_path, *rows, **values)
    folder = tmp_path / "paper_texts"
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    rows[123] = paper(123, title="Another title")
    built(tmp_path, *rows[:777], *rows[778:], paper(1_000), **values)
    after = {path.name: path.stat().st_ino for path in folder.iterdir()}
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"paper_texts-00002.parquet", "paper_texts-00015.parquet", "paper_texts-00020.parquet"}


# The stage.


def test_the_stage_runs_with_the_sections_of_the_presets(tmp_path, monkeypatch, capsys):
    root = Path(__file__).resolve().parents[3]
    write_papers(tmp_path / "data" / "papers", [paper(serial, abstract="Words that say what was done. " * 3) for serial in range(40)])
    monkeypatch.chdir(tmp_path)
    for preset in ("demo", "shared", "paper"):
        shutil.copy(root / "presets" / f"{preset}.yaml", "params.yaml")
        assert main([]) == 0
        assert "paper_texts: 40 (40 with_abstract, 40 groups, 1 largest_group" in capsys.readouterr().err
    assert main(["--set", "max_title_chars=5"]) == 1
    assert "40 title_too_long" in capsys.readouterr().err


@pytest.mark.shared_data
def test_titles_and_abstracts_of_a_real_corpus(shared_data, tmp_path):
    """SciTLDR: 1,992 papers whose sentences are lists."""
    lines = (shared_data / "journals" / "scitldr" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    rows = [paper(serial, title=one["title"], abstract=" ".join(one["source"])) for serial, one in enumerate(found)]
    kept = built(tmp_path, *rows)
    assert len(kept) > 0.99 * len(rows) > 1_900
    assert sum(text.abstract is not None for text in kept.values()) > 0.99 * len(kept)
    assert split_leaks(rows, {text.id: text.split for text in kept.values()}) == []
