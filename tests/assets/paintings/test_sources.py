"""Bringing pictures together: from folders, zips, addresses and the gallery of our own, whatever is in them."""

import dataclasses
import hashlib
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
from hypothesis import given, settings

from assets.downloads.guarded_http import DownloadError
from assets.paintings.layouts import domain_and_split
from assets.paintings.reading import Found, SourceError
from assets.paintings.sources import PaintingSourcesConfig, gather_sources, main
from assets.paintings.tables import COLUMN_DOCS, DUPLICATES, ORIGINALS, OWN, REJECTED, SERIALS, SOURCES
from stages.params import ParamsError, build_config
from tests.assets.downloads.conftest import server  # noqa: F401 - a fixture
from tests.assets.paintings.drawn import Told, all_bytes, drawn, rows, write_files, write_params, write_zip

FOLDER = {"name": "mine", "kind": "folder", "path": "mine", "licence": "CC0-1.0"}
SMALL = {"images_per_shard": 4, "min_side_px": 16}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(*sources: dict, **more) -> PaintingSourcesConfig:
    return build_config(PaintingSourcesConfig, {"sources": list(sources), **SMALL, **more}, where="params.yaml: painting_sources")


def gathered(*sources: dict, told: Told | None = None, data: str = "data", **more) -> list[dict]:
    """The index of what the sources give."""
    target = Path(data) / "painting_sources"
    gather_sources(config(*sources, **more), target, figment=Path(data + ".figment"), reporter=told or Told())
    return rows(target / "index.parquet")


def places(index: list[dict]) -> dict[str, tuple]:
    return {row["where"]: (row["domain"], row["split"]) for row in index}


def reasons() -> dict[str, str]:
    return {row["where"]: row["reason"] for row in rows(Path("data/painting_sources/rejected.parquet"))}


# Layouts.


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["trainA"], ("a", "train")),
        (["monet2photo", "testB", "more"], ("b", "test")),
        (["TESTA"], ("a", "test")),
        (["monet"], ("a", None)),
        (["valPhoto"], ("b", "test")),
        (["gan-getting-started", "photo_jpg"], ("b", None)),
        (["trainA", "testB"], ("b", "test")),
        (["pictures"], (None, None)),
        ([], (None, None)),
    ],
)
def test_the_innermost_folder_that_is_known_says_domain_and_split(folders, expected):
    assert domain_and_split(folders) == expected


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_layouts_of_cyclegan_jax_and_kaggle_are_read_from_folders_and_zips_alike(project, kind):
    layouts = {
        "junyanz": {"m2p/trainA/1.jpg": ("a", "train"), "m2p/trainB/1.jpg": ("b", "train"), "m2p/testA/1.jpg": ("a", "test")},
        # Who has a validation set learns from the rest.
        "jax": {"monet/1.jpg": ("a", "train"), "photo/1.jpg": ("b", None), "valMonet/2.jpg": ("a", "test")},
        "kaggle": {"monet_jpg/1.jpg": ("a", None), "photo_jpg/1.jpg": ("b", None)},
    }
    sources = []
    for number, (name, files) in enumerate(layouts.items()):
        content = {where: drawn(10 * number + place, kind="JPEG") for place, where in enumerate(files)}
        path = write_files(project / name, content) if kind == "folder" else write_zip(project / f"{name}.zip", content)
        sources.append({"name": name, "kind": kind, "path": path.name, "licence": "CC0-1.0"})
    index = gathered(*sources)
    for name, expected in layouts.items():
        assert places([row for row in index if row["source"] == name]) == expected


def test_a_plain_folder_needs_a_domain_and_a_domain_takes_one_side_of_a_layout(project):
    write_files(project / "mine", {"1.png": drawn(1), "deep/2.png": drawn(2), "trainB/3.png": drawn(3)})
    assert places(gathered({**FOLDER, "domain": "a"})) == {"1.png": ("a", None), "deep/2.png": ("a", None)}
    assert reasons() == {"trainB/3.png": "other_domain"}
    assert places(gathered(FOLDER)) == {"trainB/3.png": ("b", "train")}
    assert reasons() == {"1.png": "no_domain", "deep/2.png": "no_domain"}
    shutil.rmtree(project / "mine/trainB")
    with pytest.raises(SourceError, match=r"source 'mine': no picture in mine: 2 no_domain \(first: 1.png: .*trainA.*set `domain`"):
        gathered(FOLDER)


def test_originals_stay_byte_for_byte_with_what_is_known_of_them(project):
    content = drawn(1, (40, 30), "JPEG")
    write_files(project / "mine", {"a.JPG.png": content, "b.gif": content})
    index = gathered({**FOLDER, "domain": "b", "path": str(project / "mine")})
    with zipfile.ZipFile("data/painting_sources/images-00000.zip") as archive:
        assert archive.namelist() == [index[0]["member"]] == [f"{hashlib.sha256(content).hexdigest()}.jpg"]
        assert archive.read(index[0]["member"]) == content
    facts = {"serial": 0, "format": "jpeg", "width": 40, "height": 30, "licence": "CC0-1.0", "source": "mine", "where": "a.JPG.png", "domain": "b"}
    assert facts.items() <= index[0].items() and index[1]["serial"] == 1
    # An absolute path says something about this machine alone.
    assert rows(Path("data/painting_sources/sources.parquet"))[0]["origin"] == "mine"


# What cannot be used.


def test_what_is_no_picture_of_use_is_set_aside_with_its_reason_and_the_rest_comes(project):
    files = {
        "good.png": drawn(1),
        "broken.jpg": drawn(2, kind="JPEG")[:300],
        "text.jpg": b"<!doctype html><html>gone</html>",
        "empty.png": b"",
        "tiny.png": drawn(3, (15, 40)),
        "huge.png": drawn(4, (200, 200)),
        "heavy.bmp": drawn(5, (60, 60), "BMP"),
        "photo_tfrec/00.tfrec": b"tfrecord",
        ".DS_Store": b"x",
        "__MACOSX/._good.png": b"x",
        "Thumbs.db": b"x",
    }
    write_files(project / "mine", files)
    (project / "mine/out.png").symlink_to("/etc/hostname")
    (project / "mine/in.png").symlink_to("good.png")
    (project / "mine/dangling.png").symlink_to("nowhere")
    os.mkfifo(project / "mine/pipe.png")
    told = Told()
    index = gathered({**FOLDER, "domain": "a"}, told=told, max_pixels=30_000, max_mib=0.01)
    assert sorted(row["where"] for row in index) == ["good.png", "in.png"]
    assert reasons() == {
        "broken.jpg": "broken", "text.jpg": "not_an_image", "empty.png": "not_an_image", "tiny.png": "too_small", "huge.png": "too_many_bytes",
        "heavy.bmp": "too_many_bytes", "photo_tfrec/00.tfrec": "tfrecord", "out.png": "link", "dangling.png": "unreadable", "pipe.png": "not_a_file",
    } | {"huge.png": reasons()["huge.png"]}  # fmt: skip
    assert reasons()["huge.png"] in ("too_many_pixels", "too_many_bytes")
    assert "monet_jpg" in next(row["words"] for row in rows(project / "data/painting_sources/rejected.parquet") if row["reason"] == "tfrecord")


def test_no_name_or_link_in_a_zip_leads_out_of_it(project):
    outside = project / "outside"
    outside.mkdir()
    path = write_zip(
        project / "bad.zip",
        {
            "../../outside/trainA/1.png": drawn(1),
            "/outside/trainB/2.png": drawn(2),
            "trainA\\3.png": drawn(3),
            "trainA/4.png": drawn(4),
            "C:/trainB/5.png": drawn(5),
        },
    )
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("trainB/link.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../../../etc/passwd")
    before = set(project.rglob("*"))
    index = gathered({**FOLDER, "kind": "zip", "path": "bad.zip"})
    assert sorted(row["domain"] for row in index) == ["a", "a", "a", "b", "b"]
    assert reasons() == {"trainB/link.png": "link"}
    assert {path.relative_to(project).parts[0] for path in set(project.rglob("*")) - before} == {"data", "data.figment"}
    assert list(outside.iterdir()) == []


def test_members_that_are_damaged_encrypted_or_too_large_are_set_aside(project):
    good, damaged, secret = drawn(1), drawn(2), drawn(3)
    path = write_zip(project / "some.zip", {"trainA/good.png": good, "trainA/damaged.png": damaged, "trainA/secret.png": secret})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trainA/large.png", bytes(200_000))
        archive.writestr("trainA/liar.png", bytes(50_000))
        archive.writestr("trainA/lzma.png", drawn(4), compress_type=zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    content[content.index(damaged) + 40] ^= 1
    # Bit 0 of the flags in the directory says "encrypted": 46 bytes of a record lie before its name, the flags at its ninth.
    content[content.rindex(b"trainA/secret.png") - 46 + 8] |= 1
    # And the size it claims to unpack to at its 25th.
    claim = content.rindex(b"trainA/liar.png") - 46 + 24
    content[claim : claim + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    gathered({**FOLDER, "kind": "zip", "path": "some.zip"}, max_mib=0.1)
    assert reasons() == {
        "trainA/damaged.png": "damaged",
        "trainA/secret.png": "encrypted",
        "trainA/large.png": "too_many_bytes",
        "trainA/lzma.png": "damaged",
        "trainA/liar.png": "damaged",
    }


def test_a_zip_that_is_a_trap_is_refused_before_a_byte_is_unpacked(project):
    write_zip(project / "bomb.zip", {f"trainA/{number}.png": bytes(3_000_000) for number in range(4)}, zipfile.ZIP_DEFLATED)
    bomb = {**FOLDER, "kind": "zip", "path": "bomb.zip"}
    for limit, words in [
        ({}, "decompression bomb.*kind: folder"),
        ({"max_members": 3}, "4 members, at most 3"),
        ({"max_unpacked_mib": 1}, "the limit is"),
    ]:
        with pytest.raises(SourceError, match=f"source 'mine': bomb.zip: .*{words}"):
            gathered(bomb, **limit)
    for name, content, words in [
        ("page.zip", b"<html>", "is not a zip"),
        ("cut.zip", (project / "bomb.zip").read_bytes()[:-30], "is not a zip, or is cut short; fetch it again"),
        ("empty.zip", write_zip(project / "e.zip", {}).read_bytes(), "it is empty"),
    ]:
        (project / name).write_bytes(content)
        with pytest.raises(SourceError, match=f"source 'mine': .*{name}.*{words}"):
            gathered({**bomb, "path": name})
    assert not (project / "data").exists()


def test_names_that_are_no_text_or_differ_by_their_slashes_stay_apart_or_become_one(project):
    (project / "mine/trainA").mkdir(parents=True)
    for name in (b"\xff.png", b"\xfe.png"):
        Path(os.fsdecode(os.fsencode(project / "mine/trainA") + b"/" + name)).write_bytes(drawn(1))
    write_zip(project / "some.zip", {"trainB/1.png": drawn(1), "trainB\\1.png": drawn(2)})
    index = gathered(FOLDER, {**FOLDER, "name": "zip", "kind": "zip", "path": "some.zip"})
    assert len({row["where"] for row in index}) == len({row["serial"] for row in index}) == 3


def test_a_file_that_changes_while_it_is_read_ends_it_and_the_previous_output_stays(project, monkeypatch):
    write_files(project / "mine", {"trainA/1.png": drawn(1)})
    gathered(FOLDER)
    before = all_bytes(project / "data/painting_sources")
    contents = iter([drawn(2), drawn(3)])
    monkeypatch.setattr("assets.paintings.sources.pictures_in", lambda *_, **__: [Found("trainA/1.png", lambda: next(contents))])
    with pytest.raises(SourceError, match="source 'mine': trainA/1.png changed while it was read; try again"):
        gathered(FOLDER)
    assert all_bytes(project / "data/painting_sources") == before


# Addresses, and the gallery of our own.


@pytest.mark.usefixtures("project")
def test_a_zip_behind_an_address_is_fetched_once_and_its_checksum_told_or_checked(server, tmp_path):  # noqa: F811
    server.content = write_zip(tmp_path / "some.zip", {"trainA/1.png": drawn(1), "trainB/2.png": drawn(2)}).read_bytes()
    sha256 = hashlib.sha256(server.content).hexdigest()
    source = {"name": "far", "kind": "url", "url": server.url, "licence": "CC0-1.0"}
    with pytest.raises(DownloadError, match="source 'far': .*not a public address"):
        gathered(source)
    open_to_us = {"allow_private_addresses": True}
    told = Told()
    assert len(gathered(source, told=told, **open_to_us)) == 2 and any(sha256 in line and line.startswith("ATTENTION") for line in told.lines)
    (record,) = rows(Path("data/painting_sources/sources.parquet"))
    assert (record["sha256"], record["bytes"], record["origin"]) == (sha256, len(server.content), server.url)
    asked = len(server.requests)
    gathered(source, **open_to_us)
    gathered({**source, "sha256": sha256}, **open_to_us)
    assert len(server.requests) == asked
    with pytest.raises(DownloadError, match="source 'far': .*checksum mismatch"):
        gathered({**source, "sha256": "0" * 64}, retries=1, **open_to_us)
    # What lies here and is not what was downloaded is fetched again.
    gathered(source, **open_to_us)
    for part in Path("data.figment/downloads").iterdir():
        part.write_bytes(b"other bytes")
    assert len(gathered(source, **open_to_us)) == 2


@pytest.mark.usefixtures("project")
def test_an_address_may_lead_to_one_picture(server):  # noqa: F811
    server.content = drawn(1)
    (row,) = gathered({"name": "far", "kind": "url", "url": server.url, "licence": "CC0-1.0", "domain": "b"}, allow_private_addresses=True)
    assert (row["domain"], row["where"]) == ("b", server.url.rpartition("/")[2])


@pytest.mark.usefixtures("project")
def test_a_page_in_place_of_a_zip_is_told(server):  # noqa: F811
    server.content = b"<!doctype html><html>Please log in</html>"
    far = {"name": "far", "kind": "url", "url": server.url, "licence": "CC0-1.0"}
    with pytest.raises(SourceError, match="source 'far': http.* is not a zip, or is cut short; fetch it again; one picture needs `domain`"):
        gathered(far, allow_private_addresses=True)


@pytest.mark.usefixtures("project")
def test_the_gallery_that_the_project_serves_is_fetched_whole():
    gallery = {"name": "ours", "kind": "embedded", "site": "imaginary_gallery", "path": "downloads/imaginary2photo.zip", "licence": "CC0-1.0"}
    index = gathered(gallery)
    assert {(row["domain"], row["split"]) for row in index} == {("a", "train"), ("a", "test"), ("b", "train"), ("b", "test")}
    assert rows(Path("data/painting_sources/sources.parquet"))[0]["origin"] == "imaginary_gallery/downloads/imaginary2photo.zip"
    with pytest.raises(SourceError, match="source 'ours': embedded site 'galery' is not known; there are: .*imaginary_gallery"):
        gathered({**gallery, "site": "galery"})


# Numbers, and what leaves.


PLACES = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 2)), min_size=1, max_size=3)


@settings(max_examples=8, deadline=None)
@given(st.lists(PLACES, min_size=2, max_size=4))
def test_a_picture_keeps_its_number_whatever_comes_and_goes(tmp_path_factory, steps):
    os.chdir(root := tmp_path_factory.mktemp("numbers"))
    numbers: dict[tuple, int] = {}
    for step in steps:
        shutil.rmtree(root / "mine", ignore_errors=True)
        write_files(root / "mine", {f"trainA/{name}.png": drawn(number) for name, number in step})
        index = gathered(FOLDER)
        for row in index:
            assert numbers.setdefault((row["where"], row["sha256"]), row["serial"]) == row["serial"]
        assert len(set(numbers.values())) == len(numbers) == max(numbers.values()) + 1
    # But for the numbers, it is what would have been made from nothing.
    fresh = [{key: value for key, value in row.items() if key not in ("serial", "shard")} for row in gathered(FOLDER, data="fresh")]
    assert [{key: row[key] for key in fresh[0]} for row in sorted(index, key=lambda row: row["where"])] == fresh


def test_a_night_without_changes_reads_no_picture_and_changes_no_byte_and_one_new_picture_rewrites_one_shard(project):
    files = {f"trainA/{number:02d}.png": drawn(number) for number in range(12)}
    write_files(project / "mine", files)
    target = project / "data/painting_sources"
    run = lambda: gather_sources(config(FOLDER), target, figment=project / ".figment", reporter=Told())  # noqa: E731
    assert run().looked_at == 12
    before = all_bytes(target)
    facts = run()
    assert (facts.looked_at, facts.shards_kept, facts.new) == (0, 3, 0) and all_bytes(target) == before
    write_files(project / "mine", {"trainA/00a.png": drawn(99)})
    facts = run()
    assert (facts.looked_at, facts.shards_kept, facts.shards, facts.new) == (1, 3, 4, 1)


def test_a_picture_or_a_source_that_is_withdrawn_leaves(project):
    write_files(project / "mine", {"trainA/1.png": drawn(1), "trainA/2.png": drawn(2)})
    write_files(project / "other", {"trainB/3.png": drawn(3)})
    other = {**FOLDER, "name": "other", "path": "other"}
    first = gathered(FOLDER, other)
    gone = first[0]["sha256"]
    index = gathered(FOLDER, other, withdrawn=[gone.upper()])
    assert [row["serial"] for row in index] == [1, 2] and reasons() == {"trainA/1.png": "withdrawn"}
    with zipfile.ZipFile("data/painting_sources/images-00000.zip") as archive:
        assert not any(gone in name for name in archive.namelist())
    assert {row["source"] for row in gathered(other)} == {"other"}
    assert [row["serial"] for row in gathered(FOLDER, other)] == [0, 1, 2]


# The program.


def test_the_program_reports_and_says_in_one_line_what_is_wrong(project, capsys):
    write_files(project / "mine", {"trainA/1.png": drawn(1), "trainB/2.png": b"no picture"})
    write_params(painting_sources={"sources": [FOLDER], **SMALL})
    assert main([]) == 0
    assert "painting_sources: 1 pictures in 1 shards (0 taken over); 1 new, 0 left; set aside: 1 not_an_image" in capsys.readouterr().err
    write_params(painting_sources={"sources": [{**FOLDER, "path": "nowhere"}], **SMALL})
    assert main([]) == 1
    assert capsys.readouterr().err == "figment: source 'mine': nowhere: no such folder; `path` is read from the project root\n"
    write_params(painting_sources={"sources": [{**FOLDER, "kind": "zip", "path": "mine"}], **SMALL})
    assert main([]) == 1
    assert "mine: no such file" in capsys.readouterr().err
    path = write_zip(project / "some.zip", {"trainA/1.png": drawn(1)})
    with pytest.raises(SourceError, match=f"some.zip has sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}, expected 00"):
        gathered({**FOLDER, "kind": "zip", "path": "some.zip", "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": "unknown"}, "licence `unknown`; find it out, or set allow_unknown_licence"),
        ({"licence": " "}, "licence is empty"),
        ({"kind": "url"}, "kind url needs `url`"),
        ({"kind": "embedded"}, "kind embedded needs `site`"),
        ({"kind": "url", "url": "ftp://x/y"}, "must begin with http:// or https://"),
        ({"name": "../x"}, "must be 1 to 64 letters"),
        ({"sha256": "0" * 64}, "sha256 is of one file, and this source is a folder"),
        ({"kind": "zip", "sha256": "abc"}, "64 hexadecimal digits"),
        ({"domain": "c"}, "must be one of 'a', 'b', 'auto'"),
        ({"lisence": "x"}, "did you mean 'licence'"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused_with_what_to_change(change, words):
    with pytest.raises(ParamsError, match=words):
        config(FOLDER | change)


def test_so_are_sections_that_make_none():
    for sources, more, words in [
        ([], {}, "sources is empty"),
        ([FOLDER, FOLDER], {}, "'mine' twice"),
        ([FOLDER], {"withdrawn": ["1.png"]}, "SHA-256"),
    ]:
        with pytest.raises(ParamsError, match=words):
            config(*sources, **more)
    assert dataclasses.asdict(config({**FOLDER, "licence": "unknown"}, allow_unknown_licence=True))["allow_unknown_licence"]


def test_every_column_of_both_artifacts_is_explained():
    from assets.images.columns import EXCLUDED, FOUND, INDEXED

    schemas = (ORIGINALS, REJECTED, SOURCES, SERIALS, INDEXED, EXCLUDED, OWN, DUPLICATES)
    shared = {*FOUND.names, *INDEXED.names, *EXCLUDED.names} - set(COLUMN_DOCS)
    assert {name for schema in schemas for name in schema.names} - shared == set(COLUMN_DOCS)
