"""Which bytes a model is shown with, and what is said where there are none. Real MLflow stores; folders instead of models."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")

from app.live.served import NotServedError, Shelf
from orchestration.bridge.identity import file_md5, tree_listing
from orchestration.checkout import open_project
from tests.app.live.projects import register, write_project
from training.tracking.registry import CHAMPION, PROMOTION_TAG, withdraw
from training.tracking.store import open_client, tracking_uri

MODEL = "toc_titler"


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    return write_project(tmp_path / "project", empty_store)


def train(root: Path, words: str) -> None:
    """Another content of data/toc_titler, kept in DVC's cache as `dvc commit` would keep it."""
    folder = root / "data" / MODEL
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_text(words)
    (folder / "deep/config").write_text("{}")
    md5s = {name: file_md5(folder / name) for name in ("weights", "deep/config")}
    (root / "listing").write_bytes(tree_listing(md5s))
    objects = {file_md5(root / "listing") + ".dir": root / "listing", **{md5: folder / name for name, md5 in md5s.items()}}
    for id, path in objects.items():
        stored = root / ".dvc/cache/files/md5" / id[:2] / id[2:]
        stored.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stored)
        stored.chmod(0o444)


def shelf(root: Path, **options: bool) -> Shelf:
    return Shelf(open_project(root), **options)


def test_the_champion_is_served_from_data_where_data_holds_it(root: Path):
    train(root, "one")
    register(root, MODEL)
    found = shelf(root).find(MODEL)
    assert found.folder == root / "data" / MODEL and found.words.startswith("toc_titler, version 1, champion, content ")


def test_a_champion_of_other_bytes_comes_from_the_cache(root: Path):
    train(root, "one")
    register(root, MODEL)
    train(root, "two")
    register(root, MODEL, champion=False)
    found = shelf(root).find(MODEL)
    assert found.version == "1" and found.folder.parent == root / ".figment/live"
    assert (found.folder / "weights").read_text() == "one" and (found.folder / "deep/config").is_file()
    assert (root / "data" / MODEL / "weights").read_text() == "two"


@pytest.mark.parametrize(("damage", "words"), [("removed", "no cache object of weights"), ("changed", "damaged, to be removed first: .*/md5/")])
def test_a_champion_that_the_cache_lost_or_damaged_is_not_served(root: Path, damage: str, words: str):
    train(root, "one")
    register(root, MODEL)
    md5 = file_md5(root / "data" / MODEL / "weights")
    train(root, "two")
    stored = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    stored.unlink()
    if damage == "changed":
        stored.write_text("none")
    with pytest.raises(NotServedError, match=f"nor DVC's cache holds all of it .{words}.*; .dvc fetch --all-commits toc_titler."):
        shelf(root).find(MODEL)
    assert list((root / ".figment/live").iterdir()) == []


def test_a_model_that_was_never_made_is_named_with_what_makes_it(root: Path):
    with pytest.raises(NotServedError, match="no version of toc_titler is registered; .figment materialize toc_titler. trains"):
        shelf(root).find(MODEL)
    with pytest.raises(NotServedError, match="did you mean 'toc_titler'"):
        shelf(root).find("toc_titles")


def test_one_that_was_not_promoted_says_why_and_is_shown_only_when_asked_for(root: Path):
    train(root, "one")
    register(root, MODEL, champion=False, **{PROMOTION_TAG: "not promoted: exact_match 0.1 is below the 0.5 asked for"})
    with pytest.raises(NotServedError, match=r"below the 0.5 asked for. .figment materialize titler_report. judges it again; .figment app --newest"):
        shelf(root).find(MODEL)
    assert "not a champion" in shelf(root, newest=True).find(MODEL).words


def test_a_withdrawn_champion_is_gone_at_once_and_the_reason_is_told(root: Path):
    train(root, "one")
    version, open_shelf = register(root, MODEL), shelf(root, newest=True)
    loads: list[Path] = []
    open_shelf.open(MODEL, loads.append)
    withdraw(open_client(tracking_uri(root / ".figment")), version, "paper 10.1/x was retracted")
    with pytest.raises(
        NotServedError, match=r"was withdrawn \(paper 10.1/x was retracted\); .figment materialize toc_titler. trains it on what is left"
    ):
        open_shelf.open(MODEL, loads.append)
    assert len(loads) == 1


def test_a_model_is_loaded_once_and_again_when_another_becomes_champion(root: Path):
    train(root, "one")
    register(root, MODEL)
    open_shelf = shelf(root)
    read = [open_shelf.open(MODEL, lambda folder: (folder / "weights").read_text()) for _ in range(2)]
    assert read[0] is read[1]
    train(root, "two")
    version = register(root, MODEL, champion=False)
    open_client(tracking_uri(root / ".figment")).set_registered_model_alias(MODEL, CHAMPION, version.version)
    assert open_shelf.open(MODEL, lambda folder: (folder / "weights").read_text()) == "two"


def test_a_store_that_cannot_be_read_is_said(root: Path):
    (root / ".figment/mlflow/mlflow.db").write_bytes(b"no database")
    with pytest.raises(NotServedError, match="toc_titler: "):
        shelf(root).find(MODEL)
