import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from formats.image_shards import ImageShards
from formats.tables import read_table
from stages.artifact_id import content_id
from tests.training.words.imaginary.small_world import TITLES, write_world
from training.words.imaginary.compose import ImaginaryPapersConfig, Judge, main
from training.words.imaginary.safety import make_safe
from training.words.imaginary.tables import broken_links, read_lineage, read_papers

SECTION = """\
imaginary_papers:
  dataset_size: 16
  count: 5
  most_tries: 60
  batch_size: {batch}
  title: {{strategy: sample, top_k: 50, max_new_tokens: 14}}
  abstract: {{strategy: sample, top_k: 50, max_new_tokens: 60}}
  title_characters: [10, 200]
  abstract_characters: [60, 900]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml and data/ in which five papers were made, three pictures at a time."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "data").mkdir()
    write_world(folder / "data")
    (folder / "params.yaml").write_text(SECTION.format(batch=3))
    assert main(flags(folder)) == 0
    return folder


def flags(folder: Path, *more: str) -> list[str]:
    return ["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), *(word for one in more for word in ("--set", one))]


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(folder / "data/imaginary_papers" / name).to_pylist()
    return rows


@pytest.fixture
def again(world: Path, tmp_path: Path) -> Path:
    """The same inputs, and no papers yet."""
    (tmp_path / "data").mkdir()
    for path in (world / "data").iterdir():
        if path.name != "imaginary_papers" and path.is_dir():
            shutil.copytree(path, tmp_path / "data" / path.name)
    shutil.copyfile(world / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


def test_as_many_papers_as_asked_for_each_with_its_own_picture_and_seeds(world: Path):
    papers = read_papers(world / "data/imaginary_papers")
    assert [paper.number for paper in papers] == [1, 2, 3, 4, 5]
    assert len({paper.id for paper in papers}) == len({paper.picture_seed for paper in papers}) == len({paper.title for paper in papers}) == 5
    fakes = ImageShards(world / "data/toc_fakes/psi0.8")
    shown = ImageShards(world / "data/imaginary_papers/pictures-00000.zip")
    assert all((shown.image(place) == fakes.image(paper.picture_seed)).all() for place, paper in enumerate(papers))
    for paper in papers:
        assert make_safe(paper.title) == paper.title and make_safe(paper.abstract) == paper.abstract
        assert paper.nearest_title in TITLES and 0 <= paper.nearest_similarity < 0.9 and paper.nearest_picture_levels >= 6


def test_blank_and_copied_pictures_are_dropped_and_named(world: Path):
    rows = {row["picture_seed"]: row for row in table(world, "rejected.parquet") if str(row["reason"]).startswith("picture")}
    assert rows[0]["reason"] == "picture: blank"
    assert rows[1]["reason"] == "picture: nearly a real one" and "0" * 64 in rows[1]["found"]
    assert sorted(rows) == [0, 1]


def test_every_rejected_text_has_a_reason_its_seeds_and_what_was_found(world: Path):
    rows = [row for row in table(world, "rejected.parquet") if row["title"] is not None]
    assert rows and all(row["reason"].partition(": ")[0] in ("title", "abstract") and row["title_seed"] is not None for row in rows)
    numbers = [row["title_number"] for row in [*rows, *table(world, "papers.parquet")]]
    assert len(numbers) == len(set(numbers))


def test_the_same_papers_come_whatever_the_size_of_a_batch(world: Path, again: Path):
    assert main(flags(again, "batch_size=7")) == 0
    keys = ("id", "title", "abstract", "title_number", "abstract_number", "picture_seed")
    assert [[row[key] for key in keys] for row in table(again, "papers.parquet")] == [
        [row[key] for key in keys] for row in table(world, "papers.parquet")
    ]


def test_another_seed_writes_others_and_the_same_bytes_come_twice(world: Path, again: Path):
    assert main(flags(again)) == 0
    assert content_id(again / "data/imaginary_papers") == content_id(world / "data/imaginary_papers")
    assert main(flags(again, "seed=1", "count=1")) == 0
    assert table(again, "papers.parquet")[0]["title"] not in [row["title"] for row in table(world, "papers.parquet")]


def test_the_lineage_leads_through_models_to_the_crawl_and_every_id_is_that_of_the_folder(world: Path):
    lineage = read_lineage(world / "data/imaginary_papers")
    assert {name: entry["id"] for name, entry in lineage.items()} == {name: content_id(world / "data" / name) for name in lineage}
    assert broken_links(lineage) == []
    # From what the stage reads, all that it was made from is reached; and each link is one that dvc.yaml draws.
    assert {name: sorted(entry["inputs"]) for name, entry in lineage.items()} == {name: sorted(made_from(name)) for name in lineage}


def made_from(name: str) -> list[str]:
    """The inputs in data/ of a stage of dvc.yaml, but for the crawl itself."""
    stages = yaml.safe_load((Path(__file__).parents[4] / "dvc.yaml").read_text())["stages"]
    stage, _, at = name.partition("@")
    deps = (stages[stage]["do"] if at else stages[stage])["deps"]
    names = [dep.removeprefix("data/") for dep in deps if dep.startswith("data/") and dep != "data/journal_pages"]
    return [re.sub(r"@\$.*", "@16", name) for name in names]


def test_a_model_that_learnt_from_another_version_breaks_the_lineage_and_is_named(again: Path, capsys: pytest.CaptureFixture[str]):
    (again / "data/title_gpt2/what.txt").write_text("trained again")
    assert main(flags(again, "count=1")) == 0
    lineage = read_lineage(again / "data/imaginary_papers")
    assert broken_links(lineage) == [f"toc_titler was made from title_gpt2 {lineage['toc_titler']['inputs']['title_gpt2']}"]
    assert "check lineage_unbroken failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["psi=0.3"], "no picture has psi 0.3"),
        (["dataset_size=32"], "dataset_size: 16"),
        (["title.max_new_tokens=200"], "lower max_new_tokens to"),
        (["title_characters=[9,3]"], "title_characters must be"),
        (["blocked_words_file=nowhere.txt"], "nowhere.txt"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(change: list[str], words: str, world: Path, capsys: pytest.CaptureFixture[str]):
    before = content_id(world / "data/imaginary_papers")
    assert main(flags(world, *change)) in (1, 2)
    told = capsys.readouterr().err.splitlines()[-1]
    assert words in told and told.startswith("figment: ")
    assert content_id(world / "data/imaginary_papers") == before


def test_missing_models_and_ids_are_named(again: Path, capsys: pytest.CaptureFixture[str]):
    (again / "data/toc_titler/data_ids.json").write_text("[")
    assert main(flags(again)) == 1
    assert "data_ids.json" in capsys.readouterr().err
    (again / "data/toc_titler/data_ids.json").write_text("{}")
    (again / "data/toc_titler/model.safetensors").unlink()
    assert main(flags(again)) == 1
    assert "toc_titler" in capsys.readouterr().err


def test_too_strict_filters_leave_no_papers_and_all_reasons(again: Path, capsys: pytest.CaptureFixture[str]):
    assert main(flags(again, "abstract_characters=[899,900]", "most_tries=15")) == 0
    assert "only 0 of 5 papers" in capsys.readouterr().err
    assert table(again, "papers.parquet") == []
    # Ten good pictures: all of them once, and five of them twice.
    assert len([row for row in table(again, "rejected.parquet") if row["title"] is not None]) == 15


def test_a_model_that_cannot_change_its_mind_looks_at_each_picture_once(again: Path):
    greedy = [f"{what}={{strategy: greedy, max_new_tokens: 14}}" for what in ("title", "abstract")]
    assert main(flags(again, *greedy, "count=50")) == 0
    rows = [*table(again, "papers.parquet"), *[row for row in table(again, "rejected.parquet") if row["title"] is not None]]
    assert len(rows) == 10


class _Paper:
    id, title, abstract = (
        "p0",
        "Oxidation of Alkenes in <i>Water</i>",
        "We show that iron in water is a good catalyst for the oxidation of many alkenes there.",
    )


def judge(**changes: Any) -> Judge:
    return Judge([_Paper()], ImaginaryPapersConfig(**{"copied_words": 8, "abstract_characters": (20, 900), **changes}))  # type: ignore[list-item]


def test_a_judge_of_titles_names_the_nearest_real_one_and_drops_copies_of_it():
    row = judge().title("Oxidation of alkenes in i water")
    assert row["reason"] == "title: nearly a real one" and row["nearest_title"] == "Oxidation of Alkenes in Water" and row["nearest_id"] == "p0"
    assert "reason" not in judge(most_similarity=1.0).title("Oxidation of Alcohols in Methanol")


def test_a_judge_of_abstracts_drops_copies_data_and_rude_words():
    reasons = [
        ("And so iron in water is a good catalyst for the rest of us", "abstract: copied from a real text"),
        ("For more of this write to jane@example.org any time", "abstract: e-mail"),
        ("Nobody gives a sh1t about this imaginary reaction", "abstract: blocked word"),
        ("A рrоblем with вещество of many scriptы", "abstract: mixed scripts"),
    ]
    for text, reason in reasons:
        assert judge().abstract(text, "A Title of Its Own")["reason"] == reason
    assert "reason" not in judge().abstract("Nothing happens in water that did not happen before", "A Title of Its Own")


def test_a_title_is_given_to_one_paper():
    one = judge()
    assert "reason" not in one.abstract("Nothing happens in water that did not happen before", "On Tea")
    assert one.abstract("Something else happens in the same kind of water", "On tea")["reason"] == "abstract: of a title given before"


def test_lineage_is_plain_json(world: Path):
    assert set(json.loads((world / "data/imaginary_papers/lineage.json").read_text())) >= {"stylegan3_toc", "toc_titler", "abstract_t5"}
