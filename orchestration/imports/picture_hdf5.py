"""The pictures of DeepZine's HDF5 file become an image set: `/data_4` … `/data_N`, float32 NHWC in [-1, 1], and their names.

The largest pictures are taken unless another size is asked for. Grey pictures stay grey. Read and written block by block, by a
process with bounds: HDF5 is a large library, and nobody knows what a damaged file does to it.
"""

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestration.errors import CommandError, Exit
from stages.bounded import BoundedReader, Bounds, Refused, RefusedError

_LEVEL = re.compile(r"data_(\d+)")
_PER_SHARD = 1_000
_BLOCK_BYTES = 32 << 20
_BLOSC = "compressed with Blosc, as PyTables does; install hdf5plugin, or rewrite the file with `ptrepack --complib=zlib FILE NEW`"


@dataclass
class Imported:
    """What came over. set_aside: pictures with values that are no numbers; their places stay empty."""

    name: str
    channels: int
    side: int
    pictures: int = 0
    set_aside: int = 0
    shards: int = 0


def import_hdf5(source: Path, target: Path, *, resolution: int | None = None) -> Imported:
    """`import_here` in a process with bounds. Raises CommandError also where the file ends it, or takes more than it may."""
    # Pictures are unpacked, scaled and packed again: a few seconds of CPU for what takes 100 MiB.
    mib = source.stat().st_size >> 20 if source.is_file() else 0
    bounds = Bounds(memory_mib=2_048, cpu_s=120 + 2 * mib, stall_s=600.0 + 20 * mib)
    with BoundedReader(f"{__name__}:open_importer", None, bounds) as reader:
        (found,) = reader.read([[str(source.absolute()), str(target.absolute()), str(source), resolution]])
    if isinstance(found, Refused):
        words = found.words if found.reason == "refused" else f"{source}: cannot be read as HDF5 ({found.words})"
        raise CommandError(words, Exit.DISAGREES)
    return Imported(**found)


def open_importer(_: None) -> Callable[[list], dict[str, Any]]:
    """What imports one file, for a process with bounds. Items: source, target, what the source is called, resolution."""

    def read(item: list) -> dict[str, Any]:
        source, target, called, resolution = item
        try:
            return asdict(import_here(Path(source), Path(target), resolution=resolution))
        except CommandError as error:
            raise RefusedError("refused", str(error).replace(source, called)) from None

    return read


def import_here(source: Path, target: Path, *, resolution: int | None = None) -> Imported:
    """Write the pictures of `source` as shards into the folder `target`. Raises CommandError; nothing is then written."""
    import h5py

    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # brings Blosc, where it is installed
    try:
        with h5py.File(source, "r") as file:
            return _write(file, source, target, resolution)
    except FileNotFoundError:
        raise CommandError(f"{source}: no such file", Exit.DISAGREES) from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        # HDF5 tells a missing filter and a damaged file in one kind of words.
        remedy = f"; its pictures are {_BLOSC}" if re.search(r"filter|plugin|32001", str(error)) else ""
        raise CommandError(f"{source}: cannot be read as HDF5 ({str(error).splitlines()[0]}){remedy}", Exit.DISAGREES) from None


def _write(file: Any, source: Path, target: Path, resolution: int | None) -> Imported:
    from formats.image_shards import member_name, shard_name, write_shard
    from formats.png import encode_png
    from formats.tables import columns, table_from_rows, write_table
    from stages.output_folder import OutputFolder

    pictures, names = _level(file, source, resolution), file.get("imagenames")
    found = Imported(pictures.name, channels=pictures.shape[3], side=pictures.shape[1])
    with OutputFolder(target) as output:
        rows: list[dict[str, Any]] = []

        def members(shard: str, numbers: range) -> Iterator[tuple[int, bytes]]:
            for serial, pixels in _pixels(pictures, numbers):
                if pixels is None:
                    found.set_aside += 1
                else:
                    rows.append({"serial": serial, "shard": shard, "member": member_name(serial), "name": _name(names, serial)})
                    yield serial, encode_png(pixels)

        for start in range(0, len(pictures), _PER_SHARD):
            shard = shard_name(found.shards)
            write_shard(output.file(shard), members(shard, range(start, min(start + _PER_SHARD, len(pictures)))))
            found.shards += 1
        found.pictures = len(rows)
        if not rows:
            raise CommandError(f"{source}: {pictures.name} has no picture that can be used ({found.set_aside:,} set aside)", Exit.DISAGREES)
        write_table(output.file("index.parquet"), table_from_rows(columns(serial=int, shard=str, member=str, name=str), rows))
    return found


def _level(file: Any, source: Path, resolution: int | None) -> Any:
    """The pictures of one size."""
    levels = {int(match[1]): name for name in file if (match := _LEVEL.fullmatch(name))}
    if not levels:
        raise CommandError(f"{source}: expected data_4, data_8, …, found {', '.join(list(file)[:8]) or 'nothing'}", Exit.DISAGREES)
    side = resolution or max(levels)
    if side not in levels:
        raise CommandError(f"{source}: no pictures of {side} px; there are {', '.join(map(str, sorted(levels)))}", Exit.DISAGREES)
    pictures = file[levels[side]]
    shape, dtype = tuple(getattr(pictures, "shape", ())), getattr(pictures, "dtype", "a group")
    if not (dtype == "float32" and len(shape) == 4 and shape[0] and shape[1:3] == (side, side) and shape[3] in (1, 3)):
        found = f"{pictures.name} is {dtype} {list(shape)}"
        raise CommandError(f"{source}: {found}; expected float32 [N, {side}, {side}, 3], or one channel", Exit.DISAGREES)
    return pictures


def _pixels(pictures: Any, rows: range) -> Iterator[tuple[int, Any]]:
    """(row, uint8 [H, W, C], or None where a value is no number)."""
    import numpy

    size = max(1, _BLOCK_BYTES // pictures[:1].nbytes)
    for start in range(rows.start, rows.stop, size):
        for row, picture in enumerate(pictures[start : min(start + size, rows.stop)], start):
            is_number = numpy.isfinite(picture).all()
            yield row, numpy.rint((picture + 1) * 127.5).clip(0, 255).astype(numpy.uint8) if is_number else None


def _name(names: Any, row: int) -> str | None:
    """What DeepZine calls the picture: the path of the page image it is from."""
    if names is None or row >= len(names):
        return None
    value = names[row]
    value = value.flat[0] if hasattr(value, "flat") else value
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)
