"""What we write, zipfile and unzip read; what others write, we read; damage is named."""

import pickle
import shutil
import subprocess
import zipfile

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")

import hypothesis.strategies as st
from hypothesis import given, settings

from formats.stored_zip import DamagedZipError, StoredZip, StoredZipWriter

from .forking import right_in_all_forks

_NAMES = st.lists(st.text("abcü/0", min_size=1, max_size=6).filter(lambda name: all(name.split("/"))), unique=True, max_size=8)


def _write(path, members):
    path.unlink(missing_ok=True)
    with StoredZipWriter(path) as archive:
        for name, content in members.items():
            archive.add(name, content)
    return path


@settings(max_examples=50)
@given(names=_NAMES, contents=st.lists(st.binary(max_size=50), min_size=8, max_size=8))
def test_zipfile_reads_the_same_members(tmp_path_factory, names, contents):
    members = dict(zip(names, contents, strict=False))
    path = _write(tmp_path_factory.getbasetemp() / "own.zip", members)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert {(info.date_time, info.compress_type) for info in archive.infolist()} <= {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}
    own = StoredZip(path)
    assert {name: own.read(name) for name in own.names} == members


def test_more_than_65535_members_are_read_by_zipfile(tmp_path):
    members = {f"{index:06d}": b"" for index in range(65_600)}
    with zipfile.ZipFile(_write(tmp_path / "many.zip", members)) as archive:
        assert len(archive.namelist()) == 65_600


def test_beyond_four_gibibytes_zipfile_reads_it(tmp_path):
    with StoredZipWriter(tmp_path / "huge.zip") as archive:
        archive.add("first", b"1")
        # A hole, which takes no room on the disk, in place of five gibibytes of members.
        archive._file.seek(5 << 30)
        archive._place = 5 << 30
        archive.add("last", b"here")
    with zipfile.ZipFile(tmp_path / "huge.zip") as archive:
        assert (archive.read("first"), archive.read("last")) == (b"1", b"here")
    assert StoredZip(tmp_path / "huge.zip").read("last") == b"here"


@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip here")
def test_unzip_finds_nothing_wrong(tmp_path):
    path = _write(tmp_path / "a.zip", {"x/y.txt": b"text", "ü": b"1"})
    assert subprocess.run(["unzip", "-tq", str(path)], capture_output=True).returncode == 0


def test_deflated_members_of_other_writers_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"again and " * 1000)
        with archive.open("streamed", "w", force_zip64=True) as stream:
            stream.write(b"b" * 500)
    own = StoredZip(tmp_path / "other.zip")
    assert (own.read("a"), own.read("streamed")) == (b"again and " * 1000, b"b" * 500)


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a\\b", "", "a/./b"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot be the name"), StoredZipWriter(tmp_path / "a.zip") as archive:
        archive.add(name, b"")


def test_the_same_name_twice_is_refused(tmp_path):
    with StoredZipWriter(tmp_path / "a.zip") as archive:
        archive.add("a", b"1")
        with pytest.raises(ValueError, match="two members"):
            archive.add("a", b"2")


@given(st.data())
def test_a_changed_byte_is_an_error_or_changes_nothing(tmp_path_factory, data):
    members = {"a": b"first member", "b": b"second member"}
    path = _write(tmp_path_factory.getbasetemp() / "damaged.zip", members)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.unlink()
    path.write_bytes(content)
    try:
        archive = StoredZip(path)
        found = {name: archive.read(name) for name in archive.names}
    except DamagedZipError:
        return
    assert set(found.values()) <= set(members.values())


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_cut_zip_is_named(tmp_path, keep):
    path = _write(tmp_path / "cut.zip", {"a": b"1" * 100})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedZipError, match=r"cut\.zip: not a zip"):
        StoredZip(path)


_MANY = """
from formats.stored_zip import StoredZip
opened = StoredZip(__import__("pathlib").Path(sys.argv[1]))
def is_right(archive):
    return all(archive.read(f"{index}") == f"{index}".encode() * int(sys.argv[2]) for _ in range(30) for index in range(20))
assert opened.read("3") == b"3" * 1000
"""


def test_processes_may_share_an_open_zip(tmp_path):
    path = _write(tmp_path / "a.zip", {f"{index}": f"{index}".encode() * 1000 for index in range(20)})
    assert right_in_all_forks(_MANY, path, 1000)
    assert not right_in_all_forks(_MANY, path, 999), "a wrong answer is noticed"
    assert pickle.loads(pickle.dumps(StoredZip(path))).read("7") == b"7" * 1000


def test_an_open_zip_stays_the_same_when_another_takes_its_path(tmp_path):
    archive = StoredZip(_write(tmp_path / "a.zip", {"a": b"old", "b": b"older"}))
    archive.read("a")
    _write(tmp_path / "new.zip", {"z": b"other"}).replace(tmp_path / "a.zip")
    assert archive.read("b") == b"older"
