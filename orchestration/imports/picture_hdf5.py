"""Pictures in HDF5 files of others become an image set.

DeepZine's hold `/data_4` … `/data_N`, float32 NHWC in [-1, 1], and their names; Progressive GAN's hold `data4x4` …, uint8 NCHW.

The largest pictures are taken unless another size is asked for. Grey pictures stay grey. Read and written block by block.
"""

import contextlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.errors import CommandError, Exit

_LEVEL = re.compile(r"data(?:_(\d+)|(\d+)x\2)")
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
    """Write the pictures of `source` as shards into the new folder `target`. Raises CommandError; nothing is then written."""
    import h5py

    if target.exists():
        raise CommandError(f"{target}: exists already; name another place, or remove it first", Exit.DISAGREES)
    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # brings Blosc, where it is installed
    try:
        with h5py.File(source, "r") as file:
            return _write(file, source, target, resolution)
    except FileNotFoundError:
        raise CommandError(f"{source}: no such file", Exit.DISAGREES) from None
    except OSError as error:
        # HDF5 tells a missing filter and a damaged file in one kind of words.
        remedy = f"; its pictures are {_BLOSC}" if re.search(r"filter|plugin|32001", str(error)) else ""
        raise CommandError(f"{source}: cannot be read as HDF5 ({str(error).splitlines()[0]}){remedy}", Exit.DISAGREES) from None


def _write(file: Any, source: Path, target: Path, resolution: int | None) -> Imported:
    from formats.image_shards import member_name, shard_name, write_shard
    from formats.png import encode_png
    from formats.tables import columns, table_from_rows, write_table
    from stages.output_folder import OutputFolder

    pictures, is_deepzine = _level(file, source, resolution)
    channels, side = (pictures.shape[3], pictures.shape[1]) if is_deepzine else pictures.shape[1:3]
    found = Imported(pictures.name, channels, side)
    labels, names = _labels(source, len(pictures)), file.get("imagenames")
    with OutputFolder(target) as output:
        rows = []
        for start in range(0, len(pictures), _PER_SHARD):
            shard = shard_name(found.shards)
            written: list[int] = []

            def members(start: int = start, written: list[int] = written) -> Iterator[tuple[int, bytes]]:
                for serial, pixels in _pixels(pictures, range(start, min(start + _PER_SHARD, len(pictures))), is_deepzine):
                    if pixels is None:
                        found.set_aside += 1
                    else:
                        written.append(serial)
                        yield serial, encode_png(pixels)

            write_shard(output.file(shard), members(), labels)
            rows += [{"serial": serial, "shard": shard, "member": member_name(serial), "name": _name(names, serial)} for serial in written]
            found.shards += 1
        found.pictures = len(rows)
        if not rows:
            raise CommandError(f"{source}: {pictures.name} has no picture that can be used ({found.set_aside:,} set aside)", Exit.DISAGREES)
        write_table(output.file("index.parquet"), table_from_rows(columns(serial=int, shard=str, member=str, name=str), rows))
    return found


def _level(file: Any, source: Path, resolution: int | None) -> tuple[Any, bool]:
    """The pictures of one size, and whether they are as DeepZine keeps them."""
    levels = {int(match[1] or match[2]): name for name in file if (match := _LEVEL.fullmatch(name))}
    if not levels:
        raise CommandError(
            f"{source}: expected data_4, data_8, … (DeepZine) or data4x4, … (Progressive GAN), found {', '.join(list(file)[:8]) or 'nothing'}",
            Exit.DISAGREES,
        )
    side = resolution or max(levels)
    if side not in levels:
        raise CommandError(f"{source}: no pictures of {side} px; there are {', '.join(map(str, sorted(levels)))}", Exit.DISAGREES)
    pictures = file[levels[side]]
    is_deepzine = "_" in levels[side]
    shape, dtype = tuple(pictures.shape), ("float32" if is_deepzine else "uint8")
    expected = [(side, side, channels) if is_deepzine else (channels, side, side) for channels in (1, 3)]
    if len(shape) != 4 or shape[1:] not in expected or not shape[0] or pictures.dtype != dtype:
        raise CommandError(
            f"{source}: {pictures.name} is {pictures.dtype} {list(shape)}; expected {dtype} [N, {', '.join(map(str, expected[1]))}], or one channel",
            Exit.DISAGREES,
        )
    return pictures, is_deepzine


def _pixels(pictures: Any, rows: range, is_deepzine: bool) -> Iterator[tuple[int, Any]]:
    """(row, uint8 [H, W, C], or None where a value is no number)."""
    import numpy

    size = max(1, _BLOCK_BYTES // max(1, pictures[:1].nbytes))
    for start in range(rows.start, rows.stop, size):
        block = pictures[start : min(start + size, rows.stop)]
        for row, picture in enumerate(block, start):
            if not is_deepzine:
                yield row, picture.transpose(1, 2, 0)
            elif not numpy.isfinite(picture).all():
                yield row, None
            else:
                yield row, numpy.rint((picture + 1) * 127.5).clip(0, 255).astype(numpy.uint8)


def _labels(source: Path, count: int) -> dict[int, Any] | None:
    """Of Progressive GAN's `<stem>-labels.npy`, where it lies beside: one-hot rows as classes, others as vectors."""
    import numpy

    path = source.with_name(f"{source.stem}-labels.npy")
    if not path.is_file():
        return None
    try:
        rows = numpy.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CommandError(f"{path}: cannot be read as labels ({error})", Exit.DISAGREES) from None
    if rows.ndim != 2 or len(rows) != count:
        raise CommandError(f"{path}: expected a row of labels for each of {count:,} pictures, found {list(rows.shape)}", Exit.DISAGREES)
    is_class = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all())
    return {row: int(label.argmax()) if is_class else [float(value) for value in label] for row, label in enumerate(rows)}


def _name(names: Any, row: int) -> str | None:
    """What DeepZine calls the picture: the path of the page image it is from."""
    if names is None or row >= len(names):
        return None
    value = names[row]
    value = value.flat[0] if hasattr(value, "flat") else value
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)
