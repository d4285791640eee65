"""Translate pictures with a trained CycleGAN, either way.

    python -m training.cyclegan.translate                                                       # the stage: data/painted_photos
    python -m training.cyclegan.translate --set splits=[train,test] --set kaggle=b2a            # with images.zip for Kaggle
    python -m training.cyclegan.translate --network data/cyclegan_paintings --direction b2a --images photos --outdir out    # any pictures

a2b makes pictures of domain B (photographs) from those of A (paintings), b2a the other way round. The stage writes a set of shards for each way and
split, under the serial numbers of the pictures they were made from, an index, galleries (before, after, and translated back again), training.mp4, and
images.zip where it is asked for. By hand, pictures of any size and kind are taken and keep their names and sizes.
"""

import math
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy

from formats.image_shards import ImageSetError, ImageShards
from formats.stored_zip import StoredZipWriter
from formats.tables import columns, table_from_rows, write_table
from formats.video import Codec, VideoError, write_video
from stages.artifact_id import content_id
from stages.files import sha256_of
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from training.cyclegan.folders import TranslateError, jpeg, translate_folder
from training.cyclegan.generator import CycleGANError, Generator, Generators, load_generators
from training.cyclegan.tiles import Tiling, as_channels, translate, translate_picture
from training.gans.drawing import DrawingError
from training.gans.grids import save_picture, tile, to_uint8
from training.gans.sample import finish_shards, plan_shards, take_shards
from training.gans.video import VideoConfig, fitted, snapshot_frames
from training.loop.bounds import at_least
from training.loop.devices import Devices, open_devices
from training.loop.run_key import run_key

STAGE = "painted_photos"
MODEL = "cyclegan_paintings"
SETS = "paintings"

# Names of ways read backwards are the ways back, and begin with the letter of the sets that are translated.
Direction = Literal["b2a", "a2b"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Split = Literal["test", "train"]
# What Kaggle's competition "I'm Something of a Painter Myself" takes: RGB pictures as JPEG files in one zip.
KAGGLE_PX = 256
KAGGLE_FEWEST, KAGGLE_MOST = 7_000, 10_000

_INDEX = columns(direction=str, split=str, serial=int, shard=str, member=str)


@dataclass(frozen=True)
class PaintedConfig:
    """The section `painted_photos`. splits: of the sets of data/paintings that are translated, both ways.

    resolution: of the pictures; null = as in training. gallery: [columns, rows] of triples of each way. batch_size: pictures side by side; it does
    not change them by more than rounding. kaggle: the way whose pictures become images.zip; null = none. fps … quality: of training.mp4, see
    training/gans/video.py.
    """

    splits: tuple[Split, ...] = ("test",)
    resolution: int | None = None
    images_per_shard: int = 10_000
    gallery: tuple[int, ...] = (2, 8)
    batch_size: int = 16
    kaggle: Direction | None = None
    fps: int = 30
    snapshot_s: float = 0.2
    codec: Codec = "vp9"
    quality: int = 20

    def __post_init__(self) -> None:
        at_least(self, 1, "images_per_shard", "batch_size")
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise ValueError(f"splits must name test, train or both, each once, found {list(self.splits)}")
        if len(self.gallery) != 2 or min(self.gallery) < 1:
            raise ValueError(f"gallery must be [columns, rows], found {list(self.gallery)}")
        _ = self.film

    @property
    def film(self) -> VideoConfig:
        return VideoConfig(fps=self.fps, snapshot_s=self.snapshot_s, codec=self.codec, quality=self.quality)


def read_set(data: Path, split: Split, letter: str, resolution: int) -> ImageShards:
    """Pictures of data/paintings, such as those of testA."""
    return ImageShards(data / SETS / f"{split}{letter.upper()}", resolution=resolution)


def translated(generator: Generator, images: numpy.ndarray, devices: Devices) -> numpy.ndarray:
    """uint8 [N, C, H, W] of one domain as uint8 [N, C, H, W] of the other."""
    return to_uint8(translate(generator, images, devices)).cpu().numpy()


def there_and_back(before: ImageShards, after: ImageShards, back: Generator, most: int, devices: Devices) -> list[numpy.ndarray]:
    """The first pictures, at most so many, before and after their translation, and translated back again: uint8 [N, 3, H, W] each."""
    chosen = range(min(most, len(before)))
    fakes = after.images(chosen)
    return [as_channels(images, 3) for images in (before.images(chosen), fakes, translated(back, fakes, devices))]


def make_painted(config: PaintedConfig, generators: Generators, devices: Devices, *, data: Path, state: Path, reporter: Reporter) -> None:
    """Write data/painted_photos. Raises TranslateError before anything is translated when Kaggle would not take it."""
    model, network = data / MODEL, generators.config
    resolution = config.resolution or network.resolution
    if resolution % network.multiple:
        raise TranslateError(f"{network.net_g} takes sides that are multiples of {network.multiple} px, found resolution {resolution}")
    # By folder of the output, such as b2a/test: the pictures to be translated, and where each serial number lies among them.
    sets = {f"{way}/{split}": read_set(data, split, way[0], resolution) for way in DIRECTIONS for split in config.splits}
    places = {folder: {_serial(name): index for index, name in enumerate(images.names)} for folder, images in sets.items()}
    if config.kaggle:
        _check_kaggle(resolution, sum(len(images) for folder, images in sets.items() if folder.startswith(config.kaggle)))

    def draw(folder: str, serials: Sequence[int]) -> Iterator[tuple[int, numpy.ndarray]]:
        generator = generators.ways[folder[:3]]
        for start in range(0, len(serials), config.batch_size):
            some = serials[start : start + config.batch_size]
            yield from zip(some, translated(generator, sets[folder].images(places[folder][serial] for serial in some), devices), strict=True)

    inputs = {path.name: content_id(path) for path in (model, *{images.path for images in sets.values()})}
    work = state / "fakes" / STAGE / run_key(STAGE, "training.cyclegan.translate", config=asdict(config), inputs=inputs)
    shards = plan_shards({folder: sorted(found) for folder, found in places.items()}, config.images_per_shard)
    total = finish_shards(STAGE, shards, draw, work, reporter)
    with OutputFolder(data / STAGE) as output:
        take_shards(shards, work, output)
        rows = [dict(zip(_INDEX.names, (*shard.folder.split("/"), *row), strict=True)) for shard in shards for row in shard.rows]
        write_table(output.file("index.parquet"), table_from_rows(_INDEX, rows))
        for way in DIRECTIONS:
            folder = f"{way}/{config.splits[0]}"
            after = ImageShards(output.folder / folder)
            steps = there_and_back(sets[folder], after, generators.ways[way[::-1]], math.prod(config.gallery), devices)
            picture = tile(numpy.stack(steps, axis=1).reshape(-1, *steps[0].shape[1:]), 3 * config.gallery[0])
            save_picture(output.file(f"gallery-{way}.png"), fitted(picture, config.film.most_width_px))
        frames = snapshot_frames(model, config.film)
        write_video(output.file("training.mp4"), frames, fps=config.fps, codec=config.codec, quality=config.quality)
        if config.kaggle:
            _write_submission(output.file("images.zip"), {shard.folder for shard in shards if shard.folder.startswith(config.kaggle)}, output.folder)
    shutil.rmtree(work.parent)
    reporter.metadata(images=total, resolution=resolution, splits=list(config.splits))
    reporter.log(f"{STAGE}: {total:,} pictures of {resolution} px, both ways")


def _check_kaggle(resolution: int, count: int) -> None:
    """Before anything is translated."""
    if resolution != KAGGLE_PX:
        raise TranslateError(f"Kaggle takes pictures of {KAGGLE_PX} px, found {resolution} px; set resolution: {KAGGLE_PX}, or kaggle: null")
    if not KAGGLE_FEWEST <= count <= KAGGLE_MOST:
        raise TranslateError(
            f"{count:,} pictures, but Kaggle takes {KAGGLE_FEWEST:,} to {KAGGLE_MOST:,}; translate more (splits: [test, train]) or fewer, or set "
            "kaggle: null"
        )


def _write_submission(path: Path, names: Iterable[str], folder: Path) -> None:
    """The zip `path` of the pictures of the sets `names` in `folder`."""
    with StoredZipWriter(path) as archive:
        for name in sorted(names):
            images = ImageShards(folder / name)
            for member, pixels in zip(images.names, images, strict=True):
                content = jpeg(as_channels(pixels[None], 3)[0].transpose(1, 2, 0))
                archive.add(f"{PurePosixPath(name).name}-{PurePosixPath(member).stem}.jpg", content)


def _serial(member: str) -> int:
    return int(PurePosixPath(member).stem.removeprefix("img"))


def _by_hand(arguments: Namespace, generators: Generators, devices: Devices, reporter: Reporter) -> None:
    try:
        tiling = Tiling(arguments.tile, arguments.overlap)
    except ValueError as error:
        raise ParamsError(f"--tile and --overlap: {error}") from None
    weights = arguments.network / ("G_A.safetensors" if arguments.direction == "a2b" else "G_B.safetensors")
    made_by = {"weights": sha256_of(weights), "direction": arguments.direction, **asdict(tiling)}
    translate_one = partial(translate_picture, generators.ways[arguments.direction], tiling=tiling, devices=devices)
    translate_folder(arguments.images, arguments.outdir, translate_one, made_by=made_by, reporter=reporter)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    is_by_hand = arguments.images is not None
    if is_by_hand and arguments.outdir is None:
        raise ParamsError("--images needs --outdir, a folder for the translated pictures")
    with open_devices() as devices:
        if is_by_hand:
            arguments.network = arguments.network or arguments.data / MODEL
            _by_hand(arguments, load_generators(arguments.network, device=devices.device), devices, reporter)
            return
        config = load_params(arguments.params, STAGE, PaintedConfig, overrides=arguments.overrides)
        generators = load_generators(arguments.data / MODEL, device=devices.device)
        make_painted(config, generators, devices, data=arguments.data, state=arguments.state, reporter=reporter)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, default=Path(".figment"), metavar="DIR", help="folder where finished shards wait for the end (default: %(default)s)"
    )
    group = parser.add_argument_group("any pictures, without the graph")
    group.add_argument("--images", type=Path, metavar="PATH", help="a folder of pictures of any size and kind, or a zip of them")
    group.add_argument("--outdir", type=Path, metavar="DIR", help="folder for the translated pictures, under the same names")
    group.add_argument("--network", type=Path, metavar="DIR", help=f"a trained model (default: {MODEL} below --data)")
    group.add_argument("--direction", choices=DIRECTIONS, default="b2a", help="paintings of photographs, or photographs of paintings (default: b2a)")
    group.add_argument("--tile", type=int, default=512, metavar="PX", help="side of the tiles of a larger picture (default: %(default)s)")
    group.add_argument("--overlap", type=int, default=128, metavar="PX", help="of neighbouring tiles (default: %(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `painted_photos`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(CycleGANError, TranslateError, ImageSetError, DrawingError, VideoError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
