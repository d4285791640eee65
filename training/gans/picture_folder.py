"""Any pictures in a folder or a zip become an image set of one size, by the decoder and the resizer that every dataset is made with.

What is no picture that may be used is set aside, counted and named, and stops nothing. The set holds shards, and pictures.json: the names of the
pictures by serial number, and what was set aside, and why.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from formats.image_shards import DamagedImageError, ImageSetError, Label, Pack, labels_of, open_packs, shard_name, write_shard
from formats.pad_resize import Fit, fit_and_resize
from formats.pictures import DecodeLimits, Undecodable, decode
from formats.png import encode_png
from stages.files import write_file_atomically
from stages.output_folder import OutputFolder
from stages.program import usual_workers
from stages.reporting import Reporter

INDEX = "pictures.json"
_LIMITS = DecodeLimits(min_side_px=1)
_IMAGES_PER_SHARD = 1000
_FEWEST = 2
# Of what was set aside, so many are named in the log; all are in pictures.json.
_MOST_NAMED = 5

_Place = tuple[Pack, str]


def make_picture_set(source: Path, target: Path, *, size: int, fit: Fit, memory: Path, reporter: Reporter) -> None:
    """Write the set of `size` px into the folder `target`, unless it was made from the same files before, which the file `memory` tells.

    source: a folder, searched through, or a zip; classes or vectors in its dataset.json come along. fit: `pad` puts pictures that are not square on
    white, `crop` takes their middle. Raises ImageSetError.
    """
    packs = open_packs(source)
    places = [(pack, name) for pack in packs for name in pack.picture_names]
    key = _key(places, size, fit)
    if target.is_dir() and memory.is_file() and memory.read_text(encoding="utf-8") == key:
        reporter.log(f"{target.name}: made from these {len(places):,} files before")
        return
    labels = _labels(packs)
    kept: list[tuple[int, str]] = []
    set_aside: list[dict[str, str]] = []
    with OutputFolder(target) as output:
        shown = reporter.progress(_made(places, size, fit), total=len(places), what=f"{target.name}: pictures")
        for number, chunk in enumerate(_chunks(shown)):
            members = []
            for serial, name, made in chunk:
                if isinstance(made, Undecodable):
                    set_aside.append({"name": name, "reason": made.reason, "words": made.words})
                else:
                    members.append((serial, made))
                    kept.append((serial, name))
            if members:
                write_shard(output.file(shard_name(number)), members, labels)
        if len(kept) < _FEWEST:
            raise ImageSetError(f"{source}: {len(kept)} pictures that can be used, at least {_FEWEST} are needed; {summary(set_aside)}")
        output.write_json(INDEX, {"size_px": size, "fit": fit, "pictures": dict(kept), "set_aside": set_aside})
    write_file_atomically(memory, key.encode())
    reporter.log(f"{target.name}: {len(kept):,} pictures of {size} px; {summary(set_aside)}")


def _made(places: Sequence[_Place], size: int, fit: Fit) -> Iterator[tuple[int, str, bytes | Undecodable]]:
    """(serial, name, PNG bytes or why there are none), in order; Pillow and ISA-L work outside Python's lock, so threads help."""
    with ThreadPoolExecutor(usual_workers()) as pool:
        # A shard's worth is under way at once: memory stays bounded.
        for start in range(0, len(places), _IMAGES_PER_SHARD):
            some = places[start : start + _IMAGES_PER_SHARD]
            made = pool.map(lambda place: _make(place[0], place[1], size, fit), some)
            yield from ((start + index, name, result) for index, ((_, name), result) in enumerate(zip(some, made, strict=True)))


def _make(pack: Pack, name: str, size: int, fit: Fit) -> bytes | Undecodable:
    try:
        picture = decode(pack.read(name), limits=_LIMITS).image
    except Undecodable as error:
        return error
    except (DamagedImageError, OSError) as error:
        return Undecodable("unreadable", str(error))
    # Smaller pictures lie in the middle of a canvas of `size`; nothing is enlarged to fill it.
    return encode_png(fit_and_resize(picture, [size], fit=fit, canvas_px=size)[size])


def _chunks(made: Iterator[tuple[int, str, bytes | Undecodable]]) -> Iterator[list[tuple[int, str, bytes | Undecodable]]]:
    chunk = []
    for row in made:
        chunk.append(row)
        if len(chunk) == _IMAGES_PER_SHARD:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _labels(packs: Sequence[Pack]) -> Mapping[int, Label] | None:
    """By serial number; None unless every pack has labels."""
    tables = [labels_of(pack) for pack in packs]
    if any(table is None for table in tables):
        return None
    names = [(table or {}, name) for table, pack in zip(tables, packs, strict=True) for name in pack.picture_names]
    return {serial: table[name] for serial, (table, name) in enumerate(names) if name in table}


def _key(places: Sequence[_Place], size: int, fit: Fit) -> str:
    """Names what a set is made of: which files, as they were last written, at what size."""
    facts: list[Any] = [size, fit]
    for pack, name in places:
        path = pack.path / name if pack.path.is_dir() else pack.path
        stat = path.stat()
        facts.append([str(path), name, stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def summary(set_aside: Sequence[Mapping[str, str]]) -> str:
    """How many were set aside, why, and some of them by name. Of each: name, reason and words."""
    if not set_aside:
        return "none set aside"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(Counter(row["reason"] for row in set_aside).items()))
    named = "; ".join(f"{row['name']} ({row['words']})" for row in set_aside[:_MOST_NAMED])
    return f"{len(set_aside):,} set aside ({reasons}), such as {named}" if len(set_aside) > _MOST_NAMED else f"{len(set_aside):,} set aside: {named}"
