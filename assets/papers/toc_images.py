"""Gather the table-of-contents pictures of `papers` as they were served, named by content, with how each is to be decoded.

    python -m assets.papers.toc_images

A picture's place is fixed by its serial, so a picture that comes or goes rewrites one shard. Shards that stay are taken over without opening
their pictures; what a picture was found to be is remembered outside the output.
"""

import base64
import dataclasses
import hashlib
import io
import json
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import PIL
import pyarrow.parquet as pq
from PIL import Image

from assets.images.decoding import FORMATS, MOST_PIXELS, DecodeLimits, Undecodable, decode, extension_of
from assets.papers.checks import report_image_checks
from assets.papers.pictures import StoredPictures
from assets.papers.raw_pages import RawPages, RawPagesError, StoredPage
from assets.papers.tables import IMAGES, PAPERS, REJECTED_IMAGES, TOC_IMAGES
from formats.stored_zip import StoredZipWriter
from formats.tables import table_from_rows, write_table
from stages.markdown import escape
from stages.output_folder import OutputFolder, write_file_atomically
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from stages.source_code import program_fingerprint

_KEPT_BYTES = 256 * 2**20
_SHEET_COLUMNS, _SHEET_ROWS, _CELL_PX = 8, 3, 96


class ImagesError(Exception):
    """The pictures cannot be gathered: `papers` is missing, or does not fit the raw store."""


@dataclass(frozen=True)
class TocImagesConfig:
    """The section `toc_images` of params.yaml.

    images_per_shard: serials of a zip file.
    max_mib, max_pixels, max_frames, min_side_px: limits of a picture; others are set aside before they are decoded.
    formats:          what may be opened; names from assets/images/decoding.py.
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
        if self.max_pixels > MOST_PIXELS:
            raise ValueError(f"max_pixels must be at most {MOST_PIXELS:,}, found {self.max_pixels:,}")
        self.limits()

    def limits(self) -> DecodeLimits:
        """The limits as `decode` takes them."""
        return DecodeLimits(int(self.max_mib * 2**20), self.max_pixels, self.max_frames, self.min_side_px, tuple(self.formats))


@dataclass(frozen=True)
class Look:
    """What a picture was found to be, or why it is set aside (then `reason` is not empty)."""

    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    decoded_as: str = ""
    reason: str = ""
    words: str = ""


@dataclass
class ImageFacts:
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


def gather_images(config: TocImagesConfig, raw: RawPages, papers: Path, target: Path, *, scratch: Path) -> ImageFacts:
    """Write `toc_images` into the folder `target`, for the papers in the folder `papers`.

    scratch: a folder for the memory of what pictures are; nothing in it decides what is written.
    Raises ImagesError, RawPagesError, OutputBusyError; the previous output is then untouched.
    """
    images, years = _live_images(papers)
    stored = StoredPictures(raw).records()
    missing = [image["sha256"] for image in images if image["sha256"] not in stored]
    if missing:
        raise ImagesError(f"{papers}: shows the picture {missing[0]} (and {len(missing) - 1} more), which journal_pages has not; make papers again")
    facts = ImageFacts()
    memory = _Memory(scratch / "seen.json", _recipe(config.limits()), target)
    rejected: list[dict] = []
    index: list[dict] = []
    with OutputFolder(target) as output:
        for number, members in _shards(images, config.images_per_shard).items():
            name = f"images-{number:05d}.zip"
            bodies = _Bodies(raw, stored)
            looks = {image["sha256"]: memory.look(image["sha256"], bodies, config.limits(), facts) for image in members}
            kept = [image for image in members if not looks[image["sha256"]].reason]
            rejected += [_rejected_row(image, looks[image["sha256"]]) for image in members if looks[image["sha256"]].reason]
            rows = [_index_row(image, looks[image["sha256"]], name, years) for image in kept]
            if rows:
                index += rows
                facts.shards += 1
                _write_or_keep(output, name, rows, bodies, memory, facts)
        write_table(output.file("index.parquet"), table_from_rows(TOC_IMAGES, index))
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED_IMAGES, rejected))
        _count(facts, index, rejected, target)
        facts.bytes = sum(path.stat().st_size for path in output.folder.glob("*.zip"))
    memory.save()
    return facts


def _live_images(papers: Path) -> tuple[list[dict], dict[str, int]]:
    """The records of the pictures that papers show, by serial, and the year of each paper."""
    if not (papers / "images.parquet").is_file():
        raise ImagesError(f"{papers / 'images.parquet'}: no such file; make the papers first: python -m assets.papers.build")
    images = [image for image in pq.read_table(papers / "images.parquet", schema=IMAGES).to_pylist() if image["is_live"]]
    years: dict[str, int] = {}
    for shard in sorted(papers.glob("papers-*.parquet")):
        table = pq.read_table(shard, columns=["id", "date"], schema=PAPERS)
        years |= {id: day.year for id, day in zip(table["id"].to_pylist(), table["date"].to_pylist(), strict=True) if day is not None}
    return sorted(images, key=lambda image: image["serial"]), years


def _shards(images: Sequence[dict], images_per_shard: int) -> dict[int, list[dict]]:
    shards: dict[int, list[dict]] = defaultdict(list)
    for image in images:
        shards[image["serial"] // images_per_shard].append(image)
    return dict(sorted(shards.items()))


def _recipe(limits: DecodeLimits) -> str:
    """Names everything that decides what a picture is found to be."""
    facts = [program_fingerprint("assets.images.decoding"), repr(limits), PIL.__version__, numpy.__version__]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class _Bodies:
    """The bytes of pictures by content; those of one shard are read once, as far as memory should go."""

    def __init__(self, raw: RawPages, stored: Mapping[str, StoredPage]) -> None:
        self._raw, self._stored = raw, stored
        self._kept: dict[str, bytes] = {}
        self._size = 0

    def of(self, sha256: str) -> bytes:
        if sha256 in self._kept:
            return self._kept[sha256]
        body = self._raw.body(self._stored[sha256])
        if self._size + len(body) <= _KEPT_BYTES:
            self._kept[sha256] = body
            self._size += len(body)
        return body


class _Memory:
    """What pictures are and what the shards of the previous output are, from the last build; nothing for another recipe or a damaged file."""

    def __init__(self, path: Path, recipe: str, target: Path) -> None:
        self._path, self._recipe, self._target = path, recipe, target
        known = _load(path)
        self._looks: dict[str, list] = known["looks"] if known.get("recipe") == recipe else {}
        self._shards: dict[str, str] = known.get("shards", {})
        self._new_looks: dict[str, list] = {}
        self._new_shards: dict[str, str] = {}

    def look(self, sha256: str, bodies: _Bodies, limits: DecodeLimits, facts: ImageFacts) -> Look:
        """What the picture is; it is decoded only when that is not known."""
        if sha256 in self._looks:
            facts.known_before += 1
            look = Look(*self._looks[sha256])
        else:
            facts.looked_at += 1
            look = _look_at(bodies.of(sha256), limits)
        self._new_looks[sha256] = list(dataclasses.astuple(look))
        return look

    def has_intact(self, name: str) -> bool:
        """Whether the previous output's file is, byte for byte, the one that was written."""
        path = self._target / name
        return name in self._shards and path.is_file() and _sha256(path) == self._shards[name]

    def note(self, name: str, path: Path) -> None:
        self._new_shards[name] = _sha256(path)

    def save(self) -> None:
        """Write the memory of the new output; after the output itself was published."""
        new = {"recipe": self._recipe, "looks": self._new_looks, "shards": self._new_shards}
        if new != _load(self._path):
            write_file_atomically(self._path, json.dumps(new).encode())


def _load(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and {"recipe", "looks", "shards"} <= set(known) else {}


def _look_at(data: bytes, limits: DecodeLimits) -> Look:
    try:
        found = decode(data, limits=limits)
    except Undecodable as error:
        return Look(reason=error.reason, words=error.words)
    return Look(found.format, found.mode, found.width, found.height, found.decoded_as)


def _write_or_keep(output: OutputFolder, name: str, rows: Sequence[dict], bodies: _Bodies, memory: _Memory, facts: ImageFacts) -> None:
    """The shard `name` with these members: the previous file where it holds just them, else a new one."""
    members = [row["member"] for row in rows]
    if memory.has_intact(name) and _members_of(output.target / name) == members:
        path = output.keep(name)
        facts.shards_kept += 1
    else:
        path = output.file(name)
        with StoredZipWriter(path) as archive:
            for row in rows:
                archive.add(row["member"], bodies.of(row["sha256"]))
    memory.note(name, path)


def _members_of(path: Path) -> list[str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return None


def _index_row(image: Mapping[str, Any], look: Look, shard: str, years: Mapping[str, int]) -> dict:
    return {
        "sha256": image["sha256"],
        "serial": image["serial"],
        "shard": shard,
        "member": f"{image['sha256']}.{extension_of(look.format)}",
        "format": look.format,
        "mode": look.mode,
        "width": look.width,
        "height": look.height,
        "decoded_as": look.decoded_as,
        "year": next((years[id] for id in image["paper_ids"] if id in years), None),
        **{name: image[name] for name in ("licence", "journal", "paper_ids", "source", "first_crawl", "tdm_reserved")},
    }


def _rejected_row(image: Mapping[str, Any], look: Look) -> dict:
    facts = {name: image[name] for name in ("sha256", "serial", "source", "paper_ids")}
    return facts | {"where": image["url"], "reason": look.reason, "words": look.words}


def _count(facts: ImageFacts, index: Sequence[dict], rejected: Sequence[dict], target: Path) -> None:
    facts.images = len(index)
    facts.decoded_as = Counter(row["decoded_as"] for row in index)
    facts.formats = Counter(row["format"] for row in index)
    facts.rejected = Counter(row["reason"] for row in rejected)
    before = _previous_contents(target / "index.parquet")
    now = {row["sha256"] for row in index}
    facts.new, facts.left = len(now - before), len(before - now)


def _previous_contents(path: Path) -> set[str]:
    try:
        return set(pq.read_table(path, columns=["sha256"])["sha256"].to_pylist())
    except (OSError, ValueError):
        return set()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return program(__doc__, _run, argv, expected=(ImagesError, RawPagesError))


def _run(arguments: Any, reporter: Reporter) -> None:
    config = load_params(arguments.params, "toc_images", TocImagesConfig, overrides=arguments.overrides)
    papers, target = arguments.data / "papers", arguments.data / "toc_images"
    with RawPages(arguments.data / "journal_pages") as raw:
        facts = gather_images(config, raw, papers, target, scratch=Path(".figment") / "reuse" / "toc_images")
    _report(facts, target, reporter)
    report_image_checks(target, papers, reporter)


def _report(facts: ImageFacts, target: Path, reporter: Reporter) -> None:
    counts = {name: value for name, value in dataclasses.asdict(facts).items() if isinstance(value, int)}
    reporter.metadata(
        rows=facts.images,
        **{name: value for name, value in counts.items() if name != "images"},
        by_format=dict(sorted(facts.formats.items())),
        by_decoding=dict(sorted(facts.decoded_as.items())),
        rejected_by_reason=dict(sorted(facts.rejected.items())),
    )
    aside = ", ".join(f"{count:,} {reason}" for reason, count in sorted(facts.rejected.items())) or "none"
    reporter.log(
        f"toc_images: {facts.images:,} pictures in {facts.shards:,} shards ({facts.shards_kept:,} taken over); "
        f"{facts.new:,} new, {facts.left:,} left; set aside: {aside}; {facts.looked_at:,} decoded, {facts.known_before:,} known from before"
    )
    reporter.markdown("decoded_as", _table(facts.decoded_as))
    reporter.markdown("set_aside", _table(facts.rejected) if facts.rejected else "Nothing was set aside.")
    if facts.images:
        sheet = base64.b64encode(contact_sheet(target)).decode("ascii")
        reporter.markdown("pictures", f"![some of the pictures](data:image/png;base64,{sheet})")


def _table(counts: Counter) -> str:
    lines = [f"| {escape(name)} | {count:,} |" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return "\n".join(["| what | pictures |", "|---|---:|", *lines])


def contact_sheet(folder: Path) -> bytes:
    """A small PNG of up to 24 pictures of the `toc_images` in `folder`, evenly spaced, each padded with white."""
    index = pq.read_table(folder / "index.parquet", columns=["shard", "member"]).to_pylist()
    most = _SHEET_COLUMNS * _SHEET_ROWS
    chosen = index if len(index) <= most else [index[place * len(index) // most] for place in range(most)]
    rows = -(-len(chosen) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (_SHEET_COLUMNS * _CELL_PX, rows * _CELL_PX), (255, 255, 255))
    everything = DecodeLimits(max_bytes=1 << 31, max_pixels=MOST_PIXELS, max_frames=1 << 31, min_side_px=1)
    for place, row in enumerate(chosen):
        with zipfile.ZipFile(folder / row["shard"]) as archive:
            cell = Image.fromarray(decode(archive.read(row["member"]), limits=everything).pixels)
        cell.thumbnail((_CELL_PX - 4, _CELL_PX - 4))
        left, top = place % _SHEET_COLUMNS * _CELL_PX, place // _SHEET_COLUMNS * _CELL_PX
        sheet.paste(cell, (left + (_CELL_PX - cell.width) // 2, top + (_CELL_PX - cell.height) // 2))
    stream = io.BytesIO()
    sheet.quantize(128).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
