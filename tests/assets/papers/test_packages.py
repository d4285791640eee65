"""An archive of strangers: its pictures are found by the names that articles use, and nothing hostile in it does harm."""

import contextlib
import gzip
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.papers import packages
from assets.papers.packages import PackageError, find_picture, is_package, member_address, member_names, package_of, read_members
from assets.papers.raw_pages import address

from .packages_maker import members, tar_gz, zipped

NAMES = [
    "PMC1/a.nxml",
    "PMC1/fig1.gif",
    "PMC1/fig1.jpg",
    "PMC1/pone.0012345.g001.tif",
    "PMC1/old/fig1.jpg",
    "PMC1/fig2.TIF",
    "PMC1/fig3.pdf",
    "PMC1/x y.png",
]


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ("fig1", "PMC1/fig1.jpg"),
        ("fig1.gif", "PMC1/fig1.gif"),
        ("FIG1.JPG", "PMC1/fig1.jpg"),
        ("fig1.tif", "PMC1/fig1.jpg"),
        ("./images/fig1.eps", ""),
        ("pone.0012345.g001", "PMC1/pone.0012345.g001.tif"),
        ("fig2.jpg", "PMC1/fig2.TIF"),
        ("x%20y", "PMC1/x y.png"),
        ("fig3", ""),
        ("fig", ""),
        ("", ""),
    ],
)
def test_the_picture_that_an_article_means(stated, found):
    assert find_picture(NAMES, stated, beside="PMC1/a.nxml") == found


def test_of_two_that_fit_the_one_beside_the_article_counts():
    assert find_picture(NAMES, "fig1", beside="PMC1/old/b.nxml") == "PMC1/old/fig1.jpg"


@settings(max_examples=40)
@given(st.text(min_size=1, max_size=30))
def test_an_address_of_a_member_says_its_name_again(name):
    stored = address(member_address("https://x.example/a.tar.gz?b=c", name.replace("!/", "")))
    assert package_of(stored) == ("https://x.example/a.tar.gz?b=c", name.replace("!/", "")) or not name.replace("!/", "")


@pytest.mark.parametrize("pack", [tar_gz, zipped, lambda files: gzip.decompress(tar_gz(files))])
def test_members_are_listed_and_read_from_every_kind_of_archive(pack):
    files = members()
    body = pack(files)
    assert is_package(body)
    assert member_names(body) == list(files)
    assert read_members(body, lambda name: name.endswith(".jpg")) == {name: data for name, data in files.items() if name.endswith(".jpg")}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", "C:/b.jpg"])
@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_a_member_that_leads_out_condemns_the_package(pack, name):
    with pytest.raises(PackageError, match="leads out"):
        member_names(pack({"PMC1/a.jpg": b"x", name: b"x"}))


def test_links_are_no_members():
    assert member_names(tar_gz({"PMC1/a.jpg": b"x"}, links=("PMC1/b.jpg",))) == ["PMC1/a.jpg"]


def test_bombs_stop_at_their_bounds(monkeypatch):
    monkeypatch.setattr(packages, "_LARGEST_MEMBER_BYTES", 1_000)
    monkeypatch.setattr(packages, "_MOST_INFLATED_BYTES", 50_000)
    monkeypatch.setattr(packages, "_MOST_MEMBERS", 20)
    for pack in (tar_gz, zipped):
        # One that is too large to be read hurts only whoever asks for it.
        large = pack({"a.jpg": b"x" * 2_000, "b.jpg": b"y"})
        assert read_members(large, lambda name: name == "b.jpg") == {"b.jpg": b"y"}
        with pytest.raises(PackageError, match="2,000 bytes, more than 1,000"):
            read_members(large, lambda name: name == "a.jpg")
        with pytest.raises(PackageError, match="more than 20 members"):
            member_names(pack({f"{number}.jpg": b"" for number in range(21)}))
    with pytest.raises(PackageError, match="when inflated"):
        member_names(tar_gz({"a.mov": bytes(100_000), "b.jpg": b"y"}))


def test_a_zip_that_understates_its_sizes_is_not_believed(monkeypatch):
    monkeypatch.setattr(packages, "_LARGEST_MEMBER_BYTES", 1_000)
    body = bytearray(zipped({"a.jpg": bytes(5_000)}))
    # The size in the central directory, 24 bytes after its signature.
    place = body.index(b"PK\x01\x02") + 24
    body[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(PackageError, match="CRC"):
        read_members(bytes(body), lambda _: True)


@settings(max_examples=40)
@given(st.sampled_from([tar_gz(members()), zipped(members())]), st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_damage_is_a_package_error_or_nothing(body, place, noise):
    place %= len(body)
    for hurt in (body[:place], body[:place] + noise + body[place + len(noise) :]):
        with contextlib.suppress(PackageError):
            read_members(hurt, lambda name: name.endswith((".jpg", ".nxml")))


def test_what_is_no_archive_is_not_taken_for_one():
    assert not any(map(is_package, (b"", b"<article/>", b'{"a": 1}', b"\x89PNG\r\n")))
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    assert is_package(empty.getvalue()) and member_names(empty.getvalue()) == []
    assert member_names(tar_gz({})) == []
