"""Compressed sources: the right member, and no bomb."""

import gzip
import zipfile

import pytest

from assets.molecules.archives import ArchiveError, ArchiveLimits, open_bytes

_SMALL = ArchiveLimits(max_members=3, max_bytes=200_000, max_ratio=50, ratio_from_bytes=20_000)


def _zip(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _read(path, **options):
    with open_bytes(path, limits=_SMALL, **options) as stream:
        return stream.read()


def test_plain_gzip_and_zip_give_the_same_bytes_whatever_they_are_called(tmp_path):
    content = b"smiles\nCCO\n"
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.csv").write_bytes(gzip.compress(content))
    _zip(tmp_path / "zipped.dat", {"a.csv": content})
    assert _read(tmp_path / "plain") == _read(tmp_path / "packed.csv") == _read(tmp_path / "zipped.dat") == content


def test_the_junk_of_a_mac_is_not_taken_for_data(tmp_path):
    path = _zip(tmp_path / "a.zip", {"__MACOSX/._data.csv": b"junk", ".hidden": b"junk", "data.csv": b"good"})
    assert _read(path) == b"good"


def test_a_member_is_chosen_by_name(tmp_path):
    path = _zip(tmp_path / "a.zip", {"one.csv": b"1", "folder/two.csv": b"2"})
    assert _read(path, member="two.csv") == b"2"


def test_when_the_member_is_unclear_the_candidates_are_listed(tmp_path):
    path = _zip(tmp_path / "a.zip", {"one.csv": b"1", "two.csv": b"2"})
    with pytest.raises(ArchiveError, match="2 data files, so which one is meant is unclear; data files in the zip: one.csv, two.csv; set `member`"):
        _read(path)
    with pytest.raises(ArchiveError, match="no single member 'three.csv'"):
        _read(path, member="three.csv")


@pytest.mark.parametrize("pack", ["zip", "gzip"])
def test_a_bomb_is_stopped_by_its_ratio(tmp_path, pack):
    bomb = b"C" * 150_000
    path = tmp_path / "bomb"
    if pack == "zip":
        _zip(path, {"bomb.csv": bomb})
    else:
        path.write_bytes(gzip.compress(bomb))
    with pytest.raises(ArchiveError, match="as a decompression bomb does"):
        _read(path)


def test_a_bomb_is_stopped_by_its_size_even_when_its_header_lies(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"C" * 500_000)[:-4] + b"\x01\0\0\0")
    limits = ArchiveLimits(max_bytes=100_000, max_ratio=1e9)
    with pytest.raises(ArchiveError, match="unpacks to more than 100,000 bytes"), open_bytes(path, limits=limits) as stream:
        stream.read()


def test_a_zip_that_says_it_is_too_large_is_not_opened(tmp_path):
    with pytest.raises(ArchiveError, match="unpacks to 300,000 bytes, the limit is 200,000"):
        _read(_zip(tmp_path / "a.zip", {"a.csv": b"C" * 300_000}))


def test_too_many_members_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match="the zip has 5 members, at most 3"):
        _read(_zip(tmp_path / "a.zip", {str(index): b"" for index in range(5)}))


def test_an_archive_in_an_archive_is_refused_by_name_and_by_content(tmp_path):
    inner = _zip(tmp_path / "inner.zip", {"a.csv": b"C"}).read_bytes()
    with pytest.raises(ArchiveError, match=r"member inner.zip is an archive itself; nested archives are not opened"):
        _read(_zip(tmp_path / "a.zip", {"inner.zip": inner}))
    with pytest.raises(ArchiveError, match="holds another compressed file"):
        _read(_zip(tmp_path / "b.zip", {"innocent.csv": inner}))
    (tmp_path / "c.gz").write_bytes(gzip.compress(gzip.compress(b"C")))
    with pytest.raises(ArchiveError, match="holds another compressed file"):
        _read(tmp_path / "c.gz")


@pytest.mark.parametrize("cut", [30, -8])
def test_a_damaged_archive_is_an_error_that_names_it(tmp_path, cut):
    whole = gzip.compress(bytes(range(256)) * 20)
    (tmp_path / "cut.gz").write_bytes(whole[:cut])
    with pytest.raises(ArchiveError, match="cut.gz: damaged after"):
        _read(tmp_path / "cut.gz")
    zipped = _zip(tmp_path / "cut.zip", {"a.csv": bytes(range(256)) * 20}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(zipped[:cut])
    with pytest.raises(ArchiveError, match="cut.zip: damaged"):
        _read(tmp_path / "cut.zip")
