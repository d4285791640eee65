import datetime
import shutil
import sys
from pathlib import Path

import pytest

from orchestration.bridge.cache import object_path
from orchestration.checkout import open_project
from orchestration.nights.retractions import RetractionError, flag_withdrawn, retract, untagged_models
from orchestration.records.mlflow_runs import model_versions
from stages.reporting import Reporter
from tests.orchestration.cli.figment import figment
from tests.orchestration.journal_toy import paper, publish
from training.tracking.tracker import InputArtifact, PromotionRule, attach_metrics, open_tracker

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")


@pytest.fixture(scope="module")
def built(journal_template: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything made, and a champion that read its dataset."""
    root = Path(shutil.copytree(journal_template, tmp_path_factory.mktemp("journal") / "project"))
    (root / ".figment/mlflow").mkdir()
    shutil.copyfile(empty_store, root / ".figment/mlflow/mlflow.db")
    register(root, "gan")
    return root


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "project"))


def register(root: Path, model: str, data: str = "toc_dataset@64") -> None:
    id = open_project(root).lock().entries[data].output_id(open_project(root).graph[data])
    assert id is not None
    output_id = f"{len(model_versions(root)):032x}.dir"
    inputs = [InputArtifact(data, Path("data") / data, id)]
    with open_tracker(
        model, run_key=output_id[20:32], config={}, inputs=inputs, state_dir=root / ".figment", resume_step=None, reporter=Reporter()
    ) as tracker:
        tracker.register_model(model, Path("data/gan"), output_id=output_id)
    rule = PromotionRule("quality", at_least=0.5)
    attach_metrics(model, output_id=output_id, metrics={"quality": 0.9}, artifacts=[], promote=rule, reporter=Reporter(), state_dir=root / ".figment")


def test_a_retracted_paper_leaves_the_data_and_takes_the_title_from_the_model(project: Path) -> None:
    assert [version.is_champion for version in model_versions(project)] == [True]

    answer = figment(project, "retract", "https://doi.org/10.5555/TOY.2", "--reason", "the author asked", "--materialize")

    assert answer.code == 0, answer.err
    assert "gan version 1 was made from withdrawn items; tagged, and no longer champion" in answer.out
    (version,) = model_versions(project)
    assert version.is_retracted and not version.is_champion
    text = (project / "retractions.yaml").read_text()
    assert text.startswith("# Withdrawn on request.\n- id: ") and "the author asked" in text
    import pyarrow.parquet as pq

    ids = [id for (id,) in pq.read_table(project / "data/toc_dataset@64/index.parquet")["paper_ids"].to_pylist()]
    assert ids == [f"doi:10.5555/toy.{number}" for number in (0, 1, 3)]
    status = {row["name"]: row["state"] for row in figment(project, "status", "--json").json["artifacts"]}
    assert status["gan"] == "stale", "a training waits for a person"


def test_an_unknown_paper_is_refused_and_nothing_is_written(project: Path) -> None:
    before = (project / "retractions.yaml").read_bytes()

    answer = figment(project, "retract", "10.5555/toy.1", "doi:10.5555/toy.77")

    assert answer.code == 2 and "no paper 'doi:10.5555/toy.77', and no book (did you mean" in answer.err
    assert (project / "retractions.yaml").read_bytes() == before
    assert figment(project, "retract", "doi:10.5555/toy.77", "--unseen").code == 0
    assert "toy.77" in (project / "retractions.yaml").read_text()


def test_a_second_retraction_of_the_same_paper_changes_nothing(project: Path) -> None:
    assert figment(project, "retract", "doi:10.5555/toy.1").code == 0
    once = (project / "retractions.yaml").read_bytes()

    answer = figment(project, "retract", "10.5555/toy.1")

    assert answer.code == 0 and "already" in answer.out
    assert (project / "retractions.yaml").read_bytes() == once


def test_what_its_source_withdrew_is_found_by_sync_and_by_the_doctor(project: Path) -> None:
    publish(project, [paper(0), paper(1, gone=True), paper(2), paper(3)])
    from orchestration.nights.nightly import run_night

    assert run_night(project, ["journal_pages"], say=lambda line: None).is_success
    assert [version.model for version in untagged_models(open_project(project))] == ["gan"]
    assert "mlflow_model_withdrawn" in [finding["kind"] for finding in figment(project, "doctor", "--json").json["findings"]]

    assert "no longer champion" in figment(project, "retract", "--sync").out
    assert model_versions(project)[0].is_retracted
    assert "no model" in figment(project, "retract", "--sync").out


def test_a_model_of_data_without_the_paper_keeps_its_title(project: Path) -> None:
    retract(project, "doi:10.5555/toy.9", "never seen", datetime.date(2026, 1, 5))

    assert flag_withdrawn(open_project(project), {"doi:10.5555/toy.9": ""}).all == ()
    assert model_versions(project)[0].is_champion


def test_a_model_of_the_texts_of_papers_is_tagged_for_a_paper_without_a_picture(project: Path) -> None:
    register(project, "writer", "papers")  # Its table names a paper `id`, as that of paper_texts does.

    flagged = flag_withdrawn(open_project(project), {"doi:10.5555/toy.2": ""})

    assert sorted(version.model for version in flagged.certain) == ["gan", "writer"]


def test_a_picture_that_another_paper_shows_too_condemns_nothing(project: Path) -> None:
    shared = f"{1:064x}"

    flagged = flag_withdrawn(open_project(project), {"doi:10.5555/gone.before": shared})

    assert flagged.all == ()


def test_where_the_bytes_are_gone_the_model_is_tagged_with_a_perhaps(project: Path) -> None:
    opened = open_project(project)
    id = opened.lock().entries["toc_dataset@64"].output_id(opened.graph["toc_dataset@64"])
    assert id is not None
    object_path(opened.cache_dir, id).unlink()

    flagged = flag_withdrawn(opened, {"doi:10.5555/toy.9": ""})

    assert [version.model for version in flagged.possible] == ["gan"] and flagged.certain == ()
    assert "may have been made" in flagged.lines()[0]


def test_a_file_of_retractions_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "retractions.yaml").write_text("id: one\n")
    with pytest.raises(RetractionError, match="expected a list of entries"):
        retract(tmp_path, "doi:10.5555/a", "x", datetime.date(2026, 1, 5))


@pytest.fixture
def with_books(project: Path) -> Path:
    """The same project, whose champion read pages of two books as well, one of them withdrawn by its archive."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    graph = (project / "dvc.yaml").read_text()
    pages = f"""
  book_pages:
    cmd: {sys.executable} code/pages.py
    deps: [retractions.yaml]
    outs: [data/book_pages]
    meta: {{dagster: {{automation: on_data}}}}
"""
    (project / "dvc.yaml").write_text(graph + pages)
    (project / "code/pages.py").write_text(_PAGES)
    (project / "data/archive_items").mkdir()
    books = {"identifier": ["leafbook00", "rockbook00"], "url": ["https://archive.org/details/leafbook00", None], "title": ["Of leaves", "Of rocks"]}
    pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in books.items()}), project / "data/archive_items/items.parquet")
    assert figment(project, "materialize", "book_pages").code == 0
    opened = open_project(project)
    id = opened.lock().entries["book_pages"].output_id(opened.graph["book_pages"])
    assert id is not None
    inputs = [InputArtifact("book_pages", project / "data/book_pages", id)]
    with open_tracker(
        "bookgan", run_key="b" * 12, config={}, inputs=inputs, state_dir=project / ".figment", resume_step=None, reporter=Reporter()
    ) as tracker:
        tracker.register_model("bookgan", Path("data/gan"), output_id=f"{77:032x}.dir")
    return project


_PAGES = """
import pathlib
import pyarrow as pa, pyarrow.parquet as pq
asked = {line.split('"')[1] for line in open("retractions.yaml") if line.startswith("- id")}
books = ["leafbook00", "rockbook00"]
out = pathlib.Path("data/book_pages")
out.mkdir(parents=True, exist_ok=True)
pq.write_table(pa.table({"item_id": pa.array([b for b in books if b not in asked], pa.string())}), out / "index.parquet")
pq.write_table(pa.table({"id": pa.array([b for b in books if b in asked], pa.string())}), out / "withdrawn.parquet")
"""


def test_a_retracted_book_leaves_its_pages_and_taints_the_models_made_from_them_alone(with_books: Path) -> None:
    answer = figment(with_books, "retract", "https://archive.org/details/leafbook00", "--materialize")

    assert answer.code == 0, answer.err
    assert "leafbook00 (Of leaves): entered in retractions.yaml" in answer.out
    assert {version.model: version.is_retracted for version in model_versions(with_books)} == {"gan": False, "bookgan": True}
    import pyarrow.parquet as pq

    assert pq.read_table(with_books / "data/book_pages/index.parquet")["item_id"].to_pylist() == ["rockbook00"]
    assert "no model" in figment(with_books, "retract", "--sync").out
    near = figment(with_books, "retract", "rockbok00")
    assert near.code == 2 and "did you mean rockbook00?" in near.err


@pytest.fixture
def with_texts(project: Path) -> Path:
    """The same project, with a champion that read titles: a table whose rows are papers, and here none of them has a picture."""
    stage = f"""
  paper_texts:
    cmd: {sys.executable} code/texts.py
    deps: [data/papers]
    outs: [data/paper_texts]
    meta: {{dagster: {{automation: on_data}}}}
"""
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text() + stage)
    (project / "code/texts.py").write_text(_TEXTS)
    assert figment(project, "materialize", "paper_texts").code == 0
    opened = open_project(project)
    id = opened.lock().entries["paper_texts"].output_id(opened.graph["paper_texts"])
    assert id is not None
    register_words(project, "titles", f"{71:032x}.dir", {"paper_texts": id})
    return project


def register_words(root: Path, model: str, output_id: str, inputs: dict[str, str]) -> None:
    used = [InputArtifact(name, Path("data") / name, id) for name, id in inputs.items()]
    with open_tracker(
        model, run_key=output_id[20:32], config={}, inputs=used, state_dir=root / ".figment", resume_step=None, reporter=Reporter()
    ) as tracker:
        tracker.register_model(model, Path("data/gan"), output_id=output_id)


_TEXTS = """
import pathlib
import pyarrow as pa, pyarrow.parquet as pq
papers = pq.read_table("data/papers/papers-00000.parquet", columns=["id", "title"])
out = pathlib.Path("data/paper_texts")
out.mkdir(parents=True, exist_ok=True)
pq.write_table(papers.append_column("image_sha256", pa.nulls(len(papers), pa.string())), out / "paper_texts-00000.parquet")
pq.write_table(pa.table({"id": ["doi:10.5555/no.licence"], "reason": ["unknown_licence"]}), out / "rejected.parquet")
"""


def test_a_retracted_paper_leaves_the_texts_and_taints_who_learnt_its_title_and_who_starts_from_that(with_texts: Path) -> None:
    answer = figment(with_texts, "retract", "doi:10.5555/toy.2", "--materialize")

    assert answer.code == 0, answer.err
    assert "titles version 1 was made from withdrawn items" in answer.out
    import pyarrow.parquet as pq

    assert pq.read_table(with_texts / "data/paper_texts/paper_texts-00000.parquet")["id"].to_pylist() == [f"doi:10.5555/toy.{n}" for n in (0, 1, 3)]

    # A titler that starts from the tagged weights afterwards has them as its input, and nothing else of theirs.
    register_words(with_texts, "titler", f"{72:032x}.dir", {"title_gpt2": f"{71:032x}.dir"})

    assert [version.model for version in untagged_models(open_project(with_texts))] == ["titler"]
    assert "titler version 1" in figment(with_texts, "retract", "--sync").out
    assert untagged_models(open_project(with_texts)) == []


def test_a_paper_whose_text_was_set_aside_taints_no_model_of_texts(with_texts: Path) -> None:
    assert flag_withdrawn(open_project(with_texts), {"doi:10.5555/no.licence": ""}).all == ()
