"""Tables and models as folders for Hugging Face: what readers find in them, and what the cards say."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml

from orchestration.bridge.project import Project
from orchestration.export.about import about
from orchestration.export.cards import About, Source
from orchestration.export.copying import ExportError, export, recorded_files
from stages.artifact_id import content_id

SPLITS = ("train", "train", "test", "valid", "train", "test")
REPORT = {"t1_validity": 0.65, "t1_validity_low": 0.6, "t1_validity_high": 0.7, "t1_validity_n": 100}


def write_molecules(folder: Path) -> dict[str, Path]:
    """Six molecules in two shards, beside a table that is not part of it."""
    folder.mkdir(parents=True)
    fields = [pa.field("smiles", pa.string()), pa.field("split_random", pa.string()), pa.field("licence", pa.string())]
    schema = pa.schema([*fields, pa.field("mol_wt", pa.float64(), metadata={"unit": '"Da"'})])
    rows = [
        {"smiles": "C" * (row + 1), "split_random": split, "licence": "MIT" if row else "CC0-1.0", "mol_wt": 14.0 * row}
        for row, split in enumerate(SPLITS)
    ]
    for shard in (0, 1):
        pq.write_table(pa.Table.from_pylist(rows[3 * shard : 3 * shard + 3], schema), folder / f"molecules-0000{shard}.parquet")
    pq.write_table(pa.table({"reason": ["empty"], "licence": ["secret"]}), folder / "rejected.parquet")
    return {path.name: path for path in sorted(folder.iterdir())}


def write_model(folder: Path, model_type: str = "polygpt") -> dict[str, Path]:
    folder.mkdir(parents=True)
    properties = {"properties": ["mol_wt"], "property_mean": [123.456], "property_std": [7.0], "property_units": {"mol_wt": "Da"}}
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **(properties if model_type == "polygpt" else {})}))
    (folder / "model.safetensors").write_bytes(b"weights")
    values = {"loss": 2.0, "validation_property_r2_mol_wt": 0.91}
    (folder / "training_summary.json").write_text(json.dumps({"parameters": 1234, "last_values": values}))
    return {path.name: path for path in sorted(folder.iterdir())}


@pytest.fixture
def project(tmp_path) -> Project:
    """sources -> molecules -> polygpt -> polygpt_report, all recorded."""
    root = tmp_path / "project"
    chain = {"sources": [], "molecules": ["sources"], "polygpt": ["molecules"], "polygpt_report": ["polygpt", "molecules"]}
    write_molecules(root / "data/molecules")
    write_model(root / "data/polygpt")
    for name, file, text in (("sources", "a.txt", "x"), ("polygpt_report", "metrics.json", json.dumps({"free": REPORT}))):
        (root / "data" / name).mkdir()
        (root / "data" / name / file).write_text(text)
    stages, recorded = {}, {}
    for name, deps in chain.items():
        stages[name] = {"desc": f"The {name}.", "cmd": f"make {name}", "deps": [f"data/{dep}" for dep in deps], "outs": [f"data/{name}"]}
        entry = {kind: [{"path": path, "hash": "md5", "md5": content_id(root / path)} for path in stages[name][kind]] for kind in ("deps", "outs")}
        recorded[name] = {"cmd": f"make {name}", **entry}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": recorded}))
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    return Project(root)


def header(card: Path) -> dict:
    _, head, _ = card.read_text().split("---\n", 2)
    return yaml.safe_load(head)


def test_a_table_becomes_one_file_a_split_that_the_card_points_at(tmp_path):
    facts = About("molecules", "abc.dir", "Cleaned molecules.")
    export(write_molecules(tmp_path / "molecules"), tmp_path / "out", "huggingface", facts)
    head = header(tmp_path / "out/README.md")
    assert head["license"] == ["cc0-1.0", "mit"] and head["size_categories"] == ["n<1K"] and head["pretty_name"] == "molecules"
    files = {entry["split"]: entry["path"] for entry in head["configs"][0]["data_files"]}
    assert list(files) == ["train", "validation", "test"] and head["configs"][0]["config_name"] == "default"
    # What the patterns find is what `datasets` would read.
    found = {split: pads.dataset(sorted((tmp_path / "out").glob(pattern))).to_table()["smiles"].to_pylist() for split, pattern in files.items()}
    assert found == {"train": ["C", "CC", "CCCCC"], "validation": ["CCCC"], "test": ["CCC", "CCCCCC"]}
    card = (tmp_path / "out/README.md").read_text()
    assert "version `abc.dir`" in card and "| mol\\_wt | double | Da |" in card and "| MIT | 5 |" in card and "secret" not in card


def test_hugging_faces_own_library_opens_the_table(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the library `datasets` is not installed")
    export(write_molecules(tmp_path / "molecules"), tmp_path / "out", "huggingface", About("molecules", "abc.dir"))
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: rows["smiles"] for split, rows in found.items()} == {
        "train": ["C", "CC", "CCCCC"],
        "validation": ["CCCC"],
        "test": ["CCC", "CCCCCC"],
    }


def test_a_table_without_splits_is_all_training_data(tmp_path):
    pq.write_table(pa.table({"title": ["a", "b"]}), tmp_path / "papers-00000.parquet")
    source = Source("journal_pages", "def.dir", {"CC-BY-4.0": 2, "publisher's": 1})
    export({"papers-00000.parquet": tmp_path / "papers-00000.parquet"}, tmp_path / "out", "huggingface", About("papers", "abc.dir", sources=[source]))
    assert pq.read_table(tmp_path / "out/data/train-00000-of-00001.parquet")["title"].to_pylist() == ["a", "b"]
    assert header(tmp_path / "out/README.md")["license"] == ["cc-by-4.0", "other"]
    assert "| `journal_pages` | `def.dir` | CC\\-BY\\-4\\.0 (2), publisher's (1) |" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("write", [write_molecules, write_model])
def test_the_same_artifact_gives_the_same_bytes(tmp_path, write):
    files = write(tmp_path / "molecules")
    for name, given in (("one", files), ("two", dict(reversed(files.items())))):
        export(given, tmp_path / name, "huggingface", About("it", "abc"))
    one, two = ({path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("one", "two"))
    assert one == two and Path("README.md") in one


def test_a_models_card_names_what_it_was_made_from_how_good_it_is_and_where_it_ends(project, tmp_path):
    facts = about(project, "polygpt")
    assert [(source.name, dict(source.licences)) for source in facts.sources] == [("sources", {}), ("molecules", {"CC0-1.0": 1, "MIT": 5})]
    export(recorded_files(project, "polygpt"), tmp_path / "out", "huggingface", facts)
    assert (tmp_path / "out/model.safetensors").read_bytes() == b"weights"
    head, card = header(tmp_path / "out/README.md"), (tmp_path / "out/README.md").read_text()
    assert head["license"] == ["cc0-1.0", "mit"] and (head["library_name"], head["pipeline_tag"]) == ("transformers", "text-generation")
    assert f"version `{content_id(project.root / 'data/polygpt')}`" in card and f"`{content_id(project.root / 'data/molecules')}`" in card
    assert "AutoModelForCausalLM" in card and "wanted(mol_wt=123.5)" in card and "## Limits" in card and "| parameters | 1,234 |" in card
    assert "| validation\\_property\\_r2\\_mol\\_wt | 0.91 |" in card and "`polygpt_report`:" in card
    assert "| free\\.t1\\_validity | 0.65 | 0.6…0.7 | 100 |" in card
    assert str(tmp_path) not in card


def test_a_report_on_an_earlier_version_and_licences_of_a_later_one_are_not_told(project):
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    lock["stages"]["polygpt_report"]["deps"][0]["md5"] = lock["stages"]["polygpt"]["deps"][0]["md5"] = "0" * 32
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    facts = about(project.again(), "polygpt")
    assert facts.metrics == {} and [(source.name, source.id, dict(source.licences)) for source in facts.sources] == [("molecules", "0" * 32, {})]


@pytest.mark.parametrize(
    ("model_type", "title", "package", "tag"),
    [("stylegan3", "StyleGAN3", "stylegan3", "stylegan3"), ("progressive_gan", "Progressive GAN", "progressive", "progressive-gan")],
)
def test_a_generator_says_that_it_needs_its_program(tmp_path, model_type, title, package, tag):
    files = write_model(tmp_path / "m", model_type)
    files.pop("training_summary.json")
    files["training_options.json"] = tmp_path / "options.json"
    files["training_options.json"].write_text(json.dumps({"parameters": {"generator": 1234}, "images_seen": 4500, "inception": "inception.pt"}))
    export(files, tmp_path / "out", "huggingface", About("the_model", "abc.dir"))
    head, card = header(tmp_path / "out/README.md"), (tmp_path / "out/README.md").read_text()
    assert f"# {title}\n" in card and f"from training.{package} import load_generator" in card and "## Limits" in card
    assert "| parameters | generator 1,234 |\n| images seen | 4,500 |" in card and "inception" not in card
    assert head["pipeline_tag"] == "unconditional-image-generation" and head["tags"] == [tag, "gan", "figment"]


def test_a_translator_says_how_both_ways_are_loaded(tmp_path):
    export(write_model(tmp_path / "m", "cyclegan"), tmp_path / "out", "huggingface", About("cyclegan_paintings", "abc.dir"))
    assert "from training.cyclegan import load_generators" in (tmp_path / "out/README.md").read_text()
    assert header(tmp_path / "out/README.md")["pipeline_tag"] == "image-to-image"


@pytest.mark.parametrize(("name", "task"), [("titler", "image-to-text"), ("t5", "text2text-generation")])
def test_a_model_of_transformers_is_loaded_by_the_lines_of_its_card(tmp_path, monkeypatch, name, task):
    from tests.app.live import projects

    folder = getattr(projects, f"write_{name}")(tmp_path / "it")
    (folder / "README.md").write_text(f"---\nlibrary_name: transformers\npipeline_tag: {task}\n---\n\n# It\n\n## Limits\n\nIt is untrained.\n")
    (folder / "training_summary.json").write_text(json.dumps({"start_from": "a/t5"}))
    files = {path.name: path for path in folder.iterdir()}
    export(files, tmp_path / "out", "huggingface", About("it", "abc.dir"))
    head, card = header(tmp_path / "out/README.md"), (tmp_path / "out/README.md").read_text()
    assert (
        (head["library_name"], head["pipeline_tag"]) == ("transformers", task)
        and "- It is untrained.\n" in card
        and '| start from | "a/t5" |' in card
    )
    monkeypatch.chdir(tmp_path / "out")
    loaded: dict[str, Any] = {}
    exec(card.partition("```python\n")[2].partition("```")[0], loaded)
    assert loaded["model"].num_parameters() > 0 and ("processor" in loaded) == (name == "titler")
    assert loaded["tokenizer"]("Light").input_ids


def test_a_generator_of_sentences_says_how_it_is_loaded(tmp_path):
    export(write_model(tmp_path / "m", "text_generator"), tmp_path / "out", "huggingface", About("text_gan", "abc.dir"))
    assert "from training.words.text_gan.networks import load_generator" in (tmp_path / "out/README.md").read_text()


def test_what_is_neither_table_nor_model_nor_picture_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ExportError, match="no table in this artifact"):
        export({"a.txt": tmp_path / "a.txt"}, tmp_path / "out", "huggingface", About("a", "b"))
    assert not (tmp_path / "out").exists()
