"""Publish the pictures of any source as they were served: named by content, judged once, in shards of which a change rewrites one.

A source hands over its `Original`s, and says by two schemas which of its own columns go into the tables. A picture's place is fixed by its serial, so
one that comes or goes rewrites its shard alone. Shards that stay are taken over without opening their pictures; what a picture was found to be is
remembered outside the output. The folder holds `images-00000.zip`, …, `index.parquet`, and `rejected.parquet` with what was set aside, and why.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.images.look_memory import LookMemory
from formats.pictures import FORMATS, DecodeLimits, extension_of
from formats.stored_zip import StoredZip, StoredZipWriter
from formats.tables import read_table, table_from_rows, write_table
from stages.output_folder import OutputFolder

_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class GatherConfig:
    """A section of params.yaml for a stage that gathers pictures, such as `toc_images`.

    images_per_shard: serials of a zip file.
    max_mib, max_pixels, max_frames, min_side_px: limits of a picture; others are set aside before they are decoded.
    formats:          what may be opened; names from formats/pictures.py.
    """

    images_per_shard: int = 1_000
    max_mib: float = 32.0
    max_pixels: int = 40_000_000
    max_frames: int = 1_000
    min_side_px: int = 32
    formats: list[str] = field(default_factory=lambda: list(FORMATS))

    def __post_init__(self) -> None:
        if self.images_per_shard < 1:
            raise ValueError(f"images_per_shard must be at least 1, found {self.images_per_shard}")
        self.limits()

    def limits(self) -> DecodeLimits:
        """The limits as `decode` takes them."""
        return DecodeLimits(int(self.max_mib * 2**20), self.max_pixels, self.max_frames, self.min_side_px, tuple(self.formats))


@dataclass(frozen=True)
class Original:
    """A picture that a source has.

    key:     names its bytes: other bytes, another key. Their SHA-256 where that is known beforehand.
    serial:  its number among all that ever came, which never moves; a removal leaves a gap.
    columns: what the source says of it, by column: licence, source, where it is from, when it was first seen, …
    read:    gives its bytes; asked only when it was never looked at, or when its shard is written anew.
    """

    key: str
    serial: int
    columns: Mapping[str, Any]
    read: Callable[[], bytes]


@dataclass
class GatherFacts:
    """What a build found and did. Only the files go into the output."""

    images: int = 0
    bytes: int = 0
    shards: int = 0
    shards_kept: int = 0
    looked_at: int = 0
    known_before: int = 0
    new: int = 0
    left: int = 0
    decoded_as: Counter = field(default_factory=Counter)
    formats: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)


def gather(
    originals: Iterable[Original],
    config: GatherConfig,
    target: Path,
    *,
    index_schema: pa.Schema,
    rejected_schema: pa.Schema,
    scratch: Path,
    set_aside: Sequence[Mapping[str, Any]] = (),
    also: Callable[[OutputFolder, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], None] | None = None,
) -> GatherFacts:
    """Write the pictures into the folder `target`.

    index_schema: columns.FOUND, then the source's own, `licence` among them. rejected_schema: sha256, serial, reason, words, and the source's own.
    scratch: a folder for the memory of what pictures are; nothing in it decides what is written.
    set_aside: rows for rejected.parquet of what the source itself has refused, or did not even read.
    also: writes the source's other files; takes the new folder, the rows of the index and those of rejected.
    Raises OutputBusyError, and what reading an original raises; the previous output is then untouched.
    """
    facts = GatherFacts()
    memory = LookMemory(scratch / "seen.json", config.limits(), target)
    index: list[dict] = []
    rejected: list[Mapping[str, Any]] = []
    with OutputFolder(target) as output:
        # A shard holds the serials of one range, however many of them are left: what goes leaves a gap, and moves nothing into another shard.
        for number, members in groupby(sorted(originals, key=_serial), key=lambda original: original.serial // config.images_per_shard):
            shard, bodies = f"images-{number:05d}.zip", _Bodies()
            # A content that comes twice in a shard lies in it once, under one name.
            by_member: dict[str, Original] = {}
            for original in members:
                look = memory.look(original.key, partial(bodies.of, original))
                row = {**original.columns, **asdict(look), "serial": original.serial}
                if look.reason:
                    rejected.append(row)
                else:
                    member = f"{look.sha256}.{extension_of(look.format)}"
                    index.append(row | {"shard": shard, "member": member})
                    by_member.setdefault(member, original)
            # A range of which nothing is left has no file.
            if by_member:
                facts.shards += 1
                facts.shards_kept += _write_or_keep(output, shard, by_member, bodies, memory)
        rejected = sorted([*set_aside, *rejected], key=lambda row: -1 if row.get("serial") is None else row["serial"])
        write_table(output.file("index.parquet"), table_from_rows(index_schema, index))
        write_table(output.file("rejected.parquet"), table_from_rows(rejected_schema, rejected))
        if also:
            also(output, index, rejected)
        _count(facts, index, rejected, target)
        facts.bytes = sum(path.stat().st_size for path in output.folder.glob("*.zip"))
    # Only now: had the folder not been published, the memory would speak of shards that nobody has.
    memory.save()
    facts.looked_at, facts.known_before = memory.looked_at, memory.known_before
    return facts


def _serial(original: Original) -> int:
    return original.serial


class _Bodies:
    """The bytes of the pictures of one shard, read once for judging and writing, as far as memory should go."""

    def __init__(self) -> None:
        self._kept: dict[int, bytes] = {}
        self._size = 0

    def of(self, original: Original) -> bytes:
        if original.serial in self._kept:
            return self._kept[original.serial]
        body = original.read()
        if self._size + len(body) <= _KEPT_BYTES:
            self._kept[original.serial] = body
            self._size += len(body)
        return body


def _write_or_keep(output: OutputFolder, shard: str, by_member: Mapping[str, Original], bodies: _Bodies, memory: LookMemory) -> bool:
    """The file `shard` with these members: the previous one where it holds just them (then True), else a new one."""
    # Members are named by their contents, so equal names of an intact file are equal bytes.
    is_kept = memory.has_intact(shard) and StoredZip(output.target / shard).names == list(by_member)
    if is_kept:
        path = output.keep(shard)
    else:
        path = output.file(shard)
        with StoredZipWriter(path) as archive:
            for member, original in by_member.items():
                archive.add(member, bodies.of(original))
    memory.note(shard, path)
    return is_kept


def _count(facts: GatherFacts, index: Sequence[dict], rejected: Sequence[Mapping[str, Any]], target: Path) -> None:
    facts.images = len(index)
    facts.decoded_as = Counter(row["decoded_as"] for row in index)
    facts.formats = Counter(row["format"] for row in index)
    facts.rejected = Counter(row["reason"] for row in rejected)
    before, now = _previous_contents(target / "index.parquet"), {row["sha256"] for row in index}
    facts.new, facts.left = len(now - before), len(before - now)


def _previous_contents(path: Path) -> set[str]:
    try:
        return set(read_table(path, ["sha256"])["sha256"].to_pylist())
    except (OSError, ValueError, KeyError):
        return set()
