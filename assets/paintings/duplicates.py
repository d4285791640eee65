"""Find pictures that look the same, keep one of them, and let nothing of the test sets be learned from.

A test picture goes before a train picture, then an earlier one before a later one. A picture stays out when it looks like one that stayed, unless
that one lies in the other domain of the same split: such pairs, of which each may be meant, are only told.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy
import PIL

from assets.images import perceptual_hash
from assets.images.perceptual_hash import Fingerprint, LookAlikes, fingerprint
from formats import pictures
from formats.pictures import NO_LIMITS, Undecodable, decode
from stages.files import replacing
from stages.source_code import code_of

Row: TypeAlias = dict[str, Any]


def without_duplicates(
    rows: Sequence[Row], prints: Mapping[str, Fingerprint], *, max_bits: int, max_levels: float
) -> tuple[list[Row], list[Row], list[dict[str, Any]]]:
    """(rows that stay, rows that do not with `reason` and `words`, rows of `duplicates.parquet`), each by serial. prints: by SHA-256."""
    kept: list[Row] = []
    dropped: list[Row] = []
    found: list[dict[str, Any]] = []
    seen: LookAlikes[Row] = LookAlikes(max_bits=max_bits, max_levels=max_levels)
    for row in sorted(rows, key=lambda row: (row["split"] != "test", row["serial"])):
        alike = sorted(seen.like(prints[row["sha256"]]), key=lambda one: (one[0], one[1], one[2]["serial"]))
        rivals = [one for one in alike if one[2]["domain"] == row["domain"] or one[2]["split"] != row["split"]]
        # One line for what is dropped, with the nearest of those it had to give way to; one for each pair across the domains.
        for levels, bits, other in rivals[:1] or alike:
            stayed = {"kept": other["serial"], "kept_sha256": other["sha256"], "kept_set": other["set"]}
            this = {"other": row["serial"], "other_sha256": row["sha256"], "other_set": row["set"]}
            found.append(stayed | this | {"is_dropped": bool(rivals), "bits": bits, "levels": levels})
        if rivals:
            other = rivals[0][2]
            reason = "same_file" if other["sha256"] == row["sha256"] else "looks_the_same"
            dropped.append(
                {**row, "reason": reason, "words": f"as picture {other['serial']} of {other['set']} ({other['where']} of {other['source']})"}
            )
        else:
            kept.append(row)
            seen.add(row, prints[row["sha256"]])
    return _by_serial(kept), _by_serial(dropped), sorted(found, key=lambda pair: (pair["other"], pair["kept"]))


def leaks(rows: Sequence[Mapping[str, Any]], prints: Mapping[str, Fingerprint], *, max_bits: int, max_levels: float) -> list[tuple[int, int]]:
    """(serial of a test picture, serial of a train picture that looks the same)."""
    seen: LookAlikes[int] = LookAlikes(max_bits=max_bits, max_levels=max_levels)
    for row in rows:
        if row["split"] == "test":
            seen.add(row["serial"], prints[row["sha256"]])
    return [(test, row["serial"]) for row in rows if row["split"] == "train" for _, _, test in seen.like(prints[row["sha256"]])]


def _by_serial(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["serial"])


def fingerprints(
    rows: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], bytes], *, workers: int, memory: Path
) -> tuple[dict[str, Fingerprint], int]:
    """(fingerprints by SHA-256, how many were made now). What is no picture any more has none.

    read: gives a picture's bytes. memory: a file outside the output that keeps them for the next build; without it, all are made anew.
    """
    recipe = hashlib.sha256("\0".join([PIL.__version__, *map(code_of, (pictures, perceptual_hash))]).encode()).hexdigest()
    known = _remembered(memory, recipe)
    prints = {row["sha256"]: known[row["sha256"]] for row in rows if row["sha256"] in known}
    new = list({row["sha256"]: row for row in rows if row["sha256"] not in known}.values())
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(new), 256):
            chunk = new[start : start + 256]
            made = pool.map(_fingerprint_of, [read(row) for row in chunk])
            prints |= {row["sha256"]: print_ for row, print_ in zip(chunk, made, strict=True) if print_ is not None}
    if new:
        keys = sorted(prints)
        hashes = numpy.array([prints[key].hash for key in keys], numpy.uint64)
        smalls = numpy.array([numpy.frombuffer(prints[key].small, numpy.uint8) for key in keys], numpy.uint8)
        with replacing(memory) as path, path.open("wb") as stream:
            numpy.savez(stream, recipe=recipe, keys=keys, hashes=hashes, smalls=smalls)
    return prints, len(new)


def _remembered(memory: Path, recipe: str) -> dict[str, Fingerprint]:
    try:
        with numpy.load(memory, allow_pickle=False) as file:
            if str(file["recipe"]) != recipe:
                return {}
            rows = zip(file["keys"].tolist(), file["hashes"].tolist(), file["smalls"], strict=True)
            return {key: Fingerprint(hash_, small.tobytes()) for key, hash_, small in rows}
    except Exception:  # noqa: BLE001 - whatever a damaged file does, it is no memory
        return {}


def _fingerprint_of(content: bytes) -> Fingerprint | None:
    try:
        return fingerprint(decode(content, limits=NO_LIMITS).image)
    except Undecodable:
        return None
