"""Each check fails on just the fault it is named for."""

from pathlib import Path

import pytest

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import pyarrow.parquet as pq

from assets.images.gather import GatherConfig
from assets.papers.checks import report_checks, report_living_pictures
from assets.papers.raw_pages import RawPages
from assets.papers.toc_images import gather_images
from formats.tables import table_from_rows
from stages.reporting import Reporter
from tests.assets.papers.stores import Store, build, paper, picture


class Failed(Reporter):
    """The names of the checks that failed."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def check(self, name, passed, *, severity="ERROR", **values):
        self.names |= set() if passed else {name}


@pytest.fixture
def made(tmp_path) -> Path:
    store = Store(tmp_path / "raw")
    store.page("http://letters.example/toc", *(paper(number, image_url=f"http://letters.example/{number}.png") for number in range(3)))
    for number in range(3):
        store.picture(f"http://letters.example/{number}.png", picture(number))
    store.page("http://letters.example/more", paper(9), withdrawals=[(paper(9)["url"], "retracted", "made up")])
    build(store, tmp_path / "papers")
    with RawPages(tmp_path / "raw") as raw:
        gather_images(GatherConfig(), raw, tmp_path / "papers", tmp_path / "toc_images", scratch=tmp_path / "scratch")
    return tmp_path


def failed(root: Path, rows_before: int | None = None) -> set[str]:
    reporter = Failed()
    with RawPages(root / "raw") as raw:
        report_checks(root / "papers", raw, reporter, rows_before=rows_before, collapse_fraction=0.5)
    return reporter.names


def failed_of_images(root: Path) -> set[str]:
    reporter = Failed()
    report_living_pictures(root / "toc_images", root / "papers", reporter)
    return reporter.names


def edit(path: Path, change) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows = change(rows) or rows
    path.unlink()
    pq.write_table(table_from_rows(table.schema, rows), path)


def test_sound_outputs_pass(made):
    assert failed(made, rows_before=6) == set() and failed_of_images(made) == set()


def test_an_unknown_licence_is_seen(made):
    edit(made / "papers/papers-00000.parquet", lambda rows: rows[0].update(licence="unknown"))
    assert failed(made) == {"licences_known"}


def test_a_paper_listed_twice_is_seen(made):
    edit(made / "papers/papers-00000.parquet", lambda rows: [*rows, rows[0]])
    assert failed(made) == {"ids_unique"}


def test_a_withdrawn_paper_that_is_still_there_is_seen(made):
    (gone,) = pq.read_table(made / "papers/withdrawn.parquet").to_pylist()
    edit(made / "papers/papers-00000.parquet", lambda rows: rows[0].update(id=gone["id"]))
    assert failed(made) == {"no_withdrawn_paper"}


def test_a_withdrawn_paper_whose_picture_is_still_listed_is_seen(made):
    (gone,) = pq.read_table(made / "papers/withdrawn.parquet").to_pylist()
    edit(made / "papers/images.parquet", lambda rows: rows[0]["paper_ids"].append(gone["id"]))
    assert failed(made) == {"no_withdrawn_paper"}


def test_a_picture_that_is_not_stored_is_seen(made):
    edit(made / "papers/papers-00000.parquet", lambda rows: rows[0].update(image_sha256="0" * 64))
    assert failed(made) == {"pictures_stored"}


def test_rows_that_collapsed_are_seen(made):
    assert failed(made, rows_before=7) == {"rows_did_not_collapse"}


def test_a_picture_of_no_living_paper_is_seen(made):
    edit(made / "papers/images.parquet", lambda rows: rows[1].update(is_live=False))
    assert failed_of_images(made) == {"no_withdrawn_picture"}
