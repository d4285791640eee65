"""A folder as a web site: what it serves, how it lists it, and that nothing else can be had from it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.demo_sites.exchange import Request
from assets.demo_sites.folder import FolderSite
from assets.papers.items import Page
from assets.papers.pages.folder_index import folder_links

SECRET = b"the secret beside the folder"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, a folder, and everything that must not be served."""
    top = tmp_path_factory.mktemp("served")
    (top / "secret.txt").write_bytes(SECRET)
    (top / "outside").mkdir()
    (top / "outside/secret.txt").write_bytes(SECRET)
    folder = top / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.md").write_text("# A")
    (folder / "sub/ü & <b>.html").write_text("<p>B</p>")
    (folder / "sub/PICTURE.JPG").write_bytes(b"\xff\xd8")
    (folder / ".hidden/secret.txt").write_bytes(SECRET)
    (folder / ".secret").write_bytes(SECRET)
    (folder / "link.txt").symlink_to(top / "secret.txt")
    (folder / "folder_link").symlink_to(top / "outside")
    (folder / "inner_link.md").symlink_to(folder / "a.md")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> FolderSite:
    return FolderSite(folder, hosts=("files.example",))


def ask(site: FolderSite, path: str):
    return site.respond(Request("GET", "files.example", path))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/a.md", "text/markdown; charset=utf-8"), ("/sub/ü & <b>.html", "text/html; charset=utf-8"), ("/sub/PICTURE.JPG", "image/jpeg")],
)
def test_files_come_with_their_type_tag_and_time(site, path, kind):
    answer = ask(site, path)
    assert (answer.status, answer.content_type) == (200, kind)
    assert answer.etag.startswith('"') and answer.last_modified is not None


def test_a_listing_has_what_can_be_had_and_page_objects_read_it(site):
    page = Page("http://files.example/", ask(site, "/").body, "index", "files", "text/html; charset=utf-8")
    links = {link.url: link for link in folder_links(page)}
    assert set(links) == {"http://files.example/a.md", "http://files.example/sub/"}
    assert links["http://files.example/sub/"].kind == "index"
    assert links["http://files.example/a.md"].fingerprint
    below = ask(site, "/sub/").body.decode()
    assert "PICTURE.JPG" in below and "&lt;b&gt;" in below and "<b>" not in below


def test_another_content_has_another_fingerprint(tmp_path):
    (tmp_path / "a.md").write_text("one")
    site = FolderSite(tmp_path, hosts=("files.example",))
    before = ask(site, "/").body
    assert ask(site, "/").body == before
    (tmp_path / "a.md").write_text("two!")
    assert ask(site, "/").body != before


def test_a_folder_without_its_slash_is_sent_there(site):
    answer = ask(site, "/sub")
    assert (answer.status, dict(answer.headers)["Location"]) == (301, "http://files.example/sub/")


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/sub/../../secret.txt", "/.secret", "/.hidden/secret.txt", "/link.txt", "/folder_link/", "/folder_link/secret.txt",
     "/inner_link.md", "/pipe", "/a.md/", "/sub\\..\\..\\secret.txt", "/a.md\0", "/" + "x" * 5_000, "//etc/passwd", "/nothing"],
)  # fmt: skip
def test_nothing_else_can_be_had(site, path):
    answer = ask(site, path)
    assert answer.status == 404
    assert SECRET not in answer.body


@given(
    st.lists(
        st.sampled_from(["..", ".", "", "sub", "a.md", "secret.txt", ".hidden", "folder_link", "link.txt", "outside", "site", "\\", "~"]), max_size=8
    )
)
def test_no_path_leads_out(folder, parts):
    site = FolderSite(folder, hosts=("files.example",))
    assert SECRET not in ask(site, "/" + "/".join(parts)).body


def test_robots_may_read_everything_unless_the_folder_says_otherwise(site, tmp_path):
    assert b"Disallow:\n" in ask(site, "/robots.txt").body
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    assert b"/private/" in ask(FolderSite(tmp_path, hosts=("x.example",)), "/robots.txt").body
