"""The archive that the demo harvests, through nights in which an item comes, one changes, and one goes dark."""

import pytest

from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.harvest.harvesting import harvest
from assets.books.items import read_items
from assets.demo_sites import opening
from stages.files import sha256_of
from stages.params import build_config
from stages.reporting import SilentReporter
from tests.assets.books.harvest.tiny_archive import open_items, pdf
from tests.conftest import SHARED_DATA


@pytest.fixture
def harvested(tmp_path, monkeypatch):
    """Harvests an embedded archive into tmp_path/items. edition: that it is in."""
    monkeypatch.setattr(opening.site_named, "__kwdefaults__", {**opening.site_named.__kwdefaults__, "state": tmp_path})
    monkeypatch.setattr(opening.open_site.__wrapped__, "__kwdefaults__", {**opening.open_site.__wrapped__.__kwdefaults__, "state": tmp_path})

    def once(edition: int = 1, **source):
        opening.write_edition(edition, tmp_path)
        base = {"name": "ours", "licence": "CC0-1.0", "embedded": "imaginary_archive", "collection": "imaginary_books"}
        values = {"contact": "me@figment.example", "sources": [{key: value for key, value in (base | source).items() if value is not None}]}
        config = build_config(ArchiveItemsConfig, values, where="test")
        return harvest(config, tmp_path / "items", state=tmp_path / "state", authorization="", reporter=SilentReporter())

    return once


@pytest.mark.slow
def test_a_night_moves_what_moved_and_nothing_else(harvested, tmp_path):
    harvested()
    first = {item.identifier: item for item in read_items(tmp_path / "items")}
    assert {item.url.rpartition("/")[0] for item in first.values()} == {"http://archive.imaginary-letters.example/details"}
    done = harvested(2)
    assert (done.tallies[0].asked, done.tallies[0].new, done.tallies[0].changed, done.tallies[0].dark) == (3, 1, 1, 1)
    second = {item.identifier: item for item in read_items(tmp_path / "items")}
    moved = {name for name, item in second.items() if item != first.get(name)}
    assert moved == {"primeroftea00funn", "pamphletpunctuality", "supplement0002"}
    assert {second[name].serial for name in first} == {item.serial for item in first.values()}
    assert not harvested(2).is_new


def test_files_of_a_folder_come_by_way_of_an_archive_and_a_change_in_one_is_noticed(harvested, tmp_path):
    folder = tmp_path / "scans"
    (folder / "more").mkdir(parents=True)
    for name in ("one.pdf", "more/two.pdf"):
        (folder / name).write_bytes(pdf(name))
    source = {"name": "scans", "embedded": "archive_folder", "folder": str(folder), "collection": None}
    harvested(**source)
    (folder / "one.pdf").write_bytes(pdf("one anew"))
    done = harvested(**source)
    assert (done.tallies[0].changed, done.tallies[0].downloaded) == (1, 1)
    assert {item.files[0].path.read_bytes() for item in open_items(tmp_path / "items")} == {pdf("one anew"), pdf("more/two.pdf")}
    assert not harvested(**source).is_new


@pytest.mark.shared_data
def test_the_real_scans_come_by_way_of_an_archive(harvested, tmp_path):
    folder = SHARED_DATA / "scanned_pdfs"
    harvested(name="scans", licence="unknown", embedded="archive_folder", folder=str(folder), collection=None)
    came = {file.sha256 for item in open_items(tmp_path / "items") for file in item.files}
    assert came == {sha256_of(path) for path in folder.rglob("*.pdf")}
