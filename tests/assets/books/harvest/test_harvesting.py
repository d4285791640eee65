"""A harvest takes what is new or has changed, keeps what it had where the archive is in trouble, and forgets no number."""

import json
import shutil
import time
from dataclasses import replace

import pytest

from assets.books.harvest import archive as archive_module
from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.harvest.run import HarvestError
from assets.books.items import ItemsError, read_items
from assets.demo_sites.folder import FolderSite
from assets.demo_sites.server import serve
from stages.files import sha256_of
from tests.assets.books.harvest.tiny_archive import Book, open_items, pdf
from tests.conftest import SHARED_DATA


def items(tmp_path):
    return {item.identifier: item for item in read_items(tmp_path / "items")}


def content(item) -> bytes:
    return item.files[0].path.read_bytes()


def state_of(folder) -> dict:
    """Every file with its bytes, its inode and the time of its last change: what a night that found nothing must leave alone."""
    return {path: (sha256_of(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()}


# What comes.


def test_each_item_comes_with_what_is_stated_of_it_and_its_file_by_content(archive, harvested, tmp_path):
    fields = {"creator": ["A", "B"], "language": "eng", "imagecount": "12", "licenseurl": "http://creativecommons.org/licenses/by/4.0/"}
    archive.books["one"] = Book({"one.pdf": ("Text PDF", pdf("one"))}, fields)
    archive.add("two")
    done = harvested()
    one, two = open_items(tmp_path / "items")
    assert (one.identifier, one.serial, one.title, one.licence) == ("one", 0, "The one", "CC-BY-4.0")
    assert [(row["creators"], row["languages"], row["imagecount"]) for row in done.store.rows("items")] == [(["A", "B"], ["eng"], 12), ([], [], None)]
    assert (two.serial, two.licence, str(two.first_seen), two.source) == (1, "CC0-1.0", "2026-01-06", "tiny")
    assert content(one) == pdf("one")
    assert one.files[0].path.name == f"{one.files[0].sha256}.pdf"
    assert sha256_of(one.files[0].path) == one.files[0].sha256
    assert done.is_new


def test_several_files_of_an_item_do_not_overwrite_each_other(archive, harvested, tmp_path):
    """DeepZine's defect 11: pages of several PDFs of an item got the same names."""
    archive.books["set"] = Book({f"volume {number}/book.pdf": ("Text PDF", pdf(f"{number}")) for number in (1, 2)})
    harvested(files="all")
    (item,) = open_items(tmp_path / "items")
    assert [(file.name, file.path.read_bytes()) for file in item.files] == [(f"volume {n}/book.pdf", pdf(f"{n}")) for n in (1, 2)]


def test_numbers_of_files_are_never_given_twice_and_stay_with_the_only_file_of_an_item(archive, harvested, tmp_path):
    def numbers() -> dict:
        return {row["name"]: row["serial"] for row in harvested(files="all").store.rows("files")}

    archive.add("a", "b")
    archive.books["set"] = Book({f"{number}.pdf": ("Text PDF", pdf(f"{number}")) for number in (1, 2)})
    assert numbers() == {"a.pdf": 0, "b.pdf": 1, "2.pdf": 3, "1.pdf": 2}
    archive.touch("a", pdf("a anew"))
    archive.books["set"].is_dark = archive.books["b"].is_dark = True
    archive.add("new")
    assert numbers() == {"a.pdf": 0, "new.pdf": 4}
    archive.books["set"].is_dark = archive.books["b"].is_dark = False
    archive.books["a"].files = {"renamed.pdf": ("Text PDF", pdf("renamed"))}
    archive.books["a"].updated += 1
    assert numbers() == {"renamed.pdf": 0, "b.pdf": 1, "new.pdf": 4, "1.pdf": 5, "2.pdf": 6}


def test_the_same_file_in_two_items_lies_there_once_and_stays_while_one_of_them_does(archive, harvested, tmp_path):
    archive.books |= {name: Book({f"{name}.pdf": ("Text PDF", pdf("same"))}) for name in ("a", "b")}
    harvested()
    assert len(list((tmp_path / "items" / "files").iterdir())) == 1
    archive.books["a"].is_dark = True
    harvested()
    (left,) = open_items(tmp_path / "items")
    assert content(left) == pdf("same")


def test_items_may_be_named_in_a_list_or_a_file(archive, harvested, tmp_path):
    archive.add("a", "b", "c")
    harvested(identifiers=["c", "a"])
    assert [item.identifier for item in open_items(tmp_path / "items")] == ["c", "a"]
    archive.books["b"].files = {}
    harvested(identifiers=["a", "b"])
    done = harvested(identifiers=["a"])
    assert [(item.identifier, item.status) for item in read_items(tmp_path / "items")] == [("c", "left"), ("a", "here"), ("b", "left")]
    assert done.store.rejected == {}
    archive.add("b")
    (tmp_path / "names.txt").write_text("# mine\nb\n\nc\n")
    harvested(identifiers=str(tmp_path / "names.txt"))
    assert [item.identifier for item in open_items(tmp_path / "items")] == ["c", "b"]
    assert not [path for path in archive.requests if "search" in path]
    (tmp_path / "names.txt").write_text("../../etc/passwd\n")
    with pytest.raises(HarvestError, match=r"source 'tiny': .*names.txt: '../../etc/passwd' is not an identifier"):
        harvested(identifiers=str(tmp_path / "names.txt"))
    with pytest.raises(HarvestError, match="source 'tiny': .*nowhere.txt"):
        harvested(identifiers=str(tmp_path / "nowhere.txt"))


def test_an_item_that_one_source_names_no_more_is_the_next_ones_that_asks_for_it(archive, harvested, tmp_path):
    archive.add("a", "b")
    base = {"licence": "CC0-1.0", "host": archive.url}

    def night(*names):
        harvested(sources=[base | {"name": "list", "identifiers": list(names)}, base | {"name": "search", "collection": "books"}])
        return {name: (item.source, item.serial, item.status) for name, item in items(tmp_path).items()}

    assert night("a", "b") == {"a": ("list", 0, "here"), "b": ("list", 1, "here")}
    assert night("b") == {"a": ("search", 0, "here"), "b": ("list", 1, "here")}
    assert night("a", "b") == {"a": ("search", 0, "here"), "b": ("list", 1, "here")}


def test_a_named_item_that_is_not_there_is_told(archive, harvested, tmp_path):
    archive.add("a")
    done = harvested(identifiers=["a", "nothing"])
    assert [(row["identifier"], row["reason"]) for row in done.store.rows("rejected")] == [("nothing", "not_found")]
    assert list(items(tmp_path)) == ["a"]


# Caps.


def test_the_cap_on_items_applies(archive, harvested, tmp_path):
    """DeepZine's defect 1: it compared the cap with the answer itself, and so never stopped."""
    archive.add(*"abcdefgh")
    done = harvested(max_items=3)
    assert list(items(tmp_path)) == ["a", "b", "c"]
    assert archive.asked("metadata") == archive.asked("download") == ["a", "b", "c"]
    assert done.tallies[0].left_out == 5


def test_items_without_a_file_and_dark_ones_do_not_count_as_items(archive, harvested, tmp_path):
    archive.add(*"abcdef")
    archive.books["b"].files = {"b.txt": ("Text", b"words")}
    harvested(max_items=3)
    assert [item.identifier for item in open_items(tmp_path / "items")] == ["a", "c", "d"]
    archive.books["c"].is_dark = True
    harvested(max_items=3)
    assert [item.identifier for item in open_items(tmp_path / "items")] == ["a", "d", "e"]


def test_the_caps_on_pages_and_bytes_apply(archive, harvested, tmp_path):
    archive.add("a", "b", "c", "d", pages=40)
    done = harvested(max_pages=100)
    assert (list(items(tmp_path)), done.tallies[0].left_out) == (["a", "b"], 2)
    archive.books |= {f"large{n}": Book({f"large{n}.pdf": ("Text PDF", pdf("x" * 10_000 + str(n)))}) for n in range(4)}
    harvested(max_mib=1)
    sizes = [file.path.stat().st_size for item in open_items(tmp_path / "items") for file in item.files]
    assert 2**20 * 0.5 < sum(sizes) <= 2**20


def test_an_item_beyond_the_whole_cap_is_set_aside_and_smaller_ones_come(archive, harvested, tmp_path):
    archive.add("a", pages=500)
    archive.add("b", pages=20)
    done = harvested(max_pages=100)
    assert [item.identifier for item in open_items(tmp_path / "items")] == ["b"]
    assert [(row["identifier"], row["reason"]) for row in done.store.rows("rejected")] == [("a", "over_cap")]
    # Raised, the cap lets it in, though nothing has changed at the archive.
    harvested(max_pages=1_000)
    assert [item.identifier for item in open_items(tmp_path / "items")] == ["a", "b"]


def test_a_file_that_grows_beyond_the_cap_stays_as_it_was(archive, harvested, tmp_path):
    archive.add("a")
    harvested(max_mib=1)
    archive.touch("a", pdf("x" * 30_000))
    done = harvested(max_mib=1)
    assert content(items(tmp_path)["a"]) == pdf("a")
    assert [row["reason"] for row in done.store.rows("rejected")] == ["over_cap"]


def test_a_file_that_is_too_large_is_passed_over_for_the_next_best(archive, harvested, tmp_path):
    files = {"a.pdf": ("Text PDF", pdf("x" * 30_000)), "a_scan.pdf": ("Image Container PDF", pdf("small"))}
    archive.books["a"] = Book(files)
    harvested(max_file_mib=1)
    assert content(items(tmp_path)["a"]) == pdf("small")
    assert not [path for path in archive.requests if path.endswith("/a.pdf")]


# Nights.


def test_a_night_without_changes_asks_for_the_search_alone_and_alters_nothing(archive, harvested, tmp_path):
    archive.add(*"abcdefg")
    archive.books["g"].files = {}
    harvested()
    before = state_of(tmp_path / "items")
    done = harvested()
    assert set(archive.requests) == {"/services/search/v1/scrape"}
    assert state_of(tmp_path / "items") == before
    assert not done.is_new


def test_without_its_memory_a_night_asks_for_metadata_and_still_alters_nothing(archive, harvested, tmp_path):
    archive.add(*"abc")
    harvested()
    before = state_of(tmp_path / "items")
    shutil.rmtree(tmp_path / "state")
    harvested()
    assert (archive.asked("metadata"), archive.asked("download")) == (["a", "b", "c"], [])
    assert state_of(tmp_path / "items") == before


def test_a_night_asks_only_about_what_is_new_or_has_changed(archive, harvested, tmp_path):
    archive.add(*"abd")
    harvested()
    before = state_of(tmp_path / "items")
    archive.add("c")
    archive.touch("b", pdf("b anew"))
    done = harvested()
    assert archive.asked("metadata") == archive.asked("download") == ["b", "c"]
    now = items(tmp_path)
    assert {name: item.serial for name, item in now.items()} == {"a": 0, "b": 1, "d": 2, "c": 3}
    assert content(now["b"]) == pdf("b anew")
    assert (done.tallies[0].new, done.tallies[0].changed) == (1, 1)
    # Files of the others were not so much as touched.
    after = state_of(tmp_path / "items")
    assert len([path for path in before if path.suffix == ".pdf" and before[path] == after.get(path)]) == 2


def test_metadata_that_change_alone_fetch_no_file(archive, harvested, tmp_path):
    archive.add("a")
    harvested()
    archive.books["a"].fields["title"], archive.books["a"].updated = "Another", 9_999
    harvested()
    assert (archive.asked("metadata"), archive.asked("download"), items(tmp_path)["a"].title) == (["a"], [], "Another")


def test_an_item_is_asked_about_again_after_a_while_though_the_search_tells_nothing_new(archive, harvested, tmp_path):
    archive.add("a")
    harvested()
    (memory,) = (tmp_path / "state").glob("*/memory.json")
    memory.write_text(memory.read_text().replace("2026-01-06", "2025-12-07"))
    harvested()
    assert archive.asked("metadata") == ["a"]
    harvested()
    assert archive.asked("metadata") == []


def test_a_lost_file_is_fetched_again(archive, harvested, tmp_path):
    archive.add("a", "b")
    harvested()
    (tmp_path / "items" / "files" / items(tmp_path)["a"].files[0].path.name).unlink()
    with pytest.raises(ItemsError, match=r"the file 'a.pdf' of item a is missing; restore it with `dvc checkout`, or harvest again"):
        items(tmp_path)
    done = harvested()
    assert (archive.asked("download"), content(items(tmp_path)["a"])) == (["a"], pdf("a"))
    assert done.tallies[0].changed == 0


def test_a_lost_file_that_cannot_be_had_is_told(archive, harvested, tmp_path):
    archive.add("a", "b")
    harvested()
    items(tmp_path)["a"].files[0].path.unlink()
    archive.touch("b", pdf("b anew"))
    archive.answer = lambda handler, path: archive.send(handler, status=503) if path.endswith("/a") else None
    with pytest.raises(ItemsError, match="missing, and the archive does not give it now; restore it with `dvc checkout`"):
        harvested(retries=0)


def test_another_licence_in_the_parameters_reaches_the_items_that_state_none(archive, harvested, tmp_path):
    archive.add("a", "b")
    archive.books["b"].fields["licenseurl"] = "http://creativecommons.org/licenses/by/4.0/"
    harvested(licence="unknown")
    harvested(licence="CC-PDM-1.0")
    assert archive.asked("metadata") == []
    assert [item.licence for item in open_items(tmp_path / "items")] == ["CC-PDM-1.0", "CC-BY-4.0"]


# What goes.


@pytest.mark.parametrize("kind", ["says that it is dark", "has no item of this name"])
def test_a_dark_item_becomes_a_tombstone_and_its_number_is_nobody_elses(archive, harvested, tmp_path, kind):
    archive.add("a", "b", "c")
    harvested()
    gone = items(tmp_path)["c"].files[0].path
    book = archive.books["c"]
    if "dark" in kind:
        book.is_dark = True
    else:
        del archive.books["c"]
    archive.add("d")
    done = harvested()
    now = items(tmp_path)
    assert (now["c"].status, now["c"].files, now["c"].serial, now["d"].serial) == ("dark", (), 2, 3)
    assert kind in now["c"].words
    assert not gone.exists()
    assert done.tallies[0].dark == 1
    # It stays dark without being asked about, and comes back under its old number.
    assert not harvested().is_new
    book.is_dark = False
    archive.books["c"] = book
    harvested()
    assert (items(tmp_path)["c"].status, items(tmp_path)["c"].serial, content(items(tmp_path)["c"])) == ("here", 2, pdf("c"))


@pytest.mark.parametrize("trouble", ["503", "500", "404", "no JSON", "an error", "another item", "a stall"])
def test_an_archive_in_trouble_makes_nothing_dark(archive, harvested, tmp_path, trouble):
    archive.add("a", "b")
    harvested()
    before = state_of(tmp_path / "items")
    archive.books["a"].is_listed = False
    archive.books["b"].updated += 1

    def answer(handler, path):
        if not path.startswith("/metadata/"):
            return None
        if trouble.isdigit():
            return archive.send(handler, status=int(trouble))
        if trouble == "a stall":
            time.sleep(0.6)
            return True
        bodies = {"no JSON": b"<html>", "an error": b'{"error": "busy"}', "another item": b'{"metadata": {"identifier": "x"}}'}
        return archive.send(handler, bodies[trouble])

    archive.answer = answer
    done = harvested(timeout_s=0.3, retries=0)
    assert [item.status for item in items(tmp_path).values()] == ["here", "here"]
    assert state_of(tmp_path / "items") == before
    assert len(done.tallies[0].problems) == 2
    # What was not heard tonight is asked again tomorrow.
    archive.answer = None
    harvested()
    assert archive.asked("metadata") == ["a", "b"]


def test_an_archive_that_forgets_most_of_its_items_in_one_night_is_not_believed(archive, harvested, tmp_path):
    archive.add(*"abcdefgh")
    harvested()
    kept, archive.books = archive.books, {"z": Book({})}
    done = harvested()
    assert len(open_items(tmp_path / "items")) == 8
    assert "8 of 8 items have no metadata, first a; taken for an outage" in done.tallies[0].problems[0]
    archive.books = kept
    assert not harvested().tallies[0].problems


def test_an_item_that_leaves_the_search_stays(archive, harvested, tmp_path):
    archive.add("a", "b")
    harvested()
    before = state_of(tmp_path / "items")
    archive.books["a"].is_listed = False
    harvested()
    assert archive.asked("metadata") == ["a"]
    assert state_of(tmp_path / "items") == before


def test_items_of_a_source_that_is_not_asked_any_more_leave_their_number_behind(archive, harvested, tmp_path):
    archive.add("a", "b", "c")
    source = {"name": "first", "licence": "CC0-1.0", "host": archive.url, "identifiers": ["a", "b"]}
    harvested(sources=[source])
    harvested(sources=[source | {"name": "second", "identifiers": ["b", "c"]}])
    now = items(tmp_path)
    assert [(now[name].serial, now[name].status, now[name].source) for name in "abc"] == [
        (0, "left", "first"),
        (1, "here", "second"),
        (2, "here", "second"),
    ]
    assert archive.asked("download") == ["c"]
    assert "source 'first' is not asked any more" in now["a"].words
    harvested(sources=[source])
    assert [(item.serial, item.status) for item in items(tmp_path).values()] == [(0, "here"), (1, "here"), (2, "left")]


def test_an_item_that_two_sources_ask_for_belongs_to_the_first(archive, harvested, tmp_path):
    archive.add("a", "b")
    base = {"licence": "CC0-1.0", "host": archive.url}
    harvested(sources=[base | {"name": "one", "identifiers": ["b"]}, base | {"name": "two", "collection": "books"}])
    assert {name: item.source for name, item in items(tmp_path).items()} == {"b": "one", "a": "two"}
    assert archive.asked("download") == ["a", "b"]


# Files that are not what they should be.


def test_a_wrong_md5_sets_the_new_file_aside_and_keeps_the_old_one(archive, harvested, tmp_path):
    archive.add("a", "b")
    archive.books["b"].stated["b.pdf"] = {"md5": "0" * 32}
    done = harvested()
    assert (items(tmp_path)["b"].status, items(tmp_path)["b"].files) == ("without_file", ())
    archive.touch("a", pdf("a anew"))
    archive.books["a"].stated["a.pdf"] = {"md5": "1" * 32}
    done = harvested()
    assert (items(tmp_path)["a"].status, content(items(tmp_path)["a"])) == ("here", pdf("a"))
    rejected = done.store.rows("rejected")
    assert [(row["identifier"], row["name"], row["reason"]) for row in rejected] == [("a", "a.pdf", "wrong_bytes"), ("b", "b.pdf", "wrong_bytes")]
    assert "expected 11111111111111111111111111111111" in rejected[0]["words"]


def test_a_file_that_was_of_no_use_is_fetched_again_only_when_it_has_changed(archive, harvested, tmp_path):
    archive.add("a")
    archive.books["a"].stated["a.pdf"] = {"md5": "0" * 32}
    harvested(identifiers=["a"])
    before = state_of(tmp_path / "items")
    harvested(identifiers=["a"])
    assert (archive.asked("metadata"), archive.asked("download")) == (["a"], [])
    assert state_of(tmp_path / "items") == before
    archive.books["a"].stated.clear()
    harvested(identifiers=["a"])
    assert content(items(tmp_path)["a"]) == pdf("a")


def test_a_wrong_sha1_is_seen_although_the_md5_is_right(archive, harvested):
    archive.add("a")
    archive.books["a"].stated["a.pdf"] = {"sha1": "0" * 40}
    assert [row["reason"] for row in harvested().store.rows("rejected")] == ["wrong_bytes"]


def test_html_in_place_of_a_pdf_is_set_aside_as_that(archive, harvested, tmp_path):
    page = b"<!DOCTYPE html><html>Please log in</html>"
    archive.books["a"] = Book({"a.pdf": ("Text PDF", page)})  # with its checksum, too
    archive.add("b")
    archive.answer = lambda handler, path: archive.send(handler, page) if path == "/download/b/b.pdf" else None
    rejected = harvested().store.rows("rejected")
    assert [(row["identifier"], row["reason"]) for row in rejected] == [("a", "wrong_bytes"), ("b", "wrong_bytes")]
    assert all("it begins as a page of HTML, without '%PDF-'" in row["words"] for row in rejected)
    assert not open_items(tmp_path / "items")


def test_the_page_images_must_be_a_zip(archive, harvested, tmp_path):
    kind = "Single Page Processed JP2 ZIP"
    archive.books |= {"a": Book({"a_jp2.zip": (kind, b"PK\x03\x04 and so on")}), "b": Book({"b_jp2.zip": (kind, pdf("b"))})}
    harvested()
    assert {name: item.status for name, item in items(tmp_path).items()} == {"a": "here", "b": "without_file"}
    assert (items(tmp_path)["a"].files[0].kind, items(tmp_path)["a"].files[0].path.suffix) == ("jp2_zip", ".zip")


@pytest.mark.parametrize("name", ["../../../../tmp/escaped.pdf", "/etc/escaped.pdf", "a/../b.pdf", "a\n.pdf", "a\u202e.pdf", "a\ud800.pdf"])
def test_a_name_that_leads_elsewhere_is_never_asked_for_nor_written(archive, harvested, tmp_path, name):
    archive.books["a"] = Book({name: ("Text PDF", pdf("escaped")), "good.pdf": ("Image Container PDF", pdf("good"))})
    harvested()
    assert archive.requests[-1] == "/download/a/good.pdf"
    assert {path.name for path in tmp_path.rglob("*escaped*")} == set()


def test_a_name_with_blanks_signs_and_folders_is_asked_for_as_it_is(archive, harvested, tmp_path):
    name = "Vol. 1/Élan vital? 100% #1.pdf"
    archive.books["a"] = Book({name: ("Text PDF", pdf("a"))})
    harvested()
    assert (items(tmp_path)["a"].files[0].name, content(items(tmp_path)["a"])) == (name, pdf("a"))


def test_a_private_file_is_no_choice_and_one_that_becomes_private_goes(archive, harvested, tmp_path):
    archive.add("a")
    harvested()
    archive.books["a"].stated["a.pdf"] = {"private": "true"}
    archive.books["a"].updated += 1
    done = harvested()
    assert (items(tmp_path)["a"].status, items(tmp_path)["a"].files) == ("without_file", ())
    assert done.store.rows("rejected")[0]["reason"] == "private"


def test_what_cannot_be_had_is_counted_and_told(archive, harvested, tmp_path):
    """DeepZine printed errors, went on, and took the empty folder for a finished item from then on."""
    archive.add("a", "b", "c")
    archive.answer = lambda handler, path: (
        archive.send(handler, status=403 if "a.pdf" in path else 503) if path[-6:] in {"/a.pdf", "/b.pdf"} else None
    )
    done = harvested()
    assert [(row["identifier"], row["reason"], "status 403" in row["words"]) for row in done.store.rows("rejected")] == [("a", "refused", True)]
    assert ["b.pdf: status 503" in problem for problem in done.tallies[0].problems] == [True]
    assert {name: item.status for name, item in items(tmp_path).items()} == {"a": "without_file", "c": "here"}
    archive.answer = None
    harvested()
    assert (archive.asked("download"), items(tmp_path)["b"].serial) == (["b"], 2)


# Servers that mean no good.


def test_a_broken_download_goes_on_where_it_ended(archive, harvested, tmp_path):
    archive.add("a")
    whole = pdf("a")

    def cut(handler, path):
        if path.startswith("/download/") and handler.headers.get("Range") is None:
            return archive.send(handler, whole[:50], length=len(whole))
        return None

    archive.answer = cut
    harvested()
    assert (archive.ranges, content(items(tmp_path)["a"])) == (["bytes=50-"], whole)


def test_a_download_that_breaks_every_time_goes_on_in_the_next_harvest(archive, harvested, tmp_path):
    archive.add("a")
    whole = pdf("a")

    def cut(handler, path):
        return archive.send(handler, whole[:50], length=len(whole)) if path.startswith("/download/") else None

    archive.answer = cut
    with pytest.raises(HarvestError, match="nothing could be harvested: .*the connection ended after 50 of"):
        harvested(retries=0)
    archive.answer = None
    harvested()
    assert (archive.ranges, content(items(tmp_path)["a"])) == (["bytes=50-"], whole)


def test_a_server_that_promises_less_than_it_states_is_found_out(archive, harvested):
    archive.add("a")
    archive.answer = lambda handler, path: archive.send(handler, pdf("a"), length=30) if path.startswith("/download/") else None
    assert [row["reason"] for row in harvested().store.rows("rejected")] == ["wrong_bytes"]


def test_a_server_that_sends_more_than_it_states_is_stopped(archive, harvested):
    archive.add("a")
    archive.answer = lambda handler, path: archive.send(handler, pdf("a" * 1_000)) if path.startswith("/download/") else None
    assert [row["reason"] for row in harvested().store.rows("rejected")] == ["too_large"]


def test_a_server_that_asks_for_patience_gets_it(archive, harvested, tmp_path):
    archive.add("a")
    asked = []

    def busy_once(handler, path):
        if path.startswith(("/metadata/", "/download/")) and path not in asked:
            asked.append(path)
            return archive.send(handler, status=503, Retry_After="1")
        return None

    archive.answer = busy_once
    began = time.monotonic()
    harvested()
    assert time.monotonic() - began > 1.9
    assert "a" in items(tmp_path)


@pytest.mark.parametrize("what", ["/metadata/", "/download/"])
def test_a_redirect_into_ones_own_network_is_refused(archive, harvested, tmp_path, monkeypatch, what):
    """The archive itself is trusted; another server on loopback, to which it leads, is not."""
    archive.add("a")
    rules_for = ArchiveItemsConfig.rules_for

    def strict(*given):
        return replace(rules_for(*given), allow_private_addresses=False, trusted=frozenset({given[2]}))

    monkeypatch.setattr(ArchiveItemsConfig, "rules_for", strict)
    (tmp_path / "secrets").mkdir()
    with serve(FolderSite(tmp_path / "secrets", hosts=("x.example",))) as inside:
        archive.answer = lambda handler, path: archive.send(handler, status=302, Location=inside.proxy + "/") if path.startswith(what) else None
        done = harvested()
        assert inside.log == []
    assert [row["reason"] for row in done.store.rows("rejected")] == ["forbidden_address"]
    assert "which is not a public address" in done.store.rows("rejected")[0]["words"]


def test_an_answer_without_end_is_not_held(archive, harvested, monkeypatch):
    monkeypatch.setattr(archive_module, "_MOST_BYTES", 10_000)
    archive.add("a", "b")
    archive.books["a"].fields["description"] = "x" * 20_000
    done = harvested()
    assert [(row["identifier"], row["reason"]) for row in done.store.rows("rejected")] == [("a", "too_large")]
    assert list(done.store.items) == ["b"]


def test_metadata_that_trickle_are_not_waited_for(archive, harvested):
    archive.add("a", "b")

    def trickle(handler, path):
        if path != "/metadata/a":
            return None
        archive.send(handler, length=1_000)
        for _ in range(40):
            handler.wfile.write(b" ")
            time.sleep(0.02)
        return True

    archive.answer = trickle
    done = harvested(timeout_s=0.3, retries=0)
    assert "the answer did not come within" in done.tallies[0].problems[0]
    assert list(done.store.items) == ["b"]


def test_an_item_of_very_many_files_is_read(archive, harvested, tmp_path):
    archive.add("a")
    reply = archive.books["a"].reply("a")
    reply["files"] += [{"name": f"page{number:06}.txt", "format": "Text", "size": "1"} for number in range(100_000)]
    body = json.dumps(reply).encode()
    archive.answer = lambda handler, path: archive.send(handler, body) if path.startswith("/metadata/") else None
    harvested()
    assert content(items(tmp_path)["a"]) == pdf("a")


@pytest.mark.parametrize("kind", ["in circles", "no items", "a list", "an error", "not JSON", "503"])
def test_a_search_that_does_not_end_well_is_told_and_harms_nothing(archive, harvested, tmp_path, monkeypatch, kind):
    archive.add("a", "b")
    harvested()
    before = state_of(tmp_path / "items")
    monkeypatch.setattr(archive_module, "_MOST_PAGES", 20)
    bodies = {
        "in circles": {"items": [{"identifier": "a"}], "total": 9, "cursor": "again"},
        "no items": {"total": 2},
        "a list": [],
        "an error": {"error": "no such field"},
    }

    def answer(handler, path):
        if "search" not in path:
            return None
        if kind == "503":
            return archive.send(handler, status=503)
        return archive.send(handler, b"<html>") if kind == "not JSON" else archive.send_json(handler, bodies[kind])

    archive.answer = answer
    done = harvested(retries=0)
    assert done.tallies[0].problems
    assert len(archive.requests) < 30
    assert state_of(tmp_path / "items") == before


def test_rows_of_a_search_that_name_no_item_are_passed_over(archive, harvested, tmp_path):
    archive.add("a")
    rows = [{"identifier": "a"}, {"identifier": "../b"}, {"identifier": 7}, {"identifier": "a"}]
    archive.answer = lambda handler, path: archive.send_json(handler, {"items": rows, "total": 4}) if "search" in path else None
    harvested()
    assert list(items(tmp_path)) == ["a"]


def test_no_proxy_and_no_netrc_of_the_surroundings_is_used(archive, harvested, tmp_path, monkeypatch):
    archive.add("a")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    harvested()
    assert all("Authorization" not in headers for headers in archive.headers)
    assert {headers["User-Agent"] for headers in archive.headers} == {"figment/0.1 (research harvest; mailto:me@figment.example)"}


# The output.


def test_a_damaged_output_is_told(archive, harvested, tmp_path):
    archive.add("a")
    harvested()
    (tmp_path / "items" / "files.parquet").unlink()
    with pytest.raises(ItemsError, match="not a whole harvest .*restore it with `dvc checkout`"):
        harvested()


def test_two_harvests_of_the_same_archive_are_equal_byte_for_byte(archive, harvested, tmp_path):
    archive.add(*"abcdefg")
    archive.books["c"].stated["c.pdf"] = {"md5": "0" * 32}
    harvested(at_once=4)
    first = {path.name: path.read_bytes() for path in (tmp_path / "items").rglob("*") if path.is_file()}
    shutil.rmtree(tmp_path / "items")
    shutil.rmtree(tmp_path / "state")
    harvested(at_once=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "items").rglob("*") if path.is_file()} == first


@pytest.mark.shared_data
def test_real_answers_of_the_archive_are_understood(archive, harvested):
    """A page of a real search, and a real item that is a collection, not a book."""
    fixtures = SHARED_DATA / "internet_archive" / "api_fixtures"
    page, item = (json.loads((fixtures / name).read_bytes()) for name in ("scrape_response.json", "nasa.json"))
    answers = {"/services/search/v1/scrape": page | {"total": len(page["items"])}, "/metadata/nasa": item}
    archive.answer = lambda handler, path: archive.send_json(handler, answers[path]) if path in answers else None
    del answers["/services/search/v1/scrape"]["cursor"]
    done = harvested()
    assert done.tallies[0].listed == len({row["identifier"] for row in page["items"]}) == len(done.store.rows("rejected"))
    done = harvested(identifiers=["nasa"])
    assert [(row["identifier"], row["status"]) for row in done.store.rows("items")] == [("nasa", "without_file")]
