"""The four sets: the right pictures of the right size, no look-alikes, no leak into the test sets, the same bytes whatever happened before."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import numpy
from hypothesis import given, settings
from PIL import Image

from assets.images.dataset import DatasetError
from assets.images.gather import GatherConfig
from assets.paintings import build as build_module
from assets.paintings.build import PaintingsConfig, PaintingsFacts, build_paintings, main
from assets.paintings.sources import PaintingSourcesConfig, SourceParams, gather_sources
from assets.paintings.tables import SETS
from formats.image_shards import ImageShards
from stages.params import ParamsError, build_config
from tests.assets.paintings.drawn import Told, all_bytes, drawn, image, rows, saved, write_files, write_params

SMALL = PaintingsConfig(size=32, images_per_shard=4)
# Of each set two pictures.
LAYOUT = {f"{name}/{place}.png": drawn(10 * number + place) for number, name in enumerate(SETS) for place in range(2)}


class Project:
    """A folder of pictures, and what is made of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.sets = root, root / "data/paintings"

    def put(self, files: dict[str, bytes], *, domain: str = "auto", licence: str = "CC0-1.0") -> "Project":
        """These files in place of those that were there, as one source."""
        shutil.rmtree(self.root / "mine", ignore_errors=True)
        write_files(self.root / "mine", files)
        source = SourceParams(name="mine", kind="folder", path=str(self.root / "mine"), licence=licence, domain=domain)
        config = PaintingSourcesConfig(sources=[source], images_per_shard=4, min_side_px=8, allow_unknown_licence=True)
        gather_sources(config, self.root / "data/painting_sources", figment=self.root / ".figment", reporter=Told())
        return self

    def build(self, config: PaintingsConfig = SMALL, *, target: Path | None = None, figment: str = ".figment") -> PaintingsFacts:
        originals = self.root / "data/painting_sources"
        return build_paintings(config, originals, target or self.sets, figment=self.root / figment, reporter=Told())

    def table(self, name: str) -> list[dict]:
        return rows(self.sets / f"{name}.parquet")

    def where(self) -> dict[str, str]:
        """The set of each picture that is in one, by its place."""
        return {row["where"]: row["set"] for row in self.table("index")}

    def reasons(self) -> dict[str, str]:
        return {row["where"]: row["reason"] for row in self.table("excluded")}


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


# What is made.


def test_the_four_sets_hold_the_pictures_of_their_folders_at_the_size_asked_for(project):
    facts = project.put(LAYOUT).build()
    assert facts.sets == dict.fromkeys(SETS, 2) and project.reasons() == {}
    for name in SETS:
        images = ImageShards(project.sets / name)
        assert (len(images), images.resolution, images.channels, images.labels) == (2, 32, 3, None)
        members = [row for row in project.table("index") if row["set"] == name]
        for place, row in enumerate(members):
            original = Image.open(io.BytesIO(LAYOUT[row["where"]])).convert("RGB").resize((32, 32), Image.Resampling.LANCZOS)
            assert numpy.array_equal(images.image(place).transpose(1, 2, 0), numpy.asarray(original))
            assert images.names[place] == row["member"] and (project.sets / name / row["shard"]).is_file()
            assert (row["domain"], row["split"]) == (name[-1].lower(), name[:-1]) and row["licence"] == "CC0-1.0"
        with Image.open(project.sets / f"{name}.png") as sheet:
            assert sheet.size == (2 * 36 + 4, 36 + 4)


def test_the_card_says_what_is_in_each_set(project):
    project.put({**LAYOUT, "trainB/9.png": LAYOUT["trainA/0.png"]}).build(dataclasses.replace(SMALL, colours_b="grey", domain_a="etchings"))
    card = (project.sets / "README.md").read_text()
    assert (
        "# Etchings and photographs at 32 px" in card and "9 etchings and photographs of which no two belong together as RGB or grey pictures" in card
    )
    assert "| trainA \\(etchings, RGB\\) | 2 |" in card and "| trainB \\(photographs, grey\\) | 3 |" in card
    assert "- image-to-image" in card and "1 pairs across the domains" in card and "![testB.png](testB.png)" in card


def test_a_domain_may_be_grey_and_every_kind_of_file_becomes_plain_pixels(project):
    picture = image(500, (48, 40))
    wide = numpy.asarray(picture.convert("L")).astype(numpy.uint16) * 257
    clear = picture.copy()
    clear.putalpha(Image.fromarray((numpy.arange(48) * 5)[None].repeat(40, axis=0).astype(numpy.uint8)))
    files = {
        "trainA/cmyk.jpg": saved(image(501, (48, 40)).convert("CMYK"), "JPEG", quality=95),
        "trainA/alpha.png": saved(clear),
        "trainA/palette.gif": saved(image(502, (48, 40)).quantize(64), "GIF"),
        "trainA/wide.png": saved(Image.fromarray(wide)),
        "trainB/grey.png": saved(image(503, (48, 40)).convert("L")),
    }
    project.put(LAYOUT | files).build(dataclasses.replace(SMALL, colours_b="grey"))
    assert set(files) <= set(project.where()) and project.reasons() == {}
    assert [ImageShards(project.sets / name).channels for name in SETS] == [3, 1, 3, 1]
    place = [row["where"] for row in project.table("index") if row["set"] == "trainA"].index("trainA/wide.png")
    pixels = ImageShards(project.sets / "trainA").image(place)
    assert (pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all() and numpy.ptp(pixels) > 100


def test_smaller_pictures_are_left_out_unless_they_may_be_enlarged(project):
    small = {"trainA/narrow.png": drawn(90, (20, 50)), "trainB/small.png": drawn(91, (24, 24))}
    project.put(LAYOUT | small).build()
    assert project.reasons() == {"trainA/narrow.png": "too_small", "trainB/small.png": "too_small"}
    assert "20 x 50 px, the shorter side must have at least 32; set enlarge: true" in project.table("excluded")[0]["words"]
    # Padded, the longer side counts.
    project.build(dataclasses.replace(SMALL, fit="pad"))
    assert project.reasons() == {"trainB/small.png": "too_small"}
    for fit in ("crop", "pad"):
        project.build(dataclasses.replace(SMALL, fit=fit, enlarge=True))
        assert project.reasons() == {}
    place = [row["where"] for row in project.table("index") if row["set"] == "trainB"].index("trainB/small.png")
    pixels = ImageShards(project.sets / "trainB").image(place).transpose(1, 2, 0)
    assert numpy.array_equal(pixels, numpy.asarray(image(91, (24, 24)).resize((32, 32), Image.Resampling.LANCZOS)))


def test_a_licence_is_needed_to_get_in(project):
    project.put(LAYOUT, licence="unknown")
    with pytest.raises(DatasetError, match=r"trainA, trainB, testA, testB would have no picture; left out: licence_unknown \(8\)"):
        project.build()
    assert project.build(dataclasses.replace(SMALL, allow_unknown_licence=True)).build.licences == {"unknown": 8}


# Splits.


def test_a_picture_whose_folder_names_no_split_never_changes_its_own(project):
    config = dataclasses.replace(SMALL, test_fraction=0.3)
    files = {f"{domain}/{number:02d}.png": drawn(2 * number + (domain == "photo")) for number in range(20) for domain in ("monet", "photo")}
    project.put(dict(list(files.items())[:30])).build(config)
    before = project.where()
    project.put({**files, "photo/00a.png": drawn(99)}).build(config)
    assert len(before) == 30 and before.items() < project.where().items()


def test_a_domain_with_a_test_set_of_its_own_learns_from_all_the_rest(project):
    project.put(LAYOUT | {f"monet/{number}.png": drawn(500 + number) for number in range(9)}).build(dataclasses.replace(SMALL, test_fraction=0.9))
    assert {name for where, name in project.where().items() if where.startswith("monet")} == {"trainA"}


def test_the_fraction_is_kept_about_and_another_seed_draws_others():
    names = [f"{number:064x}" for number in range(2_000)]
    draws = [{name for name in names if build_module._split_of(name, dataclasses.replace(SMALL, split_seed=seed)) == "test"} for seed in (0, 1)]
    assert all(160 < len(draw) < 240 for draw in draws) and len(draws[0] & draws[1]) < 60


# Look-alikes.


def test_of_pictures_that_look_the_same_one_stays_and_the_test_sets_go_first(project):
    again = saved(image(0, (60, 60)), "JPEG", quality=70)
    files = {
        "trainA/7_again.jpg": again,  # as trainA/0.png
        "trainA/8_copy.png": LAYOUT["trainA/1.png"],  # the same file
        "trainA/9_test.jpg": saved(image(21, (60, 60)), "JPEG"),  # as testA/1.png
        "trainB/7_other.png": LAYOUT["testA/0.png"],  # in the test set of the other domain
        "trainB/8_across.png": LAYOUT["trainA/1.png"],  # in both domains
        "testA/9_again.jpg": saved(image(20, (60, 60)), "JPEG"),  # as testA/0.png
    }
    facts = project.put(LAYOUT | files).build()
    assert project.reasons() == {
        "trainA/7_again.jpg": "looks_the_same",
        "trainA/8_copy.png": "same_file",
        "trainA/9_test.jpg": "looks_the_same",
        "trainB/7_other.png": "same_file",
        "testA/9_again.jpg": "looks_the_same",
    }
    by_serial = {row["serial"]: row["where"] for row in [*project.table("index"), *project.table("excluded")]}
    pairs = {(by_serial[pair["kept"]], by_serial[pair["other"]]): pair for pair in project.table("duplicates")}
    assert set(pairs) == {
        ("trainA/0.png", "trainA/7_again.jpg"),
        ("trainA/1.png", "trainA/8_copy.png"),
        ("testA/1.png", "trainA/9_test.jpg"),
        ("testA/0.png", "trainB/7_other.png"),
        ("trainA/1.png", "trainB/8_across.png"),
        ("testA/0.png", "testA/9_again.jpg"),
    }
    assert [pair for pair, row in pairs.items() if not row["is_dropped"]] == [("trainA/1.png", "trainB/8_across.png")]
    assert (pairs["testA/0.png", "trainB/7_other.png"]["levels"], pairs["testA/0.png", "trainB/7_other.png"]["bits"]) == (0.0, 0)
    assert pairs["testA/1.png", "trainA/9_test.jpg"]["kept_set"] == "testA" and 0 < pairs["trainA/0.png", "trainA/7_again.jpg"]["levels"] < 12
    assert facts.leaks == [] and "as picture" in project.table("excluded")[0]["words"]


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SETS), st.integers(0, 5), st.sampled_from([40, 60])), max_size=14))
def test_nothing_that_looks_like_a_test_picture_is_learned_from(tmp_path_factory, copies):
    project = Project(tmp_path_factory.mktemp("leaks"))
    files = {f"{name}/x{place}.jpg": saved(image(700 + number, (side, side)), "JPEG") for place, (name, number, side) in enumerate(copies)}
    facts = project.put(LAYOUT | files).build()
    drawn_as = {where: 700 + copies[int(where.split("/x")[1][:-4])][1] for where in files}
    in_sets: dict[str, list[int]] = {name: [] for name in SETS}
    for where, name in project.where().items():
        in_sets[name].append(drawn_as.get(where, where))
    assert facts.leaks == [] and all(len(set(numbers)) == len(numbers) for numbers in in_sets.values())
    tested = {*in_sets["testA"], *in_sets["testB"]}
    assert not tested & {*in_sets["trainA"], *in_sets["trainB"]}
    # Each is in some set: nothing is lost.
    assert {number for numbers in in_sets.values() for number in numbers} >= set(drawn_as.values())


def test_equal_pixels_alone_count_where_nothing_else_may(project):
    files = {"trainA/7.jpg": saved(image(0), "JPEG", quality=60), "trainA/8.bmp": saved(image(1), "BMP")}
    project.put(LAYOUT | files).build(dataclasses.replace(SMALL, duplicate_bits=0, duplicate_levels=0.0))
    assert project.reasons() == {"trainA/8.bmp": "looks_the_same"}


def test_the_check_for_leaks_finds_one(project, monkeypatch):
    def keep_all(rows, prints, **_):
        del prints
        return list(rows), [], []

    monkeypatch.setattr(build_module, "without_duplicates", keep_all)
    facts = project.put({**LAYOUT, "trainB/9.png": LAYOUT["testA/0.png"]}).build()
    serials = {row["where"]: row["serial"] for row in project.table("index")}
    assert facts.leaks == [(serials["testA/0.png"], serials["trainB/9.png"])]


# How many.


def test_beyond_the_most_pictures_the_last_of_the_larger_domain_are_left_out_and_no_test_picture(project):
    more = {f"trainB/{number:02d}x.png": drawn(300 + number) for number in range(9)}
    facts = project.put(LAYOUT | more).build(dataclasses.replace(SMALL, max_pictures=10))
    assert facts.sets == {"trainA": 2, "testA": 2, "testB": 2, "trainB": 4}
    assert project.reasons() == dict.fromkeys(["trainB/1.png", *list(more)[3:]], "beyond_max_pictures")
    assert project.build(dataclasses.replace(SMALL, max_pictures=17)).sets["trainB"] == 11


def test_a_set_without_a_picture_is_refused_and_the_previous_output_stays(project):
    project.put(LAYOUT).build()
    before = all_bytes(project.sets)
    project.put({where: content for where, content in LAYOUT.items() if not where.startswith("trainB")})
    with pytest.raises(
        DatasetError, match="paintings: trainB would have no picture; left out: nothing; the previous output is kept; name sources of both"
    ):
        project.build()
    project.put({f"{name}_jpg/{place}.png": drawn(place + 50 * (name == "photo")) for name in ("monet", "photo") for place in range(3)})
    with pytest.raises(DatasetError, match=r"testA, testB would have no picture.*raise test_fraction \(0\)"):
        project.build(dataclasses.replace(SMALL, test_fraction=0.0))
    assert all_bytes(project.sets) == before


# Again, after a change.


CHANGE = st.lists(st.tuples(st.sampled_from(["trainA", "trainB", "testB", "monet", "photo"]), st.integers(0, 9)), max_size=8)


@settings(max_examples=5, deadline=None)
@given(st.lists(CHANGE, min_size=2, max_size=3))
def test_whatever_happened_before_the_bytes_are_those_of_a_build_from_nothing(tmp_path_factory, steps):
    project = Project(tmp_path_factory.mktemp("again"))
    for step in steps:
        project.put(LAYOUT | {f"{name}/{number}x.png": drawn(800 + number) for name, number in step}).build()
    project.build(target=project.root / "fresh/paintings", figment="nothing")
    assert all_bytes(project.sets) == all_bytes(project.root / "fresh/paintings")


def test_a_change_of_one_picture_makes_one_and_no_change_makes_none(project):
    files = LAYOUT | {f"train{domain}/{number:03d}.png": drawn(900 + number + 50 * (domain == "B")) for number in range(46) for domain in "AB"}
    facts = project.put(files).build()
    assert (facts.build.work.decodes, facts.compared) == (100, 100)
    inodes = {path: path.stat().st_ino for path in project.sets.rglob("*.zip")}
    facts = project.build()
    assert (facts.build.work.decodes, facts.compared, facts.build.shards_kept) == (0, 0, facts.build.shards)
    assert {path: path.stat().st_ino for path in project.sets.rglob("*.zip")} == inodes
    facts = project.put({**files, "trainA/003.png": drawn(5_000)}).build()
    assert (facts.build.work.decodes, facts.compared) == (1, 1) and facts.build.shards_kept >= facts.build.shards - 2


@pytest.mark.parametrize("content", [b"", b"not a memory", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_memory_of_fingerprints_only_costs_time(project, content):
    project.put(LAYOUT).build()
    before = all_bytes(project.sets)
    (project.root / ".figment/reuse/paintings-fingerprints.npz").write_bytes(content)
    assert project.build().compared == 8 and all_bytes(project.sets) == before


def test_originals_that_were_damaged_meanwhile_are_told_by_name(project):
    project.put(LAYOUT)
    shard = project.root / "data/painting_sources/images-00000.zip"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match="images-00000.zip: member .* is damaged.*`painting_sources` is not what it was when it was made"):
        project.build()


# The program.


def test_the_program_builds_reports_and_checks(project, monkeypatch):
    monkeypatch.chdir(project.root)
    project.put({**LAYOUT, "trainA/9.png": LAYOUT["trainA/0.png"]})
    write_params(paintings={"size": 32, "images_per_shard": 4})
    told = Told()
    arguments = type("Arguments", (), {"params": Path("params.yaml"), "overrides": [], "data": Path("data"), "workers": 2})()
    build_module._run(arguments, told)
    assert told.checks == {"licences_known": True, "no_split_leak": True}
    assert told.values["sets"] == dict.fromkeys(SETS, 2) and told.values["dropped_duplicates"] == told.values["same_files"] == 1
    assert told.values["rows"] == 8 and told.values["resolution_px"] == 32 and told.values["images_decodes"] == 8
    assert "1 that look like another left out" in told.lines[-1]
    json.dumps(told.values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 48}, "size must be a power of two, at least 4; found 48"),
        ({"test_fraction": 1.0}, "test_fraction must be at least 0 and below 1"),
        ({"duplicate_bits": 40}, "duplicate_bits must lie between 0 and 31"),
        ({"max_pictures": 3}, "max_pictures must be at least 4"),
        ({"images_per_shard": 0}, "images_per_shard must lie between"),
        ({"fit": "squash"}, "must be one of 'crop', 'pad', found 'squash'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ParamsError, match=words):
        build_config(PaintingsConfig, change, where="params.yaml: paintings")


def test_without_its_sources_it_says_who_makes_them(project, monkeypatch, capsys):
    monkeypatch.chdir(project.root)
    write_params(paintings={"size": 32})
    assert main([]) == 1
    assert capsys.readouterr().err == "figment: data/painting_sources/index.parquet: no such file; `painting_sources` makes it\n"


@pytest.mark.shared_data
def test_the_real_monets_and_flowers_become_four_sets(project, shared_data):
    folders = {"a": ("monet", "CC-PDM-1.0"), "b": ("photo_flowers", "unknown")}
    sources = [
        SourceParams(name=name, kind="folder", path=str(shared_data / "unpaired_images" / name), licence=licence, domain=domain)
        for domain, (name, licence) in folders.items()
    ]
    config = PaintingSourcesConfig(sources=sources, allow_unknown_licence=True)
    assert isinstance(config, GatherConfig)
    gather_sources(config, project.root / "data/painting_sources", figment=project.root / ".figment", reporter=Told())
    facts = project.build(PaintingsConfig(size=128, allow_unknown_licence=True))
    assert facts.sets.total() == 500 and facts.duplicates == [] and min(facts.sets["testA"], facts.sets["testB"]) > 10
    assert [len(ImageShards(project.sets / name)) for name in SETS] == [facts.sets[name] for name in SETS]
    # At 256 px the photographs are too small, and are not enlarged behind anybody's back.
    with pytest.raises(DatasetError, match=r"trainB, testB would have no picture; left out: too_small \(300\)"):
        project.build(PaintingsConfig(size=256, allow_unknown_licence=True))
