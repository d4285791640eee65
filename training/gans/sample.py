"""The stage that lets a generator of pictures draw: image shards by seed and truncation, galleries of the first ones, and an index of all.

A seed is one picture at any batch size. Finished shards wait in the state folder until the stage has ended: killed and started again, it goes on with
the next one.
"""

import os
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy
import pyarrow as pa
import pyarrow.parquet as pq

from formats.image_shards import ImageShards, member_name, shard_name, write_shard
from formats.png import encode_png
from stages.artifact_id import content_id
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.reporting import Reporter
from training.gans.grids import save_picture, tile
from training.gans.report_pictures import draw_rows
from training.gans.seed_ranges import parse_seeds
from training.loop.bounds import at_least
from training.loop.run_key import run_key

# Draws the pictures of some seeds at a truncation: (seed, uint8 [C, R, R]), in order.
Draw = Callable[[Sequence[int], float], Iterator[tuple[int, numpy.ndarray]]]


@dataclass(frozen=True)
class FakesConfig:
    """What to draw. seeds: ranges such as "0-50000" or "0,1,4-6". psi: truncations, each gives a set of all seeds.

    gallery: [columns, rows] of the first pictures of each set. class_index: of a conditional model.
    batch_size: pictures side by side; it does not change them by more than rounding.
    """

    seeds: str = "0-50000"
    psi: tuple[float, ...] = (0.2, 0.8, 1.1)
    class_index: int | None = None
    images_per_shard: int = 10_000
    gallery: tuple[int, ...] = (8, 6)
    batch_size: int = 32

    def __post_init__(self) -> None:
        parse_seeds(self.seeds)
        at_least(self, 1, "images_per_shard", "batch_size")
        if not self.psi or any(psi < 0 for psi in self.psi):
            raise ValueError(f"psi must be a list of truncations from 0 on, found {list(self.psi)}")
        if len(set(self.psi)) != len(self.psi):
            raise ValueError(f"psi names a truncation twice: {list(self.psi)}")
        if len(self.gallery) != 2 or min(self.gallery) < 1:
            raise ValueError(f"gallery must be [columns, rows], found {list(self.gallery)}")


FakesT = TypeVar("FakesT", bound=FakesConfig)


@dataclass(frozen=True)
class PlannedShard:
    """folder: of its set, below the output. serials: of its pictures, rising; of what is drawn by seed, the seeds."""

    folder: str
    number: int
    serials: Sequence[int]

    @property
    def name(self) -> str:
        return f"{self.folder}/{shard_name(self.number)}"

    @property
    def rows(self) -> Iterator[tuple[int, str, str]]:
        """(serial, shard, member) of each picture, for an index."""
        return ((serial, self.name, member_name(serial)) for serial in self.serials)


# Draws the pictures of some serials of the set of this folder: (serial, uint8 [C, R, R]), in order.
DrawShard = Callable[[str, Sequence[int]], Iterator[tuple[int, numpy.ndarray]]]


def plan_shards(sets: Mapping[str, Sequence[int]], images_per_shard: int) -> list[PlannedShard]:
    """sets: by folder, the serials of all pictures."""
    return [
        PlannedShard(folder, number, serials[start : start + images_per_shard])
        for folder, serials in sets.items()
        for number, start in enumerate(range(0, len(serials), images_per_shard))
    ]


def finish_shards(
    stage: str, shards: Sequence[PlannedShard], draw: DrawShard, work: Path, reporter: Reporter, labels: Mapping[int, int] | None = None
) -> int:
    """Draw those that are not in the folder `work` yet, and give the number of pictures of all. What a killed run finished there counts."""
    done = sum((work / shard.name).is_file() for shard in shards)
    if done:
        reporter.log(f"{stage}: {done} of {len(shards)} shards were finished before")
    total = sum(len(shard.serials) for shard in shards)
    for _ in reporter.progress(_draw_shards(draw, shards, labels, work), total=total, what=stage):
        pass
    return total


def take_shards(shards: Sequence[PlannedShard], work: Path, output: OutputFolder) -> None:
    """The shards stay in `work` until the output has its own names for them."""
    for shard in shards:
        _link(work / shard.name, output.file(shard.name))


def edge_to_edge(pictures: numpy.ndarray, columns: int, path: Path) -> None:
    """A gallery of pictures at their own size."""
    save_picture(path, tile(pictures, columns))


def with_gaps(pictures: numpy.ndarray, columns: int, path: Path) -> None:
    """A gallery of pictures at a size at which they can be seen, with gaps between: for those that are white at their borders."""
    draw_rows([pictures[start : start + columns] for start in range(0, len(pictures), columns)], path)


def make_fakes(
    stage: str,
    draw: Draw,
    config: FakesConfig,
    *,
    model: Path,
    module: str,
    data: Path,
    state: Path,
    reporter: Reporter,
    draw_gallery: Callable[[numpy.ndarray, int, Path], None] = edge_to_edge,
) -> None:
    """Write data/<stage> and tell what it holds. module: the stage's program; with the model it decides which finished shards still count."""
    # What was drawn by the same model, code and settings need not be drawn again.
    key = run_key(stage, module, config=asdict(config), inputs={model.name: content_id(model)})
    work = state / "fakes" / stage / key
    psis, seeds = {_psi_folder(psi): psi for psi in config.psi}, parse_seeds(config.seeds)
    shards = plan_shards(dict.fromkeys(psis, seeds), config.images_per_shard)
    labels = None if config.class_index is None else dict.fromkeys(seeds, config.class_index)
    total = finish_shards(stage, shards, lambda folder, some: draw(some, psis[folder]), work, reporter, labels)
    with OutputFolder(data / stage) as output:
        take_shards(shards, work, output)
        for psi in config.psi:
            draw_gallery(_first(output.folder / _psi_folder(psi), config.gallery), config.gallery[0], output.file(f"gallery-{_psi_folder(psi)}.png"))
        pq.write_table(_index(shards, psis, config), output.file("index.parquet"), compression="zstd")
    shutil.rmtree(work.parent)
    reporter.metadata(images=total, truncations=list(config.psi), seeds=config.seeds)
    reporter.log(f"{stage}: {total:,} pictures at psi {', '.join(f'{psi:g}' for psi in config.psi)}")


def configure(parser: ArgumentParser) -> None:
    """The flags of a program that draws fakes: where finished shards wait, and those for drawing by hand (`--network`)."""
    parser.add_argument(
        "--state", type=Path, default=Path(".figment"), metavar="DIR", help="folder where finished shards wait for the end (default: %(default)s)"
    )
    parser.add_argument("--network", type=Path, metavar="MODEL", help="draw with this model into --outdir instead of running the stage")
    parser.add_argument("--seeds", default="0-15", metavar="RANGES", help="such as 0,1,4-6, both ends included (default: %(default)s)")
    parser.add_argument("--trunc", type=float, default=1.0, metavar="PSI", help="truncation (default: %(default)s)")
    parser.add_argument("--class", type=int, dest="class_index", metavar="N", help="class of a conditional model")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures side by side (default: %(default)s)")
    parser.add_argument("--outdir", type=Path, default=Path("out"), metavar="DIR", help="folder for the PNG files (default: %(default)s)")


def asked_for(arguments: Namespace, stage: str, config: type[FakesT], *, by_hand: bool, **more: Any) -> FakesT:
    """What the section of the stage asks for; or by hand, those flags and `more`. Raises ParamsError."""
    if not by_hand:
        return load_params(arguments.params, stage, config, overrides=arguments.overrides)
    try:
        return config(seeds=arguments.seeds, class_index=arguments.class_index, batch_size=arguments.batch, **more)
    except ValueError as error:
        raise ParamsError(str(error)) from None


def draw_files(draw: Draw, seeds: Sequence[int], psi: float, folder: Path, reporter: Reporter) -> None:
    """Files as users of StyleGAN know them: seed0000.png …"""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, picture in reporter.progress(draw(seeds, psi), total=len(seeds), what="pictures"):
        save_picture(folder / f"seed{seed:04d}.png", tile(picture[None], 1))
    reporter.log(f"{len(seeds):,} pictures in {folder}")


def _draw_shards(draw: DrawShard, shards: Sequence[PlannedShard], labels: Mapping[int, int] | None, work: Path) -> Iterator[int]:
    """Draw what is not there yet, one shard after the other; yields the serial of every picture, drawn now or before."""
    for shard in shards:
        path = work / shard.name
        if path.is_file():
            yield from shard.serials
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_suffix(".writing")
        writing.unlink(missing_ok=True)
        members = []
        for serial, picture in draw(shard.folder, shard.serials):
            members.append((serial, encode_png(numpy.ascontiguousarray(picture.transpose(1, 2, 0)))))
            yield serial
        write_shard(writing, members, labels)
        writing.rename(path)


def _index(shards: Sequence[PlannedShard], psis: Mapping[str, float], config: FakesConfig) -> pa.Table:
    rows = [(psis[shard.folder], *row) for shard in shards for row in shard.rows]
    columns = [pa.array([row[index] for row in rows], kind) for index, kind in enumerate((pa.float64(), pa.int64(), pa.string(), pa.string()))]
    classes = pa.array([config.class_index] * len(rows), pa.int64())
    return pa.table([*columns, classes], names=["psi", "seed", "shard", "member", "class"])


def _psi_folder(psi: float) -> str:
    return f"psi{psi:g}"


def _first(folder: Path, gallery: Sequence[int]) -> numpy.ndarray:
    """uint8 [N, C, R, R]: as many as the gallery has places for, or all of fewer."""
    shards = ImageShards(folder)
    return shards.images(range(min(gallery[0] * gallery[1], len(shards))))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)  # a file system without hard links
