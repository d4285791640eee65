"""Whatever happens at an archive from night to night, the harvest holds what the archive shows, and numbers never move."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.books.harvest.harvesting import harvest
from assets.books.items import read_items
from formats.tables import read_table
from stages.reporting import SilentReporter
from tests.assets.books.harvest.tiny_archive import TinyArchive, open_items, pdf, serving

EVENT = st.tuples(st.sampled_from(["add", "change", "dark", "back", "unlist", "forget", "lose memory"]), st.sampled_from("abc"))


@settings(max_examples=8)
@given(st.lists(st.lists(EVENT, max_size=4), min_size=2, max_size=4))
def test_the_harvest_holds_what_the_archive_shows_and_numbers_never_move(nights):
    numbers: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, serving(TinyArchive()) as archive:
        folder, version = Path(name), 0
        archive.add("always")
        for night in nights:
            for event, book in night:
                version += 1
                _happen(archive, event, book, version)
                if event == "lose memory":
                    for path in folder.glob("state/*/memory.json"):
                        path.unlink()
            harvest(archive.config(), folder / "items", state=folder / "state", authorization="", reporter=SilentReporter())
            came = {item.identifier: item.serial for item in read_items(folder / "items")}
            assert numbers.items() <= came.items()
            assert len(set(came.values())) == len(came)
            numbers = came
            serials = [row["serial"] for row in read_table(folder / "items" / "files.parquet").to_pylist()]
            assert len(set(serials)) == len(serials)
            here = {item.identifier: item.files[0].path.read_bytes() for item in open_items(folder / "items")}
            shown = {book: archive.books[book].files[f"{book}.pdf"][1] for book in archive.books if not archive.books[book].is_dark}
            assert here.items() <= shown.items()
            assert {book for book in shown if archive.books[book].is_listed} <= set(here)
            stored = {path.name for path in (folder / "items" / "files").iterdir()}
            assert stored == {file.path.name for item in open_items(folder / "items") for file in item.files}


def _happen(archive: TinyArchive, event: str, name: str, version: int) -> None:
    if event == "add" and name not in archive.books:
        archive.add(name)
        archive.books[name].updated = version
    elif event == "forget":
        archive.books.pop(name, None)
    elif name in archive.books and event == "change":
        archive.touch(name, pdf(f"{name} {version}"))
    elif name in archive.books and event in {"dark", "back"}:
        archive.books[name].is_dark = event == "dark"
    elif name in archive.books and event == "unlist":
        archive.books[name].is_listed = False
