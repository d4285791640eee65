"""Sets of pictures of one size: written as StyleGAN dataset zips, read one by one or all at once.

A set is a folder of `shard-00000.zip`, `shard-00001.zip`, …, each of which is a whole dataset for NVIDIA's trainers: members
`NNNNN/imgNNNNNNNN.png` (the serial number, and its first five digits), stored, and `dataset.json` last, holding `{"labels": [[name, label], …]}` or
`{"labels": null}`. The reader also takes one such zip, and a plain folder of pictures, as NVIDIA's reader does.
"""

import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeAlias

import numpy
from PIL import Image

from formats.png import PngError, decode_png
from formats.stored_zip import DamagedZipError, StoredZip, StoredZipWriter

Label: TypeAlias = int | Sequence[float]

LABELS_MEMBER = "dataset.json"
# Zips that stay open at once in a process; systems allow 1,024 files or more.
_MOST_OPEN = 200
_MOST_SERIALS = 100_000_000
_MOST_CLASSES = 100_000


class ImageSetError(Exception):
    """A set of pictures cannot be read: not there, pictures of different sizes, or labels that do not fit. The message names the place."""


class DamagedImageError(ImageSetError):
    """One picture is damaged; the message names it and the file it lies in."""


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.zip"


def member_name(serial: int) -> str:
    """Name of the picture with this serial number inside its zip."""
    if not 0 <= serial < _MOST_SERIALS:
        raise ValueError(f"a serial number lies between 0 and {_MOST_SERIALS - 1:,}, found {serial:,}")
    digits = f"{serial:08d}"
    return f"{digits[:5]}/img{digits}.png"


def write_shard(path: Path, members: Iterable[tuple[int, bytes]], labels: Mapping[int, Label] | None = None) -> None:
    """Write the new StyleGAN dataset zip `path`.

    members: (serial number, PNG bytes) in rising order. labels: by serial number; an int is a class, a list of floats a vector. When None, or when
    any picture has none, the zip says that there are no labels.
    """
    written: list[int] = []
    with StoredZipWriter(path) as archive:
        for serial, content in members:
            if written and serial <= written[-1]:
                raise ValueError(f"{path}: serial number {serial} after {written[-1]}; members come in rising order")
            archive.add(member_name(serial), content)
            written.append(serial)
        archive.add(LABELS_MEMBER, labels_json([(member_name(serial), None if labels is None else labels.get(serial)) for serial in written]))


def labels_json(labels: Sequence[tuple[str, Label | None]]) -> bytes:
    """The content of `dataset.json` for these (member name, label): null as soon as one label is missing."""
    is_complete = bool(labels) and all(label is not None for _, label in labels)
    rows = [[name, label if isinstance(label, int) else list(label or ())] for name, label in labels] if is_complete else None
    return json.dumps({"labels": rows}).encode()


class ImageShards:
    """Pictures [C, H, W], uint8, of one square size; C is 3 (RGB) or 1 (grey). Index order is the order of shards and, in each, of sorted names.

        images = ImageShards(Path("data/toc_dataset@256"))
        batch = images.images([0, 5, 9])                               # [3, C, 256, 256]
        small = ImageShards(Path("data/toc_dataset@256"), resolution=32)

    path: a folder of shards, one StyleGAN dataset zip, or a plain folder of pictures (searched through; with or without a dataset.json).
    resolution: give pictures of this lower side instead. It must divide the real one; each pixel is the mean of its square box of pixels, in whole
    numbers, halves rounded up: (sum + n // 2) // n.
    Files are opened when first read in a process, so an object may be pickled, forked and used by threads; each picture's checksum is verified.
    Nothing is cached. Raises ImageSetError and DamagedImageError.
    """

    def __init__(self, path: Path, *, resolution: int | None = None) -> None:
        self.path = path
        # Only names are read now, and the first picture, which says what all must be like.
        self._packs = open_packs(path)
        self._places = [(number, name) for number, pack in enumerate(self._packs) for name in pack.picture_names]
        if not self._places:
            raise ImageSetError(f"{path}: no picture in it; expected a folder of {shard_name(0)} …, a StyleGAN dataset zip, or a folder of pictures")
        self._opened: OrderedDict[int, None] = OrderedDict()
        self.channels, self.stored_resolution = self._first_shape()
        self.resolution = resolution or self.stored_resolution
        if self.stored_resolution % self.resolution or not _is_power_of_two(self.resolution):
            raise ImageSetError(
                f"{path}: pictures of {self.stored_resolution} px cannot be given at {self.resolution} px; ask for a power of two up to theirs"
            )
        self._labels: numpy.ndarray | None = None
        self._labels_are_read = False

    def __len__(self) -> int:
        return len(self._places)

    @property
    def names(self) -> list[str]:
        """Member names in index order; unique in one shard and, by their serial numbers, in a set."""
        return [name for _, name in self._places]

    @property
    def labels(self) -> numpy.ndarray | None:
        """float32 [N, label_dim]: one-hot rows for classes (as many as the largest number, plus one), vectors as they are; None without labels."""
        if not self._labels_are_read:
            self._labels = _label_matrix(self._packs, self._places)
            self._labels_are_read = True
        return self._labels

    @property
    def label_dim(self) -> int:
        """0 without labels."""
        return 0 if self.labels is None else self.labels.shape[1]

    def image(self, index: int) -> numpy.ndarray:
        """uint8 [C, H, W]."""
        return numpy.ascontiguousarray(self._pixels(index).transpose(2, 0, 1))

    def images(self, indices: Iterable[int]) -> numpy.ndarray:
        """uint8 [N, C, H, W], in the order of `indices`."""
        wanted = [int(index) for index in indices]
        out = numpy.empty((len(wanted), self.channels, self.resolution, self.resolution), numpy.uint8)
        for row, index in enumerate(wanted):
            out[row] = self._pixels(index).transpose(2, 0, 1)
        return out

    def load_all(self) -> numpy.ndarray:
        """Every picture, uint8 [N, C, H, W]."""
        return self.images(range(len(self)))

    def __iter__(self) -> Iterator[numpy.ndarray]:
        return map(self.image, range(len(self)))

    def png(self, index: int) -> tuple[str, bytes]:
        """(member name, file content) of a picture as it lies there, checksum verified, not decoded."""
        number, name = self._places[index]
        return name, self._read(number, name)

    def _pixels(self, index: int) -> numpy.ndarray:
        number, name = self._places[index]
        pixels = _decode(self._read(number, name), self._packs[number].where(name))
        if pixels.shape != (self.stored_resolution, self.stored_resolution, self.channels):
            raise DamagedImageError(
                f"{self._packs[number].where(name)}: {_words(pixels.shape)}; the first picture of the set is "
                f"{_words((self.stored_resolution, self.stored_resolution, self.channels))}, and all must be alike"
            )
        return pixels if self.resolution == self.stored_resolution else box_downsample(pixels, self.resolution)

    def _read(self, number: int, name: str) -> bytes:
        self._opened[number] = None
        if len(self._opened) > _MOST_OPEN:
            self._packs[self._opened.popitem(last=False)[0]].close()
        return self._packs[number].read(name)

    def _first_shape(self) -> tuple[int, int]:
        number, name = self._places[0]
        where = self._packs[number].where(name)
        height, width, channels = _decode(self._read(number, name), where).shape
        if height != width or not _is_power_of_two(height):
            raise ImageSetError(f"{where}: {_words((height, width, channels))}; StyleGAN datasets are square, with a power of two as their side")
        return channels, height

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": OrderedDict()}


def box_downsample(pixels: numpy.ndarray, resolution: int) -> numpy.ndarray:
    """uint8 [H, H, C] as uint8 [resolution, resolution, C]: means of square boxes in whole numbers, halves rounded up."""
    # Sums in 32 bits: 255 · 4096² fits; halves are rounded up, as whole numbers are the same on every machine.
    factor = pixels.shape[0] // resolution
    boxes = pixels.reshape(resolution, factor, resolution, factor, pixels.shape[2])
    sums = boxes.sum(axis=1, dtype=numpy.uint32).sum(axis=2, dtype=numpy.uint32)
    return ((sums + factor * factor // 2) // (factor * factor)).astype(numpy.uint8)


class Pack(Protocol):
    """A zip or folder with pictures."""

    path: Path
    picture_names: list[str]

    def read(self, name: str) -> bytes: ...

    def read_labels(self) -> bytes | None: ...

    def where(self, name: str) -> str: ...

    def close(self) -> None: ...


class _ZipPack:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = StoredZip(path)
        except DamagedZipError as error:
            raise ImageSetError(str(error)) from None
        self.picture_names = sorted(name for name in self._zip.names if _is_picture(name))

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except DamagedZipError as error:
            raise DamagedImageError(str(error)) from None

    def read_labels(self) -> bytes | None:
        return self.read(LABELS_MEMBER) if LABELS_MEMBER in self._zip else None

    def where(self, name: str) -> str:
        return f"{self.path}: member {name}"

    def close(self) -> None:
        self._zip.close()


@dataclass
class _FolderPack:
    path: Path
    picture_names: list[str]

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def read_labels(self) -> bytes | None:
        path = self.path / LABELS_MEMBER
        return path.read_bytes() if path.is_file() else None

    def where(self, name: str) -> str:
        return str(self.path / name)

    def close(self) -> None:
        pass


def open_packs(path: Path) -> list[Pack]:
    """The shards in the folder `path`, the zip, or the folder with all below it, as what holds pictures of any size. Raises ImageSetError."""
    if path.is_file():
        return [_ZipPack(path)]
    if not path.is_dir():
        raise ImageSetError(f"{path}: no such file or folder; expected a dataset of pictures")
    shards = sorted(path.glob("shard-*.zip"))
    if shards:
        return [_ZipPack(shard) for shard in shards]
    files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    return [_FolderPack(path, sorted(file.relative_to(path).as_posix() for file in files if _is_picture(file.name)))]


def _is_picture(name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".png":
        return True
    Image.init()
    return suffix in Image.EXTENSION


def _decode(content: bytes, where: str) -> numpy.ndarray:
    try:
        return decode_png(content)
    except PngError as error:
        raise DamagedImageError(f"{where}: {error}; make the dataset again, or convert the picture") from None


def _label_matrix(packs: Sequence[Pack], places: Sequence[tuple[int, str]]) -> numpy.ndarray | None:
    # A set has labels when each of its zips has; one without leaves the whole set without.
    tables = [labels_of(pack) for pack in packs]
    if any(table is None for table, pack in zip(tables, packs, strict=True) if pack.picture_names):
        return None
    rows = []
    for number, name in places:
        label = (tables[number] or {}).get(name)
        if label is None:
            raise ImageSetError(f"{packs[number].path}: {LABELS_MEMBER} has no label for {name}; expected one for every picture, or null for all")
        rows.append(label)
    # Classes become one-hot rows; anything else must be vectors of one length.
    if all(isinstance(label, int) for label in rows):
        classes = numpy.array(rows, numpy.int64)
        if classes.min() < 0 or classes.max() >= _MOST_CLASSES:
            found = classes.min() if classes.min() < 0 else classes.max()
            raise ImageSetError(f"{packs[0].path}: {LABELS_MEMBER} has the class {found}; expected 0 to {_MOST_CLASSES - 1:,}")
        return numpy.eye(int(classes.max()) + 1, dtype=numpy.float32)[classes]
    try:
        matrix: numpy.ndarray = numpy.array(rows, numpy.float32)
    except (ValueError, TypeError):
        matrix = numpy.empty(0, numpy.float32)
    if matrix.ndim != 2:
        raise ImageSetError(f"{packs[0].path}: labels are neither all classes (whole numbers) nor all vectors of one length; mend {LABELS_MEMBER}")
    return matrix


def labels_of(pack: Pack) -> dict[str, Label] | None:
    """By name of the picture; None without labels. Raises ImageSetError."""
    content = pack.read_labels()
    if content is None:
        return None
    try:
        labels = json.loads(content)["labels"]
        return None if labels is None else {name.replace("\\", "/"): label for name, label in labels}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = '{"labels": [[name, label], …]} or {"labels": null}'
        raise ImageSetError(f"{pack.path}: {LABELS_MEMBER} cannot be read ({error}); expected {expected}") from None


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _words(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px with {shape[2]} channels"
