"""The nightly demo on a toy journal: what an edition moves is told and accepted; anything more or less is told and refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from assets.demo_sites.opening import STATE, read_edition
from orchestration.checkout import open_project
from orchestration.demo.night import (
    Papers,
    Snapshot,
    _unexpected_items,
    embedded_sources,
    item_counts,
    paper_counts,
    run_nightly_demo,
    shard_counts,
)
from orchestration.errors import CommandError
from tests.orchestration.cli.figment import figment
from tests.orchestration.journal_toy import make_journal_project

# A crawl that appends; edition n + 1 changes paper n, adds paper 5 + n and retracts the newest one of the first edition that is still there.
_CRAWL = """
import json, pathlib
path = pathlib.Path(".figment/embedded_sites/edition")
edition = int(path.read_text()) if path.exists() else 1
papers = {}
for n in range(6 + edition - 1):
    papers[n] = {"id": f"doi:10.5555/toy.{n}", "doi": f"10.5555/toy.{n}", "url": f"http://toy.example/{n}", "title": f"On number {n}",
                 "image_sha256": f"{n:064x}"}
for e in range(2, edition + 1):
    papers[e - 2]["title"] += ", revised"
    papers[6 - e + 1]["gone"] = "retracted"
out = pathlib.Path("data/journal_pages")
out.mkdir(parents=True, exist_ok=True)
text = json.dumps(list(papers.values()))
if not (out / "pages.json").exists() or (out / "pages.json").read_text() != text:
    number = len(list(out.glob("crawl-*.warc.gz"))) + 1
    (out / f"crawl-{number:05d}.warc.gz").write_text(text)
    new = out / ".new"
    new.write_text(text)
    new.replace(out / "pages.json")
"""
# Four pictures a shard.
_SHARDS = """
for number in {int(p["image_sha256"], 16) // 4 for p in papers}:
    members = [p["image_sha256"] for p in papers if int(p["image_sha256"], 16) // 4 == number]
    (out / f"shard-{number:05d}.zip").write_text("\\n".join(members))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_journal_project(tmp_path_factory.mktemp("journal") / "project")
    (root / "code/crawl.py").write_text(_CRAWL)
    papers = (root / "code/papers.py").read_text()
    (root / "code/papers.py").write_text(papers.replace('"reason": ["gone" for _ in withdrawn]', '"reason": [p["gone"] for p in withdrawn]'))
    (root / "code/dataset.py").write_text((root / "code/dataset.py").read_text() + _SHARDS)
    (root / "params.yaml").write_text("journal_pages:\n  sources:\n    - {name: toy, embedded: imaginary_letters}\n")
    answer = figment(root, "materialize", "--all")
    assert answer.code == 0, answer
    return root


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "project"))


def ids(root: Path) -> dict[str, str | None]:
    opened = open_project(root)
    return {name: entry.output_id(opened.graph[name]) for name, entry in opened.lock().entries.items()}


def test_two_nights_move_the_descendants_and_one_shard_and_leave_the_training(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for edition in (2, 3):
        before = ids(project)

        code = run_nightly_demo(project)

        said = capsys.readouterr().out
        assert code == 0, said
        assert read_edition(project / STATE) == edition
        after = ids(project)
        assert {name for name in after if after[name] != before[name]} == {"journal_pages", "papers", "toc_dataset@64"}
        told = {line.split()[0]: line for line in said.partition(" before ")[2].partition("\n\n")[0].splitlines()[1:]}
        assert "1 new" in told["journal_pages"] and "rewritten" not in told["journal_pages"]
        assert told["gan"].split()[:3] == ["gan", before["gan"][:8], "same"]
        assert {"changed", "new", "retracted"} <= {line.split()[0] for line in said.splitlines() if "doi:10.5555/toy." in line}
        assert "3 artifacts of 5" in said
    assert "gan" in said.rpartition("waits for you")[2]


def test_a_night_that_changes_more_than_an_edition_does_is_told_and_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crawl = project / "code/crawl.py"
    crawl.write_text(_CRAWL.replace('papers[e - 2]["title"]', 'papers[4]["gone"] = "gone"\n    papers[e - 2]["title"]'))

    assert run_nightly_demo(project) == 1

    said = capsys.readouterr().out
    assert "papers: expected 1 changed, 1 new and 1 retracted paper, found 1 changed, 1 new, 2 withdrawn (gone, retracted)" in said


def test_a_night_that_changes_nothing_is_told_and_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crawl = project / "code/crawl.py"
    crawl.write_text(_CRAWL.replace("int(path.read_text())", "1"))

    assert run_nightly_demo(project) == 1

    said = capsys.readouterr().out
    assert "papers did not move, but it holds papers or pages" in said and "journal_pages did not move" in said


def test_a_night_that_failed_before_the_crawl_is_tried_again_and_one_that_failed_after_it_goes_on_with_the_next_edition(project: Path) -> None:
    assert run_nightly_demo(project, night=lambda: False) == 1
    assert read_edition(project / STATE) == 1
    dataset = (project / "code/dataset.py").read_text()
    (project / "code/dataset.py").write_text("raise SystemExit(1)")
    assert run_nightly_demo(project) == 1
    assert read_edition(project / STATE) == 2
    (project / "code/dataset.py").write_text(dataset)
    with pytest.raises(CommandError, match="toc_dataset@64 must be up to date"):
        run_nightly_demo(project)
    assert figment(project, "materialize", "toc_dataset@64").code == 0
    assert run_nightly_demo(project) == 0
    assert read_edition(project / STATE) == 3


def test_without_the_embedded_journal_or_with_something_stale_it_says_what_to_do(project: Path) -> None:
    (project / "code/papers.py").write_text("raise SystemExit(1)")
    (project / "retractions.yaml").write_text("# Nobody.\n[]\n")
    with pytest.raises(CommandError, match="papers must be up to date"):
        run_nightly_demo(project)
    (project / "params.yaml").write_text("journal_pages:\n  sources:\n    - {name: toy, start: [http://toy.example]}\n")
    with pytest.raises(CommandError, match="figment preset demo"):
        run_nightly_demo(project)


# A harvest of an archive whose edition n + 1 adds item n, changes item 0 and takes item n - 1 away; what is made of it has a file.
_HARVEST = """
import pathlib, pyarrow as pa, pyarrow.parquet as pq
path = pathlib.Path(".figment/embedded_sites/edition")
edition = int(path.read_text()) if path.exists() else 1
rows = [{"identifier": f"item{n}", "status": "dark" if 0 < n < edition else "here", "item_updated": 1} for n in range(edition + 1)]
rows[0]["item_updated"] = edition
rows = [{"url": "", "title": "", **row} for row in rows]
out = pathlib.Path("data/archive_items")
out.mkdir(parents=True, exist_ok=True)
pq.write_table(pa.Table.from_pylist(rows), out / "items.parquet")
"""
_PAGES = """
import pathlib, pyarrow as pa, pyarrow.parquet as pq
items = [row for row in pq.read_table("data/archive_items/items.parquet").to_pylist() if row["status"] == "here"]
pages = [(row["identifier"], number, row["item_updated"] if number == 1 else 1) for row in items for number in (1, 2)]
rows = [{"page_id": f"{item}/{number}", "item_id": item, "sha256": str(content)} for item, number, content in pages]
pathlib.Path("data/book_pages").mkdir(parents=True, exist_ok=True)
pq.write_table(pa.Table.from_pylist(rows), "data/book_pages/index.parquet")
"""


@pytest.fixture
def with_archive(project: Path) -> Path:
    yaml = YAML(typ="safe")
    graph = yaml.load((project / "dvc.yaml").read_text())
    followed = {"dagster": {"automation": "on_data"}}
    for name, program, deps, meta in (("archive_items", _HARVEST, [], {"source": True}), ("book_pages", _PAGES, ["data/archive_items"], followed)):
        (project / f"code/{name}.py").write_text(program)
        graph["stages"][name] = {"cmd": f"{sys.executable} -B code/{name}.py", "deps": deps, "outs": [f"data/{name}"], "meta": meta}
    with (project / "dvc.yaml").open("w") as stream:
        yaml.dump(graph, stream)
    with (project / "params.yaml").open("a") as stream:
        stream.write("archive_items:\n  sources:\n    - {name: books, embedded: imaginary_archive}\n")
    answer = figment(project, "materialize", "--all")
    assert answer.code == 0, answer
    return project


def test_where_the_archive_is_harvested_its_books_move_in_the_same_night(with_archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert embedded_sources(open_project(with_archive)) == ["journal_pages", "archive_items"]
    before = ids(with_archive)
    assert run_nightly_demo(with_archive) == 0, capsys.readouterr().out
    said, after = capsys.readouterr().out, ids(with_archive)
    assert {name for name in after if after[name] != before[name]} == {"journal_pages", "papers", "toc_dataset@64", "archive_items", "book_pages"}
    assert {("new", "item2"), ("changed", "item0"), ("dark", "item1")} <= {tuple(line.split()) for line in said.splitlines()}


def test_an_archive_that_changes_something_else_is_told_and_refused(with_archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (with_archive / "code/archive_items.py").write_text(_HARVEST.replace('"dark" if 0 < n < edition else "here"', '"here"'))
    assert run_nightly_demo(with_archive) == 1
    said = capsys.readouterr().out
    assert "archive_items: expected 1 new, 1 changed and 1 dark item, found 1 new (item2), 1 changed (item0), 0 dark (none)" in said


def test_a_night_that_draws_other_pages_than_the_archive_changed_is_told_and_refused(with_archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = with_archive / "code/book_pages.py"
    pages.write_text(_PAGES.replace("if number == 1 else 1", "").replace('== "here"]', '== "here" and row["identifier"] != "item2"]'))
    assert figment(with_archive, "materialize", "book_pages").code == 0
    assert run_nightly_demo(with_archive) == 1
    said = capsys.readouterr().out
    assert "book_pages: expected the pages of item2 to come and those of item1 to go, and no others" in said
    assert "book_pages: expected one page of item0 with other pixels, found item0/1, item0/2" in said


def test_a_set_of_pages_may_touch_no_more_shards_than_items_moved() -> None:
    def snapshot(items: dict[str, int | None], shards: int, edition: int) -> Snapshot:
        rows = {name: {"status": "dark" if updated is None else "here", "item_updated": updated} for name, updated in items.items()}
        pages = {name: {"item_id": name, "sha256": str(row["item_updated"])} for name, row in rows.items() if row["status"] == "here"}
        files = {"page_dataset@64": {f"shard-{number:05d}.zip": Path(f"{number} {edition if number < shards else 0}") for number in range(5)}}
        return Snapshot({}, files, Papers(), {}, rows, pages)

    before = snapshot({"a": 1, "b": 1, "c": 1}, 0, 1)
    assert _unexpected_items(before, snapshot({"a": 1, "b": 2, "c": None, "d": 2}, 3, 2)) == []
    (found,) = _unexpected_items(before, snapshot({"a": 1, "b": 2, "c": None, "d": 2}, 4, 2))
    assert found == "page_dataset@64: 3 items moved, but its shards are: 4 rewritten, 1 kept"


def test_items_are_counted_by_what_became_of_them() -> None:
    before = {name: {"status": "here", "item_updated": 1} for name in ("a", "b", "c")} | {"d": {"status": "dark", "item_updated": 1}}
    after = {
        **before,
        "b": {"status": "dark", "item_updated": 2},
        "c": {"status": "here", "item_updated": 2},
        "e": {"status": "here", "item_updated": 2},
    }
    assert item_counts(before, after) == {"new": ["e"], "changed": ["c"], "dark": ["b"]}


def test_papers_and_shards_are_counted_by_what_they_hold() -> None:
    before = Papers({"a": {"id": "a", "title": "x"}, "b": {"id": "b", "title": "y"}}, {"w": "gone"})
    after = Papers({"a": {"id": "a", "title": "z"}, "c": {"id": "c", "title": "y"}}, {"w": "gone", "b": "retracted"})
    counts = paper_counts(before, after)
    assert (counts.changed, counts.new, dict(counts.withdrawn)) == (("a",), ("c",), {"b": "retracted"})
    one, other = Path("1"), Path("2")
    shards = shard_counts({"s-0": one, "s-1": one, "s-2": one}, {"s-0": one, "s-1": other, "s-3": one})
    assert (shards.kept, shards.rewritten, shards.added, shards.gone) == (1, 1, 1, 1)


@pytest.mark.slow
def test_a_night_of_the_real_stages_rewrites_one_shard_of_each_set_of_pictures(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stages up to the datasets as the project has them, in a folder of their own, with a stand-in for the training."""
    pytest.importorskip("scrapy", reason="scrapy is not installed (extra: scrape)")
    root = real_project(project_root, tmp_path / "project")
    monkeypatch.setenv("PYTHONPATH", str(project_root))
    assert figment(root, "materialize", "--all").code == 0
    before = ids(root)

    code = run_nightly_demo(root)

    said = capsys.readouterr().out
    assert code == 0, said
    moved = {name for name, id in ids(root).items() if id != before[name]}
    assert moved == set(before) - {"gan"} and len(moved) == 6
    for name in ("toc_images", "toc_dataset@512", "toc_dataset@256", "toc_dataset@128"):
        (row,) = [line for line in said.partition(" before ")[2].splitlines() if line.startswith(f"{name} ")]
        assert "1 rewritten" in row and "new" not in row and "gone" not in row
    requests = [json.loads(line) for line in (root / ".figment/crawls/journal_pages/nights.jsonl").read_text().splitlines()]
    assert requests[-1]["requests"]["image"] <= 2 and requests[-1]["requests"]["article"] <= 3


def real_project(origin: Path, root: Path) -> Path:
    yaml = YAML(typ="safe")
    stages = yaml.load((origin / "dvc.yaml").read_text())["stages"]
    kept = {name: stages[name] for name in ("journal_pages", "papers", "toc_images", "toc_dataset")}
    for stage in kept.values():
        body = stage.get("do", stage)
        # The code is found on the path; that a change of it makes a stage stale is tested elsewhere.
        body["params"] = [entry for entry in body["params"] if isinstance(entry, str)]
    kept["gan"] = {
        "cmd": "mkdir -p data/gan && cp data/toc_dataset@128/index.parquet data/gan/weights",
        "deps": ["data/toc_dataset@128"],
        "outs": ["data/gan"],
        "meta": {"dagster": {"automation": "manual"}},
    }
    root.mkdir()
    shutil.copyfile(origin / "params.yaml", root / "params.yaml")
    (root / "retractions.yaml").write_text("[]\n")
    with open(root / "dvc.yaml", "w") as stream:
        yaml.dump({"stages": kept}, stream)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=root, check=True)
    return root
