"""A folder as `gather` writes it, of pictures drawn from their number, and datasets made of it."""

import hashlib
import io
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from assets.images.columns import FOUND
from assets.images.dataset import build_dataset
from assets.images.dataset_config import DatasetConfig, Subject
from formats.stored_zip import StoredZipWriter
from formats.tables import columns
from stages.reporting import Reporter

ORIGINALS = pa.schema([*FOUND, *columns(licence=str, source=str, album=str, place=str, is_secret=bool)])
SMALL = DatasetConfig(sizes=[64, 32, 16], canvas_px=64, images_per_shard=4)
SUBJECT = Subject(
    title="Drawings",
    pictures="drawings of numbers",
    tags=("numbers",),
    columns=columns(place=str),
    names="licence, source and place",
    refusal=lambda row: ("secret", "not for everybody") if row["is_secret"] else None,
)


def drawing(number: int, *, width: int = 60, height: int = 40, kind: str = "PNG") -> bytes:
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.line([(number % width, 0), (width - 1, number * 7 % height)], fill=(number * 37 % 256, 0, 0), width=2)
    draw.rectangle([number % 20, 4, number % 20 + 9, 13], outline=(0, number % 256, number // 256))
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


class Picture:
    """One row of the index; what is not given is as for any other picture."""

    def __init__(self, serial: int, content: bytes | None = None, **facts) -> None:
        self.serial = serial
        self.content = drawing(serial) if content is None else content
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        self.facts = {"licence": "CC-BY-4.0", "source": "letters", "album": "Blue", "place": f"p{serial}", "is_secret": None} | facts


def write_originals(folder: Path, pictures: list[Picture], *, per_shard: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    rows = []
    for number in sorted({picture.serial // per_shard for picture in pictures}):
        name = f"images-{number:05d}.zip"
        with StoredZipWriter(folder / name) as archive:
            written = set()
            for picture in sorted(pictures, key=lambda picture: picture.serial):
                if picture.serial // per_shard == number:
                    if picture.sha256 not in written:
                        archive.add(f"{picture.sha256}.png", picture.content)
                    written.add(picture.sha256)
                    member = {"sha256": picture.sha256, "serial": picture.serial, "shard": name, "member": f"{picture.sha256}.png"}
                    rows.append(member | picture.facts)
    pq.write_table(pa.Table.from_pylist(rows, ORIGINALS), folder / "index.parquet")
    return folder


class Silent(Reporter):
    def log(self, message: str) -> None:
        pass


def build(root: Path, size: int = 32, *, config: DatasetConfig = SMALL, workers: int = 1, name: str = "drawing_dataset"):
    """Build `root/data/NAME@SIZE` from `root/data/drawings`."""
    originals, target = root / "data/drawings", root / f"data/{name}@{size}"
    return build_dataset(size, config, SUBJECT, originals, target, figment=root / ".figment", workers=workers, reporter=Silent())


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rows_of(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def plainly(content: bytes, size: int, canvas_px: int) -> numpy.ndarray:
    """What the dataset should hold, the plain way: decode, pad the whole canvas, resize it."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    side = max(canvas_px, *image.size)
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return numpy.asarray(canvas.resize((size, size), Image.Resampling.LANCZOS))
