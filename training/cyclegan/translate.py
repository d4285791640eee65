"""Translate pictures with a trained CycleGAN, either way.

    python -m training.cyclegan.translate                                                       # the stage: data/painted_photos
    python -m training.cyclegan.translate --set splits=[train,test] --set kaggle=b2a            # with images.zip for Kaggle
    python -m training.cyclegan.translate --network data/cyclegan_paintings --direction b2a --images photos --outdir out
    python -m training.cyclegan.translate --network data/cyclegan_paintings --direction b2a --images photos --outdir out --kaggle images.zip

a2b makes pictures of domain B (photographs) from those of A (paintings), b2a the other way round; by hand, the names of the domains may be written
instead, as in photo2painting. The stage writes a set of shards for each way and split, under the serial numbers of the pictures they were made from,
an index, galleries (before, after, and translated back again), training.mp4, and images.zip where it is asked for. By hand, pictures of any size and
kind are taken and keep their names and sizes.
"""

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy

from formats.image_shards import ImageSetError, ImageShards, open_packs
from formats.tables import columns, table_from_rows, write_table
from formats.video import Codec, VideoError, write_video
from stages.artifact_id import content_id
from stages.files import replacing, sha256_of
from stages.output_folder import OutputFolder
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from training.cyclegan.config import CycleGANConfig
from training.cyclegan.folders import Translation, submission_members, translate_folder
from training.cyclegan.generator import CycleGANError, Generator, Generators, load_generators
from training.cyclegan.kaggle import SIDE_PX, TranslateError, check_count, jpeg, write_submission
from training.cyclegan.tiles import Tiling, as_channels, translate
from training.gans.drawing import DrawingError
from training.gans.grids import save_picture, tile, to_uint8
from training.gans.sample import PlannedShard, finish_shards, plan_shards, take_shards
from training.gans.video import VideoConfig, fitted, snapshot_frames
from training.loop.bounds import at_least
from training.loop.devices import Devices, open_devices
from training.loop.run_key import run_key

STAGE = "painted_photos"
MODEL = "cyclegan_paintings"
SETS = "paintings"

Direction = Literal["a2b", "b2a"]
Split = Literal["test", "train"]
# The weights of each way, and the letter of the sets it is given.
_WEIGHTS: Mapping[Direction, str] = {"a2b": "G_A.safetensors", "b2a": "G_B.safetensors"}
DIRECTIONS: tuple[Direction, ...] = ("b2a", "a2b")

_INDEX = columns(direction=str, split=str, serial=int, shard=str, member=str)


@dataclass(frozen=True)
class PaintedConfig:
    """The section `painted_photos`. splits: of the sets of data/paintings that are translated, both ways.

    resolution: of the pictures; null = as in training. gallery: [columns, rows] of triples of each way. batch_size: pictures side by side; it does
    not change them by more than rounding. kaggle: the way whose pictures become images.zip; null = none. kaggle_any_count: however many they are.
    most_width_px: of the galleries and the film. fps … quality: of training.mp4, see training/gans/video.py.
    """

    splits: tuple[Split, ...] = ("test",)
    resolution: int | None = None
    images_per_shard: int = 10_000
    gallery: tuple[int, ...] = (2, 8)
    batch_size: int = 16
    kaggle: Direction | None = None
    kaggle_any_count: bool = False
    fps: int = 30
    snapshot_s: float = 0.2
    label: bool = True
    most_width_px: int = 1920
    codec: Codec = "h264"
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
        names = ("fps", "snapshot_s", "label", "most_width_px", "codec", "quality")
        return VideoConfig(**{name: getattr(self, name) for name in names})


def generator_of(generators: Generators, direction: Direction) -> Generator:
    """The one that goes this way."""
    return generators.a_to_b if direction == "a2b" else generators.b_to_a


def opposite(direction: Direction) -> Direction:
    """The way back."""
    return "b2a" if direction == "a2b" else "a2b"


def read_set(data: Path, split: Split, letter: str, resolution: int) -> ImageShards:
    """Pictures of data/paintings, such as those of testA."""
    return ImageShards(data / SETS / f"{split}{letter.upper()}", resolution=resolution)


def direction_of(text: str, config: CycleGANConfig) -> Direction:
    """a2b and b2a, or the names of the domains, as in photo2painting. Raises ParamsError."""
    a, b = config.domain_a, config.domain_b
    known: dict[str, Direction] = {"a2b": "a2b", "b2a": "b2a", f"{a}2{b}": "a2b", f"{b}2{a}": "b2a"}
    if text not in known:
        raise ParamsError(f"--direction must be one of {', '.join(known)}, found {text!r}")
    return known[text]


def translated(generator: Generator, images: numpy.ndarray, devices: Devices) -> numpy.ndarray:
    """uint8 [N, C, H, W] of one domain as uint8 [N, C, H, W] of the other."""
    return to_uint8(translate(generator, images, devices)).cpu().numpy()


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
        _check_kaggle(config, resolution, sum(len(images) for folder, images in sets.items() if folder.startswith(config.kaggle)))

    def draw(folder: str, serials: Sequence[int]) -> Iterator[tuple[int, numpy.ndarray]]:
        generator = generator_of(generators, _direction(folder))
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
            picture = _gallery(sets[folder], after, generator_of(generators, opposite(way)), config.gallery, devices)
            save_picture(output.file(f"gallery-{way}.png"), fitted(picture, config.most_width_px))
        frames = snapshot_frames(model, config.film)
        write_video(output.file("training.mp4"), frames, fps=config.fps, codec=config.codec, quality=config.quality)
        if config.kaggle:
            write_submission(output.file("images.zip"), _submission(shards, output.folder, config.kaggle))
    shutil.rmtree(work.parent)
    reporter.metadata(images=total, resolution=resolution, splits=list(config.splits))
    reporter.log(f"{STAGE}: {total:,} pictures of {resolution} px, both ways")


def _check_kaggle(config: PaintedConfig, resolution: int, count: int) -> None:
    if resolution != SIDE_PX:
        raise TranslateError(f"Kaggle takes pictures of {SIDE_PX} px, found {resolution} px; set resolution, or translate by hand with --kaggle")
    check_count(count, anyway=config.kaggle_any_count)


def _submission(shards: Sequence[PlannedShard], folder: Path, direction: Direction) -> Iterator[tuple[str, bytes]]:
    for name in dict.fromkeys(shard.folder for shard in shards if shard.folder.startswith(direction)):
        images = ImageShards(folder / name)
        for member, pixels in zip(images.names, images, strict=True):
            stem = PurePosixPath(member).stem
            yield f"{name.partition('/')[2]}-{stem}.jpg", jpeg(as_channels(pixels[None], 3)[0].transpose(1, 2, 0))


def _gallery(before: ImageShards, after: ImageShards, back: Generator, gallery: Sequence[int], devices: Devices) -> numpy.ndarray:
    """Triples of a picture, its translation, and that translated back again."""
    chosen = range(min(gallery[0] * gallery[1], len(before)))
    fakes = after.images(chosen)
    steps = [as_channels(images, 3) for images in (before.images(chosen), fakes, translated(back, fakes, devices))]
    return tile(numpy.stack(steps, axis=1).reshape(-1, *steps[0].shape[1:]), 3 * gallery[0])


def _direction(folder: str) -> Direction:
    return "a2b" if folder.startswith("a2b") else "b2a"


def _serial(member: str) -> int:
    return int(PurePosixPath(member).stem.removeprefix("img"))


def _by_hand(arguments: Namespace, generators: Generators, devices: Devices, reporter: Reporter) -> None:
    direction = direction_of(arguments.direction, generators.config)
    try:
        tiling = Tiling(arguments.tile, arguments.overlap, whole_statistics=arguments.statistics == "picture")
    except ValueError as error:
        raise ParamsError(f"--tile and --overlap: {error}") from None
    is_kaggle = arguments.kaggle is not None
    weights = sha256_of(arguments.network / _WEIGHTS[direction])
    made_by = {"weights": weights, "direction": direction, **asdict(tiling), "kaggle": is_kaggle}
    # What cannot become a submission is not translated first; broken pictures may still make it too few.
    if is_kaggle:
        check_count(sum(len(pack.picture_names) for pack in open_packs(arguments.images)), anyway=arguments.any_count)
    translation = Translation(generator_of(generators, direction), made_by, tiling, devices, kaggle=is_kaggle)
    files = translate_folder(translation, arguments.images, arguments.outdir, reporter)
    if is_kaggle:
        check_count(len(files), anyway=arguments.any_count)
        with replacing(arguments.kaggle) as temporary:
            write_submission(temporary, submission_members(files))
        reporter.log(f"{arguments.kaggle}: {len(files):,} pictures")


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
    group.add_argument("--direction", default="b2a", metavar="WAY", help="a2b, b2a, or such as photo2painting (default: %(default)s)")
    group.add_argument("--tile", type=int, default=512, metavar="PX", help="side of the tiles of a larger picture (default: %(default)s)")
    group.add_argument("--overlap", type=int, default=128, metavar="PX", help="of neighbouring tiles (default: %(default)s)")
    group.add_argument(
        "--statistics", choices=("picture", "tile"), default="picture", help="normalise tiles by the whole picture's statistics, or each by its own"
    )
    group.add_argument("--kaggle", type=Path, metavar="ZIP", help="make JPEG files of 256 x 256 px and this zip of them")
    group.add_argument("--any-count", action="store_true", help="make the zip with fewer or more pictures than Kaggle takes")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `painted_photos`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(CycleGANError, TranslateError, ImageSetError, DrawingError, VideoError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
