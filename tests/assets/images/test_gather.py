"""Originals lie in shards by serial; what changes rewrites its shard, and the rest is taken over without being read again."""

import hashlib
import io
import zipfile

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from assets.images.columns import FOUND
from assets.images.contact_sheet import sheet_of_originals
from assets.images.gather import GatherConfig, GatherFacts, Original, gather
from assets.images.gather_report import report_gathered, report_gathered_checks
from formats.tables import columns, table_from_rows
from stages.reporting import Reporter

SMALL = GatherConfig(images_per_shard=4)
INDEX = pa.schema([*FOUND, *columns(licence=str, source=str)])
REJECTED = columns(sha256=str, serial=int, licence=str, source=str, where=str, reason=str, words=str)


def picture(seed: int, side: int = 40, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (seed % 256, seed // 256 % 256, 99)).save(stream, format=kind)
    return stream.getvalue()


class Source:
    """Pictures by serial number, and how often their bytes were asked for."""

    def __init__(self, count: int = 0, **columns) -> None:
        self.bodies = {serial: picture(serial) for serial in range(count)}
        self.columns = {"licence": "CC-BY-4.0", "source": "scans"} | columns
        self.reads = 0

    def originals(self, *, keys: str = "sha256"):
        for serial, body in self.bodies.items():
            key = hashlib.sha256(body).hexdigest() if keys == "sha256" else f"{keys}/{serial}"
            yield Original(key, serial, {**self.columns, "where": f"scan {serial}"}, lambda body=body: self._read(body))

    def _read(self, body: bytes) -> bytes:
        self.reads += 1
        return body


def run(source: Source, root, *, config: GatherConfig = SMALL, keys: str = "sha256") -> GatherFacts:
    originals = source.originals(keys=keys)
    return gather(originals, config, root / "scans", index_schema=INDEX, rejected_schema=REJECTED, scratch=root / "scratch")


def rows(root, name: str = "index") -> list[dict]:
    return pq.read_table(root / f"scans/{name}.parquet").to_pylist()


def contents(root) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "scans").iterdir()}


def test_originals_lie_in_shards_under_the_names_of_their_contents(tmp_path):
    facts = run(Source(9), tmp_path)
    assert [row["serial"] for row in rows(tmp_path)] == list(range(9)) and facts.images == 9
    for row in rows(tmp_path):
        assert row["shard"] == f"images-{row['serial'] // 4:05d}.zip" and row["member"] == f"{row['sha256']}.png"
        with zipfile.ZipFile(tmp_path / "scans" / row["shard"]) as archive:
            assert hashlib.sha256(archive.read(row["member"])).hexdigest() == row["sha256"]
            assert archive.getinfo(row["member"]).compress_type == zipfile.ZIP_STORED
    found = {(row["format"], row["mode"], row["width"], row["decoded_as"], row["licence"], row["source"]) for row in rows(tmp_path)}
    assert found == {("png", "RGB", 40, "as stored", "CC-BY-4.0", "scans")}


def test_what_is_no_picture_is_set_aside_with_reason_and_place(tmp_path):
    source = Source()
    bodies = [picture(1), picture(2, side=8), picture(3)[:-30], b"<html>Are you a robot?</html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
    source.bodies = dict(enumerate([*bodies, picture(5, kind="JPEG")]))
    facts = run(source, tmp_path)
    rejected = rows(tmp_path, "rejected")
    assert {row["where"]: row["reason"] for row in rejected} == {
        "scan 1": "too_small",
        "scan 2": "broken",
        "scan 3": "not_an_image",
        "scan 4": "format_not_allowed",
    }
    assert all(row["words"] and row["licence"] == "CC-BY-4.0" for row in rejected)
    # The extension follows the content.
    assert facts.images == 2 and [row["member"][-4:] for row in rows(tmp_path)] == [".png", ".jpg"]


@pytest.mark.parametrize("keys", ["sha256", "scans of 1912"])
def test_a_second_run_takes_everything_over_and_reads_nothing(tmp_path, keys):
    source = Source(9)
    run(source, tmp_path, keys=keys)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "scans").iterdir()}
    assert source.reads == 9
    facts = run(source, tmp_path, keys=keys)
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in (tmp_path / "scans").iterdir()} == before
    assert (facts.shards_kept, facts.looked_at, facts.known_before, facts.new, facts.left, source.reads) == (3, 0, 9, 0, 0, 9)


def test_a_picture_that_comes_or_goes_rewrites_its_shard_alone(tmp_path):
    source = Source(11)
    run(source, tmp_path)
    before = contents(tmp_path)
    victim = hashlib.sha256(source.bodies.pop(5)).hexdigest()
    source.bodies[11] = picture(99)
    facts = run(source, tmp_path)
    after = contents(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"images-00001.zip", "images-00002.zip", "index.parquet"}
    assert not any(victim.encode() in data for data in after.values())
    assert (facts.new, facts.left, facts.looked_at) == (1, 1, 1)
    # Read again: the three that stay in each of the two shards, and the new one.
    assert source.reads == 11 + 3 + 3 + 1


def test_a_content_that_comes_twice_lies_once_in_a_shard_and_has_two_rows(tmp_path):
    source = Source(6)
    source.bodies[2] = source.bodies[5] = source.bodies[0]
    run(source, tmp_path, keys="book")
    assert len(rows(tmp_path)) == 6 and len({row["member"] for row in rows(tmp_path)}) == 4
    with zipfile.ZipFile(tmp_path / "scans/images-00000.zip") as archive:
        assert archive.namelist() == [row["member"] for row in rows(tmp_path) if row["serial"] in (0, 1, 3)]
    assert run(source, tmp_path, keys="book").shards_kept == 2 and failed_checks(tmp_path) == set()


def test_a_shard_edited_by_hand_is_made_again(tmp_path):
    run(Source(6), tmp_path)
    before = contents(tmp_path)
    shard = tmp_path / "scans/images-00000.zip"
    shard.write_bytes(before[shard.name][:100] + b"?" + before[shard.name][101:])
    facts = run(Source(6), tmp_path)
    assert contents(tmp_path) == before and facts.shards_kept == 1


def test_other_limits_are_applied_to_pictures_that_were_seen_before(tmp_path):
    run(Source(3), tmp_path)
    facts = run(Source(3), tmp_path, config=GatherConfig(images_per_shard=4, min_side_px=41))
    assert facts.images == 0 and facts.rejected == {"too_small": 3} and not list((tmp_path / "scans").glob("*.zip"))


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"recipe": "x"}'])
def test_a_damaged_memory_is_forgotten(tmp_path, damage):
    run(Source(3), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "scratch/seen.json").write_bytes(damage)
    assert run(Source(3), tmp_path).looked_at == 3 and contents(tmp_path) == before


def test_no_pictures_at_all_are_an_empty_index(tmp_path):
    assert run(Source(), tmp_path).images == 0
    assert rows(tmp_path) == []


def test_the_contact_sheet_is_one_small_picture(tmp_path):
    run(Source(30), tmp_path)
    sheet = sheet_of_originals(tmp_path / "scans")
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.format == "PNG" and image.size == (8 * 96, 3 * 96)
    assert len(sheet) < 40_000


@pytest.mark.parametrize("wrong", [{"images_per_shard": 0}, {"max_pixels": 10**9}, {"formats": ["svg"]}, {"max_mib": 0.0}])
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        GatherConfig(**wrong)


# What is told of it.


class Told(Reporter):
    """The names of the checks that failed, the facts and the texts."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.facts: dict = {}
        self.texts: dict[str, str] = {}

    def check(self, name, passed, *, severity="ERROR", **values):
        self.failed |= set() if passed else {name}

    def metadata(self, **values):
        self.facts |= values

    def markdown(self, name, text):
        self.texts[name] = text


def failed_checks(root) -> set[str]:
    told = Told()
    report_gathered_checks(root / "scans", told)
    return told.failed


def test_counts_and_some_pictures_are_reported(tmp_path):
    source = Source(3, licence="unknown")
    source.bodies[3] = b"GIF89a"
    told = Told()
    report_gathered(run(source, tmp_path), tmp_path / "scans", told)
    assert told.facts | {"bytes": 0} == {
        "rows": 3,
        "bytes": 0,
        "shards": 1,
        "shards_kept": 0,
        "looked_at": 4,
        "known_before": 0,
        "new": 3,
        "left": 0,
        "by_format": {"png": 3},
        "by_decoding": {"as stored": 3},
        "rejected_by_reason": {"broken": 1},
    }
    assert told.failed == {"licences_known"} and "| broken | 1 |" in told.texts["set_aside"]
    assert told.texts["pictures"].startswith("![some of the pictures](data:image/png;base64,")


def test_members_that_are_damaged_missing_or_extra_are_seen(tmp_path):
    run(Source(3), tmp_path)
    shard, index = tmp_path / "scans/images-00000.zip", tmp_path / "scans/index.parquet"
    sound = shard.read_bytes()
    assert failed_checks(tmp_path) == set()
    place = sound.index(picture(0)) + 20
    for damaged in (sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :], sound[: len(sound) // 2]):
        shard.unlink()
        shard.write_bytes(damaged)
        assert failed_checks(tmp_path) == {"members_intact"}
    shard.write_bytes(sound)
    listed = rows(tmp_path)[1:]
    index.unlink()
    pq.write_table(table_from_rows(INDEX, listed), index)
    assert failed_checks(tmp_path) == {"members_intact"}


def test_a_source_adds_its_own_refusals_and_files(tmp_path):
    told = []

    def also(output, index, rejected):
        output.file("more.txt").write_text(f"{len(index)} {len(rejected)}")
        told.extend(row["where"] for row in rejected)

    source = Source(3)
    source.bodies[1] = b"<html>"
    refused = [{"serial": 0, "reason": "too_slow", "words": "it took ages", "licence": "CC0-1.0", "source": "scans", "where": "scan 0b"}]
    facts = gather(
        source.originals(keys="scan"), SMALL, tmp_path / "scans", index_schema=INDEX, rejected_schema=REJECTED, scratch=tmp_path / "scratch",
        set_aside=refused, also=also,
    )  # fmt: skip
    assert [(row["serial"], row["reason"], row["sha256"] is None) for row in rows(tmp_path, "rejected")] == [
        (0, "too_slow", True),
        (1, "not_an_image", False),
    ]
    assert facts.rejected == {"too_slow": 1, "not_an_image": 1} and told == ["scan 0b", "scan 1"]
    assert (tmp_path / "scans/more.txt").read_text() == "2 2"
