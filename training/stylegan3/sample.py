"""Let a trained StyleGAN3 draw pictures.

    python -m training.stylegan3.sample                                                # the stage: data/toc_fakes, by seeds and truncations
    python -m training.stylegan3.sample --set seeds=0-63 --set psi=[0.8]               # seconds on a CPU
    python -m training.stylegan3.sample --network data/stylegan3_toc --seeds 0,1,4-6 --trunc 0.7 --outdir out         # PNG files seed0000.png …

The latent vector of seed s is NumPy's RandomState(s).randn(1, z_dim), so a seed is one picture at any batch size. Finished shards are kept in
.figment until the stage has ended: killed and started again, it goes on with the next one.
"""

import math
import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from formats.image_shards import ImageSetError, ImageShards, member_name, shard_name, write_shard
from formats.png import encode_png
from stages.artifact_id import content_id
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from stages.run_key import run_key
from training.gans.grids import save_picture, tile, to_uint8
from training.gans.seed_ranges import SeedRangeError, latents, parse_seeds
from training.loop.devices import open_devices
from training.stylegan3.generator import Generator, StyleGAN3Error, load_generator

STAGE = "toc_fakes"
MODEL = "stylegan3_toc"


@dataclass(frozen=True)
class DrawingSettings:
    """How pictures are drawn. class_index: of a conditional model. translate: (right, down) in sides of the picture. rotate: degrees, anticlockwise.

    batch_size: pictures side by side; it does not change them by more than rounding.
    """

    class_index: int | None = None
    translate: tuple[float, ...] = (0.0, 0.0)
    rotate: float = 0.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        if len(self.translate) != 2:
            raise ValueError(f"translate must be [right, down], found {list(self.translate)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {self.batch_size}")


@dataclass(frozen=True)
class ToCFakesConfig(DrawingSettings):
    """The section `toc_fakes`. seeds: ranges such as "0-50000" or "0,1,4-6". psi: truncations, each gives a set of all seeds.

    gallery: [columns, rows] of the first pictures of each set.
    """

    seeds: str = "0-50000"
    psi: tuple[float, ...] = (0.2, 0.8, 1.1)
    images_per_shard: int = 10_000
    gallery: tuple[int, ...] = (8, 6)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_seeds(self.seeds)
        if not self.psi or any(psi < 0 for psi in self.psi):
            raise ValueError(f"psi must be a list of truncations from 0 on, found {list(self.psi)}")
        if len(set(self.psi)) != len(self.psi):
            raise ValueError(f"psi names a truncation twice: {list(self.psi)}")
        if self.images_per_shard < 1:
            raise ValueError(f"images_per_shard must be at least 1, found {self.images_per_shard}")
        if len(self.gallery) != 2 or min(self.gallery) < 1:
            raise ValueError(f"gallery must be [columns, rows], found {list(self.gallery)}")


def draw(generator: Generator, seeds: Sequence[int], settings: DrawingSettings, *, psi: float = 1.0) -> Iterator[tuple[int, numpy.ndarray]]:
    """(seed, uint8 [C, R, R]) for each seed, in order. Raises StyleGAN3Error when the class does not fit the model."""
    label = class_label(generator, settings.class_index)
    device = generator.mapping.w_avg.device
    generator.synthesis.input.transform.copy_(placement(settings.translate, settings.rotate))
    for start in range(0, len(seeds), settings.batch_size):
        some = seeds[start : start + settings.batch_size]
        z = latents(some, generator.config.z_dim).to(device)
        c = None if label is None else label.to(device).expand(len(some), -1)
        with torch.inference_mode():
            pictures = to_uint8(generator(z, c, truncation_psi=psi)).cpu().numpy()
        yield from zip(some, pictures, strict=True)


def class_label(generator: Generator, class_index: int | None) -> Tensor | None:
    """The one-hot label [1, L] of a class; None for a model without labels. Raises StyleGAN3Error."""
    number = generator.config.label_dim
    if not number:
        if class_index is not None:
            raise StyleGAN3Error(f"class_index is {class_index}, but this model was trained without labels; leave it out, or train with cond: true")
        return None
    if class_index is None or not 0 <= class_index < number:
        raise StyleGAN3Error(f"this model has the classes 0 to {number - 1}; set class_index to one of them (found {class_index})")
    return torch.nn.functional.one_hot(torch.tensor([class_index]), number).float()


def placement(translate: Sequence[float], rotate: float) -> Tensor:
    """[3, 3], the transform of the generator's input for a picture turned anticlockwise by `rotate` degrees about its middle and then moved."""
    cos, sin = math.cos(math.radians(rotate)), math.sin(math.radians(rotate))
    # Places count right and down from the middle.
    moved = torch.tensor([[cos, sin, translate[0]], [-sin, cos, translate[1]], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.linalg.inv(moved).float()


def psi_folder(psi: float) -> str:
    return f"psi{psi:g}"


def make_fakes(arguments: Namespace, config: ToCFakesConfig, reporter: Reporter) -> int:
    """Write data/toc_fakes and return the number of pictures."""
    model = arguments.data / MODEL
    seeds = parse_seeds(config.seeds)
    with open_devices() as devices:
        generator = load_generator(model, device=devices.device)
        key = run_key(STAGE, "training.stylegan3.sample", config=asdict(config), inputs={MODEL: content_id(model)})
        work = arguments.state / "fakes" / key
        shards = [
            (psi, number, seeds[start : start + config.images_per_shard])
            for psi in config.psi
            for number, start in enumerate(range(0, len(seeds), config.images_per_shard))
        ]
        done = sum((work / psi_folder(psi) / shard_name(number)).is_file() for psi, number, _ in shards)
        if done:
            reporter.log(f"{STAGE}: {done} of {len(shards)} shards were finished before")
        drawn = reporter.progress(_draw_shards(generator, shards, config, work), total=len(seeds) * len(config.psi), what=STAGE)
        count = sum(1 for _ in drawn)
    with OutputFolder(arguments.data / STAGE) as output:
        for psi, number, _ in shards:
            name = f"{psi_folder(psi)}/{shard_name(number)}"
            _link(work / name, output.file(name))
        for psi in config.psi:
            _write_gallery(output.folder / psi_folder(psi), output.file(f"gallery-{psi_folder(psi)}.png"), config.gallery)
        pq.write_table(_index(shards, config), output.file("index.parquet"), compression="zstd")
    shutil.rmtree(arguments.state / "fakes", ignore_errors=True)
    return count


def _draw_shards(
    generator: Generator, shards: Sequence[tuple[float, int, Sequence[int]]], config: ToCFakesConfig, work: Path
) -> Iterator[tuple[float, int]]:
    """Draw what is not there yet, one shard after the other; yields (psi, seed) of every picture, drawn now or before."""
    for psi, number, seeds in shards:
        path = work / psi_folder(psi) / shard_name(number)
        if path.is_file():
            yield from ((psi, seed) for seed in seeds)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_suffix(".writing")
        writing.unlink(missing_ok=True)
        members = []
        for seed, picture in draw(generator, seeds, config, psi=psi):
            members.append((seed, encode_png(numpy.ascontiguousarray(picture.transpose(1, 2, 0)))))
            yield psi, seed
        write_shard(writing, members, None if config.class_index is None else dict.fromkeys(seeds, config.class_index))
        writing.rename(path)


def _index(shards: Sequence[tuple[float, int, Sequence[int]]], config: ToCFakesConfig) -> pa.Table:
    rows = [(psi, seed, f"{psi_folder(psi)}/{shard_name(number)}", member_name(seed)) for psi, number, seeds in shards for seed in seeds]
    columns = [pa.array([row[index] for row in rows], kind) for index, kind in enumerate((pa.float64(), pa.int64(), pa.string(), pa.string()))]
    classes = pa.array([config.class_index] * len(rows), pa.int64())
    return pa.table([*columns, classes], names=["psi", "seed", "shard", "member", "class"])


def _write_gallery(folder: Path, path: Path, gallery: Sequence[int]) -> None:
    columns, rows = gallery
    shards = ImageShards(folder)
    save_picture(path, tile(shards.images(range(min(columns * rows, len(shards)))), columns))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)  # a file system without hard links


def _draw_by_hand(arguments: Namespace, reporter: Reporter) -> None:
    """Files as users of StyleGAN know them: seed0000.png …"""
    try:
        settings = DrawingSettings(arguments.class_index, tuple(arguments.translate), arguments.rotate, arguments.batch)
        seeds = parse_seeds(arguments.seeds)
    except ValueError as error:
        raise ParamsError(str(error)) from None
    arguments.outdir.mkdir(parents=True, exist_ok=True)
    with open_devices() as devices:
        generator = load_generator(arguments.network, device=devices.device)
        for seed, picture in reporter.progress(draw(generator, seeds, settings, psi=arguments.trunc), total=len(seeds), what="pictures"):
            save_picture(arguments.outdir / f"seed{seed:04d}.png", tile(picture[None], 1))
    reporter.log(f"{len(seeds):,} pictures in {arguments.outdir}")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    if arguments.network is not None:
        _draw_by_hand(arguments, reporter)
        return
    config = load_params(arguments.params, STAGE, ToCFakesConfig, overrides=arguments.overrides)
    count = make_fakes(arguments, config, reporter)
    reporter.metadata(images=count, truncations=list(config.psi), seeds=config.seeds)
    reporter.log(f"{STAGE}: {count:,} pictures at psi {', '.join(f'{psi:g}' for psi in config.psi)}")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, default=Path(".figment"), metavar="DIR", help="folder where finished shards wait for the end (default: %(default)s)"
    )
    parser.add_argument("--network", type=Path, metavar="DIR", help="draw with this model into --outdir instead of running the stage")
    parser.add_argument("--seeds", default="0-15", metavar="RANGES", help="such as 0,1,4-6, both ends included (default: %(default)s)")
    parser.add_argument("--trunc", type=float, default=1.0, metavar="PSI", help="truncation (default: %(default)s)")
    parser.add_argument("--class", type=int, dest="class_index", metavar="N", help="class of a conditional model")
    parser.add_argument("--translate", type=_pair, default=(0.0, 0.0), metavar="X,Y", help="move right and down, in sides of the picture")
    parser.add_argument("--rotate", type=float, default=0.0, metavar="DEGREES", help="turn anticlockwise")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures side by side (default: %(default)s)")
    parser.add_argument("--outdir", type=Path, default=Path("out"), metavar="DIR", help="folder for the PNG files (default: %(default)s)")


def _pair(text: str) -> tuple[float, float]:
    x, _, y = text.partition(",")
    return float(x), float(y)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_fakes`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error, SeedRangeError, ImageSetError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
